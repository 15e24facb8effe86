"""News of a session: from the broker's stream of events, or where it has none, by asking often."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from gateway.cli.errors import BrokerProblemError, BrokerUnavailableError, WatchDeadlineError
from gateway.cli.events import EventReader
from gateway.cli.transfers import Opener
from gateway.wire.documents import Document
from gateway.wire.phases import TERMINAL_SESSION_PHASES

_EVENT_STREAM: Final = "text/event-stream"
_PASSING: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Refusals that may be over later; with any other there is no stream to be had."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How often a session is read while it is watched and there is no stream of its events.

    The pause grows from ``first_s`` by ``factor`` up to ``longest_s``, and starts again with every
    change of phase. A broker that is away is forgiven for ``patience_s``.
    """

    first_s: float = 0.2
    longest_s: float = 2.0
    factor: float = 1.5
    patience_s: float = 30.0


async def watch_session(
    uuid: UUID,
    read: Callable[[], Awaitable[Document]],
    open_: Opener,
    polling: Polling,
    deadline_s: float | None,
) -> AsyncGenerator[Document]:
    """The session whenever there may be news, the last time in a terminal phase.

    Raises
    ------
    WatchDeadlineError
        It has not come to its end within ``deadline_s``.
    BrokerUnavailableError, BrokerProblemError
        It cannot be read.
    """
    clock = asyncio.get_running_loop().time
    give_up = None if deadline_s is None else clock() + deadline_s
    pause_s, phase, heard = polling.first_s, None, clock()
    async with News(open_) as news:
        while True:
            try:
                document = await read()
            except BrokerUnavailableError:
                if clock() - heard > polling.patience_s:
                    raise
            else:
                heard = clock()
                if document.get("phase") != phase:
                    pause_s, phase = polling.first_s, document.get("phase")
                yield document
                if phase in TERMINAL_SESSION_PHASES:
                    return
            try:
                async with asyncio.timeout_at(give_up):
                    await news.wait(pause_s)
            except TimeoutError:
                raise WatchDeadlineError(uuid, str(phase), deadline_s or 0) from None
            pause_s = min(pause_s * polling.factor, polling.longest_s)


class News:
    """Waits for something to happen to a session; used as ``async with``.

    A stream that breaks off is taken up where it was left, at the next wait.
    """

    def __init__(self, open_: Opener) -> None:
        self._open = open_
        self._last_id = ""
        self._is_to_be_had = True
        self._signs: AsyncGenerator[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def wait(self, pause_s: float) -> None:
        """Return when the stream says something, or without a stream after ``pause_s``."""
        if self._signs is None and self._is_to_be_had:
            self._signs = self._read()
        if self._signs is None or not await self._has_come(self._signs):
            await asyncio.sleep(pause_s)

    async def _has_come(self, signs: AsyncGenerator[None]) -> bool:
        """Wait for the stream to say something; False where it ends."""
        try:
            async for _ in signs:
                return True
        except BrokerUnavailableError:
            pass  # whether the broker is there, and for how long not, reading it shows
        except BrokerProblemError as error:
            self._is_to_be_had = error.status in _PASSING
        await self._end()
        return False

    async def _end(self) -> None:
        signs, self._signs = self._signs, None
        if signs is not None:
            await signs.aclose()

    async def _read(self) -> AsyncGenerator[None]:
        """Something whenever something came: the broker says at least that it is still there."""
        headers = {"Accept": _EVENT_STREAM}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        async with self._open(headers) as download, aclosing(download.pieces) as pieces:
            if not download.headers.get("Content-Type", "").startswith(_EVENT_STREAM):
                # Over, with 204, or a broker that gives something else there.
                self._is_to_be_had = False
                return
            reader = EventReader()
            async for piece in pieces:
                try:
                    reader.feed(piece)
                except ValueError:
                    self._is_to_be_had = False
                    return
                self._last_id = reader.last_id or self._last_id
                yield
