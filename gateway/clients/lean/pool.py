"""The connections to one place: at work for one exchange each, or at rest for the next."""

import asyncio
from contextlib import suppress
from typing import Final

from gateway.clients.lean.connection import Connection

_MAX_RESTING: Final = 64
"""As many as a node is asked at once by default (``max_in_flight``)."""

_CLOSE_S: Final = 1.0
"""An aborted connection has ended at the event loop's next turn; a program ends all the same."""


class ConnectionPool:
    """Keeps what can be used again; the connection used last goes out first."""

    def __init__(self, keepalive_s: float) -> None:
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._resting: list[Connection] = []
        self._is_closed = False
        self._is_empty = asyncio.Event()

    def take(self) -> Connection | None:
        """A connection on which nothing has happened since its last exchange, if there is one."""
        while self._resting:
            connection = self._resting.pop()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    def admit(self, connection: Connection) -> None:
        """A new connection; it is at work at first."""
        self._open.add(connection)
        if self._is_closed:
            connection.abort()

    def take_back(self, connection: Connection) -> float:
        """An exchange has ended well; gives the loop time at which to end if it stays unused."""
        now = self._loop.time()
        if len(self._resting) >= _MAX_RESTING:
            return now
        self._resting.append(connection)
        return now + self._keepalive_s

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)
        if self._is_closed and not self._open:
            self._is_empty.set()

    async def aclose(self) -> None:
        """End every connection, those at work too, and wait until all have ended."""
        self._is_closed = True
        for connection in self._open:
            connection.abort()
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._is_empty.wait()
