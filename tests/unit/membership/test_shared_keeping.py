"""What one process of a gateway keeps of its memberships, every other one can go on with."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from gateway.assembly.membership_keeping import SharedKeeping
from gateway.httpkit.membership.keeping import KeepingError
from gateway.sealing import Sealer
from gateway.services.installation import Installation
from gateway.stores.database import Database
from gateway.stores.installation import InstallationStore
from gateway.stores.memberships import MembershipStore
from gateway.wire.secret import Secret
from tests.support.joined_gateway import joined_gateway
from tests.support.membership import joining
from tests.support.node import ShiftedClock
from tests.support.stores import Store

KEY: Final = "0123456789abcdef" * 4
URL: Final = "http://127.0.0.1:8080"
NONCE: Final = "n" * 43
OF: Final = "https://head.example.org"


class Clock(ShiftedClock):
    """Also with seconds that never jump."""

    def monotonic(self) -> float:
        return self.now().timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def databases(store: Store, tmp_path: Path) -> AsyncIterator[tuple[Database, Database]]:
    """The connections of two processes to one database."""
    async with store.opened(tmp_path) as one, store.opened(tmp_path) as other:
        yield one, other


@pytest.fixture
def process(databases: tuple[Database, Database], clock: Clock) -> Callable[[int], SharedKeeping]:
    def of(number: int, key: str = KEY) -> SharedKeeping:
        return SharedKeeping(databases[number], MembershipStore(), Sealer(key), clock)

    return of


async def test_what_one_process_was_given_another_can_use(
    process: Callable[[int], SharedKeeping],
) -> None:
    one, other = process(0), process(1)
    assert await other.credential(OF) is None
    await one.keep(OF, Secret("ebn_first"))
    await one.keep(OF, Secret("ebn_second"))
    assert await other.credential(OF) == Secret("ebn_second")
    assert await other.credential("https://elsewhere.example.org") is None


async def test_nothing_is_kept_in_clear(
    databases: tuple[Database, Database], process: Callable[..., SharedKeeping]
) -> None:
    await process(0).keep(OF, Secret("ebn_secret"))
    async with process(0).registering(URL) as challenge, databases[1].reading() as tx:
        sealed = await MembershipStore().credential(tx, OF)
        row = await tx.fetch_one("SELECT key FROM membership_turn")
    assert sealed is not None
    assert b"ebn_secret" not in sealed
    assert row is not None
    assert challenge.key not in bytes(row["key"])


async def test_what_another_key_has_sealed_is_no_credential(
    process: Callable[..., SharedKeeping],
) -> None:
    await process(0).keep(OF, Secret("ebn_secret"))
    assert await process(1, "f" * 64).credential(OF) is None


async def test_every_process_answers_the_challenge_while_one_registers(
    process: Callable[[int], SharedKeeping],
) -> None:
    one, other = process(0), process(1)
    assert await other.open_challenge() is None
    async with one.registering(URL) as challenge:
        found = await other.open_challenge()
        assert found is not None
        assert found.response(NONCE) == challenge.response(NONCE)
    assert await other.open_challenge() is None


async def test_one_registers_at_a_time_of_all_processes(
    process: Callable[[int], SharedKeeping],
) -> None:
    at_once = most = 0

    async def register(keeping: SharedKeeping) -> None:
        nonlocal at_once, most
        async with keeping.registering(URL):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    one, other = process(0), process(1)
    await asyncio.gather(register(one), register(other), register(one))
    assert most == 1


async def test_the_turn_of_a_process_that_died_passes_on(
    process: Callable[[int], SharedKeeping], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.assembly.membership_keeping.TURN_S", 0.02)
    one, other = process(0), process(1)
    async with one.registering(URL):
        clock.advance(timedelta(seconds=-1))
        with pytest.raises(KeepingError):
            async with other.registering(URL):
                pass
        clock.advance(timedelta(seconds=60))
        assert await other.open_challenge() is None
        monkeypatch.setattr("gateway.assembly.membership_keeping.TURN_S", 60.0)
        async with other.registering(URL) as challenge:
            found = await one.open_challenge()
            assert found is not None
            assert found.response(NONCE) == challenge.response(NONCE)


async def test_only_the_last_process_to_end_leaves(
    process: Callable[[int], SharedKeeping], clock: Clock
) -> None:
    one, other = process(0), process(1)
    await one.stay(60)
    await other.stay(60)
    assert not await one.is_last()
    assert await other.is_last()


async def test_a_process_that_died_is_not_waited_for(
    process: Callable[[int], SharedKeeping], clock: Clock
) -> None:
    one, dead = process(0), process(1)
    await dead.stay(60)
    clock.advance(timedelta(seconds=61))
    await one.stay(60)
    assert await one.is_last()


async def test_of_two_processes_that_end_at_once_one_is_the_last(
    databases: tuple[Database, Database], clock: Clock
) -> None:
    store, now = MembershipStore(), clock.now()

    async def go(database: Database) -> bool:
        async with database.transaction() as tx:
            return await store.go(tx, "other", now)

    async with databases[0].transaction() as tx:
        for process in ("one", "other"):
            await store.stay(tx, process, now + timedelta(seconds=60))
    async with databases[0].transaction() as tx:
        is_last = [await store.go(tx, "one", now)]
        other = asyncio.create_task(go(databases[1]))
        await asyncio.sleep(0.05)
    is_last.append(await other)
    assert is_last == [False, True]


async def test_all_processes_are_one_installation(
    databases: tuple[Database, Database],
) -> None:
    found = set()
    for database in databases:
        installation = Installation(database, InstallationStore(), uuid4)
        await installation.open()
        found.add(installation.identity)
    assert len(found) == 1


async def test_a_second_process_joins_with_what_the_first_was_given_and_only_the_last_leaves(
    process: Callable[[int], SharedKeeping], tmp_path: Path
) -> None:
    async with joined_gateway() as gateway:
        async with joining(gateway, tmp_path, keeping=process(0)) as one:
            await one.member.step()
            async with joining(gateway, tmp_path, token=None, keeping=process(1)) as other:
                await other.member.step()
                assert gateway.bearers[-1] == gateway.credentials["alpha"]
            assert gateway.left == []
            await one.member.step()
        assert gateway.left == ["alpha"]
