"""The order of events on every database: whoever reads in it misses nothing that comes later."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.stores.database import Database, Transaction
from gateway.stores.events import Event, EventScope, EventStore
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionStore
from gateway.wire.phases import SessionPhase
from tests.support.stores import Store
from tests.unit.stores.test_stores import session

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ALL = EventScope()


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, tmp_path: Path, database: Database) -> AsyncIterator[Database]:
    """The same database as another gateway has it."""
    async with store.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
def events() -> EventStore:
    return EventStore()


def event(what: str, **more: Any) -> Event:
    return Event(NOW, what, "gateway", **more)


async def placed(database: Database, events: EventStore, limit: int = 100) -> int:
    async with database.transaction() as tx:
        return await events.place(tx, limit)


async def read(database: Database, events: EventStore, after: int = 0) -> list[tuple[int, str]]:
    async with database.reading() as reader:
        found = await events.after(reader, ALL, after, 100)
    return [(one.position, one.what) for one in found]


async def add_offerset(tx: Transaction, uuid: UUID, owner: str = "ann") -> None:
    await OfferSetStore().add(tx, OfferSetRow(uuid, owner, NOW, b"{}", b"{}", b"{}", b"[]"))


async def test_an_event_that_is_committed_late_comes_behind_those_that_were_read(
    database: Database, other: Database, events: EventStore
) -> None:
    """The first writer gets the smaller number, and commits last."""
    async with database.transaction() as first:
        await events.add(first, event("first"))
        if not first.for_update:
            # Where one writes at a time, nobody can come between.
            return
        await first.fetch("SELECT 1")  # it is with the server now
        async with other.transaction() as second:
            await events.add(second, event("second"))
        assert await placed(other, events) == 1
        assert await read(other, events) == [(1, "second")]
    assert await placed(database, events) == 1
    assert await read(database, events, after=1) == [(2, "first")]


async def test_two_who_give_positions_at_once_give_none_twice(
    database: Database, other: Database, events: EventStore
) -> None:
    for number in range(10):
        async with database.transaction() as tx:
            for part in range(3):
                await events.add(tx, event(f"{number}.{part}"))
    given = await asyncio.gather(
        *(placed(each, events, limit=7) for each in (database, other) for _ in range(4))
    )
    assert sum(given) == 30
    found = await read(database, events)
    assert [position for position, _ in found] == list(range(1, 31))
    assert [what for _, what in found] == [f"{n}.{p}" for n in range(10) for p in range(3)]


async def test_nothing_is_read_before_it_has_its_position(
    database: Database, events: EventStore
) -> None:
    async with database.transaction() as tx:
        await events.add(tx, event("noted"))
    assert await read(database, events) == []
    async with database.reading() as reader:
        assert await events.has_unplaced(reader)
        assert await events.last(reader) == 0
    await placed(database, events)
    async with database.reading() as reader:
        assert not await events.has_unplaced(reader)
        assert await events.last(reader) == 1
    assert await placed(database, events) == 0


async def test_what_is_undone_leaves_no_gap(database: Database, events: EventStore) -> None:
    async def undo() -> None:
        async with database.transaction() as tx:
            await events.add(tx, event("undone"))
            await tx.fetch("SELECT 1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undo()
    async with database.transaction() as tx:
        await events.add(tx, event("done"))
    await placed(database, events)
    assert await read(database, events) == [(1, "done")]


async def test_positions_go_on_when_old_events_have_been_forgotten(
    database: Database, events: EventStore
) -> None:
    async with database.transaction() as tx:
        await events.add(tx, event("old"))
    await placed(database, events)
    async with database.transaction() as tx:
        assert await events.forget(tx, datetime(2027, 1, 1, tzinfo=UTC)) == 1
        await events.add(tx, event("new"))
    await placed(database, events)
    assert await read(database, events) == [(2, "new")]


async def test_an_event_concerns_the_owner_of_its_offer_set_unless_it_says_otherwise(
    database: Database, events: EventStore
) -> None:
    offerset = uuid4()
    async with database.transaction() as tx:
        await add_offerset(tx, offerset)
        await events.add(tx, event("of_ann", offerset=offerset))
        await events.add(tx, event("of_bob", offerset=offerset, owner="bob"))
        await events.add(tx, event("of_nobody"))
    await placed(database, events)
    async with database.reading() as reader:
        owners = {
            owner: [one.what for one in await events.after(reader, EventScope(owner=owner), 0, 9)]
            for owner in ("ann", "bob", "")
        }
    assert owners == {"ann": ["of_ann"], "bob": ["of_bob"], "": ["of_nobody"]}


async def test_a_session_is_over_once_its_end_has_been_read(
    database: Database, events: EventStore
) -> None:
    offerset = uuid4()
    row = session(offerset, phase=SessionPhase.RUNNING)
    scopes = (EventScope(session=row.uuid), EventScope(offerset=offerset))
    async with database.transaction() as tx:
        await add_offerset(tx, offerset)
        await SessionStore().add(tx, [row])
        await events.add(tx, event("phase_running", session=row.uuid, offerset=offerset))
    await placed(database, events)
    for scope in scopes:
        async with database.reading() as reader:
            assert not await events.is_over(reader, scope, 1)
    async with database.transaction() as tx:
        await SessionStore().move(
            tx, row.uuid, was=SessionPhase.RUNNING, phase=SessionPhase.COMPLETED, at=NOW
        )
        await events.add(tx, event("phase_completed", session=row.uuid, offerset=offerset))
    for scope in scopes:
        async with database.reading() as reader:
            # The last event has no position yet, so nobody can have read it.
            assert not await events.is_over(reader, scope, 1)
    await placed(database, events)
    for scope in scopes:
        async with database.reading() as reader:
            assert not await events.is_over(reader, scope, 1)
            assert await events.is_over(reader, scope, 2)
            assert not await events.is_over(reader, ALL, 2)
