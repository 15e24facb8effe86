"""Who calls: HTTP Basic (RFC 7617) against the administrator's account and local identities."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import MultiMapping

from gateway.httpkit.access import Access, access_of
from gateway.httpkit.errors import ForbiddenProblem, UnauthorizedProblem
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.server_settings import AdminSettings, AuthenticationSettings, Reads
from gateway.httpkit.telemetry import route_of
from gateway.wire.identity import IdentityStore


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    ``owner`` is what the things it makes belong to: the UUID of a local identity, as text. The
    administrator has none; what it makes belongs to nobody.
    """

    owner: str | None
    username: str
    is_admin: bool


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
    """

    def __init__(
        self,
        store: IdentityStore,
        admin: AdminSettings | None,
        settings: AuthenticationSettings,
        passwords: Passwords | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.passwords = passwords or Passwords()
        self._key = secrets.token_bytes(32)
        self._admin = admin
        self._admin_digests = (
            (self._digest(admin.username), self._digest(admin.password.reveal())) if admin else None
        )

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
        username, password = _parse_basic(given[0])
        if self._is_admin(username, password):
            return Principal(owner=None, username=username, is_admin=True)
        identity = await self.store.find(username)
        stored_hash = None if identity is None else identity.password_hash
        is_right = await self.passwords.verify(username, password, stored_hash)
        if identity is None or not is_right:
            raise UnauthorizedProblem(_WRONG)
        return Principal(owner=str(identity.uuid), username=identity.username, is_admin=False)

    def _is_admin(self, username: str, password: str) -> bool:
        if self._admin_digests is None:
            return False
        name_digest, password_digest = self._admin_digests
        # Both are always compared, and as digests of one length, so that time tells nothing.
        is_name = hmac.compare_digest(name_digest, self._digest(username))
        is_password = hmac.compare_digest(password_digest, self._digest(password))
        return is_name and is_password

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)


def _parse_basic(value: str) -> tuple[str, str]:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "basic":
        raise UnauthorizedProblem("Only the Basic scheme is known here.")
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
    if access is Access.ADMIN and principal is not None and not principal.is_admin:
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
