"""A node that is stopped and started again on the same data goes on where it was."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE
from gateway.wire.times import format_instant
from node_stub.clock import SystemClock
from node_stub.config import NodeSettings, OfferSettings
from node_stub.platforms.simulated import JobStep
from tests.support.node import QUICK, NodeClient, ShiftedClock, node_settings, running_node
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually

LINGERING: Final = {
    "ACCEPTED": QUICK,
    "WAITING": QUICK,
    "PREPARING": replace(QUICK, hang=frozenset({JobStep.PREPARE})),
    "AVAILABLE": replace(QUICK, prepare_s=0.01),
    "RUNNING": replace(QUICK, run_s=30),
    "RELEASING": replace(QUICK, release_s=30),
}
"""On which a session stays in the phase until the node is stopped; the next platform is quick."""

ALL_CORES: Final[Document] = {
    **MINIMAL,
    "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 8}},
    "schedule": {"requested": {"duration": "PT10M"}},
}


async def is_free(node: NodeClient) -> bool:
    async with node.http.get("/metrics") as response:
        return "execbroker_node_ledger_bookings 0.0" in await response.text()


def lingering(phase: str) -> NodeSettings:
    return node_settings(platform=LINGERING[phase], offers=OfferSettings(count=2, min_expires_s=1))


def request(phase: str) -> Document:
    """A request whose session stays in this phase as far as its start decides that."""
    if phase != "WAITING":
        return MINIMAL
    start = (SystemClock().now() + timedelta(seconds=2)).replace(microsecond=0)
    text = format_instant(start)
    return {**MINIMAL, "schedule": {"requested": {"start": f"{text}/{text}"}}}


@pytest.mark.parametrize("phase", LINGERING)
async def test_an_accepted_session_is_completed_whenever_the_node_is_restarted(
    tmp_path: Path, phase: str
) -> None:
    async with running_node(tmp_path, lingering(phase)) as node:
        answer = await node.direct(request(phase))
        if phase != "ACCEPTED":
            await node.reaches(answer.uuid, phase)
    async with running_node(tmp_path) as node:
        session = await node.reaches(answer.uuid, "COMPLETED", "FAILED")

        assert session["phase"] == "COMPLETED"
        await eventually(lambda: is_free(node))


@pytest.mark.parametrize("phase", ["WAITING", "PREPARING", "AVAILABLE", "RUNNING"])
async def test_a_cancelled_session_is_wound_down_after_a_restart(
    tmp_path: Path, phase: str
) -> None:
    async with running_node(tmp_path, lingering(phase)) as node:
        answer = await node.direct(request(phase))
        await node.reaches(answer.uuid, phase)
        await node.update(answer.uuid, "CANCELLED")
    async with running_node(tmp_path) as node:
        assert (await node.session(answer.uuid))["phase"] == "CANCELLED"

        async def is_wound_down() -> bool:
            session = await node.session(answer.uuid)
            phases = [session[part]["phase"] for part in ("executable", "compute")]
            return phases == ["CANCELLED"] * 2

        await eventually(is_wound_down)
        await eventually(lambda: is_free(node))
        assert (await node.session(answer.uuid))["phase"] == "CANCELLED"


async def test_offers_are_firm_across_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        before = await node.ask(ALL_CORES)
    async with running_node(tmp_path) as node:
        after = await node.ask(ALL_CORES)
        starts = {
            offer["schedule"]["available"]["start"]
            for answer in (before, after)
            for offer in answer.document["offers"]
        }
        assert len(starts) == 4

        chosen = before.document["offers"][0]["meta"]["uuid"]
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"
        await node.reaches(chosen, "COMPLETED")


async def test_what_expired_while_the_node_was_down_is_expired_and_free(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with running_node(tmp_path, clock=clock) as node:
        answer = await node.ask(ALL_CORES)
    clock.advance(timedelta(minutes=10))
    async with running_node(tmp_path, clock=clock) as node:
        read = await node.call("GET", f"/offersets/{answer.uuid}")

        assert [offer["phase"] for offer in read.document["offers"]] == ["EXPIRED"] * 2
        assert await is_free(node)


async def test_a_booking_that_passed_while_the_node_was_down_fails_and_says_so(
    tmp_path: Path,
) -> None:
    clock = ShiftedClock()
    start = (clock.now() + timedelta(hours=1)).replace(microsecond=0)
    text = start.isoformat().replace("+00:00", "Z")
    request = {**MINIMAL, "schedule": {"requested": {"start": f"{text}/{text}"}}}
    async with running_node(tmp_path, clock=clock) as node:
        answer = await node.direct(request)
        await node.reaches(answer.uuid, "WAITING")
    clock.advance(timedelta(days=1))
    async with running_node(tmp_path, clock=clock) as node:
        session = await node.reaches(answer.uuid, "FAILED")

    assert [message["kind"] for message in session["meta"]["messages"]] == ["urn:schedule-missed"]


async def test_a_smaller_capacity_keeps_what_was_promised_and_promises_no_more(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path) as node:
        answer = await node.ask(ALL_CORES)
    settings = node_settings()
    settings = replace(settings, capacity=replace(settings.capacity, cores=2))
    async with running_node(tmp_path, settings) as node:
        refused = await node.ask(ALL_CORES)
        assert refused.document["result"] == "NO"
        chosen = answer.document["offers"][0]["meta"]["uuid"]
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"


async def test_identities_are_kept(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        before = await node.ask(MINIMAL)
    async with running_node(tmp_path) as node:
        chosen = before.document["offers"][0]["meta"]["uuid"]
        assert (await node.update(chosen, "REJECTED")).status == 200
