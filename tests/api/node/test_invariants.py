"""Whatever clients do, in whatever order: never over capacity, and nothing leaks."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE
from gateway.wire.times import parse_duration, parse_interval
from node_stub.platforms.simulated import JobStep
from node_stub.store import DatabaseInUseError
from tests.support.node import QUICK, NodeClient, ShiftedClock, node_settings, running_node
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually

CORES: Final = 8


def request(rng: Random) -> Document:
    least = rng.randint(1, CORES // 2)
    return {
        **MINIMAL,
        "compute": {
            "kind": SIMPLE_COMPUTE,
            "cores": {"min": least, "max": rng.randint(least, CORES)},
            "memory": {"min": rng.randint(1, 8)},
        },
        "schedule": {"requested": {"duration": f"PT{rng.randint(1, 600)}S"}},
    }


async def gauge(node: NodeClient, name: str) -> float:
    async with node.http.get("/metrics") as response:
        text = await response.text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"execbroker_node_{name} ")]
    return float(line.split()[1])


def peak(sessions: list[Document]) -> int:
    """The most cores that are promised at any one time, counting starts as exact."""
    changes: list[tuple[float, int]] = []
    for session in sessions:
        available = session["schedule"]["available"]
        interval = parse_interval(available["start"])
        end = interval.end + parse_duration(available["duration"])
        cores = session["compute"]["cores"]["max"]
        changes += [(interval.start.timestamp(), cores), (end.timestamp(), -cores)]
    used = most = 0
    for _, cores in sorted(changes):
        used += cores
        most = max(most, used)
    return most


@pytest.mark.parametrize("seed", range(3))
async def test_no_order_of_calls_promises_too_much_or_leaks(tmp_path: Path, seed: int) -> None:
    rng, clock = Random(seed), ShiftedClock()
    platform = replace(QUICK, fail={JobStep.RUN: 0.3}, run_s=0.01)
    settings = node_settings(platform=platform)
    known: list[str] = []

    async def act(node: NodeClient) -> None:
        choice = rng.random()
        if choice < 0.4 or not known:
            answer = await node.ask(request(rng))
            known.extend(o["meta"]["uuid"] for o in answer.document.get("offers", []))
        elif choice < 0.5:
            known.append((await node.direct(request(rng))).uuid)
        else:
            phase = rng.choice(["ACCEPTED", "ACCEPTED", "REJECTED", "CANCELLED"])
            await node.update(rng.choice(known), phase)

    async with running_node(tmp_path, settings, clock=clock) as node:
        for _ in range(12):
            await asyncio.gather(*(act(node) for _ in range(6)))
            clock.advance(timedelta(seconds=rng.choice([0, 0, 1, 20, 200])))
            sessions = [await node.session(uuid) for uuid in known]
            held = [s for s in sessions if s["phase"] in {"OFFERED", "ACCEPTED", "WAITING"}]
            assert peak(held) <= CORES

            async def has_no_orphan() -> bool:
                # Store and ledger are counted one after the other, and a move may come between.
                return await gauge(node, "ledger_orphans") == 0

            await eventually(has_no_orphan)
    clock.advance(timedelta(seconds=301))
    async with running_node(tmp_path, settings, clock=clock) as node:
        for uuid in known:
            await node.update(uuid, "CANCELLED")

        async def is_empty() -> bool:
            return await gauge(node, "ledger_bookings") == 0

        await eventually(is_empty)


async def test_a_second_node_on_the_same_data_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path):
        with pytest.raises(DatabaseInUseError):
            async with running_node(tmp_path):
                pass
