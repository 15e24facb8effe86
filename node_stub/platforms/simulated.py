"""A platform that only pretends to run, with chosen times and chosen failures.

Its jobs are times in a small file of its own, as a real platform's jobs live outside the broker:
what is observed follows from those times and the clock, so it goes on while the broker is down.
"""

import asyncio
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import aiosqlite
import msgspec

from gateway.wire.kinds import EXECUTABLE_KINDS, SIMPLE_COMPUTE
from node_stub.clock import Clock
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    JobPhase,
    JobRefusedError,
    JobSpec,
    Observation,
    PlatformError,
)
from node_stub.rules import EVERY_KIND, Estimate

STOPPED_EXIT_CODE: Final = 143
"""128 + SIGTERM, as a shell reports a program that was asked to end."""


class JobStep(StrEnum):
    """A part of a job's life that can be made to fail or to hang."""

    PREPARE = "prepare"
    LAUNCH = "launch"
    RUN = "run"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """Times in seconds, and what goes wrong.

    ``fail`` gives the probability of failure per step: drawn once per job, but for ``release`` at
    every attempt. A step in ``hang`` never comes to an end.
    """

    prepare_s: float = 1.0
    run_s: float = 2.0
    release_s: float = 1.0
    fail: Mapping[JobStep, float] = field(default_factory=dict)
    exit_code: int = 1
    hang: frozenset[JobStep] = frozenset()


def estimates_of(settings: SimulatedSettings) -> Mapping[str, Estimate]:
    """The chosen times in whole seconds, as if all was spent on the executable and on compute."""
    estimates = dict.fromkeys(EVERY_KIND, Estimate(prepare_s=0, release_s=0))
    prepare_s = math.ceil(settings.prepare_s)
    estimates |= dict.fromkeys(EXECUTABLE_KINDS, Estimate(prepare_s=prepare_s, release_s=0))
    release_s = math.ceil(settings.release_s)
    return estimates | {SIMPLE_COMPUTE: Estimate(prepare_s=0, release_s=release_s)}


class Job(msgspec.Struct, frozen=True):
    """The times of one job; what has not happened yet is None."""

    prepared_at: datetime
    launched_at: datetime | None = None
    stopped_at: datetime | None = None
    released_at: datetime | None = None
    failing: tuple[JobStep, ...] = ()


