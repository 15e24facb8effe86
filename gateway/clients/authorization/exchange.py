"""Exchanging a caller's token: by RFC 8693, and as SRCNet's authentication service does it."""

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from gateway.clients.lakes.connections import LakeCall, LakeConnections
from gateway.clients.lakes.errors import LakeInvalidAnswerError
from gateway.clients.lakes.tokens import DEFAULT_LIFE_S, IssuerClient, Token, ask_for_token

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
"""RFC 8693 section 2.1."""

TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # its name
"""RFC 8693 section 3."""


_EMPTY: Final = "there is no token in the answer of the authentication service"


class StandardExchange(IssuerClient):
    """Exchanges tokens at an issuer (RFC 8693), as the client that this gateway is there."""

    __slots__ = ()

    async def exchange(self, subject: str, *, deadline: float) -> Token:
        """The token to use at the audience.

        Raises
        ------
        LakeError
            There is none.
        """
        form = {
            "grant_type": GRANT,
            "subject_token": subject,
            "subject_token_type": TOKEN_TYPE,
            "requested_token_type": TOKEN_TYPE,
        }
        return await self.granted(form, deadline=deadline)


class _Inner(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _SrcnetAnswer(msgspec.Struct):
    token: _Inner | None = None
    access_token: str | None = None
    expires_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SrcnetExchange:
    """Exchanges tokens at SRCNet's authentication service, which knows services by name.

    The token travels in the URL there: it is never logged.
    """

    connections: LakeConnections
    url: str
    service: str
    version: str = "latest"
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    async def exchange(self, subject: str, *, deadline: float) -> Token:
        """The token to use at the service.

        Raises
        ------
        LakeError
            There is none.
        """
        query = urlencode(
            {"version": self.version, "try_use_cache": "true", "access_token": subject}
        )
        url = f"{self.url}/token/exchange/{quote(self.service, safe='')}?{query}"
        call = LakeCall(method="GET", url=url, trust=self.trust)
        reply = await ask_for_token(self.connections, call, deadline)
        try:
            given = msgspec.json.decode(reply.body, type=_SrcnetAnswer)
        except msgspec.MsgspecError as error:
            raise LakeInvalidAnswerError(_EMPTY) from error
        found = given.token or given
        if found.access_token is None:
            raise LakeInvalidAnswerError(_EMPTY)
        life_s = DEFAULT_LIFE_S if found.expires_in is None else found.expires_in
        return Token(found.access_token, life_s)
