"""Runs jobs in containers of a Docker Engine or a Podman service on this machine."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from node_stub.appraisal import Appraisal
from node_stub.clock import Clock
from node_stub.platforms.base import EndReason, Health, Observation, PlatformError
from node_stub.platforms.docker import cgroups, notebooks
from node_stub.platforms.docker.appraising import remarks_on
from node_stub.platforms.docker.client import EngineClient, EngineInfo, Inspection
from node_stub.platforms.docker.containers import ENDED_STATES, FRESH_STATES
from node_stub.platforms.docker.images import ImageRequest, request_of
from node_stub.platforms.docker.launching import Launcher
from node_stub.platforms.docker.marks import Mark, broker_of, container_name
from node_stub.platforms.docker.observing import observation_of
from node_stub.platforms.docker.preparing import ImageProvider
from node_stub.platforms.docker.records import End, Job, Preparation, Stop
from node_stub.platforms.docker.settings import DockerSettings
from node_stub.platforms.docker.watching import REACH, SAMPLE, WATCH, Watcher
from node_stub.platforms.runner import RunSpec, Workspace
from node_stub.rules import Estimate

LAUNCH_S: Final = 1
RELEASE_S: Final = 2
"""What starting and removing a container takes, rounded up from fractions of it."""

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
"""Between two attempts to reach an engine that is away."""

CGROUP_LOOKS: Final = 20
CGROUP_LOOK_S: Final = 0.05
"""How often, and after what, it is tried again to remove a group that has just been left."""

PREPARE: Final = "prepare"
STOP: Final = "stop"

_log = structlog.get_logger(__name__)


class DockerRunner:
    """Runs jobs in containers. ``root`` is where the workspaces are."""

    name = "docker"
    poll_s = 1.0
    can_mount_read_only = True

    def __init__(self, settings: DockerSettings, root: Path, clock: Clock) -> None:
        executables = {kinds.DOCKER_CONTAINER}
        if settings.notebook is not None:
            executables.add(kinds.JUPYTER_NOTEBOOK)
        self.kinds: Final = frozenset(executables)
        self._settings = settings
        self._root = root
        self._clock = clock
        self._hint: Callable[[UUID], None] = _nobody
        self._client = EngineClient(settings.socket_path)
        self._images = ImageProvider(self._client, settings, clock, self._tell)
        self._watcher = Watcher(self._client, settings, self._tell)
        self._mark = Mark(settings.label, "")
        self._launcher = Launcher(self._client, settings, clock, self._mark)
        self._jobs: dict[UUID, Job] = {}
        self._events: asyncio.Task[None] | None = None

    async def open(self, hint: Callable[[UUID], None]) -> None:
        """Connect. An engine that is away now may come later."""
        self._hint = hint
        broker = await asyncio.to_thread(broker_of, self._root)
        self._mark = Mark(self._settings.label, broker)
        self._launcher = Launcher(self._client, self._settings, self._clock, self._mark)
        await self._client.open()
        self._events = asyncio.create_task(self._follow_events(), name="engine_events")

    async def close(self) -> None:
        """Leave off watching; containers run on."""
        tasks = [] if self._events is None else [self._events]
        self._events = None
        for task in tasks:
            task.cancel()
        for job in self._jobs.values():
            await job.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._jobs.clear()
        await self._client.close()

    async def probe(self) -> Health:
        """Whether the engine answers, and what it is."""
        try:
            info = await self._client.ping()
        except PlatformError as error:
            return Health(is_up=False, detail=str(error))
        return Health(is_up=True, detail=str(info))

    async def estimate(self, document: Document) -> Appraisal:
        """What is refused, how it would run, and how long the image takes to get here."""
        info = await self._client.info()
        remarks = remarks_on(document, self._settings, info)
        executable = document["executable"]
        prepare_s = 0
        if not any(remark.reason.level is MessageLevel.ERROR for remark in remarks):
            prepare_s = await self._images.estimate_s(self._wanted(executable, info))
        return Appraisal(
            {
                executable["kind"]: Estimate(prepare_s=prepare_s),
                kinds.SIMPLE_COMPUTE: Estimate(prepare_s=LAUNCH_S, release_s=RELEASE_S),
            },
            remarks,
        )

    async def prepare(self, run: RunSpec) -> None:
        """Begin to get the image."""
        job = await self._job(run.workspace)
        if job.preparation is None:
            wanted = self._wanted(run.executable, await self._client.info())
            await job.save(
                Preparation(
                    locations=wanted.locations,
                    digest=wanted.digest,
                    architecture=wanted.architecture,
                    system=wanted.system,
                    begun=self._clock.now(),
                )
            )
        self._keep_getting_ready(job)

    async def launch(self, run: RunSpec) -> None:
        """Make the container and start it; one that is there is started or left alone."""
        job = await self._job(run.workspace)
        if job.end is not None or job.stop is not None:
            return
        if job.start is None:
            if job.provided is None:
                raise PlatformError("the image is not ready")
            await self._launcher.launch(job, job.provided, run)
        self._keep_watching(job)

    async def observe(self, workspaces: Sequence[Workspace]) -> Mapping[UUID, Observation]:
        """Look at records, and at one list of all containers for those that may be running."""
        jobs = [await self._job(workspace) for workspace in workspaces]
        starts = {job.session: job.start for job in jobs}
        containers: Mapping[UUID, Inspection] = {}
        if any(job.launch is not None and job.end is None for job in jobs):
            containers = await self._containers()
        now = self._clock.now()
        seen: dict[UUID, Observation] = {}
        for job in jobs:
            container = containers.get(job.session)
            self._keep_getting_ready(job)
            if job.start is not None and container is not None:
                self._keep_watching(job)
                self._keep_stopping(job)
            seen[job.session] = observation_of(job, starts[job.session], container, now)
            if job.preparation is None:
                self._jobs.pop(job.session, None)
        return seen

    async def stop(self, workspace: Workspace, grace_s: float) -> None:
        """Note it, then have the container ended; what never started has ended at once."""
        job = await self._job(workspace)
        if job.preparation is None or job.end is not None:
            return
        grace = math.ceil(grace_s)
        if job.stop is None:
            await job.save(Stop(self._clock.now(), grace))
        if job.launch is None:
            await job.cancel(PREPARE)
            await self._end_unstarted(job)
            return
        if job.stopping_s is None or grace < job.stopping_s:
            # A second call may be in more of a hurry than the first.
            await job.cancel(STOP)
            job.stopping_s = grace
        job.begin(STOP, lambda: self._stop(job, grace))

    async def release(self, workspace: Workspace) -> None:
        """Remove the container, its group and the records."""
        job = await self._job(workspace)
        await job.cancel()
        name = container_name(job.session)
        container = await self._client.container(name)
        if container is not None and self._session_of(container) == job.session:
            await self._client.remove(name)
        await self._remove_cgroup(cgroups.path_for(self._mark.broker, str(job.session)))
        try:
            await asyncio.to_thread(notebooks.forget, workspace)
            await asyncio.to_thread(job.files.remove)
        except OSError as error:
            raise PlatformError(f"the records cannot be removed: {error.strerror}") from error
        self._jobs.pop(job.session, None)

    async def recover(self) -> Sequence[UUID]:
        """Every session with a container of this broker's."""
        return sorted(await self._containers())

    async def _job(self, workspace: Workspace) -> Job:
        """What is known of a job; read once."""
        job = self._jobs.get(workspace.session)
        if job is None:
            job = Job(workspace)
            await job.load()
            # Somebody else may have asked for it meanwhile.
            job = self._jobs.setdefault(workspace.session, job)
        return job

    def _wanted(self, executable: Document, info: EngineInfo) -> ImageRequest:
        notebook = self._settings.notebook
        if executable["kind"] == kinds.JUPYTER_NOTEBOOK and notebook is not None:
            return request_of(notebooks.image_document(notebook), info)
        return request_of(executable["image"], info)

    async def _containers(self) -> Mapping[UUID, Inspection]:
        found = await self._client.containers(self._mark.selector)
        by_session = {self._mark.session_of(item.get("Labels")): item for item in found}
        return {session: item for session, item in by_session.items() if session is not None}

    def _session_of(self, container: Inspection) -> UUID | None:
        return self._mark.session_of(container["Config"].get("Labels"))

    def _keep_getting_ready(self, job: Job) -> None:
        if job.preparation is not None and job.provided is None and job.end is None:
            job.begin(PREPARE, lambda: self._images.get(job))

    def _keep_watching(self, job: Job) -> None:
        """See to what goes on beside a running container, also after a restart."""
        if job.end is not None or job.launch is None:
            return
        job.begin(WATCH, lambda: self._watcher.watch(job))
        published = job.launch.ports
        if published and not job.reachable:
            job.begin(REACH, lambda: self._watcher.reach(job, published))
        if job.launch.cgroup is None:
            job.begin(SAMPLE, lambda: self._watcher.sample(job))

    def _keep_stopping(self, job: Job) -> None:
        """Go on with what an earlier broker asked for: its engine may have dropped it."""
        if job.stop is None or job.end is not None or job.stopping_s is not None:
            return
        waited_s = (self._clock.now() - job.stop.asked).total_seconds()
        job.stopping_s = max(0, job.stop.grace_s - math.floor(waited_s))
        grace = job.stopping_s
        job.begin(STOP, lambda: self._stop(job, grace))

    async def _stop(self, job: Job, grace_s: int) -> None:
        """End the container, however long the engine is away."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._stop_now(job, grace_s)
                break
            except PlatformError as error:
                _log.warning("container_not_stopped", session=str(job.session), reason=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _stop_now(self, job: Job, grace_s: int) -> None:
        name = container_name(job.session)
        container = await self._client.container(name)
        if container is None or container["State"]["Status"] in FRESH_STATES:
            await self._client.remove(name)
            await self._end_unstarted(job)
        elif container["State"]["Status"] not in ENDED_STATES:
            await self._client.stop(name, grace_s)

    async def _end_unstarted(self, job: Job) -> None:
        if job.end is None and job.start is None:
            await job.save(End(EndReason.CANCELLED, ended=self._clock.now()))
        self._tell(job.session)

    async def _remove_cgroup(self, path: str) -> None:
        for _ in range(CGROUP_LOOKS):
            if await asyncio.to_thread(cgroups.remove, path):
                return
            await asyncio.sleep(CGROUP_LOOK_S)
        raise PlatformError(f"the control group {path} is still in use")

    async def _follow_events(self) -> None:
        """Pass on what happens to our containers as hints, as long as the runner is open."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                async with aclosing(self._client.events(self._mark.selector)) as events:
                    async for event in events:
                        wait_s = FIRST_WAIT_S
                        labels = (event.get("Actor") or {}).get("Attributes")
                        session = self._mark.session_of(labels)
                        if session is not None:
                            self._tell(session)
            except PlatformError as error:
                _log.info("no_engine_events", reason=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _tell(self, session: UUID) -> None:
        self._hint(session)


def _nobody(_: UUID) -> None:
    """Takes hints before the runner is open."""
