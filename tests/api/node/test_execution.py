"""Sessions on their way to their end: good ones, failing ones, poisonous ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import pytest

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE
from gateway.wire.times import parse_instant, parse_interval
from node_stub.clock import SystemClock
from node_stub.platforms.base import (
    Checkpoint,
    JobSpec,
    Observation,
    PlatformError,
)
from node_stub.platforms.simulated import JobStep, SimulatedPlatform, SimulatedSettings
from tests.support.node import QUICK, NodeClient, ShiftedClock, node_settings, running_node
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually

ORDER: Final = [
    "ACCEPTED",
    "WAITING",
    "PREPARING",
    "AVAILABLE",
    "RUNNING",
    "RELEASING",
    "COMPLETED",
]
SHORT: Final[Document] = {**MINIMAL, "schedule": {"requested": {"duration": "PT1S"}}}
SMALL: Final[Document] = {
    **MINIMAL,
    "compute": {
        "kind": SIMPLE_COMPUTE,
        "cores": {"min": 1, "max": 1},
        "memory": {"min": 1, "max": 1},
    },
}


class PoisonousPlatform(SimulatedPlatform):
    """A defect in it shows with the first session that it gets, at one step."""

    def __init__(self, path: Path, step: JobStep) -> None:
        super().__init__(QUICK, path / "poisonous.db", SystemClock(), Random(1))
        self.poisonous: set[UUID] = set()
        self._step = step

    def _taste(self, session: UUID, step: JobStep) -> None:
        if session in self.poisonous and step is self._step:
            raise RuntimeError("a defect")

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        if not self.poisonous:
            self.poisonous.add(spec.session)
        self._taste(spec.session, JobStep.PREPARE)
        return await super().prepare(spec)

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        self._taste(spec.session, JobStep.LAUNCH)
        return await super().launch(spec, checkpoint)

    async def release(self, checkpoint: Checkpoint) -> None:
        self._taste(checkpoint.session, JobStep.RELEASE)
        await super().release(checkpoint)

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        for checkpoint in checkpoints:
            self._taste(checkpoint.session, JobStep.RUN)
        return await super().observe(checkpoints)


class UnreachablePlatform(SimulatedPlatform):
    """Can be cut off and come back."""

    def __init__(self, path: Path) -> None:
        super().__init__(QUICK, path / "unreachable.db", SystemClock(), Random(1))
        self.is_away = False

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        if self.is_away:
            raise PlatformError("no route to host")
        return await super().observe(checkpoints)


def kinds_of(component: Document) -> list[str]:
    return [message["kind"] for message in component["meta"].get("messages", [])]


async def test_a_session_runs_through_its_phases_in_order(tmp_path: Path) -> None:
    settings = node_settings(platform=SimulatedSettings(prepare_s=0.2, run_s=0.2, release_s=0.2))
    async with running_node(tmp_path, settings) as node:
        answer = await node.direct(MINIMAL)
        phases = [answer.document["phase"]]

        async def is_done() -> bool:
            phase: str = (await node.session(answer.uuid))["phase"]
            if phase != phases[-1]:
                phases.append(phase)
            return phase == "COMPLETED"

        await eventually(is_done)

    assert phases == sorted(phases, key=ORDER.index)
    assert set(phases) >= {"PREPARING", "AVAILABLE", "RUNNING", "RELEASING", "COMPLETED"}


async def test_a_completed_session_says_how_it_ended(node: NodeClient) -> None:
    answer = await node.direct(MINIMAL)
    session = await node.reaches(answer.uuid, "COMPLETED")

    parts = [session["executable"], session["compute"]]
    assert {part["phase"] for part in parts} == {"COMPLETED"}
    (message,) = session["compute"]["meta"]["messages"]
    assert message["values"] == {"reason": "OK", "exit_code": "0"}
    assert message["message"] == "The execution ended [OK][0]"


async def test_a_session_runs_at_its_start_and_not_before(node: NodeClient) -> None:
    answer = await node.direct(MINIMAL)
    start = parse_interval(answer.document["schedule"]["available"]["start"]).start

    await node.reaches(answer.uuid, "RUNNING", "RELEASING", "COMPLETED")

    late = SystemClock().now() - start
    assert timedelta(0) <= late < timedelta(seconds=1)


async def test_preparing_begins_early_enough_to_be_available_at_the_start(tmp_path: Path) -> None:
    platform = SimulatedSettings(prepare_s=30, run_s=1, release_s=0)
    clock = ShiftedClock()
    async with running_node(tmp_path, node_settings(platform=platform), clock=clock) as node:
        start = (clock.now() + timedelta(minutes=10)).replace(microsecond=0)
        text = start.isoformat().replace("+00:00", "Z")
        answer = await node.direct(
            {**MINIMAL, "schedule": {"requested": {"start": f"{text}/{text}"}}}
        )
        session = await node.reaches(answer.uuid, "WAITING")

    preparing = session["schedule"]["preparing"]
    assert parse_instant(preparing["start"]) == start - timedelta(seconds=30)
    assert parse_interval(session["schedule"]["available"]["start"]).start == start


@pytest.mark.parametrize(
    ("step", "kind", "part"),
    [
        (JobStep.PREPARE, "urn:execution-failed", "executable"),
        (JobStep.LAUNCH, "urn:platform-failed", "compute"),
        (JobStep.RUN, "urn:execution-failed", "compute"),
        (JobStep.RELEASE, "urn:release-failed", "compute"),
    ],
)
async def test_a_failure_in_any_step_fails_the_session_and_says_where(
    tmp_path: Path, step: JobStep, kind: str, part: str
) -> None:
    platform = replace(QUICK, fail={step: 1.0}, exit_code=7)
    async with running_node(tmp_path, node_settings(platform=platform)) as node:
        answer = await node.direct(MINIMAL)
        session = await node.reaches(answer.uuid, "FAILED")

    assert session[part]["phase"] == "FAILED"
    assert kind in kinds_of(session[part])
    if step is JobStep.RUN:
        assert session["compute"]["meta"]["messages"][0]["values"]["exit_code"] == "7"


async def test_a_run_over_its_time_is_stopped_and_fails(tmp_path: Path) -> None:
    """Upstream let it run for ever."""
    platform = replace(QUICK, hang=frozenset({JobStep.RUN}))
    async with running_node(tmp_path, node_settings(platform=platform)) as node:
        answer = await node.direct(SHORT)
        session = await node.reaches(answer.uuid, "FAILED")

    assert kinds_of(session["compute"]) == ["urn:over-time"]


async def test_a_preparation_that_hangs_fails_when_its_time_is_over(tmp_path: Path) -> None:
    platform = replace(QUICK, hang=frozenset({JobStep.PREPARE}))
    async with running_node(tmp_path, node_settings(platform=platform)) as node:
        answer = await node.direct(SHORT)
        session = await node.reaches(answer.uuid, "FAILED")

    assert kinds_of(session["executable"]) == ["urn:preparation-too-late"]


async def test_a_release_that_hangs_fails_in_the_end(tmp_path: Path) -> None:
    platform = replace(QUICK, hang=frozenset({JobStep.RELEASE}))
    settings = node_settings(platform=platform)
    settings = replace(settings, reconciler=replace(settings.reconciler, release_s=0.05))
    async with running_node(tmp_path, settings) as node:
        answer = await node.direct(MINIMAL)
        session = await node.reaches(answer.uuid, "FAILED")

    assert "urn:release-failed" in kinds_of(session["compute"])


async def test_a_call_that_hangs_is_given_up(tmp_path: Path) -> None:
    platform = replace(QUICK, hang=frozenset({JobStep.LAUNCH}))
    settings = node_settings(platform=platform)
    settings = replace(
        settings, reconciler=replace(settings.reconciler, attempts=2, call_timeout_s=0.05)
    )
    async with running_node(tmp_path, settings) as node:
        answer = await node.direct(MINIMAL)
        session = await node.reaches(answer.uuid, "FAILED")

    (message,) = session["compute"]["meta"]["messages"]
    assert (message["kind"], message["values"]["reason"]) == ("urn:platform-failed", "TIMEOUT")


@pytest.mark.parametrize("step", [JobStep.PREPARE, JobStep.LAUNCH, JobStep.RUN, JobStep.RELEASE])
async def test_a_poisonous_session_fails_and_never_stalls_the_others(
    tmp_path: Path, step: JobStep
) -> None:
    """Upstream, one bad job at the head stopped everybody's."""
    platform = PoisonousPlatform(tmp_path, step)
    async with running_node(tmp_path, platform=platform) as node:
        poisonous = await node.direct(SMALL)
        await eventually(lambda: _holds(platform.poisonous))
        healthy = [await node.direct(SMALL) for _ in range(3)]

        for answer in healthy:
            await node.reaches(answer.uuid, "COMPLETED")
        session = await node.reaches(poisonous.uuid, "FAILED")

    messages = kinds_of(session["executable"]) + kinds_of(session["compute"])
    assert {"urn:platform-failed", "urn:release-failed"} & set(messages)


