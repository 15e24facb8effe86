"""Webhooks in the database, on every engine: who claims them, and what is kept of the calls."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.stores.database import Database
from gateway.stores.events import Event, EventStore
from gateway.stores.webhooks import KEPT_CALLS, CallRow, WebhookRow, WebhookStore
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
HOOKS = WebhookStore()


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, tmp_path: Path, database: Database) -> AsyncIterator[Database]:
    """The same database as another gateway has it."""
    async with store.opened(tmp_path) as opened:
        yield opened


def hook(owner: str = "ann") -> WebhookRow:
    return WebhookRow(uuid4(), owner, b"sealed", ("session.*",), NOW, cursor=0)


async def add(database: Database, *rows: WebhookRow) -> None:
    """Webhooks, and one event of Ann's that they have not been told of."""
    events = EventStore()
    async with database.transaction() as tx:
        for row in rows:
            await HOOKS.add(tx, row)
        await events.add(tx, Event(NOW, "noted", "gateway", owner="ann"))
    async with database.transaction() as tx:
        await events.place(tx, 10)


async def claim(database: Database, now: datetime = NOW) -> list[WebhookRow]:
    async with database.transaction() as tx:
        return await HOOKS.claim(tx, now=now, lease_until=now + timedelta(seconds=20), limit=10)


async def test_a_webhook_is_found_as_it_was_kept(database: Database) -> None:
    row = hook()
    await add(database, row)
    async with database.reading() as reader:
        found = await HOOKS.find(reader, row.uuid)
        assert found is not None
        assert (found.filters, found.target, found.cursor) == (("session.*",), b"sealed", 0)
        assert await HOOKS.of_owner(reader, "ann") == [found]
        assert await HOOKS.of_owner(reader, "bob") == []


async def test_those_are_claimed_that_have_not_been_told_of_what_concerns_them(
    database: Database,
) -> None:
    hers, his, admins = hook(), hook("bob"), hook("")
    await add(database, hers, his, admins)
    async with database.reading() as reader:
        assert await HOOKS.has_due(reader, NOW)
    assert {row.uuid for row in await claim(database)} == {hers.uuid, admins.uuid}


async def test_a_webhook_is_claimed_by_one_until_its_lease_ends(
    database: Database, other: Database
) -> None:
    await add(database, hook())
    claimed = await asyncio.gather(claim(database), claim(other), claim(database))
    assert sorted(map(len, claimed)) == [0, 0, 1]
    (again,) = await claim(other, LATER)
    (first,) = next(rows for rows in claimed if rows)
    async with database.transaction() as tx:
        # Who has lost it moves nothing any more.
        assert not await HOOKS.advance(tx, first, cursor=9, due=NOW)
        assert await HOOKS.advance(tx, again, cursor=1, due=NOW)
    assert await claim(database, LATER) == []


async def test_one_that_fails_waits_and_one_that_is_disabled_is_left_alone(
    database: Database,
) -> None:
    await add(database, hook())
    (row,) = await claim(database)
    async with database.transaction() as tx:
        await HOOKS.fail(tx, row, due=LATER, since=NOW, attempts=3, error="no answer")
    assert await claim(database) == []
    (row,) = await claim(database, LATER)
    assert (row.attempts, row.failing_since, row.last_error) == (3, NOW, "no answer")
    async with database.transaction() as tx:
        await HOOKS.disable(tx, row, at=LATER, since=NOW, error="gone")
    assert await claim(database, LATER + timedelta(days=1)) == []


async def test_the_last_calls_are_kept_and_go_with_their_webhook(database: Database) -> None:
    row = hook()
    await add(database, row)
    for number in range(KEPT_CALLS + 5):
        async with database.transaction() as tx:
            await HOOKS.add_call(tx, row, CallRow(number, NOW, 1, 204, None, 3))
    async with database.reading() as reader:
        calls = await HOOKS.calls(reader, row.uuid)
    assert [call.position for call in calls] == list(range(KEPT_CALLS + 4, 4, -1))
    async with database.transaction() as tx:
        assert await HOOKS.remove(tx, row.uuid)
        assert not await HOOKS.remove(tx, row.uuid)
    async with database.reading() as reader:
        assert await HOOKS.calls(reader, row.uuid) == []
