"""The composition root: the one place where the gateway's objects are built and wired."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from gateway.api.audit import AUDIT, add_audit_routes
from gateway.api.callers import PUBLIC_URL, READS
from gateway.api.events import add_event_routes
from gateway.api.outputs import OUTPUTS, add_output_routes
from gateway.api.rankings import EXPLANATIONS, add_ranking_routes
from gateway.api.requests import DIRECT, HEAVY, OFFERS, add_request_routes
from gateway.api.sessions import CLOCK, SESSIONS, UPDATES, add_session_routes
from gateway.api.webhooks import add_webhook_routes
from gateway.assembly.asking import build_asking
from gateway.assembly.audit import build_audit, build_rate_limits, duties_of_audit
from gateway.assembly.discovery import add_discovery, add_discovery_api
from gateway.assembly.editing import add_editing_api, build_editing
from gateway.assembly.events import build_events
from gateway.assembly.foundation import Foundation
from gateway.assembly.keeping import build_keeping
from gateway.assembly.lakes import LakeParts, build_lakes
from gateway.assembly.membership import build_membership
from gateway.assembly.nodes import NodeConnections
from gateway.assembly.registration import (
    add_registration_api,
    bearers_of,
    build_registration,
    build_tokens,
)
from gateway.assembly.sessions import build_sessions
from gateway.clock import Clock, SystemClock
from gateway.config import GatewaySettings
from gateway.errors import StoreUnavailableError
from gateway.httpkit.application import add_documentation, new_app
from gateway.httpkit.auth import Authenticator
from gateway.httpkit.bearer.administration import add_tokens
from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.scheme import OidcScheme
from gateway.httpkit.health import LIFECYCLE, Lifecycle, ReadinessCheck
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.release import release
from gateway.httpkit.shedding import Shedding
from gateway.httpkit.telemetry import HttpMetrics
from gateway.services.background import BackgroundService
from gateway.services.gateway_metrics import PREFIX, GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.installation import Installation
from gateway.services.node_calls import NodeCalls
from gateway.services.outputs import OutputsService
from gateway.services.permissions import PermissionService
from gateway.services.quotas import QuotaService
from gateway.services.registration_tokens import RegistrationTokens
from gateway.services.registry import NodeRegistry
from gateway.services.transitions import Stores
from gateway.stores.commands import CommandStore
from gateway.stores.database import Database
from gateway.stores.engines import database_of
from gateway.stores.events import EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.identities import SqlIdentityStore
from gateway.stores.installation import InstallationStore
from gateway.stores.offersets import OfferSetStore
from gateway.stores.quotas import QuotaStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.revocations import SqlRevocationStore
from gateway.stores.sessions import SessionStore
from gateway.stores.unkept import UnkeptStore


def build_app(
    settings: GatewaySettings,
    data_dir: Path,
    clock: Clock | None = None,
    passwords: Passwords | None = None,
) -> web.Application:
    """The gateway, ready to be served; it opens its database and connections when it starts."""
    clock = clock or SystemClock()
    password = settings.database_password
    database = database_of(
        settings.database, data_dir, settings.postgres, password.reveal if password else None
    )
    tokens = OidcScheme(
        settings.authentication.issuers, Revocations(SqlRevocationStore(database, clock))
    )
    members = build_tokens(database, clock, settings.registration)
    authenticator = Authenticator(
        SqlIdentityStore(database, clock),
        settings.admin,
        settings.authentication,
        passwords,
        (*bearers_of(members), tokens),
    )
    metrics = HttpMetrics(PREFIX, release())
    audit = build_audit(database, clock, settings.audit, metrics)
    app = new_app(
        authenticator=authenticator,
        metrics=metrics,
        lifecycle=Lifecycle({"database": _database_check(database)}),
        shedding=Shedding(settings.shedding_in_time, HEAVY, PREFIX, metrics.registry),
        rate_limits=build_rate_limits(settings.rate_limits, clock, metrics),
        audit=audit.note,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
    )
    add_tokens(app, tokens)
    app[READS] = settings.authentication.reads
    if settings.public_url is not None:
        app[PUBLIC_URL] = settings.public_url
    app[CLOCK] = clock
    app[AUDIT] = audit
    lakes = build_lakes(settings, data_dir, clock, metrics.registry)
    _add_services(app, settings, database, clock, metrics, lakes, members)
    add_request_routes(app)
    add_ranking_routes(app)
    add_session_routes(app)
    add_output_routes(app)
    add_registration_api(app)
    add_discovery_api(app)
    add_editing_api(app)
    add_event_routes(app)
    add_webhook_routes(app)
    add_audit_routes(app)
    add_documentation(
        app,
        authenticator=authenticator,
        title="ExecutionBroker federation gateway",
        version=release(),
        description="One URL in front of many ExecutionBroker services.",
        public_url=settings.public_url,
    )
    return app


def _add_services(
    app: web.Application,
    settings: GatewaySettings,
    database: Database,
    clock: Clock,
    metrics: HttpMetrics,
    lakes: LakeParts,
    members: RegistrationTokens,
) -> None:
    nodes = NodeConnections(settings, lakes.connections)
    registry = NodeRegistry(
        clock.now,
        monotonic=clock.monotonic,
        settings=settings.health_of_nodes,
        metrics=HealthMetrics(metrics.registry),
    )
    permissions = PermissionService(settings.permissions)
    registration = build_registration(
        app,
        settings,
        database=database,
        registry=registry,
        connect=nodes.client_of,
        tokens=members,
        permissions=permissions,
        clock=clock,
    )
    base = Foundation(
        settings=settings,
        database=database,
        clock=clock,
        stores=Stores(
            SessionStore(), CommandStore(), EventStore(), ResubmissionStore(), UnkeptStore()
        ),
        offersets=OfferSetStore(),
        keys=IdempotencyStore(),
        registry=registry,
        nodes=NodeCalls(registry),
        permissions=permissions,
        quotas=QuotaService(database, QuotaStore(), permissions, clock),
        installation=Installation(database, InstallationStore(), uuid4),
        metrics=metrics.registry,
        counts=GatewayMetrics(metrics.registry),
    )
    sessions = build_sessions(base)
    asking = build_asking(base, sessions, lakes)
    keeping = build_keeping(base, sessions, asking.offers)
    joining = build_membership(base, app[LIFECYCLE])
    joining.membership.add_routes(app)
    editing = build_editing(app, base, sessions, asking.offers)
    telling = build_events(app, base, sessions.sessions)
    add_discovery(app, base, asking)
    app[SESSIONS] = sessions.sessions
    app[UPDATES] = sessions.updates
    app[OUTPUTS] = OutputsService(sessions.sessions, base.nodes)
    app[OFFERS] = asking.offers
    app[DIRECT] = asking.direct
    app[EXPLANATIONS] = asking.explanations
    background = BackgroundService(
        (
            *keeping,
            *lakes.duties,
            *telling.duties,
            *editing,
            *joining.duties,
            *registration.duties,
            *duties_of_audit(app[AUDIT]),
        )
    )

    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        # In this order they come up, and in the reverse they go down: late answers need the
        # database, and commands the connections.
        await database.open()
        await base.installation.open()
        await registration.directory.sync()
        async with (
            nodes.running(),
            lakes.running(),
            telling.running(),
            joining.membership.running(),
        ):
            await background.start()
            yield
            await asking.fanout.aclose()
            await background.stop()
            await app[AUDIT].flush()
        await database.close()

    app.cleanup_ctx.append(lifetime)


def _database_check(database: Database) -> ReadinessCheck:
    async def check() -> bool:
        try:
            await database.check()
        except StoreUnavailableError:
            return False
        return True

    return check
