"""The stores, on every database: who keeps what from whom, and what is found again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Database, Transaction
from gateway.stores.events import Event, EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=90)
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, tmp_path: Path, database: Database) -> AsyncIterator[Database]:
    """The same database as another gateway has it."""
    async with store.opened(tmp_path) as opened:
        yield opened


def offerset(uuid: UUID, created: datetime = NOW) -> OfferSetRow:
    return OfferSetRow(uuid, "ann", created, b"{}", b"{}", b"{}", b"[]")


def session(of: UUID, position: int | None = 1, **changes: Any) -> SessionRow:
    values: dict[str, Any] = {
        "uuid": uuid4(),
        "offerset": of,
        "node": "alpha",
        "owner": "ann",
        "position": position,
        "phase": SessionPhase.OFFERED,
        "asked": None,
        "expires": SOON,
        "document": b"{}",
        "federation": b"{}",
        "observed": NOW,
        "changed": NOW,
    }
    return SessionRow(**values | changes)


async def two_offers(database: Database, **changes: Any) -> tuple[SessionRow, SessionRow]:
    """The offers of one new set."""
    uuid = uuid4()
    rows = session(uuid, 1, **changes), session(uuid, 2, **changes)
    async with database.transaction() as tx:
        await OfferSetStore().add(tx, offerset(uuid))
        await SessionStore().add(tx, rows)
    return rows


def wish(row: SessionRow, due: datetime = NOW, node: str = "alpha") -> Wish:
    return Wish(
        session=row.uuid,
        node=node,
        phase=SessionPhase.REJECTED,
        created=NOW,
        due=due,
        give_up=SOON,
    )


# -- who keeps what from whom ----------------------------------------------------------------------

Look = Callable[[Transaction, SessionRow], Awaitable[Any]]

LOOKS: dict[str, Look] = {
    "the session": lambda tx, row: SessionStore().find(tx, row.uuid),
    "its set's offers": lambda tx, row: SessionStore().of_offerset(tx, row.offerset),
    "its set": lambda tx, row: OfferSetStore().find(tx, row.offerset),
}


@pytest.mark.parametrize("first", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize("second", LOOKS.values(), ids=LOOKS.keys())
async def test_two_that_decide_on_one_offer_set_do_so_one_after_the_other(
    database: Database, other: Database, first: Look, second: Look
) -> None:
    one, sibling = await two_offers(database)
    sessions = SessionStore()

    async def decide() -> UUID | None:
        async with other.transaction() as tx:
            await second(tx, sibling)
            return await sessions.accepted_sibling(tx, sibling)

    async with database.transaction() as tx:
        await first(tx, one)
        deciding = asyncio.create_task(decide())
        await asyncio.wait([deciding], timeout=0.05)
        assert not deciding.done()
        await sessions.ask(tx, one.uuid, SessionPhase.ACCEPTED)
    assert await deciding == one.uuid


async def test_an_offer_that_is_being_accepted_elsewhere_does_not_expire(
    database: Database, other: Database, store: Store
) -> None:
    one, _ = await two_offers(database, expires=NOW)
    sessions = SessionStore()

    async def expired() -> list[SessionRow]:
        async with other.transaction() as tx:
            return await sessions.expired(tx, NOW, 10)

    assert len(await expired()) == 2
    async with database.transaction() as tx:
        await sessions.find(tx, one.uuid)
        await sessions.ask(tx, one.uuid, SessionPhase.ACCEPTED)
        looking = asyncio.create_task(expired())
        await asyncio.wait([looking], timeout=0.05)
    # Passed by on PostgreSQL, waited for on SQLite.
    assert one.uuid not in {row.uuid for row in await looking}
    assert len(await expired()) == 1


async def test_no_command_is_claimed_by_two(database: Database, other: Database) -> None:
    rows = [row for _ in range(10) for row in await two_offers(database)]
    commands = CommandStore()
    async with database.transaction() as tx:
        await commands.put(tx, [wish(row) for row in rows])

    async def claim(where: Database) -> list[UUID]:
        async with where.transaction() as tx:
            claimed = await commands.claim(
                tx, now=NOW, lease_until=SOON, limit=3, per_node=20, running={}
            )
        return [command.session for command in claimed]

    claimed = [
        uuid
        for _ in range(6)
        for batch in await asyncio.gather(*(claim(where) for where in (database, other) * 3))
        for uuid in batch
    ]
    assert len(claimed) == len(set(claimed)) == len(rows)


async def test_reports_on_several_commands_and_moves_of_their_sessions_never_lock_up(
    database: Database, other: Database
) -> None:
    """Each holds what the other wants next, where rows were simply waited for."""
    one, sibling = await two_offers(database)
    commands, sessions = CommandStore(), SessionStore()
    async with database.transaction() as tx:
        await commands.put(tx, [wish(one), wish(sibling)])
        claimed = await commands.claim(
            tx, now=NOW, lease_until=SOON, limit=2, per_node=2, running={}
        )
    by_session = {command.session: command for command in claimed}

    async def report() -> None:
        async with other.transaction() as tx:
            await commands.done(tx, by_session[sibling.uuid])
            await asyncio.sleep(0.02)
            await commands.done(tx, by_session[one.uuid])

    async def move() -> None:
        async with database.transaction() as tx:
            await sessions.find(tx, one.uuid)
            await commands.drop(tx, one.uuid)
            await asyncio.sleep(0.02)
            await commands.drop(tx, sibling.uuid)

    for _ in range(5):
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(report())
            group.create_task(move())
        async with database.transaction() as tx:
            assert await commands.find(tx, one.uuid) is None
            assert await commands.find(tx, sibling.uuid) is None
            await commands.put(tx, [wish(one), wish(sibling)])
            claimed = await commands.claim(
                tx, now=NOW, lease_until=SOON, limit=2, per_node=2, running={}
            )
        by_session = {command.session: command for command in claimed}


async def test_sessions_that_two_save_at_once_in_another_order_never_lock_up(
    database: Database, other: Database
) -> None:
    """As when a node gives two gateways the same holds."""
    here, there = uuid4(), uuid4()
    async with database.transaction() as tx:
        for uuid in (here, there):
            await OfferSetStore().add(tx, offerset(uuid))
    uuids = sorted(uuid4() for _ in range(2000))  # it takes a while, so that they meet
    components = [(uuid4(), uuid) for uuid in uuids]

    async def save(where: Database, of: UUID, step: int) -> None:
        async with where.transaction() as tx:
            await SessionStore().add(tx, [session(of, uuid=uuid) for uuid in uuids[::step]])
            await SessionStore().add_components(tx, components[::step])

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(save(database, here, 1))
        group.create_task(save(other, there, -1))
    async with database.reading() as reader:
        shown = [len(await SessionStore().of_offerset(reader, uuid)) for uuid in (here, there)]
    assert sorted(shown) == [0, len(uuids)]


# -- what is found again ---------------------------------------------------------------------------


async def test_more_uuids_than_one_question_may_name_are_all_looked_up(database: Database) -> None:
    one, sibling = await two_offers(database)
    component = uuid4()
    async with database.transaction() as tx:
        await SessionStore().add_components(tx, [(component, one.uuid)])
    asked = [uuid4() for _ in range(1000)] + [sibling.uuid, component]
    async with database.reading() as reader:
        assert await SessionStore().known(reader, asked) == {sibling.uuid, component}
        found = await SessionStore().find_by_component(reader, component)
    assert found == one


async def test_what_nobody_needs_any_more_is_forgotten_and_nothing_else(
    database: Database,
) -> None:
    offersets, sessions, keys, events = (
        OfferSetStore(),
        SessionStore(),
        IdempotencyStore(),
        EventStore(),
    )
    ended: dict[str, Any] = {"changed": LONG_AGO, "phase": SessionPhase.COMPLETED}
    sets: dict[str, dict[str, Any]] = {
        "ended": ended,
        "running": {"changed": LONG_AGO, "phase": SessionPhase.RUNNING},
        "just ended": {"phase": SessionPhase.COMPLETED},
        "to be told": ended,
    }
    uuids = {name: uuid4() for name in sets}
    async with database.transaction() as tx:
        for name, changes in sets.items():
            await offersets.add(tx, offerset(uuids[name], LONG_AGO))
            row = session(uuids[name], **changes)
            await sessions.add(tx, [row])
            if name == "to be told":
                await CommandStore().put(tx, [wish(row)])
            await events.add(tx, Event(LONG_AGO, name, "gateway", session=row.uuid))
            await keys.reserve(
                tx,
                owner="",
                path="/requests",
                key=name,
                digest="d",
                offerset=uuids[name],
                holder=uuid4(),
                now=LONG_AGO,
            )
    before = NOW - timedelta(days=30)
    async with database.transaction() as tx:
        assert await offersets.forget(tx, ended_before=before, expired_before=before) == 1
        assert await keys.forget(tx, before) == 1
        assert await events.forget(tx, before) == 4
    async with database.reading() as reader:
        left = [name for name in sets if await offersets.find(reader, uuids[name]) is not None]
    assert left == ["running", "just ended", "to be told"]


async def test_a_key_is_given_back_only_by_who_holds_it(database: Database) -> None:
    keys, offer, mine, other = IdempotencyStore(), uuid4(), uuid4(), uuid4()

    async def reserve(holder: UUID) -> tuple[UUID | None, int]:
        async with database.transaction() as tx:
            row = await keys.reserve(
                tx,
                owner="ann",
                path="/requests",
                key="k",
                digest="d",
                offerset=offer,
                holder=holder,
                now=NOW,
            )
        return row.holder, row.beats

    assert await reserve(mine) == (mine, 0)
    assert await reserve(other) == (mine, 0)
    async with database.transaction() as tx:
        await keys.beat(tx, offer, mine)
        await keys.beat(tx, offer, other)
    assert await reserve(other) == (mine, 1)
    async with database.transaction() as tx:
        await keys.hold(tx, offer, other)
        await keys.release(tx, offer, mine)
        await keys.beat(tx, offer, mine)
    assert await reserve(mine) == (other, 2)
    async with database.transaction() as tx:
        await keys.release(tx, offer, other)
    assert await reserve(mine) == (mine, 0)
