"""Answers sent piece by piece: files with byte ranges, relayed bodies, server-sent events.

Nothing is held as a whole: the next piece is read when the last has gone out. A reader who takes
nothing for too long is cut off, and an answer that cannot be finished ends in a broken connection,
never in what looks like an end.
"""

import asyncio
import mimetypes
import os
import stat
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

import structlog
from aiohttp import hdrs, web

from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.ranges import ByteRange, Span, parse_range
from gateway.wire.documents import Document, to_json
from gateway.wire.outputs import HEARTBEAT_S

PIECE_BYTES: Final = 256 << 10
"""Read and sent at once: few trips to a thread, and little held for each of many readers."""

WRITE_S: Final = 60.0
"""Somebody who takes nothing for so long is not reading any more."""

DRAIN_LOOK_S: Final = 1.0
"""How often a stream without end looks whether the service is to end."""

EVENT_STREAM: Final = "text/event-stream"
"""Media type of server-sent events (WHATWG HTML, section 9.2)."""

LAST_EVENT_ID: Final = "Last-Event-ID"
"""Where a reader of events who comes back left off."""

SAFE_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline';"
    " img-src data:",
    "Referrer-Policy": "no-referrer",
}
"""Go with whatever others wrote: a browser shows it, and runs nothing of it as ours."""

_TEXTS: Final = frozenset({"text/csv", "text/html", "text/markdown", "text/plain"})
_TYPES: Final = frozenset({"application/json", "application/pdf"})
_FAMILIES: Final = frozenset({"image", "audio", "video"})
_log = structlog.get_logger(__name__)


class ReadingLimit:
    """How many may read streams at the same time; one more is told to come back."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._count = 0

    @contextmanager
    def reader(self) -> Iterator[None]:
        """One who reads.

        Raises
        ------
        OverloadedProblem
        """
        if self._count >= self._at_most:
            raise OverloadedProblem(
                f"There are {self._count} readers of streams already.", retry_after_s=5
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


def content_type_of(name: str) -> str:
    """The media type that a file's name promises, of those that browsers may show."""
    guessed, coding = mimetypes.guess_type(name, strict=True)
    if guessed is None or coding is not None:
        return "application/octet-stream"
    if guessed in _TEXTS:
        return f"{guessed}; charset=utf-8"
    if guessed in _TYPES or guessed.partition("/")[0] in _FAMILIES:
        return guessed
    return "application/octet-stream"


async def send_file(
    request: web.Request, path: Path, headers: Mapping[str, str], *, etag: str | None = None
) -> web.StreamResponse:
    """A file, or the range of it that is asked for.

    Parameters
    ----------
    etag
        A strong tag of its bytes, without quotes.

    Raises
    ------
    FileNotFoundError
        It has gone.
    RangeNotSatisfiableError
    """
    quoted = None if etag is None else f'"{etag}"'
    named = {**SAFE_HEADERS, hdrs.ACCEPT_RANGES: "bytes", **headers}
    if quoted is not None:
        named[hdrs.ETAG] = quoted
        if quoted in request.headers.get(hdrs.IF_NONE_MATCH, "").replace(" ", "").split(","):
            return web.Response(status=304, headers=named)
    file = await asyncio.to_thread(_open, path)
    try:
        size = os.fstat(file).st_size
        wanted = range_of(request)
        if wanted is None or request.headers.get(hdrs.IF_RANGE, quoted) != quoted:
            span, status = Span(0, size), 200
        else:
            span, status = wanted.within(size), 206
            named[hdrs.CONTENT_RANGE] = span.content_range(size)
        response = web.StreamResponse(status=status, headers=named)
        response.content_length = span.length
        return await send_pieces(request, response, _pieces(file, span))
    finally:
        os.close(file)


def range_of(request: web.Request) -> ByteRange | None:
    """The range that is asked for; only GET has one (RFC 9110 §14.2)."""
    if request.method != hdrs.METH_GET:
        return None
    return parse_range(request.headers.get(hdrs.RANGE))


