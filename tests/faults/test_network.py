"""Networks that lose, delay and reorder packets, between real stacks: promises hold in each.

Nothing here ends a connection or refuses one: the gateway hears of a partition only by silence.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from gateway.settings import FederationSettings
from gateway.wire.documents import Document
from tests.api.gateway.conftest import holds_of
from tests.support.islands import CONNECT_S, DEADLINE_S, HEALED_S, Islands, islands
from tests.support.lost_node import RUNS_ON, kinds_of
from tests.support.netns import need_namespaces
from tests.support.pair import STRICT
from tests.support.waiting import eventually
from tests.support.wires import Wire

MARGIN_S: Final = 1.5
"""Everything from the packets to the client shares one process here, on a busy machine. Without a
deadline these calls would wait for minutes: for as long as the kernel tries."""

PATIENT: Final = FederationSettings(deadline_s=10.0, connect_s=5.0, late_s=5.0)
"""For networks that are slow and yet work."""

SLOW_S: Final = 0.2
JITTER_S: Final = 0.05


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    need_namespaces()


def of(document: Document, node: str) -> Document:
    """What the coverage says of a node."""
    (entry,) = [e for e in document["federation"]["coverage"] if e["node"] == node]
    return dict(entry)


def offers_by(document: Document, node: str) -> int:
    return sum(offer["federation"]["node"] == node for offer in document["offers"])


async def asked_on_time(islands: Islands, **headers: str) -> Document:
    """The answer: on time, and with all that the healthy node offers."""
    began = monotonic()
    document = await islands.ask(**headers)
    assert monotonic() - began < DEADLINE_S + MARGIN_S
    assert of(document, "beta")["outcome"] == "answered"
    assert offers_by(document, "beta") == 2
    return document


# -- partitions -----------------------------------------------------------------------------------


def cut(wire: Wire) -> None:
    wire.cut()


def cut_out(wire: Wire) -> None:
    wire.out.is_cut = True


def cut_back(wire: Wire) -> None:
    wire.back.is_cut = True


@pytest.mark.parametrize("break_it", [cut, cut_out, cut_back])
async def test_a_node_cut_off_costs_only_its_own_offers_and_is_named_with_the_stage(
    tmp_path: Path, break_it: Callable[[Wire], None]
) -> None:
    async with islands(tmp_path) as they:
        wire = they.wires["alpha"]
        break_it(wire)
        never_reached = of(await asked_on_time(they), "alpha")
        assert never_reached["outcome"] == "timeout"
        assert never_reached["reason"]["code"] == "connect_timeout"
        assert never_reached["took_ms"] >= CONNECT_S * 1000
        wire.heal()

        async def is_back() -> bool:
            return offers_by(await they.ask(), "alpha") == 2

        await eventually(is_back, 10)
        break_it(wire)
        gone_silent = of(await asked_on_time(they), "alpha")
        assert gone_silent["outcome"] == "timeout"
        assert gone_silent["reason"]["code"] == "headers_timeout"


async def test_answers_that_large_packets_carry_vanish_in_a_black_hole_and_cost_no_others(
    tmp_path: Path,
) -> None:
    """Path MTU gone wrong: connections are made, small packets pass, and answers never come."""
    async with islands(tmp_path) as they:
        they.wires["alpha"].back.longest_bytes = 576
        entry = of(await asked_on_time(they), "alpha")
        assert (entry["outcome"], entry["reason"]["code"]) == ("timeout", "headers_timeout")
        assert they.wires["alpha"].back.lost > 0


async def test_an_answer_that_a_partition_held_up_is_taken_in_once_it_is_over(
    tmp_path: Path,
) -> None:
    async with islands(tmp_path) as they:
        wire = they.wires["alpha"]
        await they.ask()  # from now on there are connections
        async with asyncio.TaskGroup() as group:
            held_before = await holds_of(they.nodes["alpha"])
            wire.back.is_cut = True
            call = group.create_task(asked_on_time(they))

            async def holds_more() -> bool:
                return await holds_of(they.nodes["alpha"]) > held_before

            await eventually(holds_more)
        document = call.result()
        assert of(document, "alpha")["outcome"] == "timeout"
        wire.heal()
        path = f"/offersets/{document['meta']['uuid']}"

        async def has_come() -> bool:
            shown = (await they.gateway.call("GET", path)).document
            return of(shown, "alpha")["outcome"] == "late" and offers_by(shown, "alpha") == 2

        await eventually(has_come, 10)


async def test_an_acceptance_whose_reply_is_lost_becomes_one_session_after_healing(
    tmp_path: Path,
) -> None:
    async with islands(tmp_path) as they:
        best = await they.best()
        uuid, sibling = (best[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        they.wires["alpha"].back.is_cut = True
        answer = await they.gateway.move(uuid, "ACCEPTED", **STRICT)
        assert answer.status in {202, 503, 504}, answer.text

        async def has_run() -> bool:
            return they.ran() == {uuid}

        await eventually(has_run)
        assert (await they.gateway.move(sibling, "ACCEPTED", **STRICT)).status == 409
        they.wires["alpha"].heal()
        await they.becomes(uuid, "COMPLETED")
        await they.becomes(sibling, "REJECTED")
        assert they.ran() == {uuid}


async def test_an_acceptance_that_never_arrived_becomes_one_session_after_healing(
    tmp_path: Path,
) -> None:
    async with islands(tmp_path) as they:
        best = await they.best()
        uuid, sibling = (best[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        they.wires["alpha"].out.is_cut = True
        assert (await they.gateway.move(uuid, "ACCEPTED", **STRICT)).status in {202, 503, 504}
        assert (await they.gateway.move(sibling, "ACCEPTED", **STRICT)).status == 409
        assert they.ran() == set()
        they.wires["alpha"].heal()
        await they.becomes(uuid, "COMPLETED")
        assert they.ran() == {uuid}


async def test_a_cancel_in_a_partition_is_pending_and_comes_true_after_healing(
    tmp_path: Path,
) -> None:
    async with islands(tmp_path, node_changes={"platform": RUNS_ON}) as they:
        uuid = (await they.best())["alpha"]["meta"]["uuid"]
        await they.gateway.move(uuid, "ACCEPTED")
        await they.becomes(uuid, "RUNNING")
        they.wires["alpha"].cut()
        began = monotonic()
        answer = await they.gateway.move(uuid, "CANCELLED")
        assert monotonic() - began < DEADLINE_S + MARGIN_S
        assert "urn:command-pending" in kinds_of(answer.document), answer.text
        assert (await they.nodes["alpha"].session(uuid))["phase"] == "RUNNING"
        they.wires["alpha"].heal()
        await they.nodes["alpha"].reaches(uuid, "CANCELLED", within_s=HEALED_S)
        await they.becomes(uuid, "CANCELLED")
        await they.holds_nothing("alpha")

        async def is_told() -> bool:
            return "urn:command-pending" not in kinds_of(await they.gateway.read(uuid))

        await eventually(is_told)


async def test_holds_behind_a_partition_are_let_go_after_healing(tmp_path: Path) -> None:
    """Nodes keep them for minutes: only a reject that was kept can let go of them so early."""
    async with islands(tmp_path) as they:
        best = await they.best()
        they.wires["alpha"].cut()
        uuid = best["beta"]["meta"]["uuid"]
        assert (await they.gateway.move(uuid, "ACCEPTED")).status == 200
        await they.becomes(uuid, "COMPLETED")
        assert await holds_of(they.nodes["alpha"]) == 2
        they.wires["alpha"].heal()
        await they.holds_nothing("alpha")
        await they.becomes(best["alpha"]["meta"]["uuid"], "REJECTED")
        assert they.ran() == {uuid}


# -- networks that work after a fashion -----------------------------------------------------------


async def test_a_node_far_away_is_waited_for_and_its_session_runs_once(tmp_path: Path) -> None:
    async with islands(tmp_path, federation=PATIENT) as they:
        for way in they.wires["alpha"].ways:
            way.delay_s, way.jitter_s = SLOW_S, JITTER_S
        document = await they.ask()
        assert offers_by(document, "alpha") == offers_by(document, "beta") == 2
        # There and back to connect, and once more to ask.
        assert of(document, "alpha")["took_ms"] >= 4 * (SLOW_S - JITTER_S) * 1000
        uuid = next(
            offer["meta"]["uuid"]
            for offer in document["offers"]
            if offer["federation"]["node"] == "alpha"
        )
        await they.gateway.move(uuid, "ACCEPTED")
        await they.becomes(uuid, "COMPLETED")
        assert they.ran() == {uuid}
        await they.holds_nothing("alpha")


async def test_packets_lost_doubled_and_overtaken_double_no_session_and_no_hold(
    tmp_path: Path,
) -> None:
    async with islands(tmp_path, federation=PATIENT) as they:
        for way in they.wires["alpha"].ways:
            way.delay_s, way.jitter_s = 0.02, 0.02
            way.lost_share, way.doubled_share = 0.1, 0.2
        ran = set()
        for _ in range(3):
            document = await they.ask()
            offered = offers_by(document, "alpha")
            assert (of(document, "alpha")["outcome"] == "answered") == (offered > 0)
            best = document["offers"][0]["meta"]["uuid"]
            await they.gateway.move(best, "ACCEPTED")
            await they.becomes(best, "COMPLETED")
            ran.add(best)
        assert they.ran() == ran
        await they.holds_nothing("alpha")
        await they.holds_nothing("beta")
        ways = they.wires["alpha"].ways
        assert all(sum(getattr(way, what) for way in ways) for what in ("lost", "doubled"))
        assert sum(way.overtaking for way in ways) > 0
