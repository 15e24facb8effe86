"""Two who want to change a session as both have seen it: the second learns that it has changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from aiohttp import web

from gateway.api.sessions import SESSIONS, UPDATES
from gateway.domain.falling_through import FallThrough
from gateway.errors import PreconditionFailedError
from gateway.services.caller import GATEWAY
from gateway.services.sessions import SessionReading
from gateway.settings import SessionSettings
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire.phases import SessionPhase
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import GatewayUnderTest
from tests.support.node import ADMIN
from tests.support.requests import minimal_request
from tests.support.stores import Store

CALM: Final = SessionSettings(fresh_s=30.0, follow_s=30.0)
"""Sessions are read from the node once, so that nothing changes but by the tests."""

FALL: Final = FallThrough(offers=2, max_cost=None, start_before=None, max_staging_s=None)

Change = Callable[[web.Application, UUID, SessionRow], Awaitable[SessionReading]]


async def accept(app: web.Application, uuid: UUID, seen: SessionRow) -> SessionReading:
    return await app[UPDATES].update(uuid, SessionPhase.ACCEPTED, GATEWAY, seen=seen)


async def accept_or_fall(app: web.Application, uuid: UUID, seen: SessionRow) -> SessionReading:
    return await app[UPDATES].accept_within(uuid, FALL, GATEWAY, seen=seen)


async def reject(app: web.Application, uuid: UUID, seen: SessionRow) -> SessionReading:
    return await app[UPDATES].update(uuid, SessionPhase.REJECTED, GATEWAY, seen=seen)


@asynccontextmanager
async def one_offer(tmp_path: Path) -> AsyncIterator[tuple[GatewayUnderTest, UUID]]:
    async with running_federation(tmp_path, ("alpha",), sessions=CALM) as federation:
        gateway = federation.gateway
        offers = (await gateway.ask(minimal_request())).document["offers"]
        yield gateway, UUID(offers[0]["meta"]["uuid"])


async def as_seen(gateway: GatewayUnderTest, uuid: UUID) -> tuple[web.Application, SessionRow]:
    assert gateway.app is not None
    return gateway.app, (await gateway.app[SESSIONS].read(uuid, GATEWAY)).row


@pytest.mark.parametrize("second", [accept, accept_or_fall, reject])
async def test_of_two_that_have_seen_the_same_one_changes_it(
    tmp_path: Path, second: Change
) -> None:
    async with one_offer(tmp_path) as (gateway, uuid):
        app, seen = await as_seen(gateway, uuid)
        first = await accept(app, uuid, seen)
        assert first.row.phase is not SessionPhase.OFFERED
        with pytest.raises(PreconditionFailedError):
            await second(app, uuid, seen)
        assert (await gateway.read(uuid))["phase"] not in {"REJECTED", "CANCELLED"}


@pytest.mark.parametrize("change", [accept, accept_or_fall])
async def test_an_offer_that_was_rejected_meanwhile_is_not_what_was_seen(
    tmp_path: Path, change: Change
) -> None:
    async with one_offer(tmp_path) as (gateway, uuid):
        app, seen = await as_seen(gateway, uuid)
        await reject(app, uuid, seen)
        with pytest.raises(PreconditionFailedError):
            await change(app, uuid, seen)
        # Neither was another offer of the set accepted in its place.
        async with app[UPDATES]._database.reading() as reader:
            assert await SessionStore().accepted_sibling(reader, seen) is None


async def test_that_the_node_was_looked_at_again_is_no_change(tmp_path: Path, store: Store) -> None:
    async with one_offer(tmp_path) as (gateway, uuid):
        app, seen = await as_seen(gateway, uuid)
        async with (
            store.opened(tmp_path / "gateway") as database,
            database.transaction() as tx,
        ):
            assert seen.document is not None
            await SessionStore().observe(
                tx, uuid, document=seen.document, observed=seen.observed.replace(microsecond=1)
            )
        assert (await accept(app, uuid, seen)).row.phase is not SessionPhase.OFFERED


async def accepted_twice(
    gateway: GatewayUnderTest, uuid: UUID, store: Store, folder: Path, tag: str
) -> set[int]:
    """What two get that accept at once, while neither can write: each has looked at its tag."""
    async with (
        store.opened(folder / "gateway") as database,
        asyncio.TaskGroup() as group,
        database.transaction() as tx,
    ):
        # Who writes waits for this, on both databases; who reads does not.
        row = await SessionStore().find(tx, uuid)
        assert row is not None
        await SessionStore().ask(tx, uuid, row.asked)
        calls = [
            group.create_task(gateway.move(str(uuid), "ACCEPTED", If_Match=tag)) for _ in range(2)
        ]
        await asyncio.sleep(0.05)
    return {call.result().status for call in calls}


async def test_both_have_passed_the_look_at_the_tag_before_either_changes_anything(
    tmp_path: Path, store: Store
) -> None:
    async with one_offer(tmp_path) as (gateway, uuid):
        seen = await gateway.call("GET", f"/sessions/{uuid}", account=ADMIN)
        tag = seen.headers["ETag"]
        assert await accepted_twice(gateway, uuid, store, tmp_path, tag) == {200, 412}


async def test_whatever_there_is_may_change_meanwhile(tmp_path: Path, store: Store) -> None:
    async with one_offer(tmp_path) as (gateway, uuid):
        assert await accepted_twice(gateway, uuid, store, tmp_path, "*") == {200}
