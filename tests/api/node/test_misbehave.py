"""Behind a gateway, a misbehaving node costs its own offers and what it promised, and no more."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from gateway.settings import FederationSettings, SessionSettings
from gateway.wire.documents import Document
from node_stub.misbehave.catalogue import ENTRIES
from node_stub.misbehave.command import REFUSE
from node_stub.misbehave.mixing import Mixture, parse_shares
from node_stub.misbehave.serving import refusing, serving
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.misbehaving import misbehaving
from tests.support.node import START_TIMEOUT_S
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

DEADLINE_S: Final = 0.4
MARGIN_S: Final = 1.5
"""Beyond the deadline: client, gateway and two nodes share one process here, on a busy machine, and
one of the nodes makes as many offers as are looked at, which are all judged and ranked."""

GOOD_OFFERS: Final = 2
FEDERATION: Final = FederationSettings(deadline_s=DEADLINE_S, connect_s=0.2, late_s=1.0, limit=100)
PATIENT: Final = FederationSettings(deadline_s=5.0, connect_s=2.0)
"""For tests that are not about time."""

SESSIONS: Final = SessionSettings(
    fresh_s=0.0, read_deadline_s=2.0, update_deadline_s=4.0, follow_s=0.5
)

MAY_OFFER: Final = {
    *("healthy", "half-open", "stale-keepalive", "flapping", "desync", "liar", "too-many"),
    *("duplicate-uuid", "clock-skew", "unchanged", "overcommit", "forgetful", "slow-accept"),
    "lost-accept",
}
"""Behaviours whose first answer has offers that nothing can be said against yet."""


@asynccontextmanager
async def in_this_process(name: str) -> AsyncIterator[str]:
    """The URL of a node that behaves so."""
    if name == REFUSE:
        with refusing() as url:
            yield url
        return
    async with serving(Mixture(parse_shares(name), offers=GOOD_OFFERS)) as url:
        yield url


@asynccontextmanager
async def beside_a_healthy_node(
    name: str, data_dir: Path, federation: FederationSettings = PATIENT
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over ``healthy``, in this process, and ``faulty``, in one of its own."""
    async with (
        in_this_process("healthy") as healthy,
        misbehaving(name) as faulty,
        running_gateway(
            {"faulty": faulty.url, "healthy": healthy},
            data_dir,
            federation=federation,
            sessions=SESSIONS,
        ) as gateway,
    ):
        yield gateway


def offers_by_node(document: Document) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"faulty": [], "healthy": []}
    for offer in document.get("offers", ()):
        found[offer["federation"]["node"]].append(offer["meta"]["uuid"])
    return found


def coverage_of(document: Document, node: str) -> Document:
    (entry,) = [e for e in document["federation"]["coverage"] if e["node"] == node]
    found: Document = entry
    return found


async def share_of(gateway: GatewayUnderTest, node: str) -> float:
    """How far the gateway relies on a node."""
    (found,) = [
        n for n in (await gateway.call("GET", "/nodes")).document["nodes"] if n["name"] == node
    ]
    share: float = found["track_record"]["share"]
    return share


async def becomes(gateway: GatewayUnderTest, uuid: str, phase: str) -> None:
    """Wait until the gateway shows the phase."""

    async def look() -> bool:
        document = await gateway.read(uuid)
        return bool(document["phase"] == phase)

    await eventually(look)


@pytest.mark.parametrize("name", ENTRIES)
async def test_each_behaviour_costs_no_time_and_no_other_nodes_offers(
    tmp_path: Path, name: str
) -> None:
    async with (
        in_this_process("healthy") as healthy,
        in_this_process(name) as faulty,
        running_gateway(
            {"faulty": faulty, "healthy": healthy}, tmp_path, federation=FEDERATION
        ) as gateway,
    ):
        for turn in (1, 2):  # the second is on a connection that was used
            began = monotonic()
            answer = await gateway.ask(minimal_request())
            assert monotonic() - began < DEADLINE_S + MARGIN_S
            assert answer.status == 303, answer.text
            offers = offers_by_node(answer.document)
            assert len(offers["healthy"]) == GOOD_OFFERS
            covered = [entry["node"] for entry in answer.document["federation"]["coverage"]]
            assert sorted(covered) == ["faulty", "healthy"]
            entry = coverage_of(answer.document, "faulty")
            assert entry["reason"] or offers["faulty"], "no offers without a reason"
            if turn == 1:
                assert bool(offers["faulty"]) == (name in MAY_OFFER), entry


