"""The simulated platform: times, failures, and a memory that outlives the broker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.kinds import DOCKER_CONTAINER, SIMPLE_COMPUTE
from node_stub.clock import SystemClock
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    JobPhase,
    JobRefusedError,
    JobSpec,
    Observation,
    PlatformError,
)
from node_stub.platforms.simulated import (
    JobStep,
    SimulatedPlatform,
    SimulatedSettings,
    course_of,
    estimates_of,
)
from node_stub.platforms.simulated_jobs import Job, observe_job

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
SESSION: Final = UUID(int=7)
SETTINGS: Final = SimulatedSettings(prepare_s=2, run_s=3, release_s=1)


class SetClock(SystemClock):
    """Shows what it was set to."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def new_platform(
    path: Path, clock: SetClock, settings: SimulatedSettings = SETTINGS
) -> SimulatedPlatform:
    return SimulatedPlatform(settings, path / "simulated.db", clock, Random(1))


@pytest.fixture
async def platform(tmp_path: Path, clock: SetClock) -> AsyncIterator[SimulatedPlatform]:
    platform = new_platform(tmp_path, clock)
    await platform.open()
    yield platform
    await platform.close()


def spec(session: UUID = SESSION) -> JobSpec:
    return JobSpec(session, {}, 1, 1, 1, NOW + timedelta(hours=1))


async def look(platform: SimulatedPlatform, session: UUID = SESSION) -> Observation:
    seen = await platform.observe([Checkpoint(session, platform.name)])
    return seen[session]


async def launched(platform: SimulatedPlatform, clock: SetClock) -> Checkpoint:
    checkpoint = await platform.prepare(spec())
    clock.advance(2)
    return await platform.launch(spec(), checkpoint)


async def test_a_job_goes_through_its_life(platform: SimulatedPlatform, clock: SetClock) -> None:
    checkpoint = await platform.prepare(spec())
    starting = await look(platform)
    clock.advance(2)
    ready = await look(platform)
    await platform.launch(spec(), checkpoint)
    running = await look(platform)
    clock.advance(3)
    ended = await look(platform)
    await platform.release(checkpoint)
    stopping = await look(platform)
    clock.advance(1)
    gone = await look(platform)

    phases = [seen.phase.value for seen in (starting, ready, running, ended, stopping, gone)]
    assert phases == ["STARTING", "READY", "RUNNING", "ENDED", "STOPPING", "GONE"]
    assert (ended.reason, ended.exit_code) == (EndReason.OK, 0)
    assert (ended.started, ended.ended) == (NOW + timedelta(seconds=2), NOW + timedelta(seconds=5))


async def test_a_job_says_when_it_will_change(platform: SimulatedPlatform, clock: SetClock) -> None:
    await launched(platform, clock)

    assert (await look(platform)).look_again == clock.now() + timedelta(seconds=3)


async def test_preparing_twice_adopts_the_job_that_is_there(
    platform: SimulatedPlatform, clock: SetClock
) -> None:
    first = await platform.prepare(spec())
    clock.advance(2)

    assert await platform.prepare(spec()) == first
    assert (await look(platform)).phase is JobPhase.READY


async def test_launching_twice_runs_it_once(platform: SimulatedPlatform, clock: SetClock) -> None:
    checkpoint = await launched(platform, clock)
    clock.advance(2)
    await platform.launch(spec(), checkpoint)
    clock.advance(1)

    assert (await look(platform)).phase is JobPhase.ENDED


async def test_launching_what_is_not_there_is_refused(platform: SimulatedPlatform) -> None:
    with pytest.raises(JobRefusedError):
        await platform.launch(spec(), Checkpoint(SESSION, platform.name))


async def test_a_stopped_job_ends_as_one_that_was_told_to(
    platform: SimulatedPlatform, clock: SetClock
) -> None:
    checkpoint = await launched(platform, clock)
    clock.advance(1)
    await platform.stop(checkpoint)
    await platform.stop(checkpoint)

    seen = await look(platform)

    assert (seen.phase, seen.reason, seen.exit_code) == (
        JobPhase.ENDED,
        EndReason.CANCELLED,
        143,
    )


async def test_stopping_a_job_that_has_ended_does_not_change_how(
    platform: SimulatedPlatform, clock: SetClock
) -> None:
    checkpoint = await launched(platform, clock)
    clock.advance(5)
    await platform.stop(checkpoint)

    assert (await look(platform)).reason is EndReason.OK


async def test_stopping_and_releasing_what_is_not_there_is_nothing(
    platform: SimulatedPlatform,
) -> None:
    bare = Checkpoint(uuid4(), platform.name)
    await platform.stop(bare)
    await platform.release(bare)

    assert (await look(platform, bare.session)).phase is JobPhase.GONE


async def test_jobs_go_on_while_the_broker_is_away(tmp_path: Path, clock: SetClock) -> None:
    platform = new_platform(tmp_path, clock)
    await platform.open()
    checkpoint = await launched(platform, clock)
    await platform.close()
    clock.advance(3)

    platform = new_platform(tmp_path, clock)
    await platform.open()
    seen = await look(platform)
    found = await platform.recover()
    await platform.close()

    assert seen.phase is JobPhase.ENDED
    assert found == [checkpoint]


