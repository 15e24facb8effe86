"""The middleware that sees every call that changes something, and tells the audit trail."""

import asyncio
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.httpkit.access import SAFE_METHODS, UNMATCHED
from gateway.httpkit.auth import Principal, Role, principal_of
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.origins import origin_of
from gateway.httpkit.telemetry import CANCELLED, request_id_of, route_of
from gateway.wire.audit import AuditedCall, AuditSink
from gateway.wire.problem import ProblemError

MAX_TEXT: Final = 1024
"""Characters kept of names that clients choose; subject and issuer of a token have fewer."""

NOBODY: Final = "nobody"
"""Who showed no credentials that hold."""

CHANGING_NOTHING: Final = frozenset(
    {
        ("PUT", "/nodes/{name}/lease"),
        ("POST", "/offersets/{uuid}/ranking"),
        ("POST", "/discovery/estimate"),
    }
)
"""Calls that go well without leaving anything: questions too long for a URL, and the signs of life
of nodes, of which each gives three thousand a day."""

_log = structlog.get_logger()

AUDITED_OBJECT: Final = web.RequestKey("audited_object", str)
"""What a handler says its call is about, where neither path nor ``Location`` tell."""


def make_audit_middleware(sink: AuditSink) -> Middleware:
    """Belongs around the log-in, so that failed ones are seen, and inside of the load limits.

    Seen are calls by methods that change something, and failed log-ins by any; not those that were
    not looked at: of clients that call too often (429), or where there was too much to do.
    """

    @web.middleware
    async def audit_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        status, reason, location = int(HTTPStatus.INTERNAL_SERVER_ERROR), "internal-error", ""
        try:
            response = await handler(request)
        except ProblemError as error:
            status, reason = error.status, error.slug
            raise
        except web.HTTPException as error:
            status, reason = error.status, HTTPStatus(error.status).phrase
            raise
        except asyncio.CancelledError:
            status, reason = CANCELLED, "cancelled"
            raise
        else:
            status = response.status
            reason = "" if status < HTTPStatus.BAD_REQUEST else HTTPStatus(status).phrase
            location = _location_of(response)
            return response
        finally:
            if _is_audited(request, status, reason):
                sink(_call_of(request, status, reason, location))

    return audit_middleware


def log_call(call: AuditedCall) -> None:
    """An ``AuditSink`` that logs, for a service that keeps no audit trail of its own."""
    _log.info(
        "audit",
        who=call.who,
        what=call.what,
        object=call.object,
        origin=call.origin,
        status=call.status,
        reason=call.reason,
    )


def _is_audited(request: web.Request, status: int, reason: str) -> bool:
    if status == HTTPStatus.TOO_MANY_REQUESTS or reason == OverloadedProblem.slug:
        return False
    if route_of(request) == UNMATCHED:
        return False
    if request.method not in SAFE_METHODS:
        is_failure = status >= HTTPStatus.BAD_REQUEST
        return is_failure or (request.method, route_of(request)) not in CHANGING_NOTHING
    return status == HTTPStatus.UNAUTHORIZED and hdrs.AUTHORIZATION in request.headers


def _call_of(request: web.Request, status: int, reason: str, location: str) -> AuditedCall:
    origin = origin_of(request)
    return AuditedCall(
        who=_clean(who_of(principal_of(request))),
        what=f"{request.method} {route_of(request)}",
        object=_clean(_object_of(request, location)) or None,
        origin=None if origin is None else _clean(origin),
        request_id=request_id_of(request),
        status=status,
        reason=reason or None,
    )


def who_of(principal: Principal | None) -> str:
    """The caller as the audit trail names it."""
    if principal is None:
        return NOBODY
    match principal.role:
        case Role.ADMIN:
            return principal.owner or "admin"
        case Role.NODE:
            return f"node:{principal.node}"
        case Role.REGISTRANT:
            return "registrant"
        case Role.USER:
            return principal.owner or principal.username


def _object_of(request: web.Request, location: str) -> str:
    if AUDITED_OBJECT in request:
        return request[AUDITED_OBJECT]
    return "/".join(request.match_info.values()) or location.rpartition("/")[2]


def _clean(text: str) -> str:
    """Text that any database and terminal can take."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])


def _location_of(response: web.StreamResponse) -> str:
    headers = response.headers
    return headers.get(hdrs.LOCATION) or headers.get(hdrs.CONTENT_LOCATION) or ""
