"""Tokens for the catalogues: taken once, shared, renewed before they end and once when refused."""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol
from urllib.parse import quote_plus, urlencode

import msgspec

from gateway.clients.lakes.connections import LakeCall, LakeConnections, LakeReply
from gateway.clients.lakes.errors import (
    BUSY_STATUSES,
    LakeBusyError,
    LakeCredentialsError,
    LakeInvalidAnswerError,
    LakeStatusError,
    LakeTimeoutError,
)
from gateway.clients.lakes.patience import patiently
from gateway.wire.secret import Secret

MARGIN_S: Final = 60.0
"""A token is renewed so long before it ends, and at half of its life if that is short."""

DEFAULT_LIFE_S: Final = 300.0
"""Of a token whose end is not said (``expires_in`` is only recommended, RFC 6749 section 5.1)."""

_REFUSALS: Final = frozenset({400, 401, 403})
"""What a token endpoint says to a client it does not accept (RFC 6749 section 5.2)."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the seconds it has to live; None is for ever."""

    text: str = field(repr=False)
    life_s: float | None = None


class TokenSource(Protocol):
    """Gives out new tokens."""

    async def fetch(self, *, deadline: float) -> Token:
        """A new token.

        Raises
        ------
        LakeError
            There is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that the settings give; nothing is known of its end."""

    text: Secret

    async def fetch(self, *, deadline: float) -> Token:
        """The token, the same each time."""
        del deadline
        return Token(self.text.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class RucioLogin:
    """Logs in to Rucio with a user name and a password. Each login is a new row over there."""

    connections: LakeConnections
    url: str
    account: str
    username: str
    password: Secret
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    async def fetch(self, *, deadline: float) -> Token:
        """A new token; its life is counted by the server's own clock.

        Raises
        ------
        LakeError
            There is none.
        """
        headers = {
            "X-Rucio-Account": self.account,
            "X-Rucio-Username": self.username,
            "X-Rucio-Password": self.password.reveal(),
        }
        call = LakeCall(
            method="GET", url=f"{self.url}/auth/userpass", headers=headers, trust=self.trust
        )
        reply = await ask_for_token(self.connections, call, deadline)
        text = reply.headers.get("X-Rucio-Auth-Token")
        if not text:
            detail = "there is no token in the answer to the login"
            raise LakeInvalidAnswerError(detail)
        return Token(text, _life_s(reply))


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerClient:
    """What this gateway is at an OIDC issuer; ``audience`` and ``scope`` are of the tokens."""

    connections: LakeConnections
    token_url: str
    client_id: str
    client_secret: Secret
    audience: str | None = None
    scope: str | None = None
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    async def granted(self, form: Mapping[str, str], *, deadline: float) -> Token:
        """The token for a grant (RFC 6749 section 4); ``form`` says which.

        Raises
        ------
        LakeError
            There is none.
        """
        asked = {"audience": self.audience, "scope": self.scope}
        given = {name: value for name, value in asked.items() if value is not None}
        client = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret.reveal())}"
        call = LakeCall(
            method="POST",
            url=self.token_url,
            headers={
                "Authorization": f"Basic {base64.b64encode(client.encode()).decode('ascii')}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode({**form, **given}).encode(),
            trust=self.trust,
        )
        reply = await ask_for_token(self.connections, call, deadline)
        try:
            answer = msgspec.json.decode(reply.body, type=_TokenAnswer)
        except msgspec.MsgspecError as error:
            detail = "there is no token in the answer of the token service"
            raise LakeInvalidAnswerError(detail) from error
        life_s = DEFAULT_LIFE_S if answer.expires_in is None else answer.expires_in
        return Token(answer.access_token, life_s)


class ClientCredentials(IssuerClient):
    """Takes tokens for one service, as this gateway itself (RFC 6749 section 4.4)."""

    __slots__ = ()

    async def fetch(self, *, deadline: float) -> Token:
        """A new token.

        Raises
        ------
        LakeError
            There is none.
        """
        return await self.granted({"grant_type": "client_credentials"}, deadline=deadline)


class TokenCache:
    """The token in use. One at a time is fetched, whoever needs it."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._lock = asyncio.Lock()
        self._text: str | None = None
        self._until: float | None = None

    async def get(self, *, deadline: float) -> str:
        """A token that is good for some time still.

        Raises
        ------
        LakeError
            There is none, or not by ``deadline`` (loop time).
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        text = self._usable(began)
        if text is not None:
            return text
        try:
            async with asyncio.timeout_at(deadline), self._lock:
                text = self._usable(loop.time())
                return await self._fetch(deadline) if text is None else text
        except TimeoutError as error:
            raise LakeTimeoutError(deadline - began) from error

    def reject(self, text: str) -> bool:
        """Believe no more in a token that was refused; one that replaced it meanwhile stays.

        Whether it was this one that was in use.
        """
        if self._text != text:
            return False
        self._text = None
        return True

    def _usable(self, now: float) -> str | None:
        return self._text if self._until is None or now < self._until else None

    async def _fetch(self, deadline: float) -> str:
        token = await self._source.fetch(deadline=deadline)
        self._text = token.text
        self._until = None
        if token.life_s is not None:
            kept_s = token.life_s - min(MARGIN_S, token.life_s / 2)
            self._until = asyncio.get_running_loop().time() + kept_s
        return token.text


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


async def ask_for_token(connections: LakeConnections, call: LakeCall, deadline: float) -> LakeReply:
    """The good answer of what gives out tokens, asked again while it is busy.

    Raises
    ------
    LakeError
        There is none.
    """

    async def once() -> LakeReply:
        reply = await connections.ask(call, deadline=deadline)
        if reply.status in BUSY_STATUSES:
            raise LakeBusyError(reply.status)
        if reply.status in _REFUSALS:
            raise LakeCredentialsError
        if reply.status != 200:
            raise LakeStatusError(reply.status)
        return reply

    return await patiently(once)


def _life_s(reply: LakeReply) -> float | None:
    """From the header that says when it ends, by the same server's idea of now."""
    ends = _date(reply.headers.get("X-Rucio-Auth-Token-Expires"))
    if ends is None:
        return DEFAULT_LIFE_S
    said = _date(reply.headers.get("Date")) or datetime.now(UTC)
    return max(0.0, (ends - said).total_seconds())


def _date(text: str | None) -> datetime | None:
    """Rucio writes UTC where others write GMT; both are read."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
