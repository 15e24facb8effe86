"""A platform that only pretends to run, with chosen times and chosen failures.

Its jobs are times in a small file of its own, as a real platform's jobs live outside the broker:
what is observed follows from those times and the clock, so it goes on while the broker is down.
Requests may wish for what is to happen: see :mod:`node_stub.platforms.simulated_wishes`.
"""

import asyncio
import math
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import aiosqlite
import msgspec

from gateway.wire.documents import Document
from gateway.wire.kinds import EXECUTABLE_KINDS, SIMPLE_COMPUTE
from node_stub.appraisal import Appraisal
from node_stub.archive import Archive, Report
from node_stub.clock import Clock
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    Health,
    JobPhase,
    JobRefusedError,
    JobSpec,
    LogChunk,
    Observation,
    PlatformError,
    Stream,
    Unarchived,
    UnarchivedError,
    Usage,
)
from node_stub.platforms.logs import read_chunk
from node_stub.platforms.simulated_jobs import (
    KILLED_EXIT_CODE,
    Course,
    Ending,
    Job,
    observe_job,
    share_run,
)
from node_stub.platforms.simulated_log import read_simulated_log
from node_stub.platforms.simulated_wishes import PREPARING_ENDS, RUNNING_ENDS, Wishes, read_wishes
from node_stub.rules import EVERY_KIND, Estimate

_CHUNK_BYTES: Final = 2**20
"""How much of a log is made up at once when it is kept."""

