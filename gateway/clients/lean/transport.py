"""The transport over the gateway's own lean HTTP/1.1 client; streams go over aiohttp."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp.resolver import DefaultResolver

from gateway.clients.addresses import AddressGuard
from gateway.clients.exchange import (
    NodeLostError,
    NodeTimeoutError,
    Progress,
    Reply,
    ReplyStream,
    Stage,
    StreamTimeouts,
    Timeouts,
    replacing_stale,
)
from gateway.clients.lean.asking import Origin, render_request
from gateway.clients.lean.connection import Connection
from gateway.clients.lean.dialling import Dialler
from gateway.clients.lean.names import Names
from gateway.clients.lean.pool import ConnectionPool
from gateway.clients.lean.reading import AnswerReader
from gateway.clients.transport import AiohttpTransport
from gateway.clients.trust import trust_of
from gateway.settings import TransportSettings


class LeanTransport:
    """Carries exchanges over connections of its own.

    Use as an asynchronous context manager, which opens it, and ends every connection at its end.
    Answers of any length that come piece by piece are rare and long: aiohttp carries them.
    ``guard`` says which addresses may be connected to; None: all.
    """

    def __init__(
        self, settings: TransportSettings | None = None, guard: AddressGuard | None = None
    ) -> None:
        self._settings = settings or TransportSettings()
        self._guard = guard
        self._streams = AiohttpTransport(self._settings, guard)
        self._pools: dict[Origin, ConnectionPool] = {}
        self._dialler: Dialler | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._stack.enter_async_context(self._streams)
        # As aiohttp does: by c-ares where it is installed, so that no thread hangs in a look-up.
        resolver = DefaultResolver()
        self._stack.push_async_callback(resolver.close)
        names = Names(resolver, self._settings.dns_cache_s)
        self._dialler = Dialler(names, trust_of(self._settings), self._guard)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dialler = None
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()
        await self._stack.aclose()

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,
        progress: Progress | None = None,
    ) -> Reply:
        """Send one request and read its whole answer, whatever its status; follows no redirect.

        A stale connection is replaced once, by a new one.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeTooLargeError, NodeGarbageError
            There is no whole answer.
        ValueError
            The method or a header cannot be sent.
        """
        if self._dialler is None:
            raise RuntimeError("the transport is not open")
        origin, request = render_request(method, url, headers, body)
        progress = progress or Progress()

        async def attempt(*, is_second: bool) -> Reply:
            progress.stage = Stage.CONNECT
            progress.may_have_acted = False
            connection = await self._connection(origin, timeouts, progress, is_new=is_second)
            reader = AnswerReader(method, self._settings.max_reply_bytes)
            return await connection.exchange(request, reader, progress, timeouts.until)

        return await replacing_stale(attempt)

    def open_stream(
        self, method: str, url: str, headers: Mapping[str, str], *, timeouts: StreamTimeouts
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Send one request without a body and give its answer, whatever its status, as it comes.

        Whoever leaves the context before the end of the body closes the connection.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeGarbageError
            There is no answer.
        """
        return self._streams.open_stream(method, url, headers, timeouts=timeouts)

    async def _connection(
        self, origin: Origin, timeouts: Timeouts, progress: Progress, *, is_new: bool
    ) -> Connection:
        if self._dialler is None:  # closed since the first try
            raise NodeLostError(Stage.CONNECT)
        now = self._loop.time()
        if now >= timeouts.until:
            raise NodeTimeoutError(Stage.QUEUED)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = ConnectionPool(self._settings.keepalive_s)
        connection = None if is_new else pool.take()
        progress.is_fresh = connection is None
        if connection is None:
            until = min(timeouts.until, now + timeouts.connect_s)
            connection = await self._dialler.dial(origin, pool, until)
            # With TLS the node may speak first: session tickets.
            if not origin.is_tls and not connection.is_quiet():
                connection.abort()
                raise NodeLostError(Stage.CONNECT)
        return connection
