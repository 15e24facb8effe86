"""What could break the promise of one accept and at most one running session, and must not."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from gateway.clock import SystemClock
from gateway.config import PassThroughSettings
from gateway.services.idempotency import IdempotencyService
from gateway.settings import CommandSettings, FederationSettings, SessionSettings
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from node_stub.config import FigureSettings, OfferSettings
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from node_stub.rules import Figure
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import is_request, is_update, is_update_of, ran_at
from tests.support.faulty_nodes import (
    Asked,
    answers_late,
    answers_unchanged_to_accept,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import (
    Answer,
    GatewayUnderTest,
    running_gateway,
)
from tests.support.node import ADMIN, ALICE, NodeClient, node_settings, running_node
from tests.support.proxy import Moment, Proxy, Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

UNDERWAY: Final = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING"}
TAKEN: Final = UNDERWAY | {"COMPLETED"}
STRICT: Final = {"Prefer": "handling=strict"}
PATIENT: Final = SessionSettings(
    fresh_s=0.0, read_deadline_s=1.0, update_deadline_s=3.0, follow_s=60.0
)
LASTING: Final = CommandSettings(
    first_s=0.05, longest_s=0.2, deadline_s=0.5, lease_s=1.5, give_up_s=86_400.0
)
SAYS_ITS_COST: Final = FigureSettings(session=(Figure(kinds.MONETARY_COST, 0.1, 0.2),))
"""What is known ranks above what is not."""

RUNS_ON: Final = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))


class TurnedClock(SystemClock):
    """The machine's clock, put forward or back as a test likes."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


class Pair:
    """A gateway over two nodes, alpha behind a breakable network."""

    def __init__(
        self, gateway: GatewayUnderTest, alpha: NodeClient, proxy: Proxy, beta: NodeClient, at: Path
    ) -> None:
        self.gateway = gateway
        self.alpha = alpha
        self.proxy = proxy
        self.beta = beta
        self.database = at / "gateway" / "gateway.db"
        self._at = at

    async def offers(self, query: str = "?per_node=1", **headers: str) -> dict[str, Document]:
        """The best offer of each node."""
        answer = await self.gateway.ask(minimal_request(), query, **headers)
        assert answer.status == 303, answer.text
        best: dict[str, Document] = {}
        for offer in answer.document["offers"]:
            best.setdefault(offer["federation"]["node"], offer)
        return best

    async def accept(self, offer: Document) -> Answer:
        return await self.gateway.move(offer["meta"]["uuid"], "ACCEPTED", **STRICT)

    async def becomes(self, offer: Document, *phases: str) -> None:
        async def look() -> bool:
            return (await self.gateway.read(offer["meta"]["uuid"]))["phase"] in phases

        await eventually(look, 8)

    async def becomes_at_alpha(self, offer: Document, *phases: str) -> None:
        async def look() -> bool:
            return (await self.alpha.session(offer["meta"]["uuid"]))["phase"] in phases

        await eventually(look, 8)

    def ran(self) -> set[str]:
        return ran_at(self._at / "alpha") | ran_at(self._at / "beta")


@asynccontextmanager
async def pair(
    at: Path, *, alpha_changes: Document | None = None, **settings: Any
) -> AsyncIterator[Pair]:
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    async with (
        running_node(at / "alpha", node_settings(name="alpha", **alpha_changes or {})) as alpha,
        running_node(at / "beta", node_settings(name="beta")) as beta,
        running_proxy(alpha.url) as proxy,
        running_gateway({"alpha": proxy.url, "beta": beta.url}, at / "gateway", **settings) as it,
    ):
        alpha.auth = beta.auth = ADMIN
        yield Pair(it, alpha, proxy, beta, at)


def kinds_of(document: Document) -> set[str]:
    return {message["kind"] for message in document["meta"].get("messages", [])}


# -- what overtakes what ---------------------------------------------------------------------------


async def test_a_read_that_overtakes_an_acceptance_does_not_undo_it(tmp_path: Path) -> None:
    async with pair(tmp_path, sessions=PATIENT) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        gate = two.proxy.stop_at(Moment.ASKED, is_update_of(uuid))
        async with asyncio.TaskGroup() as group:
            call = group.create_task(two.accept(offers["alpha"]))
            await gate.reached.wait()
            assert (await two.gateway.read(uuid))["phase"] == "OFFERED"
            gate.open()
        assert call.result().status == 200, call.result().text
        assert call.result().document["phase"] in TAKEN
        assert (await two.accept(offers["beta"])).status == 409
        await two.becomes(offers["alpha"], "COMPLETED")
        assert two.ran() == {uuid}


