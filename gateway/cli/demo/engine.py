"""A container engine as the demo needs it: found, given an image, and rid of it again.

The image is made without any registry: almost nothing is in it, since the node's containers see the
software of the machine, as a site shows its own through CVMFS.
"""

import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.cli.demo.errors import DemoError
from gateway.wire.documents import from_json

UNIX: Final = "unix://"
"""What the address of an engine on this machine begins with."""

DEFAULT_SOCKET: Final = "/var/run/docker.sock"
"""Where Docker's package puts the socket."""

CALL_S: Final = 60.0
"""How long the engine may take for one call."""

_DIRECTORIES: Final = {"etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755, "proc": 0o555}
_FONTS: Final = b"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><cachedir>/tmp/fontconfig</cachedir></fontconfig>
"""
_KERNEL: Final = b'{"IPKernelApp": {"log_level": "CRITICAL"}}'
"""A kernel complains of TCP ports that others might read (a container has its own), and of being
interrupted when all is done."""

_FILES: Final = {
    "etc/fonts/fonts.conf": _FONTS,
    "etc/ipython/ipython_kernel_config.json": _KERNEL,
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}
_LOADER_CACHE: Final = Path("/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine: its name there, and its id (``sha256:…``)."""

    name: str
    id: str


def socket_of(asked: str | None, environ: Mapping[str, str]) -> str:
    """The engine's socket: the one asked for, else that of DOCKER_HOST, else Docker's own.

    Raises
    ------
    DemoError
        There is no socket there.
    """
    address = asked or environ.get("DOCKER_HOST") or DEFAULT_SOCKET
    path = address.removeprefix(UNIX)
    if "://" in path:
        raise DemoError(f"the engine at {address} is on no socket of this machine")
    if not Path(path).is_socket():
        raise DemoError(
            f"no container engine: {path} is no socket. Start Docker or Podman, or name its socket"
            " with --socket or DOCKER_HOST (make demo PLATFORM=docker SOCKET=/path/to/it.sock)"
        )
    return str(Path(path).absolute())


class Engine:
    """The API of Docker and Podman (version 1.41) on a socket, as ``async with``."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Engine":
        self._http = aiohttp.ClientSession(
            "http://engine",
            connector=aiohttp.UnixConnector(self._socket),
            timeout=aiohttp.ClientTimeout(total=CALL_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def version(self) -> str:
        """What it is, as it says itself."""
        said = await self._call("GET", "/version")
        names = [part.get("Name") for part in said.get("Components") or ()]
        is_podman = any(str(name).startswith("Podman") for name in names)
        return f"{'Podman' if is_podman else 'Docker'} {said.get('Version', '')}".strip()

    async def is_rootless(self) -> bool:
        """Whether it runs without root's rights: root of a container is its own user then."""
        said = await self._call("GET", "/info")
        return "name=rootless" in (said.get("SecurityOptions") or ())

    async def import_image(self, name: str) -> Image:
        """An almost empty image of this name, whose tag has to be ``latest``: Podman gives that."""
        query = {"fromSrc": "-", "repo": name.removesuffix(":latest"), "tag": "latest"}
        await self._call("POST", "/images/create", root_files(), **query)
        found = await self._call("GET", f"/images/{name}/json")
        return Image(name, f"sha256:{str(found['Id']).removeprefix('sha256:')}")

    async def remove_image(self, image: Image) -> None:
        """Forget an image."""
        await self._call("DELETE", f"/images/{image.id}", force="true")

    async def _call(
        self, method: str, path: str, body: bytes | None = None, **query: str
    ) -> dict[str, Any]:
        if self._http is None:
            raise RuntimeError("the engine is used outside of its 'async with' block")
        headers = {} if body is None else {"Content-Type": "application/x-tar"}
        try:
            async with self._http.request(
                method, path, params=query, data=body, headers=headers
            ) as response:
                said = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(f"no container engine answers at {self._socket}: {error}") from error
        if response.status >= 400:
            raise DemoError(f"the container engine refused {method} {path}: {said.decode()}")
        # Some calls answer with a line for each step, others with a list: nothing to be read.
        is_document = response.content_type == "application/json" and method == "GET"
        return from_json(said) if is_document else {}


@asynccontextmanager
async def imported(engine: Engine, name: str) -> AsyncIterator[Image]:
    """An image that is gone after the block."""
    image = await engine.import_image(name)
    try:
        yield image
    finally:
        await engine.remove_image(image)


def root_files() -> bytes:
    """A tar file of an almost empty root directory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, mode in _DIRECTORIES.items():
            tar.addfile(_member(name, mode, tarfile.DIRTYPE))
        files = dict(_FILES)
        if _LOADER_CACHE.is_file():
            # The machine's libraries are found by it where they are in no usual place.
            files[str(_LOADER_CACHE).lstrip("/")] = _LOADER_CACHE.read_bytes()
        for name, content in files.items():
            member = _member(name, 0o644, tarfile.REGTYPE)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _member(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.type = mode, kind
    return member
