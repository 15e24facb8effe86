"""What the applications of both services have in common, put together."""

from functools import partial

from aiohttp import web

from gateway.httpkit.auditing import make_audit_middleware
from gateway.httpkit.auth import Authenticator, make_auth_middleware
from gateway.httpkit.challenges import challenge_with
from gateway.httpkit.docs_pages import add_docs_routes
from gateway.httpkit.health import Lifecycle, add_health_routes
from gateway.httpkit.identities import add_identity_routes
from gateway.httpkit.openapi import build_document
from gateway.httpkit.origins import TRUSTED_PROXIES
from gateway.httpkit.problems import problem_middleware
from gateway.httpkit.rate_limits import RateLimits, state_rate_limit
from gateway.httpkit.rate_settings import Network
from gateway.httpkit.server_settings import DEFAULT_MAX_BODY_BYTES
from gateway.httpkit.shedding import Shedding
from gateway.httpkit.telemetry import (
    HttpMetrics,
    add_metrics_route,
    echo_request_id,
    make_request_middleware,
    watch_event_loop,
)
from gateway.wire.audit import AuditSink


def new_app(
    *,
    authenticator: Authenticator,
    metrics: HttpMetrics,
    lifecycle: Lifecycle,
    shedding: Shedding | None = None,
    rate_limits: RateLimits | None = None,
    audit: AuditSink | None = None,
    trusted_proxies: tuple[Network, ...] = (),
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
) -> web.Application:
    """An application that measures, authenticates and fails as it should, still without an API.

    It serves ``/livez``, ``/readyz``, ``/metrics`` and ``/admin/identities``, and closes the
    authenticator at its end. Add the API's routes, then call ``add_documentation``.
    """
    guard = [] if shedding is None else [shedding.guard()]
    turns = [] if shedding is None else [shedding.turns()]
    logins = [] if rate_limits is None else [rate_limits.login_guard()]
    limits = [] if rate_limits is None else [rate_limits.middleware()]
    audits = [] if audit is None else [make_audit_middleware(audit)]
    app = web.Application(
        middlewares=[
            make_request_middleware(metrics, lifecycle),
            problem_middleware,
            *guard,
            *logins,
            *audits,
            make_auth_middleware(authenticator),
            *limits,
            *turns,
        ],
        client_max_size=max_body_bytes,
    )
    app[TRUSTED_PROXIES] = trusted_proxies
    app.on_response_prepare.append(echo_request_id)
    app.on_response_prepare.append(challenge_with(bearer=bool(authenticator.settings.issuers)))
    app.on_response_prepare.append(state_rate_limit)
    observers = [] if shedding is None else [shedding.observe_lag]
    app.cleanup_ctx.append(watch_event_loop(metrics.observe_lag, *observers))
    app.cleanup_ctx.append(authenticator.close)
    add_health_routes(app, lifecycle)
    add_metrics_route(app, metrics)
    add_identity_routes(app, authenticator)
    return app


def add_documentation(
    app: web.Application,
    *,
    authenticator: Authenticator,
    title: str,
    version: str,
    description: str,
    public_url: str | None,
) -> None:
    """Serve ``/openapi.json`` and ``/docs`` for every route there will be."""
    build = partial(
        build_document,
        app,
        title=title,
        version=version,
        description=description,
        authentication=authenticator.settings,
        url=public_url or "/",
    )
    add_docs_routes(app, build)
