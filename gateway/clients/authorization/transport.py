"""A transport that shows one node what it wants to see, and something new when that is refused."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from gateway.clients.authorization.base import NodeAuthorization
from gateway.clients.exchange import (
    NodeTransport,
    Progress,
    Reply,
    ReplyStream,
    StreamTimeouts,
    Timeouts,
)

_HEADER: Final = "Authorization"
_REFUSED: Final = 401


class AuthorizingTransport:
    """Carries exchanges with one node; the given ``Authorization`` is taken for the caller's.

    One that is refused is replaced once, if there may be another: a node that answers 401 has done
    nothing. The transport below is shared and not owned.
    """

    def __init__(self, transport: NodeTransport, authorization: NodeAuthorization) -> None:
        self._transport = transport
        self._authorization = authorization

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
        """As ``NodeTransport``.

        Raises
        ------
        NodeError
            There is no whole answer, or nothing to show to the node.
        """
        sent = await self._sent(headers, timeouts.until)
        reply = await self._transport.exchange(
            method, url, sent, body, timeouts=timeouts, progress=progress
        )
        if not self._may_retry(reply.status, sent):
            return reply
        sent = await self._sent(headers, timeouts.until)
        return await self._transport.exchange(
            method, url, sent, body, timeouts=timeouts, progress=progress
        )

    @asynccontextmanager
    async def open_stream(
        self, method: str, url: str, headers: Mapping[str, str], *, timeouts: StreamTimeouts
    ) -> AsyncIterator[ReplyStream]:
        """As ``NodeTransport``.

        Raises
        ------
        NodeError
            There is no answer, or nothing to show to the node.
        """
        until = asyncio.get_running_loop().time() + timeouts.first_s
        sent = await self._sent(headers, until)
        async with AsyncExitStack() as stack:
            reply = await stack.enter_async_context(
                self._transport.open_stream(method, url, sent, timeouts=timeouts)
            )
            if not self._may_retry(reply.status, sent):
                yield reply
                return
        sent = await self._sent(headers, until)
        async with self._transport.open_stream(method, url, sent, timeouts=timeouts) as reply:
            yield reply

    async def _sent(self, headers: Mapping[str, str], until: float) -> Mapping[str, str]:
        own = {name: value for name, value in headers.items() if name != _HEADER}
        header = await self._authorization.header(headers.get(_HEADER), deadline=until)
        return own if header is None else {**own, _HEADER: header}

    def _may_retry(self, status: int, sent: Mapping[str, str]) -> bool:
        header = sent.get(_HEADER)
        return status == _REFUSED and header is not None and self._authorization.refuse(header)