async def test_an_acceptance_counts_although_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = TurnedClock()
    async with pair(tmp_path, clock=clock) as two:
        offers = await two.offers()
        clock.shift = timedelta(seconds=-20)
        answer = await two.accept(offers["alpha"])
        assert answer.status == 200, answer.text
        assert answer.document["phase"] in TAKEN
        await two.becomes(offers["alpha"], "COMPLETED")


async def test_a_rejection_that_overtakes_an_acceptance_ends_what_runs(tmp_path: Path) -> None:
    async with pair(
        tmp_path, alpha_changes={"platform": RUNS_ON}, sessions=PATIENT, commands=LASTING
    ) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        gate = two.proxy.stop_at(Moment.ANSWERED, is_update_of(uuid))
        async with asyncio.TaskGroup() as group:
            call = group.create_task(two.accept(offers["alpha"]))
            await gate.reached.wait()
            rejecting = group.create_task(two.gateway.move(uuid, "REJECTED"))
            await two.becomes(offers["alpha"], "REJECTED")
            gate.open()
        assert call.result().status == 409
        assert rejecting.result().document["phase"] == "REJECTED"
        await two.becomes_at_alpha(offers["alpha"], "CANCELLED")
        assert (await two.gateway.read(uuid))["phase"] == "REJECTED"
        assert (await two.accept(offers["beta"])).status == 200


async def test_two_acceptances_of_one_offer_at_once_are_one(tmp_path: Path) -> None:
    async with pair(tmp_path, sessions=PATIENT) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        gate = two.proxy.stop_at(Moment.ANSWERED, is_update_of(uuid))
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(two.accept(offers["alpha"])) for _ in range(3)]
            await gate.reached.wait()
            gate.open()
        assert {call.result().status for call in calls} == {200}
        assert two.proxy.seen.count(("POST", f"/sessions/{uuid}")) == 1
        await two.becomes(offers["alpha"], "COMPLETED")


# -- no answer is not a no -------------------------------------------------------------------------


async def test_a_node_that_dies_over_an_acceptance_may_have_accepted(tmp_path: Path) -> None:
    async with pair(tmp_path, alpha_changes={"costs": SAYS_ITS_COST}) as two:
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.DIES
        answer = await two.gateway.call("POST", "/direct?policy=cheapest", minimal_request())
        assert answer.status == 303, answer.text
        assert "urn:command-pending" in kinds_of(answer.document)
        uuid = answer.document["meta"]["uuid"]
        two.proxy.weather = Weather.FINE
        await two.proxy.close()
        await two.proxy.open()
        await two.becomes(answer.document, "COMPLETED")
        assert two.ran() == {uuid}


async def test_an_acceptance_whose_node_stays_away_past_expiry_is_what_the_node_says_it_is(
    tmp_path: Path,
) -> None:
    clock = TurnedClock()
    async with pair(tmp_path, clock=clock, commands=LASTING) as two:
        offers = await two.offers()
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.REPLY_LOST
        gate = two.proxy.stop_at(Moment.ASKED, lambda request: request.method == "GET")
        gate.lose()
        assert (await two.accept(offers["alpha"])).status == 503
        two.proxy.applies_to = lambda _request: True
        two.proxy.weather = Weather.FAILS
        clock.shift = timedelta(minutes=30)
        tried = len(two.proxy.seen)

        async def was_tried_again() -> bool:
            return len(two.proxy.seen) > tried + 4

        await eventually(was_tried_again)
        shown = await two.gateway.read(offers["alpha"]["meta"]["uuid"])
        assert shown["phase"] == "OFFERED"
        assert "urn:command-pending" in kinds_of(shown)
        two.proxy.remove_gates()
        two.proxy.weather = Weather.FINE
        await two.becomes(offers["alpha"], "COMPLETED")


