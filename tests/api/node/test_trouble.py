"""A node whose database, platform or clock gives trouble: what clients see, and that it passes."""

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE
from node_stub import store
from node_stub.clock import SystemClock
from node_stub.config import NodeSettings
from node_stub.platforms.base import Checkpoint, JobPhase, JobSpec, Observation
from node_stub.platforms.simulated import JobStep, SimulatedPlatform, SimulatedSettings
from tests.support.node import QUICK, NodeClient, ShiftedClock, node_settings, running_node
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually, until

ENDLESS: Final = replace(QUICK, hang=frozenset({JobStep.RUN}))
ALL_CORES: Final[Document] = {
    **MINIMAL,
    "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 8, "max": 8}},
    "schedule": {"requested": {"duration": "PT1S"}},
}
SMALL: Final[Document] = {
    **MINIMAL,
    "compute": {"kind": SIMPLE_COMPUTE, "cores": {"min": 1, "max": 1}, "memory": {"max": 1}},
}


class WatchedPlatform(SimulatedPlatform):
    """Counts what it is asked for."""

    poll_s = 0.05

    def __init__(self, path: Path, settings: SimulatedSettings = QUICK) -> None:
        super().__init__(settings, path / "watched.db", SystemClock(), Random(1))
        self.launches = 0
        self.stops = 0

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        self.launches += 1
        return await super().launch(spec, checkpoint)

    async def stop(self, checkpoint: Checkpoint) -> None:
        self.stops += 1
        await super().stop(checkpoint)


class SluggishPlatform(WatchedPlatform):
    """Takes a while until it shows that a job was stopped."""

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        seen = await super().observe(checkpoints)
        if self.stops >= 4:
            return seen
        return {
            uuid: replace(look, phase=JobPhase.RUNNING) if look.phase is JobPhase.ENDED else look
            for uuid, look in seen.items()
        }


class TacitPlatform(WatchedPlatform):
    """Never says when to look again."""

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        seen = await super().observe(checkpoints)
        return {uuid: replace(look, look_again=None) for uuid, look in seen.items()}


class CursedPlatform(WatchedPlatform):
    """A defect in it shows whenever one certain job is to be removed."""

    cursed = UUID(int=1)

    async def release(self, checkpoint: Checkpoint) -> None:
        if checkpoint.session == self.cursed:
            raise RuntimeError("a defect")
        await super().release(checkpoint)


class BlockingPlatform(WatchedPlatform):
    """Never answers when certain sessions are to be launched."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.blocked: set[UUID] = set()
        self.tried: set[UUID] = set()

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        if spec.session in self.blocked:
            self.tried.add(spec.session)
            await asyncio.Event().wait()
        return await super().launch(spec, checkpoint)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Another process keeps the node's database to itself."""
    connection = sqlite3.connect(data_dir / "node.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node does not wait seconds for a locked database."""
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.02)


def with_reconciler(settings: NodeSettings, **changes: Any) -> NodeSettings:
    return replace(settings, reconciler=replace(settings.reconciler, **changes))


async def has(node: NodeClient, line: str) -> bool:
    """Whether the metrics say so."""
    return line in (await node.text("/metrics")).splitlines()


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_is_locked_is_503_and_promises_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        answer = await node.ask(MINIMAL)
        chosen, sibling = (offer["meta"]["uuid"] for offer in answer.document["offers"])
        with locked(tmp_path):
            refused = [
                await node.ask(MINIMAL),
                await node.direct(MINIMAL),
                await node.update(chosen, "ACCEPTED"),
                await node.update(sibling, "REJECTED"),
            ]
            assert (await node.session(chosen))["phase"] == "OFFERED"
            assert await has(node, "execbroker_node_ledger_bookings 2.0")

        for problem in refused:
            assert problem.status == 503
            assert problem.headers["Content-Type"] == "application/problem+json"
            assert problem.headers["Retry-After"] == "2"
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"
        assert (await node.session(sibling))["phase"] == "REJECTED"
        await node.reaches(chosen, "COMPLETED")
        await eventually(lambda: has(node, "execbroker_node_ledger_bookings 0.0"))


