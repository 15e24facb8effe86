"""Two gateways on one database: whatever one of them does, the other breaks no promise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.clock import SystemClock
from gateway.errors import AnsweredElsewhereError
from gateway.services.idempotency import IdempotencyService, Reservation
from gateway.services.outbox import IDLE_S
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from tests.api.gateway.conftest import holds_of
from tests.faults.test_database_faults import offerset_row
from tests.support.crashing import is_request, ran_at
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.pair import PATIENT, STRICT
from tests.support.proxy import Moment, Proxy, running_proxy
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import eventually

ROUNDS = 5


@dataclass(slots=True)
class Twins:
    """Two gateways that share a database and two nodes; ``proxy`` stands before alpha."""

    here: GatewayUnderTest
    there: GatewayUnderTest
    nodes: dict[str, NodeClient]
    proxy: Proxy
    at: Path

    async def offers(self) -> dict[str, Document]:
        """The best offer of each node, asked for here."""
        answer = await self.here.ask(minimal_request(), "?per_node=1")
        assert answer.status == 303, answer.text
        return {offer["federation"]["node"]: offer for offer in answer.document["offers"]}

    def ran(self) -> set[str]:
        """Every session that any node ever took up."""
        return {uuid for name in self.nodes for uuid in ran_at(self.at / name)}


@pytest.fixture
async def twins(tmp_path: Path) -> AsyncIterator[Twins]:
    async with twin_gateways(tmp_path) as running:
        yield running


@asynccontextmanager
async def twin_gateways(at: Path) -> AsyncIterator[Twins]:
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    async with (
        running_node(at / "alpha", node_settings(name="alpha")) as alpha,
        running_node(at / "beta", node_settings(name="beta")) as beta,
        running_proxy(alpha.url) as proxy,
    ):
        alpha.auth = beta.auth = ADMIN
        urls = {"alpha": proxy.url, "beta": beta.url}
        async with (
            running_gateway(urls, at / "gateway", sessions=PATIENT) as here,
            running_gateway(urls, at / "gateway", sessions=PATIENT) as there,
        ):
            yield Twins(here, there, {"alpha": alpha, "beta": beta}, proxy, at)


async def test_of_two_siblings_accepted_at_once_exactly_one_is(twins: Twins) -> None:
    won = 0
    for _ in range(ROUNDS):
        offers = await twins.offers()
        alpha, beta = (offers[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        answers = await asyncio.gather(
            twins.here.move(alpha, "ACCEPTED", **STRICT),
            twins.there.move(beta, "ACCEPTED", **STRICT),
        )
        assert sorted(answer.status for answer in answers) == [200, 409], [a.text for a in answers]
        won += 1
        assert len(twins.ran() & {alpha, beta}) <= 1

    async def only_what_was_accepted_ran() -> bool:
        return len(twins.ran()) == won

    await eventually(only_what_was_accepted_ran)


async def test_an_offer_accepted_at_both_at_once_is_accepted_once(twins: Twins) -> None:
    for _ in range(ROUNDS):
        uuid = (await twins.offers())["alpha"]["meta"]["uuid"]
        answers = await asyncio.gather(
            *(which.move(uuid, "ACCEPTED", **STRICT) for which in (twins.here, twins.there))
        )
        assert [answer.status for answer in answers] == [200, 200], [a.text for a in answers]

    async def all_ran() -> bool:
        return len(twins.ran()) == ROUNDS

    await eventually(all_ran)


async def test_what_one_did_the_other_knows_at_once(twins: Twins) -> None:
    offers = await twins.offers()
    uuid = offers["alpha"]["meta"]["uuid"]
    assert (await twins.there.read(uuid))["phase"] == "OFFERED"
    assert (await twins.there.move(uuid, "ACCEPTED")).status == 200
    assert (await twins.here.read(uuid))["phase"] != "OFFERED"
    assert (await twins.here.read(offers["beta"]["meta"]["uuid"]))["phase"] == "REJECTED"
    assert (await twins.here.move(uuid, "CANCELLED")).status == 200
    assert (await twins.there.read(uuid))["phase"] == "CANCELLED"


async def test_what_a_gateway_that_is_gone_had_to_tell_another_tells(
    twins: Twins, store: Store
) -> None:
    uuid = UUID((await twins.offers())["beta"]["meta"]["uuid"])
    now = datetime.now(UTC)
    wish = Wish(
        session=uuid,
        node="beta",
        phase=SessionPhase.REJECTED,
        created=now,
        due=now,
        give_up=now + timedelta(minutes=1),
    )
    # Nobody is woken by this: it is found by those who look.
    async with store.opened(twins.at / "gateway") as database, database.transaction() as tx:
        await CommandStore().put(tx, [wish])

    async def is_free() -> bool:
        return await holds_of(twins.nodes["beta"]) == 0

    await eventually(is_free, IDLE_S + 5)


async def test_one_key_sent_to_both_at_once_is_one_request(twins: Twins) -> None:
    gate = twins.proxy.stop_at(Moment.ASKED, is_request)
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(which.ask(minimal_request(), "?nodes=alpha", Idempotency_Key="both"))
            for which in (twins.here, twins.there, twins.here, twins.there)
        ]
        await gate.reached.wait()
        gate.open()
    answers = [call.result() for call in calls]
    assert [answer.status for answer in answers] == [303] * 4, [a.text for a in answers]
    assert len({answer.document["meta"]["uuid"] for answer in answers}) == 1
    assert twins.proxy.seen.count(("POST", "/requests")) == 1


# -- who answers the request of a key --------------------------------------------------------------


REQUEST: Any = {"key": "k", "path": "/requests", "owner": "", "fingerprint": b"f"}


@asynccontextmanager
async def two_services(
    store: Store, at: Path
) -> AsyncIterator[tuple[IdempotencyService, IdempotencyService, Database]]:
    async with store.opened(at) as one, store.opened(at) as other:
        services = [
            IdempotencyService(database, IdempotencyStore(), OfferSetStore(), SystemClock(), uuid4)
            for database in (one, other)
        ]
        yield services[0], services[1], one


async def save(database: Database, reservation: Reservation) -> None:
    async with database.transaction() as tx:
        await OfferSetStore().add(tx, offerset_row(reservation.offerset, is_open=True))


async def test_who_lives_is_waited_for_and_who_is_gone_is_taken_over_from(
    store: Store, tmp_path: Path
) -> None:
    async with two_services(store, tmp_path) as (first, second, database):
        has_begun, stop = asyncio.Event(), asyncio.Event()
        held: list[Reservation] = []

        async def answer_slowly() -> None:
            async with first.reserving(**REQUEST) as reservation:
                held.append(reservation)
                has_begun.set()
                await stop.wait()

        async def answer() -> Reservation:
            async with second.reserving(**REQUEST) as reservation:
                return reservation

        answering = asyncio.create_task(answer_slowly())
        await has_begun.wait()
        waiting = asyncio.create_task(answer())
        await asyncio.wait([waiting], timeout=1.5)  # longer than it takes to be thought gone
        assert not waiting.done()
        answering.cancel()  # as a crash does it: nothing is given back
        await asyncio.wait([answering])
        async with asyncio.timeout(10):
            taken = await waiting
        assert taken == held[0]
        await save(database, taken)
        async with first.reserving(**REQUEST) as again:
            assert again.is_answered


async def test_who_was_taken_over_from_is_not_the_one_who_answers(
    store: Store, tmp_path: Path
) -> None:
    async with two_services(store, tmp_path) as (first, second, database):

        async def answer_too_late() -> None:
            async with first.reserving(**REQUEST) as reservation:
                # Neither of them notices that it is taken for gone.
                async with database.transaction() as tx:
                    await tx.execute("UPDATE idempotency SET holder = ?", (str(second._self),))
                async with second.reserving(**REQUEST) as taken:
                    assert taken == reservation
                    await save(database, taken)
                await save(database, reservation)

        with pytest.raises(AnsweredElsewhereError):
            await answer_too_late()
        async with first.reserving(**REQUEST) as again:
            assert again.is_answered