_NO_EVENTS: Final[tuple[UUID, ...]] = ()


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
    every attempt. A step in ``hang`` never comes to an end. ``grace_s`` is how long a job may go on
    when it is asked to stop, ``log_bytes`` how much of its log is kept. ``wishes``: whether a
    request may wish for other times and ends.
    """

    prepare_s: float = 1.0
    run_s: float = 2.0
    release_s: float = 1.0
    fail: Mapping[JobStep, float] = field(default_factory=dict)
    exit_code: int = 1
    hang: frozenset[JobStep] = frozenset()
    grace_s: float = 10.0
    log_bytes: int = 16 * 2**20
    wishes: bool = True


def estimates_of(settings: SimulatedSettings) -> Mapping[str, Estimate]:
    """The chosen times in whole seconds, as if all was spent on the executable and on compute."""
    estimates = dict.fromkeys(EVERY_KIND, Estimate(prepare_s=0, release_s=0))
    prepare_s = math.ceil(settings.prepare_s)
    estimates |= dict.fromkeys(EXECUTABLE_KINDS, Estimate(prepare_s=prepare_s, release_s=0))
    release_s = math.ceil(settings.release_s)
    return estimates | {SIMPLE_COMPUTE: Estimate(prepare_s=0, release_s=release_s)}


def course_of(job: Job, settings: SimulatedSettings) -> Course:
    """How a job goes by what was drawn for it, by what was wished of it, and by the settings."""
    wishes = job.wishes
    unprepared = None
    if JobStep.PREPARE in job.failing:
        unprepared = Ending(EndReason.IMAGE, text="the preparation was made to fail")
    elif wishes.end in PREPARING_ENDS:
        unprepared = Ending(wishes.end, text="the request wished so")
    return Course(
        prepare_s=_chosen(wishes.prepare_s, settings.prepare_s, JobStep.PREPARE, settings),
        run_s=_chosen(wishes.run_s, settings.run_s, JobStep.RUN, settings),
        release_s=_chosen(None, settings.release_s, JobStep.RELEASE, settings),
        stop_s=wishes.stop_s,
        grace_s=settings.grace_s,
        unprepared=unprepared,
        ending=_ending(job, settings),
    )


def _chosen(
    wished_s: float | None, set_s: float, step: JobStep, settings: SimulatedSettings
) -> float | None:
    if step in settings.hang:
        return None
    return set_s if wished_s is None else wished_s


def _ending(job: Job, settings: SimulatedSettings) -> Ending:
    wishes = job.wishes
    if JobStep.RUN in job.failing:
        return Ending(EndReason.NONZERO, settings.exit_code)
    if wishes.end in RUNNING_ENDS:
        is_killed = wishes.end in (EndReason.OOM, EndReason.STORAGE)
        exit_code = KILLED_EXIT_CODE if is_killed else None
        return Ending(wishes.end, exit_code, "the request wished so")
    return Ending(EndReason.NONZERO if wishes.exit_code else EndReason.OK, wishes.exit_code or 0)


class SimulatedPlatform:
    """Pretends to run jobs. One instance owns its file, and the folder for logs beside it.

    Parameters
    ----------
    archive
        Where what came out is kept; without one it is lost with the job.
    """

    name = "simulated"
    kinds = EVERY_KIND
    poll_s = 0.5

    def __init__(
        self,
        settings: SimulatedSettings,
        path: Path,
        clock: Clock,
        rng: Random,
        archive: Archive | None = None,
    ) -> None:
        self._settings = settings
        self._path = path
        self._logs = path.with_suffix(".logs")
        self._clock = clock
        self._rng = rng
        self._archive = archive
        self._jobs: dict[UUID, Job] = {}
        self._database: aiosqlite.Connection | None = None
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Read the jobs of former runs."""
        self._closed.clear()
        await asyncio.to_thread(shutil.rmtree, self._logs, ignore_errors=True)
        self._database = await aiosqlite.connect(self._path, isolation_level=None)
        await self._database.execute("PRAGMA journal_mode=WAL")
        await self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs (session TEXT PRIMARY KEY, job BLOB NOT NULL) STRICT"
        )
        rows = await self._database.execute_fetchall("SELECT session, job FROM jobs")
        self._jobs = {UUID(row[0]): msgspec.json.decode(row[1], type=Job) for row in rows}

    async def close(self) -> None:
        """Close the file."""
        self._closed.set()
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def probe(self) -> Health:
        """Up from `open` to `close`."""
        return Health(self._database is not None, "simulated: nothing is really run")

    async def estimate(self, document: Document) -> Appraisal:
        """The chosen times, or those wished for; wishes that cannot be met are refused."""
        appraisal = Appraisal(estimates_of(self._settings))
        if not self._settings.wishes:
            return appraisal
        executable = document["executable"]
        wishes, remarks = read_wishes(executable)
        if wishes.prepare_s is None:
            return replace(appraisal, remarks=remarks)
        wished = {executable["meta"]["uuid"]: Estimate(prepare_s=math.ceil(wishes.prepare_s))}
        return appraisal.joined(Appraisal(wished, remarks))

    async def events(self) -> AsyncIterator[UUID]:
        """None: every observation says when to look again. Ends when the platform is closed."""
        await self._closed.wait()
        for session in _NO_EVENTS:
            yield session

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        """Begin to pretend to get ready."""
        if spec.session not in self._jobs:
            failing = tuple(
                step
                for step, chance in self._settings.fail.items()
                if step is not JobStep.RELEASE and self._rng.random() < chance
            )
            job = Job(self._clock.now(), failing=failing, wishes=self._wishes(spec))
            await self._save(spec.session, job)
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
        if job.wishes.end is EndReason.LAUNCH:
            raise JobRefusedError(EndReason.LAUNCH, "the request wished so")
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
        """End the pretended run now, or a little later if that was wished for."""
        job = self._jobs.get(checkpoint.session)
        if job is not None and job.stopped_at is None:
            await self._save(
                checkpoint.session, msgspec.structs.replace(job, stopped_at=self._clock.now())
            )

    async def release(self, checkpoint: Checkpoint) -> None:
        """Keep what came out, and begin to pretend to clean up."""
        if self._rng.random() < self._settings.fail.get(JobStep.RELEASE, 0.0):
            raise PlatformError("the release was made to fail")
        job = self._jobs.get(checkpoint.session)
        if job is not None and job.released_at is None:
            now = self._clock.now()
            await self._keep(checkpoint.session, job, now)
            await self._save(checkpoint.session, msgspec.structs.replace(job, released_at=now))

    async def read_log(
        self, session: UUID, stream: Stream, offset: int, limit: int
    ) -> LogChunk | None:
        """What a job is said to have written; nothing ever to stderr."""
        kept = None if self._archive is None else await self._archive.log(session, stream)
        if kept is not None:
            return await asyncio.to_thread(read_chunk, kept, offset, limit, is_complete=True)
        job = self._jobs.get(session)
        if job is None:
            return None
        now = self._clock.now()
        is_over = job.released_at is not None or self._observation(session, now).reason is not None
        data = self._log(job, stream, now, offset, limit, is_complete=is_over)
        end = offset + len(data)
        is_at_end = not self._log(job, stream, now, end, 1, is_complete=is_over)
        return LogChunk(data, end, is_complete=is_over and is_at_end)

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

    def _wishes(self, spec: JobSpec) -> Wishes:
        if not self._settings.wishes:
            return Wishes()
        wishes, remarks = read_wishes(spec.document.get("executable", {}))
        if remarks:
            raise JobRefusedError(EndReason.UNSCHEDULABLE, "the wishes cannot be met")
        return wishes

    def _observation(self, session: UUID, now: datetime) -> Observation:
        job = self._jobs.get(session)
        if job is None:
            return Observation(JobPhase.GONE, now)
        return observe_job(job, course_of(job, self._settings), now)

    def _log(
        self, job: Job, stream: Stream, now: datetime, offset: int, count: int, *, is_complete: bool
    ) -> bytes:
        if stream is not Stream.STDOUT:
            return b""
        share = share_run(job, course_of(job, self._settings), now)
        written = int(job.wishes.log_bytes * share)
        return read_simulated_log(
            written, self._settings.log_bytes, offset, count, is_complete=is_complete
        )

    async def _keep(self, session: UUID, job: Job, now: datetime) -> None:
        """Put how it ended and what it wrote into the archive."""
        if self._archive is None:
            return
        seen = observe_job(job, course_of(job, self._settings), now)
        if seen.reason is None:
            exit_code = None if seen.started is None else KILLED_EXIT_CODE
            seen = replace(seen, reason=EndReason.CANCELLED, exit_code=exit_code, ended=now)
        report = Report(
            exit_code=seen.exit_code,
            reason=seen.reason,
            text=seen.text,
            started=seen.started,
            ended=seen.ended,
            usage=seen.usage or Usage(),
        )
        folder = self._logs / str(session)
        try:
            logs = await asyncio.to_thread(self._write_logs, folder, job, now)
            await self._archive.keep(session, report, logs, ())
        except OSError as error:
            place, why = self._path.name, error.strerror or str(error)
            raise UnarchivedError(Unarchived(seen.reason, seen.exit_code, why, place)) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _write_logs(self, folder: Path, job: Job, now: datetime) -> Mapping[Stream, Path]:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs = {stream: folder / stream.value for stream in Stream}
        for stream, path in logs.items():
            offset = 0
            with path.open("wb") as file:
                while data := self._log(job, stream, now, offset, _CHUNK_BYTES, is_complete=True):
                    file.write(data)
                    offset += len(data)
        return logs

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
