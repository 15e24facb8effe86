"""A platform whose jobs find their data in directories of ours, whatever runs them.

Data is staged while the executable is got ready; the job begins when all of it is there; what came
out is kept before anything is removed. Each session is in the hands of one caller at a time.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import ComponentPhase
from node_stub.appraisal import Appraisal
from node_stub.archive import Archive
from node_stub.clock import Clock
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    Health,
    JobPhase,
    JobSpec,
    LogChunk,
    Observation,
    PlatformError,
    Stream,
    Usage,
)
from node_stub.platforms.harvest import Harvester
from node_stub.platforms.logs import read_chunk
from node_stub.platforms.runner import Runner, RunSpec, Workspace
from node_stub.platforms.storage_watch import StorageWatch
from node_stub.platforms.workspace_settings import WorkspaceSettings
from node_stub.platforms.workspaces import Workspaces, make_mount_points
from node_stub.staging.errors import StorageError
from node_stub.staging.layout import mounts
from node_stub.staging.push import Pusher
from node_stub.staging.records import StagingSpec, StagingState
from node_stub.staging.stager import Stager
from node_stub.staging.threads import finished
from node_stub.standing import Component

STOP_WITHIN_S: Final = 20.0
"""How long a job that is being released may take to be seen ended, once it is told to."""

_STOP_LOOK_S: Final = 0.1

_BEFORE: Final = (JobPhase.QUEUED, JobPhase.STARTING, JobPhase.READY)

_log = structlog.get_logger(__name__)


class WorkspacePlatform:
    """Runs jobs by a runner, in workspaces below one root.

    Runner, stager and pusher are opened and closed here.
    """

    def __init__(
        self,
        runner: Runner,
        stager: Stager,
        pusher: Pusher,
        archive: Archive,
        root: Path,
        settings: WorkspaceSettings,
        clock: Clock,
    ) -> None:
        self.name: Final = runner.name
        self.kinds: Final = (
            runner.kinds
            | kinds.COMPUTE_KINDS
            | kinds.STORAGE_KINDS
            | kinds.VOLUME_KINDS
            | kinds.DATA_KINDS
        )
        self.poll_s: Final = runner.poll_s
        self._runner = runner
        self._stager = stager
        self._pusher = pusher
        self._archive = archive
        self._settings = settings
        self._clock = clock
        self._workspaces = Workspaces(root)
        self._harvester = Harvester(archive, pusher)
        self._watch = StorageWatch(
            runner, self._workspaces, settings.home_gib, settings.stop_grace_s
        )
        self._hints: asyncio.Queue[UUID] = asyncio.Queue()
        self._releases: dict[UUID, asyncio.Task[None]] = {}
        self._troubles: dict[UUID, PlatformError] = {}
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and go on with what was being got ready."""
        await asyncio.to_thread(self._workspaces.open)
        await self._runner.open(self._hints.put_nowait)
        await self._stager.open(self._hints.put_nowait)
        await self._pusher.open()
        for session in await asyncio.to_thread(self._workspaces.sessions):
            spec = await asyncio.to_thread(self._workspaces.job, session)
            if spec is not None:
                await self._take_up(spec)
        self._watching = asyncio.create_task(
            self._watch.run(self._settings.disk_check_s), name="storage_watch"
        )

    async def close(self) -> None:
        """Let go of connections; jobs go on, what was being fetched is fetched on later."""
        tasks = [*self._releases.values()]
        if self._watching is not None:
            tasks.append(self._watching)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._pusher.close()
        await self._stager.close()
        await self._runner.close()

    async def probe(self) -> Health:
        """Whether the runner can run anything now."""
        return await self._runner.probe()

    async def estimate(self, document: Document) -> Appraisal:
        """What the runner says of the executable and its limits, and the stager of the data."""
        runs = await self._runner.estimate(document)
        shares_files = self._runner.can_mount_read_only
        return runs.joined(self._stager.estimate(document, shares_files=shares_files))

    async def events(self) -> AsyncIterator[UUID]:
        """Sessions of which something has changed."""
        while True:
            yield await self._hints.get()

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        """Begin to fetch the data and to get the executable ready, side by side."""
        # Half of it would not be found again, and so not be released.
        return await finished(self._prepare(spec))

    async def _prepare(self, spec: JobSpec) -> Checkpoint:
        session = spec.session
        try:
            await asyncio.to_thread(self._workspaces.make, session)
            await self._runner.prepare(self._run_of(spec))
            await self._stager.begin(self._staging_of(spec))
            await asyncio.to_thread(self._workspaces.save, spec)
        except (OSError, StorageError) as error:
            raise PlatformError(f"the directories cannot be made: {error}") from error
        return Checkpoint(session, self.name, native=str(session))

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        """Start the job with everything mounted."""
        run = self._run_of(spec)
        try:
            await asyncio.to_thread(make_mount_points, run.workspace, run.mounts)
        except OSError as error:
            raise PlatformError(f"a volume cannot be mounted: {error.strerror}") from error
        await self._runner.launch(run)
        return checkpoint

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        """What the runner sees, together with where the data and the releasing stand."""
        sessions = [checkpoint.session for checkpoint in checkpoints]
        made = await asyncio.to_thread(self._made, sessions)
        seen = await self._runner.observe([self._workspaces.of(session) for session in made])
        return {session: await self._observation(session, made, seen) for session in sessions}

    async def stop(self, checkpoint: Checkpoint) -> None:
        """Fetch no more, and ask the job to end."""
        await self._stager.cancel(checkpoint.session)
        workspace = self._workspaces.of(checkpoint.session)
        await self._runner.stop(workspace, self._settings.stop_grace_s)

    async def release(self, checkpoint: Checkpoint) -> None:
        """Begin to keep what came out and to remove all else."""
        session = checkpoint.session
        if session in self._releases:
            return
        trouble = self._troubles.pop(session, None)
        if trouble is not None:
            raise trouble  # of the last time; the next call tries anew
        self._releases[session] = asyncio.create_task(self._release(session), name="release")

    async def recover(self) -> Sequence[Checkpoint]:
        """Every session with a directory here or a job of the runner's."""
        found = set(await asyncio.to_thread(self._workspaces.sessions))
        found.update(await self._runner.recover())
        return [Checkpoint(session, self.name, native=str(session)) for session in sorted(found)]

    async def read_log(
        self, session: UUID, stream: Stream, offset: int, limit: int
    ) -> LogChunk | None:
        """From the archive if the job is over, else from where it is being written."""
        kept = await self._archive.log(session, stream)
        is_complete = kept is not None
        path = kept or self._workspaces.of(session).log(stream)
        chunk = await asyncio.to_thread(read_chunk, path, offset, limit, is_complete=is_complete)
        if chunk is None and await asyncio.to_thread(self._workspaces.has_job, session):
            return LogChunk(b"", offset, is_complete=False)
        return chunk

    async def _take_up(self, spec: JobSpec) -> None:
        """After a restart: what was not ready yet is got ready on."""
        workspace = self._workspaces.of(spec.session)
        try:
            seen = (await self._runner.observe([workspace])).get(spec.session)
            if seen is None or seen.phase in (*_BEFORE, JobPhase.GONE):
                await self._runner.prepare(self._run_of(spec))
                await self._stager.begin(self._staging_of(spec))
        except (PlatformError, StorageError) as error:
            # It is looked at like every other; only then can anything be decided.
            _log.warning("job_not_taken_up", session=str(spec.session), reason=str(error))

    def _made(self, sessions: Sequence[UUID]) -> frozenset[UUID]:
        return frozenset(s for s in sessions if self._workspaces.has_job(s))

    async def _observation(
        self, session: UUID, made: Set[UUID], seen: Mapping[UUID, Observation]
    ) -> Observation:
        if session in self._releases:
            return Observation(JobPhase.STOPPING, self._clock.now())
        if session in made:
            return await self._combined(session, seen.get(session))
        return await self._gone(session)

    async def _gone(self, session: UUID) -> Observation:
        """Nothing is here; whether all that came out went where it should, the archive knows."""
        self._troubles.pop(session, None)
        now = self._clock.now()
        report = await self._archive.report(session)
        if report is not None and report.unsent:
            text = "; ".join(report.unsent)
            return Observation(JobPhase.GONE, now, EndReason.RESULTS, text=text)
        return Observation(JobPhase.GONE, now)

    async def _combined(self, session: UUID, seen: Observation | None) -> Observation:
        staging = await self._staging(self._workspaces.of(session))
        if seen is None or seen.phase is JobPhase.GONE:
            # Its directories are there: the runner has not begun, or has been released already.
            seen = self._nothing()
        if seen.phase in _BEFORE:
            return _before_launch(seen, staging)
        if seen.phase is not JobPhase.ENDED:
            return seen
        return await asyncio.to_thread(self._judged, session, seen, staging)

    async def _staging(self, workspace: Workspace) -> StagingState:
        return await self._stager.state(workspace) or StagingState()

    def _nothing(self) -> Observation:
        return Observation(JobPhase.STARTING, self._clock.now())

    def _judged(self, session: UUID, seen: Observation, staging: StagingState) -> Observation:
        """With what was staged; an end that the broker brought about has the broker's reason."""
        spec = self._workspaces.job(session)
        if spec is not None and spec.document.get("data"):
            usage = replace(
                seen.usage or Usage(),
                bytes_staged=staging.bytes_staged,
                staging_s=staging.staging_s,
            )
            seen = replace(seen, usage=usage)
        verdict = self._workspaces.verdict(session)
        if verdict is None:
            return seen
        return replace(seen, reason=verdict.reason, text=verdict.text)

    def _run_of(self, spec: JobSpec) -> RunSpec:
        workspace = self._workspaces.of(spec.session)
        return RunSpec(
            workspace=workspace,
            executable=spec.document["executable"],
            cores=spec.cores,
            memory_gib=spec.memory_gib,
            storage_gib=spec.storage_gib + self._settings.home_gib,
            end_at=spec.end_at,
            mounts=mounts(spec.document, workspace),
            log_bytes=self._settings.log_mib << 20,
        )

    def _staging_of(self, spec: JobSpec) -> StagingSpec:
        return StagingSpec(
            workspace=self._workspaces.of(spec.session),
            document=spec.document,
            shares_files=self._runner.can_mount_read_only,
        )

    async def _release(self, session: UUID) -> None:
        """One attempt; what goes wrong is told at the next call."""
        try:
            await self._release_all(self._workspaces.of(session))
        except PlatformError as error:
            self._troubles[session] = error
        except (OSError, subprocess.TimeoutExpired) as error:
            self._troubles[session] = PlatformError(f"the directories cannot be cleared: {error}")
        finally:
            del self._releases[session]
            self._hints.put_nowait(session)

    async def _release_all(self, workspace: Workspace) -> None:
        """Keep what came out, then remove the job, then its directories."""
        session = workspace.session
        await self._stager.cancel(session)
        ended = await self._ended(workspace)
        spec = await asyncio.to_thread(self._workspaces.job, session)
        if spec is not None and ended is not None:
            await self._harvester.keep(spec, workspace, ended)
        await self._runner.release(workspace)
        await asyncio.to_thread(self._workspaces.remove, session)

    async def _ended(self, workspace: Workspace) -> Observation | None:
        """How the job ended, made to end where it still runs; None if there never was one."""
        is_asked = False
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                while True:
                    seen = (await self._runner.observe([workspace])).get(workspace.session)
                    staging = await self._staging(workspace)
                    if seen is None or seen.phase in (*_BEFORE, JobPhase.GONE):
                        before = _before_launch(seen or self._nothing(), staging)
                        return before if before.phase is JobPhase.ENDED else None
                    if seen.phase in (JobPhase.ENDED, JobPhase.LOST):
                        return await asyncio.to_thread(
                            self._judged, workspace.session, seen, staging
                        )
                    if not is_asked:
                        await self._runner.stop(workspace, 0.0)
                        is_asked = True
                    await asyncio.sleep(_STOP_LOOK_S)
        raise PlatformError("the job does not end")


def _before_launch(seen: Observation, staging: StagingState) -> Observation:
    """Ready when both the executable and the data are; ended when either has failed."""
    components = dict(staging.components)
    if seen.phase is not JobPhase.READY:
        # A notebook that has been fetched still waits for what runs it.
        components.pop(Component.EXECUTABLE, None)
    elif Component.EXECUTABLE not in components:
        components[Component.EXECUTABLE] = ComponentPhase.AVAILABLE
    seen = replace(seen, components=components)
    if staging.failure is not None:
        reason, text = staging.failure.reason, staging.failure.text
        return replace(seen, phase=JobPhase.ENDED, reason=reason, text=text)
    if seen.phase is JobPhase.READY and not staging.is_ready:
        return replace(seen, phase=JobPhase.STARTING)
    return seen
