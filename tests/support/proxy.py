"""A network that can be broken: stands between a gateway and a real node, on the same machine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import aiohttp
from aiohttp import web

Applies = Callable[[web.Request], bool]
"""Which requests something concerns."""


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
    DIES = "dies"
    """The node does what it is asked and is gone: no answer, and connections are refused."""
    FAILS = "fails"
    """A 503 without the node having seen anything, as of a proxy before it."""


class Moment(StrEnum):
    """How far an exchange has come."""

    ASKED = "asked"
    """The request is here whole; the node has seen nothing of it."""
    ANSWERED = "answered"
    """The node has done what it was asked; nothing of its answer has been passed on."""
    PASSED_ON = "passed_on"
    """The whole answer has been passed on."""


class Gate:
    """Holds exchanges up at one moment until it is opened, or until they are lost."""

    def __init__(self, moment: Moment, applies_to: Applies) -> None:
        self.moment = moment
        self.applies_to = applies_to
        self.reached = asyncio.Event()
        self._is_lossy = False
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let go on what waits here, and all that comes."""
        self._opened.set()

    def lose(self) -> None:
        """End the connections of what waits here, and of all that comes."""
        self._is_lossy = True
        self._opened.set()

    async def passes(self) -> bool:
        """Wait at the gate; whether the exchange goes on."""
        self.reached.set()
        await self._opened.wait()
        return not self._is_lossy


class Proxy:
    """Forwards to a node as the weather allows; ``applies_to`` says which requests it concerns."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.weather = Weather.FINE
        self.applies_to: Applies = lambda _request: True
        self.seen: list[tuple[str, str]] = []
        self._gates: list[Gate] = []
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self._leaving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start listening: on the same port as before, once there was one."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await self._site.start()
        self._port = self._site.port
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

    def stop_at(self, moment: Moment, applies_to: Applies = lambda _request: True) -> Gate:
        """Hold up every exchange of this kind at that moment."""
        gate = Gate(moment, applies_to)
        self._gates.append(gate)
        return gate

    def remove_gates(self) -> None:
        """Let everything pass that comes from now on; what waits at a gate stays there."""
        self._gates.clear()

    async def _comes_past(self, moment: Moment, request: web.Request) -> bool:
        """Wait at the gates of that moment; whether the exchange goes on."""
        for gate in tuple(self._gates):
            is_before = gate.moment is moment and gate.applies_to(request)
            if is_before and not await gate.passes():
                return False
        return True

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        weather = self.weather if self.applies_to(request) else Weather.FINE
        self.seen.append((request.method, request.path))
        body = await request.read()
        if weather is Weather.FAILS:
            return web.Response(status=503)
        if weather is Weather.REQUEST_LOST or not await self._comes_past(Moment.ASKED, request):
            return _cut(request)
        answer = await self._answer(request, body)
        if answer is None or weather is Weather.REPLY_LOST:
            return _cut(request)
        if not await self._comes_past(Moment.ANSWERED, request):
            return _cut(request)
        if weather is Weather.DIES:
            assert self._site is not None
            await self._site.stop()
            return _cut(request)
        if weather is Weather.LEAVES:
            self._leaving = asyncio.get_running_loop().create_task(self.close())
        if weather is Weather.HANGS:
            await asyncio.Event().wait()
        if any(gate.moment is Moment.PASSED_ON for gate in self._gates):
            await answer.prepare(request)
            await answer.write_eof()
            await self._comes_past(Moment.PASSED_ON, request)
        return answer

    async def _answer(self, request: web.Request, body: bytes) -> web.Response | None:
        """What the node says; None when it dies over it, or is not there."""
        assert self._session is not None
        headers = {k: v for k, v in request.headers.items() if k not in {"Host", "Content-Length"}}
        try:
            async with self._session.request(
                request.method,
                self.target + request.path_qs,
                headers=headers,
                data=body,
                allow_redirects=False,
            ) as reply:
                content = await reply.read()
        except aiohttp.ClientError:
            return None
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
