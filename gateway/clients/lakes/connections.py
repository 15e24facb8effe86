"""HTTP to the catalogues: one session for all, every answer bounded in time and in size."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from gateway.clients.lakes.errors import (
    LakeInvalidAnswerError,
    LakeTimeoutError,
    LakeUnreachableError,
)

MAX_ANSWER_BYTES: Final = 32 << 20
"""Rucio says some 1.2 KiB a file and is asked about 2,000 at most; DM-API lists every file."""

KEEPALIVE_S: Final = 1.5
"""gunicorn, in front of Rucio, closes idle connections after 2 s."""

_NO_CEILING: Final = 1e9
"""aiohttp rounds timeouts above its threshold up to whole seconds; a deadline is exact."""

_IDENTITY_CODINGS: Final = frozenset({"", "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """``connect_s`` until there is a connection; ``silence_s`` between two pieces of an answer."""

    connect_s: float = 0.5
    silence_s: float = 5.0
    max_answer_bytes: int = MAX_ANSWER_BYTES
    connections_per_host: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeCall:
    """One question. All of them only read, so that each may be asked twice.

    ``url`` is used as it is: what is in it has been quoted. ``trust`` replaces the machine's own
    certificate authorities.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    trust: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LakeReply:
    """What came back, whole. Names in ``headers`` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _LostConnectionError(Exception):
    """The connection ended before a word was said: it had been idle for too long, as a rule."""


class LakeConnections:
    """The session for all catalogues. Use as an asynchronous context manager, which owns it."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self._limits = limits or ConnectionLimits()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._limits.connections_per_host,
            keepalive_timeout=KEEPALIVE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={
                "User-Agent": "execbroker-gateway",
                "Accept-Encoding": "identity",
                # Rucio answers 406 to `application/json` where it means other JSON.
                "Accept": "*/*",
            },
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

    async def ask(self, call: LakeCall, *, deadline: float) -> LakeReply:
        """The whole answer, whatever its status, by ``deadline`` (loop time). No redirect.

        Raises
        ------
        LakeUnreachableError, LakeTimeoutError, LakeInvalidAnswerError
            There is no whole answer.
        """
        try:
            return await self._ask(call, deadline)
        except _LostConnectionError:
            try:
                return await self._ask(call, deadline)
            except _LostConnectionError as error:
                detail = "the connection ended without one"
                raise LakeInvalidAnswerError(detail) from error

    async def _ask(self, call: LakeCall, deadline: float) -> LakeReply:
        if self._session is None:
            message = "the connections are not open"
            raise RuntimeError(message)
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise LakeTimeoutError(0)
        has_answered = False
        try:
            async with self._session.request(
                call.method,
                URL(call.url, encoded=True),
                data=call.body,
                headers=call.headers,
                allow_redirects=False,
                ssl=True if call.trust is None else call.trust,
                timeout=aiohttp.ClientTimeout(
                    total=left_s,
                    sock_connect=min(self._limits.connect_s, left_s),
                    sock_read=min(self._limits.silence_s, left_s),
                    ceil_threshold=_NO_CEILING,
                ),
            ) as response:
                has_answered = True
                return LakeReply(response.status, response.headers, await self._read(response))
        except aiohttp.ConnectionTimeoutError as error:
            detail = "connecting took too long"
            raise LakeUnreachableError(detail) from error
        except TimeoutError as error:
            raise LakeTimeoutError(min(left_s, self._limits.silence_s)) from error
        except aiohttp.ClientConnectorError as error:
            raise LakeUnreachableError(type(error).__name__) from error
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            detail = "it is not HTTP"
            raise LakeInvalidAnswerError(detail) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            if not has_answered:
                raise _LostConnectionError from error
            detail = "it is cut off"
            raise LakeInvalidAnswerError(detail) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.headers.get("Content-Encoding", "").lower() not in _IDENTITY_CODINGS:
            detail = "it is in a content coding that was not asked for"
            raise LakeInvalidAnswerError(detail)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._limits.max_answer_bytes:
                detail = f"it is larger than {self._limits.max_answer_bytes} bytes"
                raise LakeInvalidAnswerError(detail)
        return bytes(body)
