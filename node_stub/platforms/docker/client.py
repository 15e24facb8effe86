"""Calls of a container engine: Docker Engine or Podman, through the Docker API on a socket.

Every call has a deadline. What differs between the two engines is known here and in `EngineInfo`.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiodocker
import aiohttp

from node_stub.platforms.base import PlatformError, Stream

CALL_S: Final = 15.0
"""What a call may take: more than removing a container takes on a busy machine."""

CONNECT_S: Final = 5.0
"""What connecting to a socket may take; the calls that follow something have no other deadline."""

INFO_S: Final = 300.0
"""How long what an engine says of itself is taken to be true, unless it was away meanwhile. Podman
takes seconds to say it."""

_BASE: Final = "unix://localhost"
_UNREACHED: Final = 900
"""The status that aiodocker gives when it could not connect."""

_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_NOT_MODIFIED: Final = 304

Inspection = Mapping[str, Any]
"""What the engine says of a container or an image: a document of the Docker API."""


class EngineAwayError(PlatformError):
    """The engine cannot be reached, or does not answer."""


class EngineError(PlatformError):
    """The engine refuses or fails; ``status`` is that of HTTP, 0 if it failed half-way."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do.

    ``architecture`` and ``system`` are named as images name them. ``unenforced`` are the limits
    that it would pass over, in words. ``cores`` are those of its machine, 0 where it does not say.
    """

    name: str
    version: str
    architecture: str
    system: str
    is_podman: bool
    is_rootless: bool
    cgroup_driver: str
    unenforced: tuple[str, ...]
    cores: int = 0

    def __str__(self) -> str:
        rootless = " (rootless)" if self.is_rootless else ""
        return f"{self.name} {self.version}{rootless}"

    @property
    def log_driver(self) -> str:
        """The driver that keeps logs in files as they are, so that they can be read again.

        Docker's usual one, json-file, loses whatever is not UTF-8.
        """
        return "k8s-file" if self.is_podman else "local"


def info_of(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineInfo:
    """What the answers to ``/version`` and ``/info`` mean together."""
    components = [component.get("Name", "") for component in version.get("Components") or ()]
    is_podman = any("Podman" in name for name in components)
    flags = {
        "processor time": "CpuCfsQuota",
        "memory": "MemoryLimit",
        "processes": "PidsLimit",
    }
    return EngineInfo(
        name="Podman" if is_podman else "Docker Engine",
        version=version["Version"],
        architecture=version["Arch"],
        system=version["Os"],
        is_podman=is_podman,
        is_rootless="name=rootless" in (info.get("SecurityOptions") or ()),
        cgroup_driver=info.get("CgroupDriver") or "",
        unenforced=tuple(what for what, flag in flags.items() if not info.get(flag)),
        cores=info.get("NCPU") or 0,
    )


class EngineClient:
    """One engine's API. Open it before use, and close it."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._docker: aiodocker.Docker | None = None
        self._connector: aiohttp.UnixConnector | None = None
        self._info: tuple[float, EngineInfo] | None = None
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Get ready to connect; whether anybody is there shows later."""
        # No bound on connections: each running container's log is followed on one.
        self._connector = aiohttp.UnixConnector(self._socket_path, limit=0)
        self._docker = aiodocker.Docker(url=_BASE, connector=self._connector)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._docker is not None and self._connector is not None:
            await self._docker.close()
            await self._connector.close()
            self._docker = self._connector = None

    async def info(self) -> EngineInfo:
        """What the engine is: asked once in a while.

        Raises
        ------
        EngineAwayError
        EngineError
        """
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if self._info is not None and now - self._info[0] < INFO_S:
                return self._info[1]
            docker = self._open_docker()
            async with self._deadline(CALL_S):
                version, info = await asyncio.gather(docker.version(), docker.system.info())
            self._info = now, info_of(version, info)
            return self._info[1]

    async def ping(self) -> EngineInfo:
        """What the engine is, if it answers now.

        Raises
        ------
        EngineAwayError
        EngineError
        """
        async with self._deadline(CALL_S), self._get("/_ping", {}):
            pass
        return await self.info()

    async def image(self, name: str) -> Inspection | None:
        """An image that the engine has; None if it has not, or such a name cannot be."""
        async with self._deadline(CALL_S):
            try:
                return await self._open_docker().images.inspect(name)
            except aiodocker.DockerError as error:
                if error.status in {_BAD_REQUEST, _NOT_FOUND}:
                    return None
                raise

    async def pull(self, name: str, platform: str, timeout_s: float) -> None:
        """Fetch an image, by tag or digest, for a platform (``linux/amd64``).

        Raises
        ------
        EngineError
            The registry has no such image, refuses, or cannot be reached.
        TimeoutError
            It took too long.
        """
        async with self._deadline(None), asyncio.timeout(timeout_s):
            await self._open_docker().images.pull(name, platform=platform)

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container; its id.

        Raises
        ------
        EngineError
            Also where the name is taken: 409 of Docker, 500 of Podman.
        """
        async with self._deadline(CALL_S):
            container = await self._open_docker().containers.create(dict(body), name=name)
            return container.id

    async def start(self, name: str) -> None:
        """Start a container; one that was started already is left alone."""
        async with self._deadline(CALL_S):
            await self._open_docker().containers.container(name).start()

    async def container(self, name: str) -> Inspection | None:
        """All about a container, by name or id; None if there is none."""
        async with self._deadline(CALL_S):
            try:
                return await self._open_docker().containers.container(name).show()
            except aiodocker.DockerError as error:
                if error.status == _NOT_FOUND:
                    return None
                raise

    async def containers(self, label: str) -> Sequence[Inspection]:
        """In short, all containers with a label (``name=value``), running or not."""
        filters = json.dumps({"label": [label]})
        async with (
            self._deadline(CALL_S),
            self._get("/containers/json", {"all": "true", "filters": filters}) as response,
        ):
            found: list[Inspection] = await response.json()
            return found

    async def stop(self, name: str, grace_s: int) -> None:
        """End a container, in the end by force; none is ended already."""
        async with self._deadline(grace_s + CALL_S):
            try:
                await self._open_docker().containers.container(name).stop(t=grace_s)
            except aiodocker.DockerError as error:
                if error.status not in {_NOT_FOUND, _NOT_MODIFIED}:
                    raise

    async def wait(self, name: str) -> None:
        """Return when a container has ended or is gone, or the engine goes away."""
        async with self._deadline(None):
            try:
                await self._open_docker().containers.container(name).wait()
            except aiodocker.DockerError as error:
                if error.status != _NOT_FOUND:
                    raise

    async def remove(self, name: str) -> None:
        """End and remove a container with its anonymous volumes; none is success."""
        async with self._deadline(CALL_S):
            try:
                await self._open_docker().containers.container(name).delete(force=True, v=True)
            except aiodocker.DockerError as error:
                if error.status != _NOT_FOUND:
                    raise

    async def has_file(self, name: str, path: str) -> bool:
        """Whether there is something at a path in a container, whether or not it runs."""
        session = self._open_docker().session
        url = f"{_BASE}/containers/{name}/archive"
        async with self._deadline(CALL_S), session.head(url, params={"path": path}) as response:
            return response.status == 200

    async def stats(self, name: str) -> Inspection:
        """What a running container has taken so far."""
        params = {"stream": "false", "one-shot": "true"}
        url = f"/containers/{name}/stats"
        async with self._deadline(CALL_S), self._get(url, params) as response:
            found: Inspection = await response.json()
            return found

    async def log(
        self, name: str, streams: Sequence[Stream], *, is_followed: bool
    ) -> AsyncGenerator[bytes, None]:
        """What a container has written, from the start, in frames (see `logs.Frames`).

        With ``is_followed`` it goes on until the container ends.
        """
        params = {stream.value: "true" for stream in streams}
        params["follow"] = "true" if is_followed else "false"
        async with (
            self._deadline(None),
            self._get(f"/containers/{name}/logs", params) as response,
        ):
            async for chunk in response.content.iter_any():
                yield chunk

    async def events(self, label: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """What happens to containers with a label, from now on, until the engine goes away."""
        filters = json.dumps({"label": [label], "type": ["container"]})
        async with (
            self._deadline(None),
            self._get("/events", {"filters": filters}) as response,
        ):
            async for line in response.content:
                if line.strip():
                    yield json.loads(line)

    def _open_docker(self) -> aiodocker.Docker:
        if self._docker is None:
            raise EngineAwayError("the connection to the container engine is not open")
        return self._docker

    @asynccontextmanager
    async def _get(
        self, path: str, params: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What aiodocker does not offer, or not byte for byte."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        session = self._open_docker().session
        async with session.get(f"{_BASE}{path}", params=params, timeout=timeout) as response:
            if response.status != 200:
                detail = (await response.read())[:1000].decode(errors="replace")
                raise EngineError(response.status, detail.strip())
            yield response

    @asynccontextmanager
    async def _deadline(self, seconds: float | None) -> AsyncIterator[None]:
        """Bounds a call, and says its failures in our words."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except aiodocker.DockerError as error:
            if error.status == _UNREACHED:
                raise self._away("cannot be reached") from error
            raise EngineError(error.status, error.message.strip()) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise self._away(f"does not answer as one does: {error!r}") from error
        except TimeoutError as error:
            if not limit.expired():
                raise  # a deadline of the caller's
            raise self._away("does not answer in time") from error
        except OSError as error:
            raise self._away(f"cannot be reached: {error.strerror}") from error

    def _away(self, why: str) -> EngineAwayError:
        self._info = None  # it may come back as another
        return EngineAwayError(f"the container engine at {self._socket_path} {why}")