async def send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes]
) -> web.StreamResponse:
    """Send a body as it comes; of HEAD only the head.

    Where ``pieces`` raise `BrokenPieceError` the connection is closed.
    """
    try:
        async with aclosing(pieces):
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            async for piece in pieces:
                await write(request, response, piece)
            await response.write_eof()
    except BrokenPieceError as error:
        _log.warning("stream_broken", path=request.path, reason=str(error))
        break_off(request)
    except ConnectionError:
        _log.info("reader_left", path=request.path)
    return response


async def while_serving(
    request: web.Request, pieces: AsyncGenerator[bytes]
) -> AsyncGenerator[bytes]:
    """The same pieces, until the service is told to end or the reader has left.

    For what has no end of its own, and may be silent for long.
    """
    lifecycle = request.app[LIFECYCLE]
    async with aclosing(pieces):
        while True:
            coming = asyncio.ensure_future(anext(pieces, None))
            try:
                while not (await asyncio.wait((coming,), timeout=DRAIN_LOOK_S))[0]:
                    if lifecycle.is_draining or has_left(request):
                        return
                piece = coming.result()
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait((coming,))
            if piece is None:
                return
            yield piece
            if lifecycle.is_draining:
                return


class BrokenPieceError(Exception):
    """The next piece of a body cannot be had: the answer ends here, and not well."""


async def write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Send one piece, waiting until there is room for the next.

    Raises
    ------
    ConnectionError
        The reader has left, or takes nothing for too long.
    """
    try:
        async with asyncio.timeout(WRITE_S):
            await response.write(piece)
    except TimeoutError as error:
        break_off(request)
        raise ConnectionAbortedError("the reader takes nothing") from error


def break_off(request: web.Request) -> None:
    """Close the connection at once, so that what was sent does not look whole."""
    if request.transport is not None:
        request.transport.abort()


def has_left(request: web.Request) -> bool:
    """Whether the reader has closed the connection: seen before anything is written in vain."""
    return request.transport is None or request.transport.is_closing()


def wants_events(request: web.Request) -> bool:
    """Whether the reader asks for server-sent events by what it accepts."""
    return EVENT_STREAM in request.headers.get(hdrs.ACCEPT, "").lower()


EVENT_HEADERS: Final[Mapping[str, str]] = {
    **SAFE_HEADERS,
    hdrs.CONTENT_TYPE: EVENT_STREAM,
    hdrs.CACHE_CONTROL: "no-store",
    # Says to nginx that nothing is to be collected before it is passed on.
    "X-Accel-Buffering": "no",
}
"""Headers of every stream of events."""


class EventStream:
    """Server-sent events to one reader; never silent for longer than `HEARTBEAT_S`."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._written = asyncio.get_running_loop().time()
        self._response = web.StreamResponse(headers=EVENT_HEADERS)

    async def open(self) -> web.StreamResponse:
        """Send the head, and a comment, so that it goes out at once."""
        await self._response.prepare(self._request)
        if self._request.method != hdrs.METH_HEAD:
            await self._write(b": open\n\n")
        return self._response

    async def send(self, event: str, data: Document, event_id: int) -> None:
        """One event.

        Raises
        ------
        ConnectionError
        """
        head = f"id: {event_id}\nevent: {event}\ndata: ".encode()
        await self._write(head + to_json(data) + b"\n\n")

    async def beat(self) -> None:
        """A comment, where nothing was sent for long enough.

        Raises
        ------
        ConnectionError
        """
        if asyncio.get_running_loop().time() - self._written >= HEARTBEAT_S:
            await self._write(b": still here\n\n")

    async def _write(self, text: bytes) -> None:
        await write(self._request, self._response, text)
        self._written = asyncio.get_running_loop().time()


async def _pieces(file: int, span: Span) -> AsyncGenerator[bytes]:
    """The bytes of an open file."""
    at = span.start
    while at < span.stop:
        count = min(PIECE_BYTES, span.stop - at)
        try:
            piece = await asyncio.to_thread(os.pread, file, count, at)
        except OSError as error:
            raise BrokenPieceError(f"the file cannot be read: {error.strerror}") from error
        if not piece:
            raise BrokenPieceError("the file has become shorter")
        at += len(piece)
        yield piece


def _open(path: Path) -> int:
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(path)
    return number
