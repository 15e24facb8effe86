"""Watching by a stream of events, and without one where there is none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from aiohttp import web

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import WatchDeadlineError
from gateway.cli.watching import Polling
from gateway.wire.phases import SessionPhase

SESSION = uuid4()
NEVER = Polling(first_s=60.0, longest_s=60.0)
"""Without news nothing is read again as long as a test takes."""
OFTEN = Polling(first_s=0.01, longest_s=0.01)


@dataclass
class Broker:
    """A broker whose one session is moved by the test, with a stream that the test writes."""

    url: str = ""
    phase: SessionPhase = SessionPhase.RUNNING
    status: int = 200
    reads: int = 0
    came_back_with: list[str] = field(default_factory=list)
    news: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def session(self, _request: web.Request) -> web.Response:
        self.reads += 1
        return web.json_response({"phase": self.phase})

    async def events(self, request: web.Request) -> web.StreamResponse:
        self.came_back_with.append(request.headers.get("Last-Event-ID", ""))
        if self.status == 204:
            return web.Response(status=204)
        if self.status != 200:
            return web.json_response({"status": self.status}, status=self.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while (piece := await self.news.get()) is not None:
            await response.write(piece)
        return response

    def end(self, phase: SessionPhase) -> None:
        """Move the session and say so."""
        self.phase = phase
        self.news.put_nowait(b"id: 9\ndata: {}\n\n")


@asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Broker]:
    app = web.Application()
    app.router.add_get("/sessions/{uuid}", broker.session)
    app.router.add_get("/sessions/{uuid}/events", broker.events)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    broker.url = f"http://127.0.0.1:{site.port}"
    try:
        yield broker
    finally:
        await runner.cleanup()


async def watched(
    broker: Broker, polling: Polling, act: Callable[[], None], deadline_s: float = 10.0
) -> list[str]:
    """The phases seen; ``act`` is called when the session has been read for the first time."""
    seen: list[str] = []
    async with ExecutionBrokerClient(broker.url, polling=polling) as client:
        async for session in client.watch(SESSION, deadline_s=deadline_s):
            seen.append(session["phase"])
            if len(seen) == 1:
                act()
    return seen


async def test_news_of_the_stream_have_the_session_read_at_once() -> None:
    async with running(Broker()) as broker:
        seen = await watched(broker, NEVER, lambda: broker.end(SessionPhase.COMPLETED))
    assert seen == ["RUNNING", "COMPLETED"]
    assert broker.came_back_with == [""]


async def test_a_stream_that_breaks_off_is_gone_on_with_where_it_was() -> None:
    broker = Broker()

    def act() -> None:
        broker.news.put_nowait(b": here\nid: 7\n\n")
        broker.news.put_nowait(None)
        asyncio.get_running_loop().call_later(0.2, broker.end, SessionPhase.COMPLETED)

    async with running(broker):
        seen = await watched(broker, OFTEN, act)
    assert seen[-1] == "COMPLETED"
    assert broker.came_back_with == ["", "7"]


@pytest.mark.parametrize("status", [204, 404, 406, 501])
async def test_where_there_is_no_stream_the_session_is_read_often(status: int) -> None:
    broker = Broker(status=status)

    def act() -> None:
        asyncio.get_running_loop().call_later(0.2, broker.end, SessionPhase.COMPLETED)

    async with running(broker):
        seen = await watched(broker, OFTEN, act)
    assert seen[-1] == "COMPLETED"
    assert len(seen) > 3
    assert broker.came_back_with == [""]


async def test_a_stream_that_is_full_is_asked_for_again() -> None:
    broker = Broker(status=429)

    def act() -> None:
        asyncio.get_running_loop().call_later(0.2, broker.end, SessionPhase.COMPLETED)

    async with running(broker):
        await watched(broker, OFTEN, act)
    assert len(broker.came_back_with) > 2


async def test_a_silent_stream_does_not_outlast_the_deadline() -> None:
    async with running(Broker()) as broker:
        with pytest.raises(WatchDeadlineError):
            await watched(broker, NEVER, lambda: None, deadline_s=0.3)
