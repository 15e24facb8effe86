"""Accepting, rejecting and cancelling through the gateway, over a network that may fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from gateway.wire.documents import Document
from node_stub.platforms.simulated import SimulatedSettings
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.support.faulty_nodes import answers_unchanged_to_accept, running
from tests.support.gateway import (
    QUICK_COMMANDS,
    QUICK_SESSIONS,
    GatewayUnderTest,
    running_gateway,
)
from tests.support.lateness import measured_lateness
from tests.support.node import ADMIN, ALICE, BOB, NodeClient, node_settings, running_node
from tests.support.proxy import Proxy, Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

PATIENT: Final[dict[str, Any]] = {
    "sessions": replace(QUICK_SESSIONS, read_deadline_s=10.0, update_deadline_s=10.0),
    "commands": replace(QUICK_COMMANDS, deadline_s=10.0, lease_s=30.0),
}
"""Whatever can be done is done while its client waits, also on a machine with other work to do."""

SOON_S: Final = 30.0
"""Nothing here takes as long, unless it never comes."""

UNDERWAY = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING", "COMPLETED"}


def is_update(request: web.Request) -> bool:
    return request.method == "POST" and request.path.startswith("/sessions/")


def message_kinds(document: Document) -> list[str]:
    return [message["kind"] for message in document["meta"].get("messages", [])]


class Line:
    """A gateway, one real node, and the breakable network between them."""

    def __init__(self, gateway: GatewayUnderTest, node: NodeClient, proxy: Proxy) -> None:
        self.gateway = gateway
        self.node = node
        self.proxy = proxy

    async def offers(self, query: str = "") -> list[Document]:
        answer = await self.gateway.ask(minimal_request(), query)
        assert answer.status == 303, answer.text
        offers: list[Document] = answer.document["offers"]
        return offers

    async def node_phase(self, uuid: str) -> str:
        phase: str = (await self.node.session(uuid))["phase"]
        return phase

    async def shows(self, uuid: str, *phases: str) -> Document:
        async def look() -> Document | None:
            document = await self.gateway.read(uuid)
            return document if document["phase"] in phases else None

        document = await eventually(look, SOON_S)
        assert document is not None
        return document

    async def node_shows(self, uuid: str, *phases: str) -> None:
        async def look() -> bool:
            return await self.node_phase(uuid) in phases

        await eventually(look, SOON_S)


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    """Three quick nodes and their gateway, which is patient."""
    async with running_federation(tmp_path, **PATIENT) as running:
        yield running


@asynccontextmanager
async def line(tmp_path: Path, **settings: Any) -> AsyncIterator[Line]:
    """``settings`` are the gateway's, where it is not to be patient."""
    more = PATIENT | settings
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_proxy(node.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "gateway", **more) as gateway,
    ):
        node.auth = ADMIN
        yield Line(gateway, node, proxy)


async def test_accepting_one_offer_lets_all_others_go_at_every_node(
    federation: Federation,
) -> None:
    offers = (await federation.gateway.ask(minimal_request())).document["offers"]
    best, others = offers[0], offers[1:]
    answer = await federation.gateway.move(best["meta"]["uuid"], "ACCEPTED")
    assert answer.status == 200
    assert answer.document["phase"] in UNDERWAY
    for other in others:
        assert (await federation.gateway.read(other["meta"]["uuid"]))["phase"] == "REJECTED"
        await federation.becomes_at_node(other, "REJECTED")
    await federation.becomes(best, "COMPLETED", within_s=SOON_S)
    for node in federation.nodes.values():

        async def is_empty(node: NodeClient = node) -> bool:
            return await holds_of(node) == 0

        await eventually(is_empty, SOON_S)


