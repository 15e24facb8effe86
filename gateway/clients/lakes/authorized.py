"""Asking a catalogue as somebody: the token goes along, and is renewed once when refused."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from gateway.clients.lakes.connections import LakeCall, LakeConnections, LakeReply
from gateway.clients.lakes.errors import LakeCredentialsError, LakeTimeoutError
from gateway.clients.lakes.tokens import TokenCache

_JSON: Final = {"Content-Type": "application/json"}


def bearer(token: str) -> Mapping[str, str]:
    """The header of RFC 6750."""
    return {"Authorization": f"Bearer {token}"}


def is_unauthorized(reply: LakeReply) -> bool:
    """The plain way to say that a token is not, or no longer, good."""
    return reply.status == 401


class AuthorizedCaller:
    """Asks one service. Without ``tokens`` it is asked as nobody.

    Parameters
    ----------
    to_headers
        How the service wants the token.
    is_refused
        How it says that it does not take it.
    """

    def __init__(
        self,
        connections: LakeConnections,
        url: str,
        tokens: TokenCache | None,
        *,
        to_headers: Callable[[str], Mapping[str, str]] = bearer,
        is_refused: Callable[[LakeReply], bool] = is_unauthorized,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._connections = connections
        self._url = url
        self._tokens = tokens
        self._to_headers = to_headers
        self._is_refused = is_refused
        self._trust = trust

    async def ask(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        body: bytes | None = None,
        slots: asyncio.Semaphore | None = None,
    ) -> LakeReply:
        """The whole answer, whatever its status. ``path`` is quoted already.

        ``slots`` bounds how many of this kind are asked at once; waiting counts as time.

        Raises
        ------
        LakeError
            There is no whole answer, or this gateway is not accepted.
        """
        call = LakeCall(
            method=method,
            url=self._url + path,
            headers={} if body is None else _JSON,
            body=body,
            trust=self._trust,
        )
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline), slots or nullcontext():
                return await self._ask(call, deadline)
        except TimeoutError as error:
            raise LakeTimeoutError(deadline - began) from error

    async def _ask(self, call: LakeCall, deadline: float) -> LakeReply:
        if self._tokens is None:
            reply = await self._connections.ask(call, deadline=deadline)
            if self._is_refused(reply):
                raise LakeCredentialsError
            return reply
        for _ in range(2):
            token = await self._tokens.get(deadline=deadline)
            headers = {**call.headers, **self._to_headers(token)}
            reply = await self._connections.ask(replace(call, headers=headers), deadline=deadline)
            if not self._is_refused(reply):
                return reply
            self._tokens.reject(token)
        raise LakeCredentialsError