async def _holds(found: set[UUID]) -> bool:
    return bool(found)


async def test_a_platform_that_is_away_for_a_while_loses_no_session(tmp_path: Path) -> None:
    platform = UnreachablePlatform(tmp_path)
    async with running_node(tmp_path, platform=platform) as node:
        platform.is_away = True
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "PREPARING")

        async def has_failed_to_look() -> bool:
            async with node.http.get("/metrics") as response:
                text = await response.text()
            return 'reconcile_errors_total{step="observe"} 8' in text

        await eventually(has_failed_to_look)
        assert (await node.session(answer.uuid))["phase"] == "PREPARING"
        platform.is_away = False

        await node.reaches(answer.uuid, "COMPLETED")


async def test_a_job_of_nobody_is_released_when_the_node_starts(tmp_path: Path) -> None:
    path = tmp_path / "simulated.db"
    platform = SimulatedPlatform(QUICK, path, SystemClock(), Random(1))
    await platform.open()
    orphan = UUID(int=1)
    end_at = SystemClock().now() + timedelta(hours=1)
    await platform.prepare(JobSpec(orphan, {}, 1, 1, 1, end_at))
    await platform.close()

    platform = SimulatedPlatform(QUICK, path, SystemClock(), Random(1))
    async with running_node(tmp_path, platform=platform):

        async def is_gone() -> bool:
            return not await platform.recover()

        await eventually(is_gone)


async def test_sessions_and_bookings_are_counted(node: NodeClient) -> None:
    await node.reaches((await node.direct(MINIMAL)).uuid, "COMPLETED")
    await node.ask(MINIMAL)

    async with node.http.get("/metrics") as response:
        text = await response.text()

    for line in (
        'execbroker_node_sessions{phase="COMPLETED"} 1.0',
        'execbroker_node_sessions{phase="OFFERED"} 2.0',
        "execbroker_node_ledger_bookings 2.0",
        'execbroker_node_capacity{resource="cores"} 8.0',
        "execbroker_node_offers_total 3.0",
    ):
        assert line in text
