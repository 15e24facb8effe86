"""A network that can be broken: stands between a gateway and a real node, on the same machine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import aiohttp
from aiohttp import web


class Weather(StrEnum):
    """What becomes of an exchange."""

    FINE = "fine"
    REQUEST_LOST = "request_lost"
    """The connection ends before the node has seen anything."""
    REPLY_LOST = "reply_lost"
    """The node does what it is asked, and nobody hears of it."""
    HANGS = "hangs"
    """The node does what it is asked; the answer never comes, and the connection stays."""
    LEAVES = "leaves"
    """The node answers, and from then on connections are refused."""
    FAILS = "fails"
    """A 503 without the node having seen anything, as of a proxy before it."""


class Proxy:
    """Forwards to a node as the weather allows; ``applies_to`` says which requests it concerns."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.weather = Weather.FINE
        self.applies_to: Callable[[web.Request], bool] = lambda _request: True
        self.seen: list[tuple[str, str]] = []
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._leaving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start listening: on the same port as before, once there was one."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = site.port
        self.url = f"http://127.0.0.1:{self._port}"
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def close(self) -> None:
        """Stop listening: from now on connections are refused."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        weather = self.weather if self.applies_to(request) else Weather.FINE
        self.seen.append((request.method, request.path))
        body = await request.read()
        if weather is Weather.FAILS:
            return web.Response(status=503)
        if weather is Weather.REQUEST_LOST:
            return _cut(request)
        assert self._session is not None
        headers = {k: v for k, v in request.headers.items() if k not in {"Host", "Content-Length"}}
        async with self._session.request(
            request.method,
            self.target + request.path_qs,
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as reply:
            content = await reply.read()
        if weather is Weather.REPLY_LOST:
            return _cut(request)
        if weather is Weather.LEAVES:
            self._leaving = asyncio.get_running_loop().create_task(self.close())
        if weather is Weather.HANGS:
            await asyncio.Event().wait()
        passed = {k: v for k, v in reply.headers.items() if k in {"Location", "Idempotency-Key"}}
        return web.Response(
            status=reply.status,
            body=content,
            content_type=reply.content_type,
            headers=passed,
        )


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@asynccontextmanager
async def running_proxy(target: str) -> AsyncIterator[Proxy]:
    """A proxy before ``target``, listening until the block ends."""
    proxy = Proxy(target)
    await proxy.open()
    try:
        yield proxy
    finally:
        if proxy._leaving is not None:
            await proxy._leaving
        await proxy.close()
