"""The demo's archive: a few files over HTTP as data centres serve them, with ranges (RFC 9110)."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus

from aiohttp import web


@dataclass(frozen=True)
class ArchiveFile:
    """One file; its name is the last part of its URL."""

    name: str
    content: bytes
    content_type: str

    @cached_property
    def sha256(self) -> str:
        """The checksum, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.content)


@dataclass(slots=True)
class Archive:
    """The files that are served at a URL, and the bytes of each that were fetched so far."""

    url: str
    files: Mapping[str, ArchiveFile]
    fetched: dict[str, int] = field(default_factory=dict)

    def location(self, file: ArchiveFile) -> str:
        """Where a file is fetched from."""
        return f"{self.url}/{file.name}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A file, or the range of it that is asked for."""
        file = self.files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{file.sha256}"'}
        part = slice(0, file.size)
        status = HTTPStatus.OK
        if _wants_part(request, headers["ETag"]):
            part = _asked(request, file)
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
        body = file.content[part]
        if request.method == "GET":
            self.fetched[file.name] = self.fetched.get(file.name, 0) + len(body)
        return web.Response(
            body=body, status=status, headers=headers, content_type=file.content_type
        )


@asynccontextmanager
async def archive(files: Sequence[ArchiveFile]) -> AsyncIterator[Archive]:
    """The files on a free port of this machine, for as long as the block lasts."""
    served = Archive("", {file.name: file for file in files})
    application = web.Application()
    application.router.add_get("/{name}", served.serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        served.url = f"http://{host}:{port}"
        yield served
    finally:
        await runner.cleanup()


def _wants_part(request: web.Request, etag: str) -> bool:
    """Whether a range is asked for, and of the file as it is now: of another it makes no sense."""
    is_current = request.headers.get("If-Range", etag) == etag
    return request.method == "GET" and "Range" in request.headers and is_current


def _asked(request: web.Request, file: ArchiveFile) -> slice:
    """The range, within the file.

    Raises
    ------
    aiohttp.web.HTTPRequestRangeNotSatisfiable
        It begins after the end, or is not one range of bytes.
    """
    try:
        start, stop, _ = request.http_range.indices(file.size)
    except ValueError:
        start = stop = file.size
    if start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{file.size}"})
    return slice(start, stop)
