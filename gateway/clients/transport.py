"""The transport over aiohttp: one session for all nodes."""

import asyncio
import select
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

import aiohttp

from gateway.clients.addresses import AddressGuard
from gateway.clients.exchange import (
    USER_AGENT,
    NodeGarbageError,
    NodeLostError,
    NodeTimeoutError,
    NodeTooLargeError,
    NodeUnreachableError,
    Progress,
    Reply,
    ReplyStream,
    Stage,
    StreamTimeouts,
    Timeouts,
    is_stale,
    replacing_stale,
)
from gateway.clients.trust import trust_of
from gateway.domain.reasons import ReasonCode
from gateway.settings import TransportSettings

_NO_CEILING: Final = 1e9
"""aiohttp rounds timeouts above its threshold up to whole seconds; a deadline is exact."""

_IDENTITY_CODINGS: Final = frozenset({"", "identity"})

_progress: ContextVar[Progress] = ContextVar("node_exchange_progress")


class _StagedConnector(aiohttp.TCPConnector):
    """Tells the exchange at work when it has its connection, and whether that was opened for it."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.connector.Connection:
        progress = _progress.get()
        progress.is_fresh = False
        connection = await super().connect(req, traces, timeout)
        while not progress.is_fresh and _has_unasked(connection):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        progress.stage = Stage.HEADERS
        progress.may_have_acted = True
        return connection

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.client_proto.ResponseHandler:
        _progress.get().is_fresh = True
        return await super()._create_connection(req, traces, timeout)


class AiohttpTransport:
    """Carries exchanges over one tuned ``aiohttp.ClientSession``.

    Use as an asynchronous context manager, which opens and closes the session. ``guard`` says which
    addresses may be connected to; None: all.
    """

    def __init__(
        self, settings: TransportSettings | None = None, guard: AddressGuard | None = None
    ) -> None:
        self._settings = settings or TransportSettings()
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = _StagedConnector(
            limit=0,
            ssl=trust_of(self._settings),
            keepalive_timeout=self._settings.keepalive_s,
            ttl_dns_cache=round(self._settings.dns_cache_s),
            socket_factory=None if self._guard is None else self._guard.make_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

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

        A stale connection is replaced once.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeTooLargeError, NodeGarbageError
            There is no whole answer.
        """
        progress = progress or Progress()
        token = _progress.set(progress)

        async def attempt(*, is_second: bool) -> Reply:
            del is_second  # the session picks the connection
            progress.may_have_acted = False
            return await self._exchange(method, url, headers, body, timeouts, progress)

        try:
            return await replacing_stale(attempt)
        finally:
            _progress.reset(token)

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeouts: Timeouts,
        progress: Progress,
    ) -> Reply:
        session = self._opened()
        loop = asyncio.get_running_loop()
        progress.stage = Stage.CONNECT
        began = loop.time()
        left_s = timeouts.until - began
        if left_s <= 0:
            raise NodeTimeoutError(Stage.QUEUED)
        timeout = aiohttp.ClientTimeout(
            total=left_s,
            connect=min(timeouts.connect_s, left_s),
            ceil_threshold=_NO_CEILING,
        )
        try:
            with _failures_of(progress):
                async with session.request(
                    method, url, data=body, headers=headers, allow_redirects=False, timeout=timeout
                ) as response:
                    progress.stage = Stage.BODY
                    return Reply(response.status, response.headers, await self._read(response))
        except NodeLostError as error:
            stale = is_stale(error.stage, is_fresh=progress.is_fresh, took_s=loop.time() - began)
            raise NodeLostError(error.stage, is_stale=stale) from error.__cause__

    @asynccontextmanager
    async def open_stream(
        self, method: str, url: str, headers: Mapping[str, str], *, timeouts: StreamTimeouts
    ) -> AsyncIterator[ReplyStream]:
        """Send one request without a body and give its answer, whatever its status, as it comes.

        Whoever leaves the context before the end of the body closes the connection.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeGarbageError
            There is no answer.
        """
        progress = Progress()
        progress.stage = Stage.CONNECT
        token = _progress.set(progress)
        try:
            with _failures_of(progress):
                async with asyncio.timeout(timeouts.first_s):
                    response = await self._opened().request(
                        method,
                        url,
                        headers=headers,
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(
                            total=None, connect=timeouts.connect_s, ceil_threshold=_NO_CEILING
                        ),
                    )
        finally:
            _progress.reset(token)
        progress.stage = Stage.BODY
        async with response:
            _check_coding(response)
            yield _Stream(response, timeouts.idle_s, progress)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "the transport is not open"
            raise RuntimeError(message)
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.max_reply_bytes
        _check_coding(response)
        length = response.content_length
        if length is not None:
            if length > limit:
                raise NodeTooLargeError(limit)
            return await response.read()
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise NodeTooLargeError(limit)
        return bytes(body)


class _Stream:
    """An answer of which the body is still to come."""

    def __init__(self, response: aiohttp.ClientResponse, idle_s: float, progress: Progress) -> None:
        self.status: Final = response.status
        self.headers: Final[Mapping[str, str]] = response.headers
        self._response = response
        self._idle_s = idle_s
        self._progress = progress

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body, once."""
        while True:
            with _failures_of(self._progress):
                async with asyncio.timeout(self._idle_s):
                    piece = await self._response.content.readany()
            if not piece:
                return
            yield piece


def _has_unasked(connection: aiohttp.connector.Connection) -> bool:
    """Whether something came on an idle connection: an answer to nothing, or the end.

    The session would take what it has read there (``should_close``) for the next answer.
    """
    if connection.transport is None or connection.protocol is None:
        return True
    unread = select.poll()
    unread.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return connection.protocol.should_close or bool(unread.poll(0))


@contextmanager
def _failures_of(progress: Progress) -> Iterator[None]:
    """What the library raises, as what it means for the exchange."""
    try:
        yield
    except TimeoutError as error:
        raise NodeTimeoutError(progress.stage) from error
    except aiohttp.ClientConnectorError as error:
        raise _unreachable(error) from error
    except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        detail = "the answer is not HTTP"
        raise NodeGarbageError(detail) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise NodeLostError(progress.stage) from error


def _check_coding(response: aiohttp.ClientResponse) -> None:
    if response.headers.get("Content-Encoding", "").lower() not in _IDENTITY_CODINGS:
        detail = "the answer is in a content coding that was not asked for"
        raise NodeGarbageError(detail)


def _unreachable(error: aiohttp.ClientConnectorError) -> NodeUnreachableError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NodeUnreachableError(ReasonCode.NAME_UNKNOWN)
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(error.os_error, ssl.SSLError):
        return NodeUnreachableError(ReasonCode.TLS_FAILED)
    return NodeUnreachableError.from_system(error.os_error)
