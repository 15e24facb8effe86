"""Registrations, their record, tokens and credentials, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.domain.registration import MAX_CHANGES, MemberCause, MemberChange, NodeStanding
from gateway.stores.database import Database
from gateway.stores.node_credentials import (
    Granted,
    NodeCredentialStore,
    RegistrationTokenStore,
    TokenRow,
)
from gateway.stores.nodes import NodeRow, NodeStore, Watch
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
TERMINAL = ("COMPLETED", "FAILED")

nodes = NodeStore()
tokens = RegistrationTokenStore()
credentials = NodeCredentialStore()


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


def row(name: str = "alpha", **changes: Any) -> NodeRow:
    values: dict[str, Any] = {
        "name": name,
        "url": "https://alpha.example",
        "declared": {"site": "uk", "storage": ["UKSRC"]},
        "credentials": b"\x01sealed\x00",
        "registrant": "token:1",
        "token": "1",
        "registered": NOW,
        "renewed": NOW,
        "is_draining": False,
        "silent_since": None,
        "left_at": None,
        "capabilities": b"{}",
        "digest": '"1"',
        "announced": '"1"',
    }
    return NodeRow(**values | changes)


def token(uuid: UUID, **changes: Any) -> TokenRow:
    values: dict[str, Any] = {
        "uuid": uuid,
        "name": None,
        "owners": ("ann",),
        "groups": (),
        "created": NOW,
        "expires": SOON,
    }
    return TokenRow(**values | changes)


async def test_a_registration_is_found_again_as_it_was_saved(database: Database) -> None:
    given = row()
    async with database.transaction() as tx:
        assert await nodes.add(tx, given)
        assert not await nodes.add(tx, replace(given, url="https://thief.example"))
    changed = replace(given, silent_since=NOW, left_at=SOON, is_draining=True, token=None)
    async with database.transaction() as tx:
        assert await nodes.find(tx, "alpha", keep=True) == given
        await nodes.save(tx, changed)
        assert await nodes.find(tx, "beta") is None
    async with database.reading() as reader:
        assert await nodes.all(reader) == [changed]


async def test_a_renewal_ends_silence_and_uses_up_the_token(database: Database) -> None:
    async with database.transaction() as tx:
        await nodes.add(tx, row(silent_since=NOW))
        await nodes.renew(tx, "alpha", now=SOON, is_draining=True, announced='"2"')
    async with database.reading() as reader:
        (found,) = await nodes.all(reader)
        assert (found.renewed, found.silent_since, found.token) == (SOON, None, None)
        assert await nodes.renewals(reader) == {"alpha": SOON}
        assert await nodes.outdated(reader) == [("alpha", "https://alpha.example", '"2"')]


async def test_every_change_makes_the_version_grow_and_the_watch_stays(database: Database) -> None:
    async with database.transaction() as tx:
        assert await nodes.watch(tx) == Watch()
        await nodes.bump(tx)
        await nodes.note_watch(tx, began=NOW, seen=SOON)
        await nodes.bump(tx)
        assert await nodes.watch(tx, keep=True) == Watch(2, NOW, SOON)


async def test_the_record_of_a_node_keeps_the_last_changes(database: Database) -> None:
    made = [
        MemberChange(NOW + timedelta(seconds=number), NodeStanding.DRAINING, MemberCause.DRAINED)
        for number in range(MAX_CHANGES + 5)
    ]
    async with database.transaction() as tx:
        for change in made:
            await nodes.add_change(tx, "alpha", change)
        await nodes.add_change(tx, "beta", made[0])
        found = await nodes.changes(tx)
    assert found["alpha"] == tuple(reversed(made[5:]))
    assert found["beta"] == (made[0],)


async def test_overlays_are_kept_by_node(database: Database) -> None:
    async with database.transaction() as tx:
        assert await nodes.overlay(tx, "alpha") == {}
        await nodes.save_overlay(tx, "alpha", {"weight": 2})
        await nodes.save_overlay(tx, "alpha", {"draining": True})
        assert await nodes.overlays(tx) == {"alpha": {"draining": True}}


async def test_a_node_that_left_is_kept_until_its_sessions_are_over(database: Database) -> None:
    offerset = uuid4()
    session = SessionRow(
        uuid=uuid4(),
        offerset=offerset,
        node="busy",
        owner="ann",
        position=1,
        phase=SessionPhase.RUNNING,
        asked=None,
        expires=None,
        document=b"{}",
        federation=b"{}",
        observed=NOW,
        changed=NOW,
    )
    async with database.transaction() as tx:
        for name in ("busy", "idle"):
            await nodes.add(tx, row(name, left_at=NOW))
            await nodes.save_overlay(tx, name, {"weight": 2})
        await nodes.add(tx, row("there"))
        await OfferSetStore().add(tx, OfferSetRow(offerset, "ann", NOW, b"{}", b"{}", b"{}", b"[]"))
        await SessionStore().add(tx, [session])
    async with database.transaction() as tx:
        assert await nodes.forget_left(tx, NOW, TERMINAL) == []  # it left a moment ago
        assert await nodes.forget_left(tx, SOON, TERMINAL) == ["idle"]
        assert set(await nodes.overlays(tx)) == {"busy"}
        await tx.execute("UPDATE sessions SET phase = 'COMPLETED'")
        assert await nodes.forget_left(tx, SOON, TERMINAL) == ["busy"]


# -- tokens and credentials ---------------------------------------------------------------------


async def test_a_token_is_found_by_its_digest_while_it_may_be_used(database: Database) -> None:
    uuid = uuid4()

    async def find(now: datetime = NOW, most: int = 2) -> TokenRow | None:
        async with database.reading() as reader:
            return await tokens.find(reader, "digest", now=now, max_attempts=most)

    async with database.transaction() as tx:
        await tokens.add(tx, token(uuid), "digest")
    assert await find() == token(uuid)
    assert await find(SOON) is None
    async with database.transaction() as tx:
        assert await tokens.attempt(tx, uuid, now=NOW, max_attempts=2) is not None
        assert await tokens.attempt(tx, uuid, now=NOW, max_attempts=2) is not None
        assert await tokens.attempt(tx, uuid, now=NOW, max_attempts=2) is None
    assert await find() is None


async def test_a_token_is_used_for_one_node_and_one_url(database: Database) -> None:
    uuid = uuid4()

    async def use(name: str, url: str, now: datetime = NOW) -> bool:
        async with database.transaction() as tx:
            return await tokens.use(tx, uuid, name=name, url=url, now=now) is not None

    async with database.transaction() as tx:
        await tokens.add(tx, token(uuid), "digest")
    assert not await use("alpha", "https://a", SOON)
    assert await use("alpha", "https://a")
    assert await use("alpha", "https://a")
    assert not await use("beta", "https://a")
    assert not await use("alpha", "https://b")
    async with database.transaction() as tx:
        (listed,) = await tokens.all(tx, NOW)
        assert (listed.used_name, listed.used_url) == ("alpha", "https://a")
        assert await tokens.all(tx, SOON) == []
        assert await tokens.forget_expired(tx, SOON) == 1
        assert not await tokens.delete(tx, uuid)


async def test_no_number_of_attempts_at_once_is_more_than_may_be(database: Database) -> None:
    uuid = uuid4()
    async with database.transaction() as tx:
        await tokens.add(tx, token(uuid), "digest")

    async def attempt() -> bool:
        async with database.transaction() as tx:
            return await tokens.attempt(tx, uuid, now=NOW, max_attempts=3) is not None

    assert sum(await asyncio.gather(*(attempt() for _ in range(10)))) == 3


async def test_a_new_credential_takes_the_place_of_the_old(database: Database) -> None:
    async with database.transaction() as tx:
        await credentials.save(tx, "alpha", "old", Granted(("ann",), ("ska",)), NOW)
        assert await credentials.node_of(tx, "old") == "alpha"
        await credentials.save(tx, "alpha", "new", Granted(), SOON)
        assert await credentials.node_of(tx, "old") is None
        assert await credentials.node_of(tx, "new") == "alpha"
        assert await credentials.granted_to(tx, "alpha") == Granted()
        await credentials.revoke(tx, "alpha")
        assert await credentials.node_of(tx, "new") is None
        assert await credentials.granted_to(tx, "alpha") is None
