"""Who calls: HTTP Basic (RFC 7617) for local accounts, bearer tokens (RFC 6750) for all else."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import MultiMapping

from gateway.httpkit.access import Access, access_of
from gateway.httpkit.bearer.errors import InvalidTokenProblem
from gateway.httpkit.errors import ForbiddenProblem, UnauthorizedProblem
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.server_settings import AdminSettings, AuthenticationSettings, Reads
from gateway.httpkit.telemetry import route_of
from gateway.wire.identity import IdentityStore


class Role(StrEnum):
    """What a caller is to this service."""

    USER = "user"
    ADMIN = "admin"
    NODE = "node"
    """A registered node: it may look after its own registration, and nothing else."""
    REGISTRANT = "registrant"
    """Who holds a registration token: it may register one node, and nothing else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    ``owner`` is what the things it makes belong to: the UUID of a local identity, as text, or
    issuer and subject of a token. The administrator has none; what it makes belongs to nobody.
    ``groups`` are those of a local identity, or that a token names. An administrator by a group has
    an owner, as everybody else. ``node`` is the name of a registered node that calls,
    or of the one that a registration token is for.
    """

    owner: str | None
    username: str
    is_admin: bool
    groups: frozenset[str] = frozenset()
    role: Role = Role.USER
    node: str | None = None


class BearerScheme(Protocol):
    """One sort of bearer token, such as those of an OpenID provider."""

    async def principal(self, token: str) -> Principal | None:
        """Who the token speaks for; None where it is not of this sort.

        Raises
        ------
        UnauthorizedProblem
            It is of this sort, and does not hold.
        """
        ...


ANONYMOUS: Final = Principal(owner="anonymous", username="anonymous", is_admin=False)
"""Everybody, where authentication is off."""

PRINCIPAL = web.RequestKey("principal", Principal)
"""Who calls, on a request that said so."""

_WRONG = "The credentials are wrong."


class Authenticator:
    """Turns credentials into a principal.

    Parameters
    ----------
    store
        Local identities.
    admin
        The administrator's account; None for no such account.
    settings
        Who must say who they are.
    passwords
        Closed by ``close``.
    bearers
        Every sort of bearer token there is, asked in this order.
    """

    def __init__(
        self,
        store: IdentityStore,
        admin: AdminSettings | None,
        settings: AuthenticationSettings,
        passwords: Passwords | None = None,
        bearers: Sequence[BearerScheme] = (),
    ) -> None:
        self.store = store
        self.settings = settings
        self.passwords = passwords or Passwords()
        self._bearers = tuple(bearers)
        self._key = secrets.token_bytes(32)
        self._admin = admin

    async def close(self, _app: web.Application) -> AsyncIterator[None]:
        """A cleanup context: ends the hashing threads with the application."""
        yield
        self.passwords.close()

    def is_admin_name(self, username: str) -> bool:
        """Whether this is the name of the administrator's account."""
        return self._admin is not None and username == self._admin.username

    async def authenticate(self, headers: MultiMapping[str]) -> Principal | None:
        """Who the headers say calls; None where they say nothing.

        Raises
        ------
        UnauthorizedProblem
            They say something that is not true, or not readable.
        OverloadedProblem
            Too many passwords are being checked.
        """
        if not self.settings.enabled:
            return ANONYMOUS
        given = headers.getall(hdrs.AUTHORIZATION, [])
        if not given:
            return None
        if len(given) > 1:
            raise UnauthorizedProblem("Authorization is given more than once.")
        scheme, _, value = given[0].strip().partition(" ")
        if scheme.lower() == "bearer":
            return await self._bearer(value.strip())
        username, password = _parse_basic(given[0])
        if self._is_admin(username, password):
            return Principal(owner=None, username=username, is_admin=True, role=Role.ADMIN)
        identity = await self.store.find(username)
        stored_hash = None if identity is None else identity.password_hash
        is_right = await self.passwords.verify(username, password, stored_hash)
        if identity is None or not is_right:
            raise UnauthorizedProblem(_WRONG)
        if identity.is_revoked:
            # Said to those alone who know the password.
            raise UnauthorizedProblem("These credentials have been revoked.")
        return Principal(
            owner=str(identity.uuid),
            username=identity.username,
            is_admin=False,
            groups=identity.groups,
        )

    async def _bearer(self, token: str) -> Principal:
        for bearer in self._bearers:
            principal = await bearer.principal(token)
            if principal is not None:
                return principal
        raise InvalidTokenProblem("is of no sort that is known here")

    def _is_admin(self, username: str, password: str) -> bool:
        admin = self._admin
        if admin is None:
            return False
        name_digest = self._digest(admin.username)
        password_digest = self._digest(admin.password.reveal())  # which may have been replaced
        # Both are always compared, and as digests of one length, so that time tells nothing.
        is_name = hmac.compare_digest(name_digest, self._digest(username))
        is_password = hmac.compare_digest(password_digest, self._digest(password))
        return is_name and is_password

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)


def _parse_basic(value: str) -> tuple[str, str]:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "basic":
        raise UnauthorizedProblem("Only the schemes Basic and Bearer are known here.")
    try:
        text = base64.b64decode(token.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise UnauthorizedProblem("The Basic credentials cannot be read.") from error
    username, colon, password = text.partition(":")
    if not colon or has_control_characters(text):
        raise UnauthorizedProblem("The Basic credentials cannot be read.")
    return username, password


def has_control_characters(text: str) -> bool:
    """Whether Basic could not carry this name or password (RFC 7617 §2)."""
    return any(char < " " or "\x7f" <= char <= "\x9f" for char in text)


def make_auth_middleware(authenticator: Authenticator) -> Middleware:
    """The middleware that finds out who calls and asks it of those who must say."""

    @web.middleware
    async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        access = access_of(request.method, route_of(request))
        if access is Access.OPEN:
            return await handler(request)
        principal = await authenticator.authenticate(request.headers)
        if principal is not None:
            request[PRINCIPAL] = principal
            structlog.contextvars.bind_contextvars(owner=principal.owner or principal.username)
        if request.match_info.http_exception is None:
            _check_access(access, principal, authenticator.settings.reads)
        return await handler(request)

    return auth_middleware


def _check_access(access: Access, principal: Principal | None, reads: Reads) -> None:
    is_needed = access is not Access.READ or reads is Reads.OWNER
    if principal is None and is_needed:
        raise UnauthorizedProblem("Credentials are needed for this.")
    if principal is None or access is Access.MEMBERSHIP:
        return
    if principal.role in (Role.NODE, Role.REGISTRANT):
        raise ForbiddenProblem("These credentials are for the registration of a node alone.")
    if access is Access.ADMIN and not principal.is_admin:
        raise ForbiddenProblem("Only the administrator may do this.")


def principal_of(request: web.Request) -> Principal | None:
    """Who calls; None for somebody who did not say."""
    return request.get(PRINCIPAL)


def require_principal(request: web.Request) -> Principal:
    """Who calls.

    Raises
    ------
    UnauthorizedProblem
        The caller did not say.
    """
    principal = principal_of(request)
    if principal is None:
        raise UnauthorizedProblem("Credentials are needed for this.")
    return principal
