"""A database that fails, or that a crash left half-way, breaks no promise."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.clock import SystemClock
from gateway.services.idempotency import IdempotencyService
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.wire.phases import SessionPhase
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import is_request, is_update_of
from tests.support.pair import PATIENT, pair
from tests.support.proxy import Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

# -- a database that fails -------------------------------------------------------------------------


@asynccontextmanager
async def locked(database: Path) -> AsyncIterator[None]:
    """Another process writes for too long."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=0)

    async def is_taken() -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False  # the gateway itself is writing: it is on this loop, and needs its turn
        return True

    try:
        await eventually(is_taken)
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway waits a moment only for a database that is locked."""
    monkeypatch.setattr("gateway.stores.sqlite.BUSY_TIMEOUT_S", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_an_acceptance_that_could_not_be_saved_comes_true_once(tmp_path: Path) -> None:
    async with pair(tmp_path, sessions=PATIENT) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        gate = two.proxy.stop_at(Moment.ANSWERED, is_update_of(uuid))
        async with asyncio.TaskGroup() as group:
            call = group.create_task(two.accept(offers["alpha"]))
            await gate.reached.wait()
            async with locked(two.database):
                gate.open()
                await until(call.done)
        assert call.result().status == 503
        assert call.result().document["type"].endswith("store-unavailable")
        assert (await two.accept(offers["beta"])).status == 409
        await two.becomes(offers["alpha"], "COMPLETED")
        assert two.ran() == {uuid}


@pytest.mark.usefixtures("impatient")
async def test_offers_that_could_not_be_saved_are_the_answer_when_they_are_asked_for_again(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path) as two:
        gate = two.proxy.stop_at(Moment.ANSWERED, is_request)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(
                two.gateway.ask(minimal_request(), "?nodes=alpha", Idempotency_Key="again")
            )
            await gate.reached.wait()
            async with locked(two.database):
                gate.open()
                await until(call.done)
        assert call.result().status == 503, call.result().text
        answer = await two.gateway.ask(minimal_request(), "?nodes=alpha", Idempotency_Key="again")
        assert len(answer.document["offers"]) == await holds_of(two.alpha) == 2


@pytest.mark.usefixtures("impatient")
async def test_offers_that_could_not_be_saved_and_that_nobody_can_ask_for_are_let_go(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path) as two:
        gate = two.proxy.stop_at(Moment.ANSWERED, is_request)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(two.gateway.ask(minimal_request(), "?nodes=alpha"))
            await gate.reached.wait()
            async with locked(two.database):
                gate.open()
                await until(call.done)
        assert call.result().status == 503, call.result().text

        async def is_free() -> bool:
            return await holds_of(two.alpha) == 0

        await eventually(is_free)


# -- what the stores promise -----------------------------------------------------------------------


@asynccontextmanager
async def opened(at: Path) -> AsyncIterator[Database]:
    database = SqliteDatabase(at / "gateway.db")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def offerset_row(uuid: UUID, *, is_open: bool) -> OfferSetRow:
    now = datetime.now(UTC)
    return OfferSetRow(uuid, "", now, b"{}", b"{}", b"{}", b"[]", is_open=is_open)


async def test_a_key_whose_request_came_to_nothing_before_a_crash_asks_anew(
    tmp_path: Path,
) -> None:
    """Between the saved failure and the key given back; a NO in its place would be a lie."""
    async with opened(tmp_path) as database:
        offersets = OfferSetStore()
        service = IdempotencyService(database, IdempotencyStore(), offersets, SystemClock(), uuid4)
        request: Any = {"key": "k", "path": "/requests", "owner": "", "fingerprint": b"f"}
        async with service.reserving(**request) as first, database.transaction() as tx:
            await offersets.add(tx, offerset_row(first.offerset, is_open=False))
        async with service.reserving(**request) as second:
            assert not second.is_answered
            assert second.offerset != first.offerset
            async with database.transaction() as tx:
                await offersets.add(tx, offerset_row(second.offerset, is_open=True))
        async with service.reserving(**request) as third:
            assert third.is_answered
            assert third.offerset == second.offerset


async def test_who_carried_out_a_settled_wish_cannot_report_on_the_next(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    row = SessionRow(
        uuid=uuid4(),
        offerset=uuid4(),
        node="alpha",
        owner="",
        position=1,
        phase=SessionPhase.OFFERED,
        asked=None,
        expires=None,
        document=b"{}",
        federation=None,
        observed=now,
        changed=now,
    )

    def wish(phase: SessionPhase, created: datetime) -> Wish:
        return Wish(
            session=row.uuid, node="alpha", phase=phase, created=created, due=created, give_up=now
        )

    async with opened(tmp_path) as database:
        commands = CommandStore()
        async with database.transaction() as tx:
            await OfferSetStore().add(tx, offerset_row(row.offerset, is_open=True))
            await SessionStore().add(tx, [row])
            await commands.put(tx, [wish(SessionPhase.ACCEPTED, now)])
            (old,) = await commands.claim(
                tx, now=now, lease_until=now, limit=1, per_node=1, running={}
            )
            await commands.drop(tx, row.uuid)
            later = now + timedelta(milliseconds=1)
            await commands.put(tx, [wish(SessionPhase.CANCELLED, later)])
            (new,) = await commands.claim(
                tx, now=later, lease_until=later, limit=1, per_node=1, running={}
            )
            assert not await commands.done(tx, old)
            assert await commands.done(tx, new)