async def test_a_hung_node_is_named_and_costs_only_its_own_offers(tmp_path: Path) -> None:
    async with beside_a_healthy_node("hung", tmp_path, FEDERATION) as gateway:
        answer = await gateway.ask(minimal_request())
    entry = coverage_of(answer.document, "faulty")
    assert (entry["outcome"], entry["reason"]["code"]) == ("timeout", "headers_timeout")
    assert coverage_of(answer.document, "healthy")["outcome"] == "answered"
    assert offers_by_node(answer.document)["healthy"]


async def test_a_refusing_node_is_named(tmp_path: Path) -> None:
    async with beside_a_healthy_node("refuse", tmp_path) as gateway:
        answer = await gateway.ask(minimal_request())
    entry = coverage_of(answer.document, "faulty")
    assert (entry["outcome"], entry["reason"]["code"]) == ("refused", "connection_refused")


async def test_an_overcommitting_node_is_refused_named_and_relied_on_less(tmp_path: Path) -> None:
    async with beside_a_healthy_node("overcommit", tmp_path) as gateway:
        offers = offers_by_node((await gateway.ask(minimal_request())).document)
        before = await share_of(gateway, "faulty")
        refused = await gateway.move(offers["faulty"][0], "ACCEPTED", Prefer="handling=strict")
        assert refused.status == 409, refused.text
        assert "given to somebody else" in refused.text
        assert offers["healthy"][0] in refused.document["alternatives"]
        assert await share_of(gateway, "faulty") < before
        accepted = await gateway.move(offers["healthy"][0], "ACCEPTED")
        assert accepted.document["phase"] in {"ACCEPTED", "RUNNING"}


async def test_an_acceptance_whose_answer_is_lost_is_made_once(tmp_path: Path) -> None:
    async with beside_a_healthy_node("lost-accept", tmp_path) as gateway:
        offers = offers_by_node((await gateway.ask(minimal_request())).document)
        answer = await gateway.move(offers["faulty"][0], "ACCEPTED")
        assert answer.status == 200, answer.text
        assert answer.document["phase"] in {"ACCEPTED", "RUNNING", "COMPLETED"}
        sibling = await gateway.move(offers["healthy"][0], "ACCEPTED", Prefer="handling=strict")
        assert sibling.status == 409, sibling.text
        await becomes(gateway, offers["faulty"][0], "COMPLETED")
        assert await share_of(gateway, "faulty") > await share_of(gateway, "healthy")


async def test_a_session_that_its_node_forgot_is_failed_and_not_unknown(tmp_path: Path) -> None:
    async with beside_a_healthy_node("forgetful", tmp_path) as gateway:
        uuid = offers_by_node((await gateway.ask(minimal_request())).document)["faulty"][0]
        await gateway.move(uuid, "ACCEPTED")
        await becomes(gateway, uuid, "FAILED")


async def test_the_command_ends_with_0_when_told_whatever_hangs_on_it() -> None:
    async with misbehaving("hung,healthy", "--delay-s", "60", "--seed", "1") as node:
        host, _, port = node.url.removeprefix("http://").partition(":")
        assert host == "127.0.0.1"
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
        await writer.drain()
        assert await node.terminate() == 0
        writer.close()


async def test_a_port_that_is_taken_is_said_and_ends_the_command() -> None:
    with refusing() as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node_stub", "misbehave", "--as", "hung"),
            *("--listen", url.removeprefix("http://")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(START_TIMEOUT_S):
            said, logged = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert b"cannot_listen" in logged
