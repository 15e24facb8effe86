"""What could break the promise of one accept and at most one running session, and must not."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Final

from gateway.settings import FederationSettings
from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.config import FigureSettings
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from node_stub.rules import Figure
from tests.support.crashing import is_update, is_update_of, ran_at
from tests.support.faulty_nodes import (
    Asked,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import (
    running_gateway,
)
from tests.support.node import node_settings, running_node
from tests.support.pair import LASTING, PATIENT, STRICT, TurnedClock, pair
from tests.support.proxy import Moment, Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

UNDERWAY: Final = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING"}
TAKEN: Final = UNDERWAY | {"COMPLETED"}
SAYS_ITS_COST: Final = FigureSettings(session=(Figure(kinds.MONETARY_COST, 0.1, 0.2),))
"""What is known ranks above what is not."""

RUNS_ON: Final = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))


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
            # Who looks before the rejection is there must not hear of the acceptance.
            reads = two.proxy.stop_at(Moment.ASKED, lambda request: request.method == "GET")
            rejecting = group.create_task(two.gateway.move(uuid, "REJECTED"))
            await two.becomes(offers["alpha"], "REJECTED")
            reads.open()
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
