"""Commands that overtake each other, come too late, or find a node in another mind."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from gateway.wire.documents import Document
from tests.support.crashing import is_update, is_update_of
from tests.support.faulty_nodes import (
    Asked,
    Behaviour,
    FaultyNode,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lost_node import RUNS_ON, kinds_of, message_of, metric_of
from tests.support.pair import LASTING, PATIENT, STRICT, TurnedClock, pair
from tests.support.proxy import Moment, Weather
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

TAKEN: Final = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "COMPLETED"}


class OneOffer:
    """A node with one offer, which does with updates as the test says."""

    def __init__(self, update: Callable[["OneOffer", str], Awaitable[Document]]) -> None:
        self.offer = offer_document()
        self.told: list[str] = []
        self.is_forgetful = False
        self._update = update

    @property
    def uuid(self) -> str:
        return str(self.offer["meta"]["uuid"])

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        body, status = self.offer, "200 OK"
        if asked.path.startswith("/requests"):
            body, status = offerset_document([self.offer]), "303 See Other"
        elif self.is_forgetful:
            body, status = {"title": "no such session"}, "404 Not Found"
        elif asked.method == "POST":
            wanted = str(json.loads(asked.body)["value"])
            self.told.append(wanted)
            body = await self._update(self, wanted)
        writer.write(http_reply(json.dumps(body).encode(), status=status))


@asynccontextmanager
async def gateways(
    tmp_path: Path, *behaviours: Behaviour, count: int = 1
) -> AsyncIterator[list[GatewayUnderTest]]:
    """So many gateways on one database, over nodes that behave so."""
    async with AsyncExitStack() as stack:
        nodes: list[FaultyNode] = [
            await stack.enter_async_context(running(behave)) for behave in behaviours
        ]
        urls = {f"node-{number}": node.url for number, node in enumerate(nodes)}
        yield [
            await stack.enter_async_context(
                running_gateway(urls, tmp_path, sessions=PATIENT, commands=LASTING)
            )
            for _ in range(count)
        ]


# -- who holds the command -------------------------------------------------------------------------


async def test_a_refusal_counts_only_for_the_newest_that_tells_the_node(tmp_path: Path) -> None:
    """Else a sibling could be accepted while another gateway has this one accepted."""
    may_refuse, may_accept, arrived = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def update(node: OneOffer, wanted: str) -> Document:
        if wanted != "ACCEPTED":
            return node.offer
        if len(node.told) == 1:
            refused = dict(node.offer)
            await may_refuse.wait()
            return refused
        arrived.set()
        await may_accept.wait()
        node.offer["phase"] = "RUNNING"
        return node.offer

    async def other(node: OneOffer, wanted: str) -> Document:
        node.offer["phase"] = "RUNNING" if wanted == "ACCEPTED" else wanted
        return node.offer

    wavering, sibling = OneOffer(update), OneOffer(other)
    async with gateways(tmp_path, wavering, sibling, count=2) as (first, second):
        await first.ask(minimal_request())
        async with asyncio.TaskGroup() as group:
            told_first = group.create_task(first.move(wavering.uuid, "ACCEPTED", **STRICT))
            await until(lambda: wavering.told == ["ACCEPTED"])
            told_then = group.create_task(second.move(wavering.uuid, "ACCEPTED", **STRICT))
            await arrived.wait()
            may_refuse.set()
            refused = await told_first
            assert refused.status == 503, refused.text
            assert (await first.move(sibling.uuid, "ACCEPTED", **STRICT)).status == 409
            may_accept.set()
        assert told_then.result().status == 200, told_then.result().text
        assert sibling.offer["phase"] != "RUNNING"


# -- what the node shows otherwise -----------------------------------------------------------------


async def test_an_offer_accepted_past_the_gateway_is_the_sets_one_accept(tmp_path: Path) -> None:
    async with pair(tmp_path, sessions=PATIENT, commands=LASTING) as two:
        offers = await two.offers()
        await two.beta.update(offers["beta"]["meta"]["uuid"], "ACCEPTED")
        await two.becomes(offers["beta"], *TAKEN)
        assert await disagreements(two.gateway, "accepted_unasked") == 1
        assert (await two.accept(offers["alpha"])).status == 409
        await two.becomes_at_alpha(offers["alpha"], "REJECTED")


async def test_a_second_session_of_one_set_is_ended_where_it_came_from(tmp_path: Path) -> None:
    """Alpha is being accepted here when beta's offer is accepted past the gateway."""
    async with pair(
        tmp_path, alpha_changes={"platform": RUNS_ON}, sessions=PATIENT, commands=LASTING
    ) as two:
        offers = await two.offers()
        first, second = (offers[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        gate = two.proxy.stop_at(Moment.ASKED, is_update_of(first))
        async with asyncio.TaskGroup() as group:
            call = group.create_task(two.accept(offers["alpha"]))
            await gate.reached.wait()
            await two.beta.update(second, "ACCEPTED")
            shown = await two.gateway.read(second)
            gate.open()
        assert call.result().status == 200, call.result().text
        if shown["phase"] != "COMPLETED":  # it may have been over before anybody looked
            assert shown["phase"] == "CANCELLED"
            await two.beta.reaches(second, "CANCELLED", "COMPLETED")
        assert await disagreements(two.gateway, "accepted_twice") == 1
        await two.becomes(offers["alpha"], "RUNNING")


async def test_what_works_at_a_node_for_nobody_is_ended_there(tmp_path: Path) -> None:
    """The node forgets the rejection and shows the acceptance that was on its way."""
    may_answer = asyncio.Event()

    async def update(node: OneOffer, wanted: str) -> Document:
        if wanted == "ACCEPTED":
            await may_answer.wait()
            node.offer["phase"] = "RUNNING"
        else:
            node.offer["phase"] = wanted
        return node.offer

    node = OneOffer(update)
    async with gateways(tmp_path, node) as (gateway,):
        await gateway.ask(minimal_request())
        async with asyncio.TaskGroup() as group:
            call = group.create_task(gateway.move(node.uuid, "ACCEPTED", **STRICT))
            await until(lambda: node.told == ["ACCEPTED"])
            rejected = await gateway.move(node.uuid, "REJECTED", **STRICT)
            assert rejected.document["phase"] == "REJECTED"
            may_answer.set()
        assert call.result().status == 409
        await until(lambda: node.told == ["ACCEPTED", "REJECTED", "CANCELLED"])
        assert (await gateway.read(node.uuid))["phase"] == "REJECTED"
        assert await disagreements(gateway, "still_active") == 1


async def test_a_disagreement_is_counted_once_however_often_it_is_seen(tmp_path: Path) -> None:
    async def update(node: OneOffer, wanted: str) -> Document:
        node.offer["phase"] = "RUNNING" if wanted == "ACCEPTED" else wanted
        return node.offer

    node = OneOffer(update)
    async with gateways(tmp_path, node) as (gateway,):
        await gateway.ask(minimal_request())
        await gateway.move(node.uuid, "ACCEPTED", **STRICT)
        node.offer["phase"] = "PREPARING"
        for _ in range(3):
            shown = await gateway.read(node.uuid)
            assert shown["phase"] == "RUNNING"
            assert "urn:execbroker:reason:node_went_back" in kinds_of(shown)
        assert await disagreements(gateway, "went_back") == 1


async def test_a_session_that_its_node_does_not_know_any_more_is_a_disagreement(
    tmp_path: Path,
) -> None:
    async def update(node: OneOffer, wanted: str) -> Document:
        node.offer["phase"] = "RUNNING" if wanted == "ACCEPTED" else wanted
        return node.offer

    node = OneOffer(update)
    async with gateways(tmp_path, node) as (gateway,):
        await gateway.ask(minimal_request())
        uuid = node.uuid
        await gateway.move(uuid, "ACCEPTED", **STRICT)
        node.is_forgetful = True
        assert (await gateway.read(uuid))["phase"] == "FAILED"
        assert await disagreements(gateway, "session_unknown") == 1


# -- how long it is tried --------------------------------------------------------------------------


async def test_an_acceptance_that_was_given_up_runs_nowhere(tmp_path: Path) -> None:
    """The node took it, and nobody heard; when it is there again, it is told to end it."""
    commands = replace(LASTING, give_up_s=1.0)
    async with pair(
        tmp_path, alpha_changes={"platform": RUNS_ON}, sessions=PATIENT, commands=commands
    ) as two:
        offers = await two.offers()
        two.proxy.weather = Weather.REPLY_LOST
        gate = two.proxy.stop_at(Moment.ASKED, lambda request: request.method == "GET")
        gate.lose()
        assert (await two.accept(offers["alpha"])).status == 503
        two.proxy.weather = Weather.FAILS
        await two.becomes(offers["alpha"], "EXPIRED")
        assert (await two.accept(offers["beta"])).status == 200
        await two.becomes_at_alpha(offers["alpha"], "RUNNING")
        two.proxy.remove_gates()
        two.proxy.weather = Weather.FINE
        await two.becomes_at_alpha(offers["alpha"], "CANCELLED")
        assert await metric_of(two.gateway, "command_deliveries_total", outcome="given_up") == 1
        assert await metric_of(two.gateway, "holds_orphaned_total", node="alpha") == 0


async def test_a_cancel_outlives_the_time_that_other_commands_have(tmp_path: Path) -> None:
    """Reproduces nomad#8198: a stop with one site unreachable says so, and converges."""
    clock = TurnedClock()
    commands = replace(LASTING, give_up_s=60.0)
    async with pair(
        tmp_path,
        alpha_changes={"platform": RUNS_ON},
        sessions=PATIENT,
        commands=commands,
        clock=clock,
    ) as two:
        offers = await two.offers()
        await two.accept(offers["alpha"])
        await two.becomes(offers["alpha"], "RUNNING")
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.FAILS
        uuid = offers["alpha"]["meta"]["uuid"]
        answer = await two.gateway.move(uuid, "CANCELLED")
        assert answer.document["phase"] == "CANCELLED"
        said = message_of(answer.document, "urn:command-pending")
        assert said["message"].startswith("CANCELLED is pending at node alpha")
        clock.shift = timedelta(days=7)
        told = len(two.proxy.seen)
        await until(lambda: len(two.proxy.seen) > told + 3)

        async def says_why() -> bool:
            shown = await two.gateway.read(uuid)
            return "503" in message_of(shown, "urn:command-pending")["message"]

        await eventually(says_why)
        two.proxy.weather = Weather.FINE
        await two.becomes_at_alpha(offers["alpha"], "CANCELLED")

        async def is_told() -> bool:
            return "urn:command-pending" not in kinds_of(await two.gateway.read(uuid))

        await eventually(is_told)


async def test_a_command_that_is_given_up_leaves_an_orphan_that_is_counted(
    tmp_path: Path,
) -> None:
    clock = TurnedClock()
    async with pair(tmp_path, sessions=PATIENT, commands=LASTING, clock=clock) as two:
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.FAILS
        offers = await two.offers()
        await two.gateway.move(offers["alpha"]["meta"]["uuid"], "REJECTED")
        clock.shift = timedelta(days=1)

        async def is_counted() -> bool:
            return await metric_of(two.gateway, "holds_orphaned_total", node="alpha") == 1

        await eventually(is_counted)


async def disagreements(gateway: GatewayUnderTest, kind: str) -> float:
    return await metric_of(gateway, "disagreements_total", kind=kind)
