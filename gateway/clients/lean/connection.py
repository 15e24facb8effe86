"""One connection to a node: at most one exchange at a time, and what is left of it after that."""

import asyncio
import select
import socket
from typing import Protocol, cast

from gateway.clients.exchange import (
    NodeError,
    NodeLostError,
    NodeTimeoutError,
    Progress,
    Reply,
    Stage,
    is_stale,
)
from gateway.clients.lean.reading import AnswerReader
from gateway.clients.lean.receiving import ReceiveBuffer


class ConnectionKeeper(Protocol):
    """Whoever keeps a connection between exchanges."""

    def admit(self, connection: "Connection") -> None:
        """The connection is open, and whoever wanted it has it."""
        ...

    def take_back(self, connection: "Connection") -> float:
        """An exchange has ended well; gives the loop time at which to end if it stays unused."""
        ...

    def forget(self, connection: "Connection") -> None:
        """The connection has ended."""
        ...


class _Exchange:
    """What is under way on a connection. ``began`` is event loop time."""

    __slots__ = ("began", "progress", "reader", "waiter")

    def __init__(
        self,
        reader: AnswerReader,
        progress: Progress,
        waiter: asyncio.Future[Reply | NodeError],
        began: float,
    ) -> None:
        self.reader = reader
        self.progress = progress
        self.waiter = waiter
        self.began = began

    def settle(self, outcome: Reply | NodeError) -> None:
        """Say what came of it, unless nobody waits any more."""
        if not self.waiter.done():
            self.waiter.set_result(outcome)


class Connection(asyncio.BufferedProtocol):
    """A connection that carries one exchange after another.

    It is ended, and never used again, by whatever casts doubt on where an answer ends and whose it
    is: bytes that nobody asked for, a fault in the answer, time over, a caller who left. One timer
    serves exchanges and rests: it is set anew only for an earlier instant, and looks when it goes
    off whether the time it then stands for is over.
    """

    __slots__ = (
        "_buffer",
        "_exchange",
        "_is_made",
        "_is_unwanted",
        "_keeper",
        "_loop",
        "_timer",
        "_transport",
        "_unread",
        "_until",
    )

    def __init__(
        self, keeper: ConnectionKeeper, connected: socket.socket, buffer: ReceiveBuffer
    ) -> None:
        """``connected`` belongs to the event loop; here it is only looked at."""
        self._keeper = keeper
        self._buffer = buffer
        self._unread = select.poll()
        self._unread.register(connected, select.POLLIN)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_made = False
        self._is_unwanted = False
        self._exchange: _Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0

    def is_quiet(self) -> bool:
        """Whether it is open, and nothing has come since the last answer: no byte, no end."""
        return not self._transport.is_closing() and not self._unread.poll(0)

    async def exchange(
        self, request: bytes, reader: AnswerReader, progress: Progress, until: float
    ) -> Reply:
        """Send a request and wait for its answer, ``until`` at most (event loop time).

        Raises
        ------
        NodeTimeoutError, NodeLostError, NodeTooLargeError, NodeGarbageError
            There is no whole answer; the connection has ended.
        """
        if self._transport.is_closing():
            raise NodeLostError(Stage.CONNECT)
        progress.stage = Stage.HEADERS
        progress.may_have_acted = True
        waiter: asyncio.Future[Reply | NodeError] = self._loop.create_future()
        exchange = self._exchange = _Exchange(reader, progress, waiter, self._loop.time())
        self._watch(until)
        self._transport.write(request)
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            # With the answer already there, the connection may be at work for somebody else.
            if self._exchange is exchange:
                self._end()
            raise
        if not isinstance(outcome, NodeError):
            return outcome
        try:
            raise outcome
        finally:
            # With the error they would make a circle, and hold what was read until the next look
            # for garbage.
            del outcome, waiter, exchange, reader

    def abort(self) -> None:
        """End the connection now, also one about to be opened; what it carries is lost."""
        self._is_unwanted = True
        if self._is_made:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop has opened it."""
        # That of uvloop is one without saying so.
        self._transport = cast("asyncio.Transport", transport)
        self._is_made = True
        if self._is_unwanted:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the event loop's guess
        """Where the event loop puts what comes next."""
        return self._buffer.lend(self)

    def buffer_updated(self, nbytes: int) -> None:
        """Something has come."""
        data = self._buffer.take(self, nbytes)
        exchange = self._exchange
        if data is None or exchange is None:
            self._transport.abort()
            return
        reader = exchange.reader
        try:
            reply = reader.feed(data)
        except NodeError as error:
            self._fail(exchange, error)
            return
        if reader.has_head:
            exchange.progress.stage = Stage.BODY
            if reply is not None:
                self._succeed(exchange, reply, keeps_connection=reader.keeps_connection)

    def eof_received(self) -> None:
        """The node has said that nothing more will come."""
        exchange = self._exchange
        if exchange is not None and (reply := exchange.reader.end()) is not None:
            self._succeed(exchange, reply, keeps_connection=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, whoever ended it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._keeper.forget(self)
        exchange = self._exchange
        if exchange is None:
            return
        progress = exchange.progress
        stale = not exchange.reader.has_begun and is_stale(
            progress.stage,
            is_fresh=progress.is_fresh,
            took_s=self._loop.time() - exchange.began,
        )
        error = NodeLostError(progress.stage, is_stale=stale)
        error.__cause__ = exc
        self._fail(exchange, error)

    def _succeed(self, exchange: _Exchange, reply: Reply, *, keeps_connection: bool) -> None:
        self._exchange = None
        exchange.settle(reply)
        # An answer that came before its request was sent is no ground to send another.
        if keeps_connection and not self._transport.get_write_buffer_size():
            self._watch(self._keeper.take_back(self))
        else:
            self._transport.abort()

    def _fail(self, exchange: _Exchange, error: NodeError) -> None:
        self._end()
        # What it was raised through holds all that was read.
        exchange.settle(error.with_traceback(None))

    def _end(self) -> None:
        self._exchange = None
        self._transport.abort()

    def _watch(self, until: float) -> None:
        """Let the timer go off at ``until``, or before."""
        self._until = until
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() < self._until:
            self._watch(self._until)
        elif self._exchange is None:
            self._transport.abort()
        else:
            self._fail(self._exchange, NodeTimeoutError(self._exchange.progress.stage))
