"""The composition root: the one place where the gateway's objects are built and wired."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final
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
from gateway.assembly.audit import build_audit, build_rate_limits, duties_of_audit
from gateway.assembly.authorization import renewing
from gateway.assembly.discovery import DiscoveryParts, add_discovery, add_discovery_api
from gateway.assembly.editing import add_editing_api, build_editing
from gateway.assembly.events import build_events
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
from gateway.domain.candidates import RefusalMemory
from gateway.domain.policies import policies_from_settings
from gateway.errors import StoreUnavailableError
from gateway.httpkit.application import add_documentation, new_app
from gateway.httpkit.auth import Authenticator
from gateway.httpkit.bearer.administration import add_tokens
from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.scheme import OidcScheme
from gateway.httpkit.health import LIFECYCLE, Lifecycle, ReadinessCheck
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.shedding import Shedding
from gateway.httpkit.telemetry import HttpMetrics
from gateway.services.background import BackgroundService, Duty
from gateway.services.direct import DirectService
from gateway.services.explanations import ExplanationService
from gateway.services.fanout import FanoutService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.gateway_metrics import PREFIX, GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.idempotency import IdempotencyService
from gateway.services.installation import Installation
from gateway.services.nested_explanations import NestedExplanations
from gateway.services.node_calls import NodeCalls
from gateway.services.offer_book import OfferBook
from gateway.services.offers import OffersService
from gateway.services.outputs import OutputsService
from gateway.services.permissions import PermissionService
from gateway.services.placing import PlacingService
from gateway.services.planning import Planner
from gateway.services.probing import Probing
from gateway.services.quotas import QuotaService
from gateway.services.registration_tokens import RegistrationTokens
from gateway.services.registry import NodeRegistry
from gateway.services.resubmission import ResubmissionService
from gateway.services.staging_feedback import StagingFeedback
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

DISTRIBUTION: Final = "execbroker-gateway"
"""The name under which this program is installed."""


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
    metrics = HttpMetrics(PREFIX, version(DISTRIBUTION))
    audit = build_audit(database, clock, settings.audit, metrics)
    app = new_app(
        authenticator=authenticator,
        metrics=metrics,
        lifecycle=Lifecycle({"database": _database_check(database)}),
        shedding=Shedding(settings.shedding, HEAVY, PREFIX, metrics.registry),
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
        version=version(DISTRIBUTION),
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
    stores = Stores(
        SessionStore(), CommandStore(), EventStore(), ResubmissionStore(), UnkeptStore()
    )
    offersets, keys = OfferSetStore(), IdempotencyStore()
    counts = GatewayMetrics(metrics.registry)
    node_calls = NodeCalls(registry)
    quotas = QuotaService(database, QuotaStore(), permissions, clock)
    parts = build_sessions(
        database=database,
        stores=stores,
        offersets=offersets,
        nodes=node_calls,
        feedback=StagingFeedback(registry),
        clock=clock,
        settings=settings.sessions,
        command_settings=settings.commands,
        metrics=counts,
        quotas=quotas,
    )
    idempotency = IdempotencyService(database, keys, offersets, clock, uuid4)
    fanout = FanoutService(
        registry, FanoutMetrics(metrics.registry), hedge_share=settings.asking.hedge_share
    )
    policies = policies_from_settings(settings.policies)
    refusals = RefusalMemory(timedelta(seconds=settings.federation.refusal_memory_s))
    placing = PlacingService(lakes.locator if settings.locates_data else None, settings.placement)
    installation = Installation(database, InstallationStore(), uuid4)
    planner = Planner(
        registry=registry,
        placing=placing,
        refusals=refusals,
        policies=policies,
        clock=clock,
        settings=settings.federation,
        asking=settings.asking,
        placement=settings.placement,
        permissions=permissions,
        quotas=quotas,
        installation=installation,
    )
    book = OfferBook(database, stores, offersets, parts.transitions, clock, quotas)
    offers = OffersService(
        registry=registry,
        fanout=fanout,
        book=book,
        idempotency=idempotency,
        node_calls=node_calls,
        planner=planner,
        refusals=refusals,
        clock=clock,
        name=settings.federation.name,
        metrics=counts,
        mint=uuid4,
    )
    housekeeping = Housekeeping(
        database=database,
        stores=stores,
        offersets=offersets,
        keys=keys,
        transitions=parts.transitions,
        sessions=parts.sessions,
        clock=clock,
        settings=settings.sessions,
        metrics=counts,
    )
    resubmission = ResubmissionService(
        database=database,
        stores=stores,
        offersets=offersets,
        registry=registry,
        nodes=node_calls,
        offers=offers,
        falling_through=parts.falling_through,
        letting_go=parts.letting_go,
        transitions=parts.transitions,
        sessions=parts.sessions,
        clock=clock,
        settings=settings.sessions,
        command_settings=settings.commands,
        metrics=counts,
        quotas=quotas,
    )
    joining = build_membership(
        settings=settings,
        database=database,
        registry=registry,
        installation=installation,
        release=version(DISTRIBUTION),
        lifecycle=app[LIFECYCLE],
        clock=clock,
    )
    joining.membership.add_routes(app)
    editing = build_editing(
        app,
        database=database,
        stores=stores,
        offersets=offersets,
        offers=offers,
        parts=parts,
        clock=clock,
        settings=settings.drafts,
        max_bytes=settings.max_body_bytes,
    )
    telling = build_events(
        app, settings, database, stores, offersets, clock, metrics.registry, parts.sessions
    )
    background = BackgroundService(
        (
            Duty("outbox", parts.outbox.run_due, parts.outbox_wake),
            Duty("unkept_holds", parts.unkept.run_due, parts.unkept_wake),
            Duty("expire_offers", housekeeping.expire_offers, asyncio.Event()),
            Duty("follow_sessions", housekeeping.follow_sessions, asyncio.Event()),
            Duty("resubmit", resubmission.run_due, asyncio.Event()),
            Duty("probe_nodes", Probing(registry, clock).run_due, asyncio.Event()),
            Duty("renew_certificates", renewing(settings.transport), asyncio.Event()),
            Duty("measure", housekeeping.measure, asyncio.Event()),
            Duty("forget_old", housekeeping.forget_old, asyncio.Event()),
            *lakes.duties,
            *telling.duties,
            *editing,
            *joining.duties,
            *registration.duties,
            *duties_of_audit(app[AUDIT]),
        )
    )
    add_discovery(
        app,
        settings,
        DiscoveryParts(database, registry, refusals, permissions, placing, planner, clock),
    )
    app[SESSIONS] = parts.sessions
    app[UPDATES] = parts.updates
    app[OUTPUTS] = OutputsService(parts.sessions, node_calls)
    app[OFFERS] = offers
    app[EXPLANATIONS] = ExplanationService(
        book,
        policies,
        NestedExplanations(node_calls),
        shows_replicas=settings.placement.shows_replicas,
        wait_s=settings.sessions.read_deadline_s,
    )
    app[DIRECT] = DirectService(
        offers=offers,
        falling_through=parts.falling_through,
        letting_go=parts.letting_go,
        sessions=parts.sessions,
        idempotency=idempotency,
        clock=clock,
        settings=settings.sessions,
        mint=uuid4,
    )

    async def lifetime(_app: web.Application) -> AsyncIterator[None]:
        # In this order they come up, and in the reverse they go down: late answers need the
        # database, and commands the connections.
        await database.open()
        await installation.open()
        await registration.directory.sync()
        async with (
            nodes.running(),
            lakes.running(),
            telling.running(),
            joining.membership.running(),
        ):
            await background.start()
            yield
            await fanout.aclose()
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
