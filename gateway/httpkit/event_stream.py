"""Open streams of server-sent events: how many there may be, and keeping each of them alive.

A stream waits for what is to be sent, and nothing else: one look a second goes over all of them,
and wakes those that have to say that they are still there, have been open for long enough, or have
lost their reader.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

import structlog
from aiohttp import hdrs, web

from gateway.httpkit.answering import stop_counting
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.streaming import EVENT_HEADERS, break_off, has_left
from gateway.wire.outputs import HEARTBEAT_S
from gateway.wire.problem import ProblemError

LOOK_S: Final = 1.0
"""How often all streams are looked over."""

STALL_S: Final = 30.0
"""Who takes nothing for so long is not reading any more: two heartbeats."""

_RETRY_MS: Final = (1000, 4000)
"""When readers come back after the end of a stream: not all at once, where there were many."""

_log = structlog.get_logger(__name__)


class TooManyStreamsProblem(ProblemError):  # noqa: N818  # a problem is what the client gets
    """One caller has as many streams open as it may have."""

    slug = "too-many-streams"
    title = "Too many streams are open"
    status = 429

    def __init__(self, at_most: int) -> None:
        super().__init__(
            f"You have {at_most} streams of events open, and may have no more; close one, or read "
            "all your events in one at /events.",
            headers={hdrs.RETRY_AFTER: "5"},
        )


class EventStreams:
    """The open streams of one process. ``at_most`` in all, ``per_reader`` for each who reads.

    A stream ends after ``longest_s``; its reader comes back to where it left off.
    """

    def __init__(self, at_most: int, per_reader: int, longest_s: float) -> None:
        self._at_most = at_most
        self._per_reader = per_reader
        self._longest_s = longest_s
        self._readers: Counter[str] = Counter()
        self._open: set[_Stream] = set()
        self._next_look: asyncio.TimerHandle | None = None

    async def send(
        self,
        request: web.Request,
        reader: str,
        frames: AsyncGenerator[bytes],
        wake: Callable[[], None],
    ) -> web.StreamResponse:
        """Send what ``frames`` give until they end; of HEAD only the head.

        ``wake`` has ``frames`` give a heartbeat, soon. They are closed in the end, whatever comes.

        Raises
        ------
        OverloadedProblem, TooManyStreamsProblem
        """
        async with aclosing(frames):
            with self._admitted(reader):
                stream = _Stream(request, wake, self._longest_s)
                response = await stream.open()
                if request.method == hdrs.METH_HEAD:
                    return response
                with self._looked_after(stream):
                    await stream.pass_on(frames)
                return response

    @contextmanager
    def _admitted(self, reader: str) -> Iterator[None]:
        if self._readers.total() >= self._at_most:
            raise OverloadedProblem(
                f"There are {self._at_most} streams of events open already.", retry_after_s=5
            )
        if self._readers[reader] >= self._per_reader:
            raise TooManyStreamsProblem(self._per_reader)
        self._readers[reader] += 1
        try:
            yield
        finally:
            self._readers[reader] -= 1
            if not self._readers[reader]:
                del self._readers[reader]

    @contextmanager
    def _looked_after(self, stream: "_Stream") -> Iterator[None]:
        self._open.add(stream)
        if self._next_look is None:
            self._look()
        try:
            yield
        finally:
            self._open.discard(stream)
            if not self._open and self._next_look is not None:
                self._next_look.cancel()
                self._next_look = None

    def _look(self) -> None:
        for stream in self._open:
            stream.look()
        self._next_look = asyncio.get_running_loop().call_later(LOOK_S, self._look)


class _Stream:
    """One answer that goes on."""

    def __init__(self, request: web.Request, wake: Callable[[], None], longest_s: float) -> None:
        self._request = request
        self._wake = wake
        self._response = web.StreamResponse(headers=EVENT_HEADERS)
        self._clock = asyncio.get_running_loop().time
        self._written = self._clock()
        self._ends = self._written + longest_s

    async def open(self) -> web.StreamResponse:
        """Send the head."""
        await self._response.prepare(self._request)
        stop_counting(self._request)
        return self._response

    def look(self) -> None:
        """Wake it if there is something to see to."""
        if self._is_silent() or self._has_ended():
            self._wake()

    async def pass_on(self, frames: AsyncGenerator[bytes]) -> None:
        """Send the frames as they come, as long as there is somebody who reads them."""
        try:
            retry_ms = random.randint(*_RETRY_MS)  # noqa: S311  # spreads returns, no secret
            await self._write(b"retry: %d\n\n" % retry_ms)
            async for frame in frames:
                await self._write(frame)
                if self._has_ended():
                    break
            async with asyncio.timeout(STALL_S):
                await self._response.write_eof()
        except (ConnectionError, TimeoutError) as error:
            _log.info("event_reader_left", why=type(error).__name__)
            break_off(self._request)

    def _is_silent(self) -> bool:
        return self._clock() - self._written >= HEARTBEAT_S

    def _has_ended(self) -> bool:
        return has_left(self._request) or self._clock() >= self._ends

    async def _write(self, frame: bytes) -> None:
        async with asyncio.timeout(STALL_S):
            await self._response.write(frame)
        self._written = self._clock()