async def test_accepting_twice_is_the_same_as_once(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        first = await one.gateway.move(uuid, "ACCEPTED")
        second = await one.gateway.move(uuid, "ACCEPTED")
        assert first.status == second.status == 200
        assert {first.document["phase"], second.document["phase"]} <= UNDERWAY
        assert "urn:update-refused" not in message_kinds(second.document)


async def test_of_two_clients_racing_for_two_offers_one_wins(federation: Federation) -> None:
    offers = (await federation.gateway.ask(minimal_request())).document["offers"]
    answers = await asyncio.gather(
        *(
            federation.gateway.move(offer["meta"]["uuid"], "ACCEPTED", Prefer="handling=strict")
            for offer in offers
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * (len(offers) - 1)
    running_at_nodes = 0
    for offer in offers:
        phase = await federation.phase_at_node(offer)
        running_at_nodes += phase in UNDERWAY
    assert running_at_nodes == 1


async def test_a_node_that_answers_unchanged_has_not_accepted(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"stubborn": stubborn.url, "alpha": node.url}, tmp_path / "gateway", **PATIENT
        ) as gateway,
    ):
        offers = (await gateway.ask(minimal_request(), "?per_node=1")).document["offers"]
        of = {offer["federation"]["node"]: offer["meta"]["uuid"] for offer in offers}
        answer = await gateway.move(of["stubborn"], "ACCEPTED")
        assert answer.status == 200
        assert answer.document["phase"] == "OFFERED"
        assert "urn:node-refused" in message_kinds(answer.document)
        strict = await gateway.move(of["stubborn"], "ACCEPTED", Prefer="handling=strict")
        assert strict.status == 409
        assert strict.document["alternatives"] == [of["alpha"]]
        accepted = await gateway.move(of["alpha"], "ACCEPTED")
        assert accepted.document["phase"] in UNDERWAY


async def test_a_lost_reply_is_asked_after_and_the_session_runs_once(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        one.proxy.applies_to = is_update
        one.proxy.weather = Weather.REPLY_LOST
        answer = await one.gateway.move(uuid, "ACCEPTED")
        assert answer.status == 200
        assert answer.document["phase"] in UNDERWAY
        one.proxy.weather = Weather.FINE
        await one.shows(uuid, "COMPLETED")


async def test_a_lost_request_is_sent_again(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        lost = 0

        def first_update(request: web.Request) -> bool:
            nonlocal lost
            if is_update(request) and lost == 0:
                lost += 1
                return True
            return False

        one.proxy.applies_to = first_update
        one.proxy.weather = Weather.REQUEST_LOST
        answer = await one.gateway.move(uuid, "ACCEPTED")
        assert lost == 1
        assert answer.document["phase"] in UNDERWAY


async def test_an_acceptance_that_hangs_is_pending_and_comes_true(tmp_path: Path) -> None:
    async with line(tmp_path, sessions=QUICK_SESSIONS) as one, measured_lateness() as lateness:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        one.proxy.weather = Weather.HANGS
        loop = asyncio.get_running_loop()
        began, late_s = loop.time(), lateness.total_s
        answer = await one.gateway.move(uuid, "ACCEPTED")
        assert loop.time() - began < 2.0 + lateness.total_s - late_s
        assert answer.status == 200
        assert "urn:accept-pending" in message_kinds(answer.document)
        one.proxy.weather = Weather.FINE
        await one.shows(uuid, "COMPLETED")


async def test_an_acceptance_at_a_node_that_is_away_comes_true_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        await one.proxy.close()
        answer = await one.gateway.move(uuid, "ACCEPTED", Prefer="handling=strict")
        assert answer.status == 503
        assert answer.document["type"].endswith("accept-pending")
        assert int(answer.headers["Retry-After"]) > 0
        waiting = await one.gateway.read(uuid)
        assert waiting["phase"] == "OFFERED"
        assert {"urn:last-known", "urn:command-pending"} <= set(message_kinds(waiting))
        await one.proxy.open()
        await one.shows(uuid, "COMPLETED")


async def test_while_one_acceptance_is_pending_no_other_offer_can_be_accepted(
    tmp_path: Path,
) -> None:
    async with line(tmp_path) as one:
        first, second = ((o["meta"]["uuid"]) for o in await one.offers())
        one.proxy.weather = Weather.FAILS
        await one.gateway.move(first, "ACCEPTED")
        one.proxy.weather = Weather.FINE
        one.proxy.applies_to = is_update
        one.proxy.weather = Weather.FAILS
        answer = await one.gateway.move(second, "ACCEPTED", Prefer="handling=strict")
        assert answer.status == 409
        assert first in answer.document["detail"]
        one.proxy.weather = Weather.FINE
        await one.shows(first, "COMPLETED")
        assert (await one.gateway.read(second))["phase"] == "REJECTED"


async def test_a_cancel_at_a_node_that_is_away_reads_pending_and_converges(
    tmp_path: Path,
) -> None:
    slow = node_settings(platform=SimulatedSettings(run_s=60))
    # As long as that its client waits for a node that is away.
    hasty = PATIENT | {"sessions": QUICK_SESSIONS}
    async with (
        running_node(tmp_path, slow) as node,
        running_proxy(node.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "gateway", **hasty) as gateway,
    ):
        node.auth = ADMIN
        one = Line(gateway, node, proxy)
        uuid = (await one.offers())[0]["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED")
        await one.shows(uuid, "RUNNING")
        await proxy.close()
        answer = await gateway.move(uuid, "CANCELLED")
        assert answer.status == 200
        assert answer.document["phase"] == "CANCELLED"
        assert "urn:command-pending" in message_kinds(answer.document)
        assert await one.node_phase(uuid) == "RUNNING"
        await proxy.open()
        await one.node_shows(uuid, "CANCELLED")

        async def is_told() -> bool:
            return "urn:command-pending" not in message_kinds(await gateway.read(uuid))

        await eventually(is_told, SOON_S)
        assert (await gateway.read(uuid))["phase"] == "CANCELLED"


async def test_rejecting_an_offer_frees_it_at_its_node(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers("?limit=1"))[0]["meta"]["uuid"]
        answer = await one.gateway.move(uuid, "REJECTED")
        assert answer.document["phase"] == "REJECTED"
        assert "options" not in answer.document["meta"]
        assert await one.node_phase(uuid) == "REJECTED"
        refused = await one.gateway.move(uuid, "ACCEPTED", Prefer="handling=strict")
        assert refused.status == 409


async def test_an_update_that_nobody_knows_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        for update in (
            {"kind": "uri:string-value-update", "path": "phase", "value": "ACCEPTED"},
            {"kind": "uri:enum-value-update", "path": "name", "value": "ACCEPTED"},
            {"kind": "uri:enum-value-update", "path": "phase", "value": "READY"},
            {"kind": "uri:enum-value-update", "path": "phase", "value": "FAILED"},
            {"kind": "uri:enum-value-update", "path": "phase", "value": "RUNNING"},
        ):
            answer = await one.gateway.call("POST", f"/sessions/{uuid}", update)
            assert answer.status == 200, update
            assert answer.document["phase"] == "OFFERED"
            assert "urn:update-refused" in message_kinds(answer.document)
            strict = await one.gateway.call(
                "POST", f"/sessions/{uuid}", update, Prefer="handling=strict"
            )
            assert strict.status == 409, update


async def test_only_the_owner_and_the_administrator_change_a_session(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        answer = await one.gateway.call("POST", "/requests", minimal_request(), account=ALICE)
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        assert (await one.gateway.move(uuid, "ACCEPTED", account=BOB)).status == 403
        assert (await one.gateway.move(uuid, "ACCEPTED", account=ALICE)).status == 200
        assert (await one.gateway.move(uuid, "CANCELLED", account=ADMIN)).status == 200


async def test_what_the_administrator_made_is_nobody_elses(tmp_path: Path) -> None:
    async with line(tmp_path) as one:
        uuid = (await one.offers())[0]["meta"]["uuid"]
        assert (await one.gateway.move(uuid, "ACCEPTED", account=ALICE)).status == 403


async def test_an_offer_cannot_be_accepted_after_it_expired(tmp_path: Path) -> None:
    offers = node_settings().offers.__class__(count=1, expires_s=3, min_expires_s=1)
    async with running_federation(
        tmp_path, ("alpha",), node_changes={"alpha": {"offers": offers}}, **PATIENT
    ) as running_one:
        offer = (await running_one.gateway.ask(minimal_request())).document["offers"][0]
        await running_one.becomes(offer, "EXPIRED", within_s=SOON_S)
        answer = await running_one.gateway.move(
            offer["meta"]["uuid"], "ACCEPTED", Prefer="handling=strict"
        )
        assert answer.status == 409
        lenient = await running_one.gateway.move(offer["meta"]["uuid"], "ACCEPTED")
        assert lenient.document["phase"] == "EXPIRED"
        assert lenient.document["meta"]["messages"]
