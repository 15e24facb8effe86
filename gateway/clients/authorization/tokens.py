"""Bearer tokens for nodes: the gateway's own, or the caller's, exchanged for one of the node's."""

import hashlib
from collections import OrderedDict
from typing import Final, Protocol

from gateway.clients.authorization.base import NodeAuthorizationError
from gateway.clients.lakes.errors import LakeError
from gateway.clients.lakes.tokens import Token, TokenCache, TokenSource

MAX_SUBJECTS: Final = 1024
"""Callers whose exchanged token is kept, 2 KiB each; the one not seen for longest is forgotten."""

_BEARER: Final = "bearer "


class TokenExchanger(Protocol):
    """Exchanges the token of a caller for one that a service takes."""

    async def exchange(self, subject: str, *, deadline: float) -> Token:
        """The token to use there.

        Raises
        ------
        LakeError
            There is none: what gives out tokens fails as the catalogues do.
        """
        ...


class ServiceToken:
    """A token of the gateway's own, kept until shortly before it ends."""

    def __init__(self, source: TokenSource) -> None:
        self._tokens = TokenCache(source)

    async def header(self, caller: str | None, *, deadline: float) -> str | None:
        """The header with the token; whoever calls plays no part.

        Raises
        ------
        NodeAuthorizationError
            There is no token.
        """
        del caller
        return await _header(self._tokens, deadline)

    def refuse(self, header: str) -> bool:
        """Take a new one the next time."""
        return self._tokens.reject(_token_in(header))


class ExchangedToken:
    """The caller's token exchanged for one of the node's; one for each caller's token."""

    def __init__(self, exchanger: TokenExchanger) -> None:
        self._exchanger = exchanger
        self._tokens: OrderedDict[bytes, TokenCache] = OrderedDict()

    async def header(self, caller: str | None, *, deadline: float) -> str | None:
        """The header with the exchanged token.

        Raises
        ------
        NodeAuthorizationError
            The caller has no token, or it is not exchanged.
        """
        if caller is None or not caller.lower().startswith(_BEARER):
            raise NodeAuthorizationError("the caller has no token to exchange")
        subject = _token_in(caller)
        return await _header(self._tokens_of(subject), deadline)

    def refuse(self, header: str) -> bool:
        """Exchange anew the next time."""
        token = _token_in(header)
        return any(tokens.reject(token) for tokens in self._tokens.values())

    def _tokens_of(self, subject: str) -> TokenCache:
        digest = hashlib.sha256(subject.encode()).digest()
        tokens = self._tokens.get(digest)
        if tokens is None:
            tokens = self._tokens[digest] = TokenCache(_OfSubject(self._exchanger, subject))
            if len(self._tokens) > MAX_SUBJECTS:
                self._tokens.popitem(last=False)
        self._tokens.move_to_end(digest)
        return tokens


class _OfSubject:
    """The exchange of one caller's token."""

    def __init__(self, exchanger: TokenExchanger, subject: str) -> None:
        self._exchanger = exchanger
        self._subject = subject

    async def fetch(self, *, deadline: float) -> Token:
        return await self._exchanger.exchange(self._subject, deadline=deadline)


async def _header(tokens: TokenCache, deadline: float) -> str:
    try:
        return f"Bearer {await tokens.get(deadline=deadline)}"
    except LakeError as error:
        raise NodeAuthorizationError(f"the token service {error}") from error


def _token_in(header: str) -> str:
    return header.partition(" ")[2].strip()