async def test_what_was_rejected_while_its_acceptance_was_unsure_is_ended_however_late(
    tmp_path: Path,
) -> None:
    clock = TurnedClock()
    async with pair(
        tmp_path, alpha_changes={"platform": RUNS_ON}, clock=clock, commands=LASTING
    ) as two:
        offers = await two.offers()
        uuid = offers["alpha"]["meta"]["uuid"]
        two.proxy.weather = Weather.HANGS
        assert (await two.accept(offers["alpha"])).status == 503
        two.proxy.weather = Weather.FAILS
        assert (await two.gateway.move(uuid, "REJECTED")).document["phase"] == "REJECTED"
        clock.shift = timedelta(minutes=30)
        tried = len(two.proxy.seen)

        async def was_tried_again() -> bool:
            return len(two.proxy.seen) > tried + 2

        await eventually(was_tried_again)
        await two.becomes_at_alpha(offers["alpha"], "RUNNING")
        two.proxy.weather = Weather.FINE
        await two.becomes_at_alpha(offers["alpha"], "CANCELLED")


async def test_a_refusal_in_so_many_words_is_checked_against_the_session(tmp_path: Path) -> None:
    """Some broker may answer 409 to a second ACCEPTED whose first it carried out."""
    offer = offer_document()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/requests"):
            body, status = offerset_document([offer]), "303 See Other"
        elif asked.method == "GET":
            body, status = offer, "200 OK"
        else:
            offer["phase"] = "RUNNING"
            body, status = {"title": "already accepted", "status": 409}, "409 Conflict"
        writer.write(http_reply(json.dumps(body).encode(), status=status))

    async with (
        running(behave) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        offers = (await gateway.ask(minimal_request())).document["offers"]
        answer = await gateway.move(offers[0]["meta"]["uuid"], "ACCEPTED", **STRICT)
        assert answer.status == 200, answer.text
        assert answer.document["phase"] == "RUNNING"


async def test_a_rejection_that_a_strict_node_refuses_ends_what_runs_there(tmp_path: Path) -> None:
    """Such a broker answers 409 to REJECTED once the session was accepted."""
    offer = offer_document()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body, status = offer, "200 OK"
        if asked.path.startswith("/requests"):
            body, status = offerset_document([offer]), "303 See Other"
        elif b"ACCEPTED" in asked.body:
            offer["phase"] = "RUNNING"
            writer.close()
            return
        elif b"CANCELLED" in asked.body:
            offer["phase"] = "CANCELLED"
        elif b"REJECTED" in asked.body:
            body, status = {"title": "it runs", "status": 409}, "409 Conflict"
        elif offer["phase"] == "RUNNING" and not is_heard:
            writer.close()
            return
        writer.write(http_reply(json.dumps(body).encode(), status=status))

    is_heard = False
    async with (
        running(behave) as node,
        running_gateway({"node": node.url}, tmp_path, commands=LASTING) as gateway,
    ):
        offers = (await gateway.ask(minimal_request())).document["offers"]
        uuid = offers[0]["meta"]["uuid"]
        assert (await gateway.move(uuid, "ACCEPTED", **STRICT)).status == 503
        assert (await gateway.move(uuid, "REJECTED")).document["phase"] == "REJECTED"
        is_heard = True
        await until(lambda: offer["phase"] == "CANCELLED")


async def test_a_gateway_below_that_is_not_sure_has_not_refused(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    async with (
        running_node(tmp_path / "node", node_settings()) as node,
        running_proxy(node.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "below") as below,
        running_gateway(
            {"below": below.url},
            tmp_path / "above",
            federation=FederationSettings(name="above", deadline_s=2.0),
            sessions=PATIENT,
        ) as above,
    ):
        offers = (await above.ask(minimal_request())).document["offers"]
        first, second = (offer["meta"]["uuid"] for offer in offers)
        proxy.applies_to = is_update
        proxy.weather = Weather.FAILS
        answer = await above.move(first, "ACCEPTED", **STRICT)
        assert answer.status == 503, answer.text
        assert answer.document["type"].endswith("accept-pending")
        assert (await above.move(second, "ACCEPTED", **STRICT)).status == 409
        proxy.weather = Weather.FINE

        async def is_completed() -> bool:
            return bool((await above.read(first))["phase"] == "COMPLETED")

        await eventually(is_completed, 8)
        assert ran_at(tmp_path / "node") == {first}


# -- what is over frees the rest ------------------------------------------------------------------


async def test_a_pending_acceptance_that_is_seen_to_be_over_frees_the_other_offers(
    tmp_path: Path,
) -> None:
    short = OfferSettings(count=1, expires_s=1, min_expires_s=1)
    async with pair(tmp_path, alpha_changes={"offers": short}, commands=LASTING) as two:
        offers = await two.offers()
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.FAILS
        assert (await two.accept(offers["alpha"])).status in {409, 503}
        await two.becomes_at_alpha(offers["alpha"], "EXPIRED")
        await two.becomes(offers["alpha"], "EXPIRED")
        answer = await two.accept(offers["beta"])
        assert answer.status == 200, answer.text


async def test_a_late_answer_after_the_accepted_session_was_cancelled_is_let_go(
    tmp_path: Path,
) -> None:
    async with (
        running(answers_late(0.8, offers=1)) as late,
        running_node(tmp_path, node_settings(platform=RUNS_ON)) as node,
        running_gateway({"alpha": node.url, "late": late.url}, tmp_path / "gateway") as gateway,
    ):
        answer = await gateway.ask(minimal_request(), Prefer="wait=0.3")
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED")
        await gateway.move(uuid, "CANCELLED")
        path = f"/offersets/{answer.document['meta']['uuid']}"

        async def has_come() -> Document | None:
            document: Document = (await gateway.call("GET", path)).document
            return (
                document
                if "late" in [entry["outcome"] for entry in document["federation"]["coverage"]]
                else None
            )

        document = await eventually(has_come)
        assert document is not None
        assert {offer["federation"]["node"] for offer in document["offers"]} == {"alpha"}


async def test_holds_at_a_node_with_the_owners_own_account_are_let_go_in_the_owners_name(
    tmp_path: Path,
) -> None:
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"alpha": node.url},
            tmp_path / "gateway",
            node_options={"alpha": {"credentials": PassThroughSettings()}},
        ) as gateway,
    ):
        answer = await gateway.call("POST", "/requests?limit=1", minimal_request(), account=ALICE)
        assert len(answer.document["offers"]) == 1

        async def one_is_held() -> bool:
            return await holds_of(node) == 1

        await eventually(one_is_held)


