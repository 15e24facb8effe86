"""What goes on beside a running container: log copied, ports tried, use measured, end noted."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Final
from uuid import UUID

import msgspec
import structlog

from node_stub.platforms.base import EndReason, PlatformError, Stream
from node_stub.platforms.docker import cgroups, ports
from node_stub.platforms.docker.client import EngineClient, Inspection
from node_stub.platforms.docker.containers import (
    ENDED_STATES,
    NO_COMMAND,
    ending_of,
    program_places,
    published_at,
)
from node_stub.platforms.docker.logs import Frames, Spool
from node_stub.platforms.docker.records import End, Job, Port
from node_stub.platforms.docker.settings import DockerSettings

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 5.0
"""Between two attempts at what an engine that is away, or busy, did not do."""

SAMPLE_S: Final = 1.0
"""Between two looks at what a container takes, where it has no group of ours."""

NEAR_LIMIT: Final = 0.95
"""Whoever was killed and had held this part of its memory limit had reached it: what a kernel
counts lags a little behind."""

WATCH: Final = "watch"
REACH: Final = "reach"
SAMPLE: Final = "sample"
"""The tasks of a job whose bodies are here."""

_log = structlog.get_logger(__name__)


class Watcher:
    """Watches over containers of one engine; every method is the body of a task of one job's."""

    def __init__(
        self, client: EngineClient, settings: DockerSettings, hint: Callable[[UUID], None]
    ) -> None:
        self._client = client
        self._settings = settings
        self._hint = hint

    async def watch(self, job: Job) -> None:
        """Copy the log until the container ends, then note how it did; not if it is removed."""
        name = _container_of(job)
        limit = job.launch.log_bytes if job.launch is not None else 0
        spools = {stream: Spool(job.workspace.log(stream), limit) for stream in Stream}
        wait_s = FIRST_WAIT_S
        while True:
            is_complete = False
            try:
                is_complete = await self._follow(name, spools)
                container = await self._client.container(name)
                if container is None:
                    break
                if container["State"]["Status"] in ENDED_STATES:
                    await self._finish(job, container, spools, is_complete=is_complete)
                    break
            except PlatformError as error:
                _log.info("container_unseen", session=str(job.session), reason=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        await job.cancel(REACH, SAMPLE)
        self._hint(job.session)

    async def reach(self, job: Job, published: tuple[Port, ...]) -> None:
        """Say of each port that it is reachable, once somebody answers there."""
        numbers = await self._published(job, published)
        async with asyncio.TaskGroup() as tasks:
            for port, number in zip(published, numbers, strict=True):
                tasks.create_task(self._reach_one(job, port, number), name="reach")

    async def sample(self, job: Job) -> None:
        """Look again and again at what the container takes."""
        name = _container_of(job)
        while job.end is None:
            with suppress(PlatformError):  # what was seen before stands
                _take(job, await self._client.stats(name))
            await asyncio.sleep(SAMPLE_S)

    async def _reach_one(self, job: Job, port: Port, number: int) -> None:
        await ports.wait_for_answer(port, self._settings.publish_address, number)
        reached = ports.found((port,), self._settings.reached_at, (number,))
        job.reachable = tuple(sorted((*job.reachable, *reached), key=lambda one: one.port))
        self._hint(job.session)

    async def _published(self, job: Job, published: tuple[Port, ...]) -> list[int]:
        """The ports of the machine, as soon as the engine says all of them."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                container = await self._client.container(_container_of(job)) or {}
            except PlatformError:
                container = {}
            numbers = [published_at(container, port) for port in published]
            known = [number for number in numbers if number is not None]
            if len(known) == len(published):
                return known
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _follow(self, name: str, spools: dict[Stream, Spool]) -> bool:
        """Copy as it is written, until the engine says that no more comes; whether that is all.

        A stream that is full is not followed, so that a flood costs nothing but its keeping.
        """
        for spool in spools.values():
            await asyncio.to_thread(spool.begin)
        open_streams = [stream for stream, spool in spools.items() if not spool.is_full]
        if not open_streams:
            await self._client.wait(name)
            return False
        full = False
        async with aclosing(self._client.log(name, open_streams, is_followed=True)) as chunks:
            frames = Frames()
            async for chunk in chunks:
                await asyncio.to_thread(_feed, spools, frames, chunk)
                full = any(spools[stream].is_full for stream in open_streams)
                if full:
                    break
        if full:
            return await self._follow(name, spools)
        info = await self._client.info()
        return len(open_streams) == len(spools) and not info.is_podman

    async def _finish(
        self, job: Job, container: Inspection, spools: dict[Stream, Spool], *, is_complete: bool
    ) -> None:
        """Make the log complete and note the end."""
        name = _container_of(job)
        if not is_complete:
            for spool in spools.values():
                await asyncio.to_thread(spool.begin)
            frames = Frames()
            async with aclosing(self._client.log(name, list(spools), is_followed=False)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(_feed, spools, frames, chunk)
        for spool in spools.values():
            await asyncio.to_thread(spool.finish)
        if job.launch is not None and job.launch.cgroup is not None:
            await asyncio.to_thread(_account, job, job.launch.cgroup)
        memory = job.launch.memory_bytes if job.launch is not None else 0
        peak = job.peak_memory_bytes or 0
        end = ending_of(container, job.stop, hit_memory_limit=peak >= NEAR_LIMIT * memory)
        end = await self._without_program(name, container, end)
        await job.save(
            msgspec.structs.replace(end, cpu_s=job.cpu_s, peak_memory_bytes=job.peak_memory_bytes)
        )

    async def _without_program(self, name: str, container: Inspection, end: End) -> End:
        """The end of what an init process could not start is no end of a program."""
        has_init = bool((container.get("HostConfig") or {}).get("Init"))
        if not (has_init and end.reason is EndReason.NONZERO and end.exit_code in NO_COMMAND):
            return end
        places = program_places(container)
        for place in places:
            if await self._client.has_file(name, place):
                return end
        text = f"there is no such program: {', '.join(places)}"
        return msgspec.structs.replace(end, reason=EndReason.LAUNCH, text=text)


def _container_of(job: Job) -> str:
    if job.start is None:
        raise AssertionError("only what was started is watched")
    return job.start.container


def _feed(spools: dict[Stream, Spool], frames: Frames, chunk: bytes) -> None:
    for stream, pieces in frames.feed(chunk).items():
        spools[stream].feed(pieces)


def _account(job: Job, cgroup: str) -> None:
    job.cpu_s = cgroups.cpu_s(cgroup)
    job.peak_memory_bytes = cgroups.peak_memory_bytes(cgroup)


def _take(job: Job, stats: Inspection) -> None:
    """The highest figures so far: of a container that has just ended, engines give zeros."""
    cpu_s = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    memory = stats.get("memory_stats") or {}
    peak = max(memory.get("max_usage") or 0, memory.get("usage") or 0)
    if cpu_s:
        job.cpu_s = max(job.cpu_s or 0.0, cpu_s)
    if peak:
        job.peak_memory_bytes = max(job.peak_memory_bytes or 0, peak)
