"""Jobs on an engine, by the runner alone: a bench that makes, runs and clears them."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.clock import SystemClock
from node_stub.platforms.base import JobPhase, Observation, Stream
from node_stub.platforms.docker import cgroups
from node_stub.platforms.docker.marks import container_name
from node_stub.platforms.docker.runner import DockerRunner
from node_stub.platforms.docker.settings import DockerSettings
from node_stub.platforms.runner import Mount, RunSpec, Workspace
from tests.support.engines import Engine
from tests.support.images import BUSYBOX
from tests.support.waiting import eventually

WITHIN_S: Final = 30.0
"""More than any job here takes on a machine that does much else."""

LOOK_S: Final = 0.05
"""Between two looks: each is a call of the engine."""

OVER: Final = frozenset({JobPhase.ENDED, JobPhase.LOST, JobPhase.GONE})


class Bench:
    """A runner on an engine. ``image`` is the digest that jobs ask for unless told otherwise."""

    def __init__(self, engine: Engine, root: Path, image: str, **settings: Any) -> None:
        self.engine = engine
        self.root = root
        self.image = image
        self.hints: list[UUID] = []
        self._settings = {"socket": engine.url, "pull_retry_s": 0.0, **settings}
        self._specs: list[RunSpec] = []
        self.runner = self._new_runner()

    def _new_runner(self) -> DockerRunner:
        return DockerRunner(DockerSettings(**self._settings), self.root, SystemClock())

    async def open(self) -> None:
        """Open the runner."""
        await self.runner.open(self.hints.append)

    async def restart(self) -> None:
        """Another broker in the place of this one."""
        await self.runner.close()
        self.runner = self._new_runner()
        await self.open()

    def executable(self, *command: str, **over: Any) -> Document:
        """A container of busybox."""
        return {
            "kind": kinds.DOCKER_CONTAINER,
            "image": {"locations": [BUSYBOX], "digest": self.image},
            "command": list(command),
            **over,
        }

    def spec(self, *command: str, **over: Any) -> RunSpec:
        """A job of busybox; ``executable`` are further members of it."""
        return self.spec_of(self.executable(*command, **over.pop("executable", {})), **over)

    def spec_of(self, executable: Document, **over: Any) -> RunSpec:
        """A job of any executable, with its directories made as the platform makes them.

        ``volumes`` are mounts of directories that are made in its storage, with one file ``x``.
        """
        session = uuid4()
        workspace = Workspace(session, self.root / str(session))
        for folder in (workspace.home, workspace.storage):
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        mounts = [
            Mount(_volume(workspace.storage / name, name), target, is_read_only=is_read_only)
            for name, target, is_read_only in over.pop("volumes", ())
        ]
        values: dict[str, Any] = {
            "cores": 1,
            "memory_gib": 1,
            "storage_gib": 1,
            "end_at": datetime.now(UTC) + timedelta(seconds=60),
            "mounts": tuple(mounts),
            "log_bytes": 1_000_000,
        }
        spec = RunSpec(workspace=workspace, executable=executable, **{**values, **over})
        self._specs.append(spec)
        return spec

    async def look(self, spec: RunSpec) -> Observation:
        """One look at one job."""
        return (await self.runner.observe([spec.workspace]))[spec.session]

    async def becomes(self, spec: RunSpec, *phases: JobPhase) -> Observation:
        """The first look that shows one of these phases."""

        async with asyncio.timeout(WITHIN_S):
            while True:
                seen = await self.look(spec)
                assert seen.phase in phases or seen.phase not in OVER, seen
                if seen.phase in phases:
                    return seen
                await asyncio.sleep(LOOK_S)

    async def becomes_reachable(self, spec: RunSpec, count: int) -> Observation:
        """The first look that shows so many ports that answer."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                seen = await self.becomes(spec, JobPhase.RUNNING)
                if len(seen.reachable) == count:
                    return seen
                await asyncio.sleep(LOOK_S)

    async def ready(self, spec: RunSpec) -> Observation:
        """Prepare, and wait until it is READY or over."""
        await self.runner.prepare(spec)
        return await self.becomes(spec, JobPhase.READY, *OVER)

    async def start(self, spec: RunSpec) -> None:
        """Prepare and launch."""
        seen = await self.ready(spec)
        assert seen.phase is JobPhase.READY, seen
        await self.runner.launch(spec)

    async def end(self, spec: RunSpec) -> Observation:
        """How it ends."""
        return await self.becomes(spec, *OVER)

    async def run(self, spec: RunSpec) -> Observation:
        """From beginning to end."""
        await self.start(spec)
        return await self.end(spec)

    def log(self, spec: RunSpec, stream: Stream = Stream.STDOUT) -> bytes:
        """What the job has written."""
        return spec.workspace.log(stream).read_bytes()

    async def has_written(self, spec: RunSpec, text: str) -> None:
        """Wait until the log holds a text."""

        async def look() -> bool:
            path = spec.workspace.log(Stream.STDOUT)
            return path.exists() and text.encode() in path.read_bytes()

        await eventually(look, WITHIN_S)

    def inspect(self, spec: RunSpec) -> Mapping[str, Any]:
        """What the engine itself says of the job's container."""
        found: Mapping[str, Any] = self.engine.request(
            "GET", f"/containers/{container_name(spec.session)}/json"
        )
        return found

    def containers(self) -> Sequence[str]:
        """Names of all containers of the engine."""
        return sorted(item["Names"][0].lstrip("/") for item in self.engine.containers())

    async def close(self) -> None:
        """Release all jobs; nothing of them is left."""
        try:
            for spec in self._specs:
                await self.runner.release(spec.workspace)
                assert (await self.look(spec)).phase is JobPhase.GONE
                assert spec.session not in await self.runner.recover()
                assert not list(cgroups.ROOT.glob(f"*/execbroker-*/{spec.session}"))
        finally:
            await self.runner.close()


def _volume(path: Path, text: str) -> Path:
    path.mkdir()
    path.chmod(0o777)
    (path / "x").write_text(f"{text}\n")
    return path