class SimulatedPlatform:
    """Pretends to run jobs. One instance owns its file."""

    name = "simulated"
    kinds = EVERY_KIND
    poll_s = 0.5

    def __init__(self, settings: SimulatedSettings, path: Path, clock: Clock, rng: Random) -> None:
        self.estimates: Final = estimates_of(settings)
        self._settings = settings
        self._path = path
        self._clock = clock
        self._rng = rng
        self._jobs: dict[UUID, Job] = {}
        self._database: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Read the jobs of former runs."""
        self._database = await aiosqlite.connect(self._path, isolation_level=None)
        await self._database.execute("PRAGMA journal_mode=WAL")
        await self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs (session TEXT PRIMARY KEY, job BLOB NOT NULL) STRICT"
        )
        rows = await self._database.execute_fetchall("SELECT session, job FROM jobs")
        self._jobs = {UUID(row[0]): msgspec.json.decode(row[1], type=Job) for row in rows}

    async def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        """Begin to pretend to get ready."""
        if spec.session not in self._jobs:
            failing = tuple(
                step
                for step, chance in self._settings.fail.items()
                if step is not JobStep.RELEASE and self._rng.random() < chance
            )
            await self._save(spec.session, Job(prepared_at=self._clock.now(), failing=failing))
        return Checkpoint(spec.session, self.name, native=str(spec.session))

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        """Begin to pretend to run."""
        job = self._jobs.get(spec.session)
        if job is None:
            raise JobRefusedError(EndReason.LOST, "there is no such job")
        if JobStep.LAUNCH in self._settings.hang:
            await asyncio.Event().wait()
        if JobStep.LAUNCH in job.failing:
            raise JobRefusedError(EndReason.LAUNCH, "the launch was made to fail")
        if job.launched_at is None:
            await self._save(
                spec.session, msgspec.structs.replace(job, launched_at=self._clock.now())
            )
        return checkpoint

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        """What the clock makes of the jobs."""
        now = self._clock.now()
        seen = {item.session: self._observation(item.session, now) for item in checkpoints}
        for session, observation in seen.items():
            if observation.phase is JobPhase.GONE and session in self._jobs:
                await self._forget(session)
        return seen

    async def stop(self, checkpoint: Checkpoint) -> None:
        """End the pretended run now."""
        job = self._jobs.get(checkpoint.session)
        if job is not None and job.stopped_at is None:
            await self._save(
                checkpoint.session, msgspec.structs.replace(job, stopped_at=self._clock.now())
            )

    async def release(self, checkpoint: Checkpoint) -> None:
        """Begin to pretend to clean up."""
        if self._rng.random() < self._settings.fail.get(JobStep.RELEASE, 0.0):
            raise PlatformError("the release was made to fail")
        job = self._jobs.get(checkpoint.session)
        if job is not None and job.released_at is None:
            await self._save(
                checkpoint.session, msgspec.structs.replace(job, released_at=self._clock.now())
            )

    async def recover(self) -> Sequence[Checkpoint]:
        """Every job that is not gone; the file forgets those that are."""
        now = self._clock.now()
        found = []
        for session in list(self._jobs):
            if self._observation(session, now).phase is JobPhase.GONE:
                await self._forget(session)
            else:
                found.append(Checkpoint(session, self.name, native=str(session)))
        return found

    def _observation(self, session: UUID, now: datetime) -> Observation:
        job = self._jobs.get(session)
        if job is None:
            return Observation(JobPhase.GONE, now)
        return observe_job(job, self._settings, now)

    async def _save(self, session: UUID, job: Job) -> None:
        await self._run(
            "INSERT INTO jobs VALUES (?, ?) ON CONFLICT DO UPDATE SET job = excluded.job",
            (str(session), msgspec.json.encode(job)),
        )
        self._jobs[session] = job

    async def _forget(self, session: UUID) -> None:
        await self._run("DELETE FROM jobs WHERE session = ?", (str(session),))
        self._jobs.pop(session, None)

    async def _run(self, sql: str, parameters: Sequence[str | bytes]) -> None:
        if self._database is None:
            raise PlatformError("the platform is not open")
        try:
            await self._database.execute(sql, parameters)
        except sqlite3.Error as error:
            raise PlatformError(f"the jobs cannot be written: {error}") from error


def observe_job(job: Job, settings: SimulatedSettings, now: datetime) -> Observation:
    """What is seen of a job at an instant."""
    if job.released_at is not None:
        return _releasing(job.released_at, settings, now)
    if job.launched_at is not None:
        return _running(job, job.launched_at, settings, now)
    return _preparing(job, settings, now)


def _preparing(job: Job, settings: SimulatedSettings, now: datetime) -> Observation:
    ready_at = job.prepared_at + timedelta(seconds=settings.prepare_s)
    if job.stopped_at is not None:
        return Observation(JobPhase.ENDED, now, EndReason.CANCELLED, ended=job.stopped_at)
    if JobStep.PREPARE in settings.hang:
        return Observation(JobPhase.STARTING, now)
    if now < ready_at:
        return Observation(JobPhase.STARTING, now, look_again=ready_at)
    if JobStep.PREPARE in job.failing:
        text = "the preparation was made to fail"
        return Observation(JobPhase.ENDED, now, EndReason.IMAGE, text=text, ended=ready_at)
    return Observation(JobPhase.READY, now)


def _running(
    job: Job, launched_at: datetime, settings: SimulatedSettings, now: datetime
) -> Observation:
    end_at = launched_at + timedelta(seconds=settings.run_s)
    seen = Observation(JobPhase.RUNNING, now, started=launched_at)
    is_endless = JobStep.RUN in settings.hang
    if job.stopped_at is not None and (is_endless or job.stopped_at < end_at):
        return replace(
            seen,
            phase=JobPhase.ENDED,
            reason=EndReason.CANCELLED,
            exit_code=STOPPED_EXIT_CODE,
            ended=job.stopped_at,
        )
    if is_endless:
        return seen
    if now < end_at:
        return replace(seen, look_again=end_at)
    is_failing = JobStep.RUN in job.failing
    return replace(
        seen,
        phase=JobPhase.ENDED,
        reason=EndReason.NONZERO if is_failing else EndReason.OK,
        exit_code=settings.exit_code if is_failing else 0,
        ended=end_at,
    )


def _releasing(released_at: datetime, settings: SimulatedSettings, now: datetime) -> Observation:
    gone_at = released_at + timedelta(seconds=settings.release_s)
    if JobStep.RELEASE in settings.hang:
        return Observation(JobPhase.STOPPING, now)
    if now < gone_at:
        return Observation(JobPhase.STOPPING, now, look_again=gone_at)
    return Observation(JobPhase.GONE, now, ended=gone_at)
