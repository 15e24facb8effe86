"""Holds that nobody was shown, on every database: taken by one, told in parts, then forgotten."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from gateway.stores.database import Database
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.unkept import Leased, Unkept, UnkeptStore
from gateway.wire.phases import SessionPhase
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
HOLDS = UnkeptStore()


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, tmp_path: Path, database: Database) -> AsyncIterator[Database]:
    """The same database as another gateway has it."""
    async with store.opened(tmp_path) as opened:
        yield opened


async def let_go(
    database: Database, *nodes: str, holds: int = 2, created: datetime = NOW
) -> list[tuple[UUID, ...]]:
    """Have these nodes told of holds of one offer set; which."""
    offerset = uuid4()
    put = [
        Unkept(
            offerset=offerset,
            node=node,
            owner="ann",
            uuids=tuple(uuid4() for _ in range(holds)),
            give_up=SOON,
        )
        for node in nodes
    ]
    async with database.transaction() as tx:
        row = OfferSetRow(offerset, "ann", created, b"{}", b"{}", b"{}", b"[]")
        await OfferSetStore().add(tx, row)
        await HOLDS.put(tx, put, created)
    return [one.uuids for one in put]


async def claim(database: Database, *, now: datetime = NOW, limit: int = 10) -> list[Leased]:
    async with database.transaction() as tx:
        return await HOLDS.claim(
            tx,
            now=now,
            lease_until=now + timedelta(seconds=30),
            limit=limit,
            per_node=5,
            running={},
        )


async def test_no_holds_are_claimed_by_two(database: Database, other: Database) -> None:
    await let_go(database, *(f"node-{n}" for n in range(20)))
    claimed = [
        one.id
        for _ in range(4)
        for part in await asyncio.gather(*(claim(at, limit=3) for at in (database, other) * 2))
        for one in part
    ]
    assert len(claimed) == len(set(claimed)) == 20


async def test_what_a_node_was_not_told_of_is_claimed_again(database: Database) -> None:
    ((told, untold),) = await let_go(database, "alpha")
    (first,) = await claim(database)
    assert (first.node, first.owner, first.uuids) == ("alpha", "ann", (told, untold))
    async with database.transaction() as tx:
        rest = replace(first, uuids=(untold,))
        await HOLDS.again(tx, rest, due=SOON, error="it is away")
    assert not await claim(database)
    (second,) = await claim(database, now=SOON)
    assert second.uuids == (untold,)
    assert second.attempts == 2


async def test_who_was_too_slow_may_not_report(database: Database) -> None:
    await let_go(database, "alpha")
    (slow,) = await claim(database)
    (quick,) = await claim(database, now=NOW + timedelta(seconds=30))
    async with database.transaction() as tx:
        await HOLDS.again(tx, slow, due=NOW, error="it is away")
        await HOLDS.done_all(tx, [slow])
    assert not await claim(database, now=NOW + timedelta(seconds=59))
    async with database.transaction() as tx:
        await HOLDS.done_all(tx, [quick])
        assert await HOLDS.next_due(tx) is None


async def test_holds_are_counted_as_long_as_nodes_were_not_told_of_them(database: Database) -> None:
    async with database.reading() as reader:
        assert await HOLDS.backlog(reader) == {}
    await let_go(database, "alpha", holds=3)
    await let_go(database, "beta", holds=2, created=SOON)
    async with database.reading() as reader:
        waiting = (await HOLDS.backlog(reader))[SessionPhase.REJECTED]
    assert (waiting.pending, waiting.oldest) == (5, NOW)


async def test_an_offer_set_is_kept_while_nodes_are_to_be_told_of_its_holds(
    database: Database,
) -> None:
    await let_go(database, "alpha")

    async def forget() -> int:
        async with database.transaction() as tx:
            return await OfferSetStore().forget(tx, ended_before=SOON, expired_before=SOON)

    assert await forget() == 0
    claimed = await claim(database)
    async with database.transaction() as tx:
        await HOLDS.done_all(tx, claimed)
    assert await forget() == 1


async def test_a_clock_that_was_set_back_delays_no_holds(database: Database) -> None:
    await let_go(database, "alpha", created=SOON)
    assert not await claim(database)
    async with database.transaction() as tx:
        assert await HOLDS.pull_in(tx, beyond=NOW, due=NOW) == 1
    assert len(await claim(database)) == 1