# -- directly --------------------------------------------------------------------------------------


async def test_a_direct_request_that_comes_to_nothing_lets_every_offer_go(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        running_gateway({"stubborn": stubborn.url}, tmp_path / "gateway") as gateway,
    ):
        answer = await gateway.call("POST", "/direct", minimal_request())
        assert answer.status == 400

        async def was_rejected() -> bool:
            return any(b"REJECTED" in asked.body for asked in stubborn.asked)

        await eventually(was_rejected)


async def test_a_direct_request_cut_short_before_its_acceptance_is_carried_on(
    tmp_path: Path,
) -> None:
    """As a crash leaves it between the choice and the intent, which are two transactions."""
    async with pair(tmp_path) as two:
        offers = await two.offers("", Idempotency_Key="cut")
        uuid = offers["alpha"]["meta"]["uuid"]
        with sqlite3.connect(two.database) as connection:
            connection.execute("UPDATE idempotency SET path = '/direct', session = ?", (uuid,))
        connection.close()
        answer = await two.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key="cut")
        assert answer.status == 303, answer.text
        assert answer.document["phase"] in TAKEN
        await two.becomes(answer.document, "COMPLETED")
        assert two.ran() == {answer.document["meta"]["uuid"]}


async def test_one_direct_request_sent_twice_at_once_executes_once(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        pair(tmp_path) as two,
        running_gateway(
            {"stubborn": stubborn.url, "alpha": two.proxy.url, "beta": two.beta.url},
            tmp_path / "third",
        ) as gateway,
    ):
        # Only the canned offer says what it costs, so it is tried first, in vain.
        answers = await asyncio.gather(
            *(
                gateway.call(
                    "POST", "/direct?policy=cheapest", minimal_request(), Idempotency_Key="twice"
                )
                for _ in range(3)
            )
        )
        assert {answer.status for answer in answers} == {303}, [a.text for a in answers]
        assert len({answer.document["meta"]["uuid"] for answer in answers}) == 1
        assert len(two.ran()) == 1


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
    monkeypatch.setattr("gateway.stores.database.BUSY_TIMEOUT_S", 0.05)


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
    database = Database(at / "gateway.db")
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
            (old,) = await commands.claim(tx, now=now, lease_until=now, limit=1)
            await commands.drop(tx, row.uuid)
            later = now + timedelta(milliseconds=1)
            await commands.put(tx, [wish(SessionPhase.CANCELLED, later)])
            (new,) = await commands.claim(tx, now=later, lease_until=later, limit=1)
            assert not await commands.done(tx, old)
            assert await commands.done(tx, new)