async def test_a_job_that_is_gone_is_forgotten(tmp_path: Path, clock: SetClock) -> None:
    platform = new_platform(tmp_path, clock)
    await platform.open()
    await platform.release(await platform.prepare(spec()))
    clock.advance(1)

    assert await platform.recover() == []
    await platform.close()
    platform = new_platform(tmp_path, clock)
    await platform.open()
    assert await platform.recover() == []
    await platform.close()


async def test_a_preparation_can_be_made_to_fail(tmp_path: Path, clock: SetClock) -> None:
    failing = replace(SETTINGS, fail={JobStep.PREPARE: 1.0})
    platform = new_platform(tmp_path, clock, failing)
    await platform.open()
    await platform.prepare(spec())
    clock.advance(2)
    seen = await look(platform)
    await platform.close()

    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)


async def test_a_launch_can_be_made_to_fail(tmp_path: Path, clock: SetClock) -> None:
    platform = new_platform(tmp_path, clock, replace(SETTINGS, fail={JobStep.LAUNCH: 1.0}))
    await platform.open()
    with pytest.raises(JobRefusedError) as caught:
        await launched(platform, clock)
    await platform.close()

    assert caught.value.reason is EndReason.LAUNCH


async def test_a_run_can_be_made_to_fail(tmp_path: Path, clock: SetClock) -> None:
    settings = replace(SETTINGS, fail={JobStep.RUN: 1.0}, exit_code=9)
    platform = new_platform(tmp_path, clock, settings)
    await platform.open()
    await launched(platform, clock)
    clock.advance(3)
    seen = await look(platform)
    await platform.close()

    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 9)


async def test_a_release_can_be_made_to_fail(tmp_path: Path, clock: SetClock) -> None:
    platform = new_platform(tmp_path, clock, replace(SETTINGS, fail={JobStep.RELEASE: 1.0}))
    await platform.open()
    checkpoint = await platform.prepare(spec())
    with pytest.raises(PlatformError):
        await platform.release(checkpoint)
    await platform.close()


async def test_a_launch_can_be_made_to_hang(tmp_path: Path, clock: SetClock) -> None:
    platform = new_platform(tmp_path, clock, replace(SETTINGS, hang=frozenset({JobStep.LAUNCH})))
    await platform.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await launched(platform, clock)
    await platform.close()


@pytest.mark.parametrize(
    ("step", "job", "phase"),
    [
        (JobStep.PREPARE, Job(NOW), JobPhase.STARTING),
        (JobStep.RUN, Job(NOW, NOW), JobPhase.RUNNING),
        (JobStep.RELEASE, Job(NOW, NOW, NOW, NOW), JobPhase.STOPPING),
    ],
)
def test_a_step_that_hangs_never_ends(step: JobStep, job: Job, phase: JobPhase) -> None:
    settings = replace(SETTINGS, hang=frozenset({step}))

    seen = observe_job(job, course_of(job, settings), NOW + timedelta(days=1000))

    assert (seen.phase, seen.look_again) == (phase, None)


def test_a_hanging_run_can_be_stopped() -> None:
    settings = replace(SETTINGS, hang=frozenset({JobStep.RUN}))
    job = Job(NOW, NOW, NOW + timedelta(days=1))

    seen = observe_job(job, course_of(job, settings), NOW + timedelta(days=2))

    assert seen.reason is EndReason.CANCELLED


async def test_a_platform_that_is_not_open_cannot_prepare(tmp_path: Path, clock: SetClock) -> None:
    with pytest.raises(PlatformError):
        await new_platform(tmp_path, clock).prepare(spec())


def test_estimates_are_whole_seconds_and_never_too_short() -> None:
    estimates = estimates_of(SimulatedSettings(prepare_s=1.2, release_s=0.1))

    assert estimates[DOCKER_CONTAINER].prepare_s == 2
    assert estimates[SIMPLE_COMPUTE].release_s == 1


seconds = st.none() | st.floats(0, 20)


@given(seconds, seconds, seconds, st.lists(st.floats(0, 40), min_size=2, max_size=8))
def test_a_job_never_goes_back(
    launched_s: float | None, stopped_s: float | None, released_s: float | None, looks: list[float]
) -> None:
    def instant(after_s: float | None) -> datetime | None:
        return None if after_s is None else NOW + timedelta(seconds=after_s)

    rank = {
        JobPhase.STARTING: 0,
        JobPhase.READY: 1,
        JobPhase.RUNNING: 2,
        JobPhase.ENDED: 3,
        JobPhase.STOPPING: 4,
        JobPhase.GONE: 5,
    }
    job = Job(NOW, instant(launched_s), instant(stopped_s), instant(released_s))
    ranks = [
        rank[observe_job(job, course_of(job, SETTINGS), NOW + timedelta(seconds=after_s)).phase]
        for after_s in sorted(looks)
    ]

    assert ranks == sorted(ranks)
