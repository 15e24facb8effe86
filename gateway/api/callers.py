"""Who calls, as the handlers read it off every request."""

from aiohttp import hdrs, web

from gateway.httpkit.auth import principal_of
from gateway.httpkit.origins import origin_of
from gateway.httpkit.server_settings import Reads
from gateway.httpkit.telemetry import request_id_of
from gateway.services.caller import ADMIN_OWNER, Caller

READS = web.AppKey("reads", Reads)
"""Who may read sessions and offer sets."""

PUBLIC_URL = web.AppKey("public_url", str)
"""What URLs in answers begin with; absent, it is the authority that the client used."""


def caller_of(request: web.Request) -> Caller:
    """Who calls, as the services see it."""
    principal = principal_of(request)
    must_own = request.app[READS] is Reads.OWNER
    if principal is None:
        return Caller(
            origin=origin_of(request),
            request_id=request_id_of(request),
            must_own_to_read=must_own,
        )
    return Caller(
        owner=ADMIN_OWNER if principal.owner is None else principal.owner,
        is_admin=principal.is_admin,
        groups=principal.groups,
        node=principal.node,
        origin=origin_of(request),
        request_id=request_id_of(request),
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        must_own_to_read=must_own,
    )
