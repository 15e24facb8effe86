"""An archive on loopback that serves files well or badly, and remembers what it was asked."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Served:
    """One file and how it is served.

    ``breaks`` are how many bytes come before the connection is cut, one for each of the first
    requests. ``statuses`` answer the first requests instead. ``next_content`` takes the place of
    the content after the first break.
    """

    content: bytes
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    has_ranges: bool = True
    has_etag: bool = True
    has_length: bool = True
    content_range: str | None = None
    drip_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    next_content: bytes | None = None


@dataclass(slots=True)
class Archive:
    """What it has, what it was asked, and what it was sent."""

    url: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)

    def add(self, path: str, content: bytes, **how: Any) -> str:
        """Serve a file; its URL."""
        self.files[path] = Served(content, **how)
        return f"{self.url}{path}"

    def ranges(self) -> list[str]:
        """The ranges that were asked for, in order."""
        return [headers["Range"] for headers in self.headers if "Range" in headers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        path = request.raw_path.partition("?")[0]
        self.asked.append((request.method, request.raw_path))
        self.headers.append(dict(request.headers))
        if path in self.redirects:
            status = 307 if request.method == "PUT" else 302
            return web.Response(status=status, headers={"Location": self.redirects[path]})
        if request.method == "PUT":
            body = await request.read()
            if self.refusals:
                return web.Response(status=self.refusals.pop(0))
            self.stored[path] = body
            return web.Response(status=201)
        served = self.files.get(path)
        if served is None:
            return web.Response(status=404)
        if served.statuses:
            return web.Response(status=served.statuses.pop(0))
        return await _send(request, served)


async def _send(request: web.Request, served: Served) -> web.StreamResponse:
    content = served.content
    response = web.StreamResponse(headers=served.headers)
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    if served.has_etag:
        response.headers["ETag"] = etag
    asked = request.headers.get("Range")
    start = 0
    is_current = request.headers.get("If-Range", etag) == etag
    if asked and served.has_ranges and is_current:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response.set_status(206)
        response.headers["Content-Range"] = (
            served.content_range or f"bytes {start}-{len(content) - 1}/{len(content)}"
        )
    if served.has_length:
        response.content_length = len(content) - start
    else:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if served.drip_s:
        for i in range(start, len(content)):
            await response.write(content[i : i + 1])
            await asyncio.sleep(served.drip_s)
    elif served.breaks:
        await response.write(content[start : start + served.breaks.pop(0)])
        assert request.transport is not None
        await asyncio.sleep(0.02)  # what was written is to arrive
        request.transport.abort()
        served.content = served.next_content or content
    else:
        await response.write(content[start:])
    return response


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback; its base URL."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", r"/{path:[\s\S]*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_archive() -> AsyncIterator[Archive]:
    """An archive that serves nothing yet."""
    archive = Archive()
    async with serving(archive.handle) as url:
        archive.url = url
        yield archive
