"""Making and starting the container of a job: once, whoever is interrupted where."""

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from gateway.wire import kinds
from node_stub.clock import Clock
from node_stub.platforms.base import EndReason, JobRefusedError, PlatformError
from node_stub.platforms.docker import cgroups, notebooks
from node_stub.platforms.docker.client import EngineClient, EngineError, EngineInfo, Inspection
from node_stub.platforms.docker.containers import (
    FRESH_STATES,
    Program,
    Surroundings,
    container_program,
    create_body,
    is_plain,
)
from node_stub.platforms.docker.images import FoundImage
from node_stub.platforms.docker.marks import Mark, container_name
from node_stub.platforms.docker.records import End, Job, Launch, Provided, Start
from node_stub.platforms.docker.settings import DockerSettings, JobUser
from node_stub.platforms.runner import RunSpec

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404

AGAIN_S: Final = 0.2
"""Podman says of a program that is not there what it says of passing trouble: asked twice."""

_log = structlog.get_logger(__name__)


class Launcher:
    """Launches jobs on one engine, for one broker."""

    def __init__(
        self, client: EngineClient, settings: DockerSettings, clock: Clock, mark: Mark
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._mark = mark
        # Whether an engine finds an init program shows when it is to use it.
        self._has_init = True

    async def launch(self, job: Job, provided: Provided, run: RunSpec) -> None:
        """Start the job's container, or note why it can never be.

        Raises
        ------
        JobRefusedError
            It can never be started; that is noted as its end.
        PlatformError
            It was not started.
        """
        info = await self._client.info()
        program = await self._program(run)
        await self._check_mounts(run)
        if job.launch is None:
            await job.save(self._intent(run, program, info))
        try:
            container = await self._made(job, provided, run, program, info)
            if container["State"]["Status"] in FRESH_STATES:
                await self._started(container["Id"], info)
        except JobRefusedError as refusal:
            await job.save(End(refusal.reason, text=str(refusal), ended=self._clock.now()))
            raise
        await job.save(Start(container["Id"], self._clock.now()))

    async def _program(self, run: RunSpec) -> Program:
        if run.executable["kind"] != kinds.JUPYTER_NOTEBOOK:
            return container_program(run.executable)
        if self._settings.notebook is None:
            raise JobRefusedError(EndReason.LAUNCH, "notebooks are not run here any more")
        try:
            return await asyncio.to_thread(
                notebooks.notebook_program,
                run.executable,
                self._settings.notebook,
                run.workspace,
            )
        except OSError as error:
            raise PlatformError(f"the notebook cannot be laid out: {error.strerror}") from error

    async def _check_mounts(self, run: RunSpec) -> None:
        """No engine makes up a directory, or options, of a mount."""
        if not all(is_plain(mount.target) for mount in run.mounts):
            raise JobRefusedError(EndReason.LAUNCH, "a volume's path cannot be given to an engine")
        sources = [mount.source for mount in run.mounts]
        sources += [Path(site.source) for site in self._settings.site_mounts]
        missing = [str(path) for path in sources if not await asyncio.to_thread(path.exists)]
        if missing:
            raise PlatformError(f"not there to be mounted: {', '.join(missing)}")

    def _intent(self, run: RunSpec, program: Program, info: EngineInfo) -> Launch:
        cgroup = None
        if cgroups.can_be_made(info):
            cgroup = cgroups.path_for(self._mark.broker, str(run.session))
        return Launch(
            asked=self._clock.now(),
            memory_bytes=run.memory_gib << 30,
            log_bytes=run.log_bytes,
            ports=program.ports,
            cgroup=cgroup,
        )

    async def _made(
        self, job: Job, provided: Provided, run: RunSpec, program: Program, info: EngineInfo
    ) -> Inspection:
        """The container of this job: one that is there already is ours."""
        name = container_name(run.session)
        image = FoundImage(provided.location, provided.id, provided.working_directory)
        around = Surroundings(
            labels=self._mark.labels(run.session),
            log_driver=info.log_driver,
            has_init=self._has_init,
            user=self._user(),
            cgroup=job.launch.cgroup if job.launch else None,
            cores=info.cores,
        )
        body = create_body(run, program, image, self._settings, around)
        try:
            await self._client.create(name, body)
        except EngineError as error:
            adopted = await self._adopted(run, error)
            if adopted is not None:
                return adopted
            await self._create_without_init(name, body, error)
        made = await self._client.container(name)
        if made is None:
            raise PlatformError("the container was made and is gone")
        return made

    async def _adopted(self, run: RunSpec, error: EngineError) -> Inspection | None:
        """The container that made a second one impossible, if that was it."""
        found = await self._client.container(container_name(run.session))
        if found is not None:
            if self._mark.session_of(found["Config"].get("Labels")) != run.session:
                text = "another broker has a container for this session"
                raise JobRefusedError(EndReason.LAUNCH, text) from error
            return found
        if error.status == BAD_REQUEST:
            raise JobRefusedError(EndReason.LAUNCH, str(error)) from error
        if error.status == NOT_FOUND:
            raise JobRefusedError(EndReason.IMAGE, str(error)) from error
        return None

    async def _create_without_init(
        self, name: str, body: dict[str, object], error: EngineError
    ) -> None:
        host = body["HostConfig"]
        if not (isinstance(host, dict) and host.pop("Init", False)):
            raise error
        await self._client.create(name, body)
        self._has_init = False
        _log.warning("no_init_program", reason=str(error))

    async def _started(self, container: str, info: EngineInfo) -> None:
        try:
            await self._client.start(container)
        except EngineError as error:
            if not info.is_podman:
                if error.status in {BAD_REQUEST, NOT_FOUND}:
                    raise JobRefusedError(EndReason.LAUNCH, str(error)) from error
                raise
            await asyncio.sleep(AGAIN_S)
            try:
                await self._client.start(container)
            except EngineError as again:
                raise JobRefusedError(EndReason.LAUNCH, str(again)) from again

    def _user(self) -> str | None:
        if self._settings.user is JobUser.IMAGE:
            return None
        return f"{os.getuid()}:{os.getgid()}"