@pytest.mark.usefixtures("impatient")
async def test_a_session_outlives_a_database_that_fails_more_often_than_a_platform_may(
    tmp_path: Path,
) -> None:
    settings = node_settings(platform=replace(QUICK, run_s=0.2))
    async with running_node(tmp_path, settings) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "RUNNING")
        with locked(tmp_path):
            for _ in range(20):
                assert (await node.ask(MINIMAL)).status == 503

        session = await node.reaches(answer.uuid, "COMPLETED", "FAILED")

    assert session["phase"] == "COMPLETED"


async def test_a_cancel_does_not_wait_for_a_call_that_hangs(tmp_path: Path) -> None:
    platform = WatchedPlatform(tmp_path, replace(QUICK, hang=frozenset({JobStep.LAUNCH})))
    settings = with_reconciler(node_settings(), call_timeout_s=60.0)
    async with running_node(tmp_path, settings, platform=platform) as node:
        answer = await node.direct(MINIMAL)
        await until(lambda: platform.launches == 1)

        cancelled = await node.update(answer.uuid, "CANCELLED")

        assert cancelled.document["phase"] == "CANCELLED"
        await eventually(lambda: has(node, "execbroker_node_ledger_bookings 0.0"), within_s=3)
        session = await node.session(answer.uuid)
    assert session["compute"]["phase"] == "CANCELLED"
    assert "messages" not in session["compute"]["meta"]


async def test_calls_that_hang_never_keep_all_workers_from_the_others(tmp_path: Path) -> None:
    platform = BlockingPlatform(tmp_path)
    settings = with_reconciler(node_settings(), workers=2, call_timeout_s=0.5, attempts=1000)
    async with running_node(tmp_path, settings, platform=platform) as node:
        for _ in range(5):
            answer = await node.direct(SMALL)
            platform.blocked.add(UUID(answer.uuid))
        await until(lambda: platform.tried == platform.blocked, within_s=8)

        healthy = await node.direct(SMALL)

        await node.reaches(healthy.uuid, "COMPLETED", within_s=3)


async def test_a_platform_that_shows_late_what_it_did_is_not_asked_on_and_on(
    tmp_path: Path,
) -> None:
    platform = SluggishPlatform(tmp_path, ENDLESS)
    async with running_node(tmp_path, platform=platform) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "RUNNING")
        begin = asyncio.get_running_loop().time()
        await node.update(answer.uuid, "CANCELLED")
        await eventually(lambda: has(node, "execbroker_node_ledger_bookings 0.0"))
        took_s = asyncio.get_running_loop().time() - begin

    assert platform.stops >= 4
    assert platform.stops <= 2 + took_s / platform.poll_s


async def test_what_has_not_gone_in_time_is_still_booked(tmp_path: Path) -> None:
    """Its cores are in use: nobody else is promised them."""
    clock = ShiftedClock()
    settings = node_settings(platform=replace(QUICK, hang=frozenset({JobStep.RELEASE})))
    async with running_node(tmp_path, settings, clock=clock) as node:
        answer = await node.direct(ALL_CORES)
        await node.reaches(answer.uuid, "RELEASING")
        for _ in range(3):
            clock.advance(timedelta(seconds=61))
            await eventually(lambda: has(node, 'execbroker_node_used{resource="cores"} 8.0'))
        assert await has(node, "execbroker_node_ledger_bookings 1.0")
        assert await has(node, "execbroker_node_ledger_orphans 0.0")
        assert (await node.session(answer.uuid))["phase"] == "RELEASING"


async def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path) -> None:
    clock = ShiftedClock()
    platform = TacitPlatform(tmp_path, replace(QUICK, run_s=0.2))
    async with running_node(tmp_path, clock=clock, platform=platform) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "RUNNING")

        clock.advance(-timedelta(hours=1))

        await node.reaches(answer.uuid, "COMPLETED", within_s=3)


async def test_a_job_of_nobody_that_cannot_be_removed_stalls_nobody(tmp_path: Path) -> None:
    platform = CursedPlatform(tmp_path)
    await platform.open()
    end_at = SystemClock().now() + timedelta(hours=1)
    for number in (1, 2):
        await platform.prepare(JobSpec(UUID(int=number), {}, 1, 1, 1, end_at))
    await platform.close()

    async with running_node(tmp_path, platform=platform) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "COMPLETED")

        async def is_alone() -> bool:
            return [job.session for job in await platform.recover()] == [platform.cursed]

        await eventually(is_alone)
