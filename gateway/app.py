"""The composition root: the one place where the gateway's objects are built and wired."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final
from uuid import uuid4

from aiohttp import web

from gateway.api.callers import PUBLIC_URL, READS
from gateway.api.nodes import NODES, add_node_routes
from gateway.api.outputs import OUTPUTS, add_output_routes
from gateway.api.rankings import EXPLANATIONS, add_ranking_routes
from gateway.api.requests import DIRECT, HEAVY, OFFERS, add_request_routes
from gateway.api.sessions import CLOCK, SESSIONS, UPDATES, add_session_routes
from gateway.clients.broker import BrokerClient
from gateway.clients.transports import transport_of
from gateway.clock import Clock, SystemClock
from gateway.config import GatewaySettings
from gateway.domain.candidates import RefusalMemory
from gateway.domain.policies import policies_from_settings
from gateway.errors import StoreUnavailableError
from gateway.httpkit.application import add_documentation, new_app
from gateway.httpkit.auth import Authenticator
from gateway.httpkit.health import Lifecycle, ReadinessCheck
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.shedding import Shedding
from gateway.httpkit.telemetry import HttpMetrics
from gateway.lake_assembly import LakeParts, build_lakes
from gateway.services.background import BackgroundService, Duty
from gateway.services.direct import DirectService
from gateway.services.explanations import ExplanationService
from gateway.services.fanout import FanoutService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.gateway_metrics import PREFIX, GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.idempotency import IdempotencyService
from gateway.services.node_calls import NodeCalls
from gateway.services.offer_book import OfferBook
from gateway.services.offers import OffersService
from gateway.services.outputs import OutputsService
from gateway.services.placing import PlacingService
from gateway.services.planning import Planner
from gateway.services.probing import Probing
from gateway.services.registry import NodeRegistry
from gateway.services.resubmission import ResubmissionService
from gateway.services.staging_feedback import StagingFeedback
from gateway.services.transitions import Stores
from gateway.session_assembly import build_sessions
from gateway.stores.commands import CommandStore
from gateway.stores.database import Database
from gateway.stores.engines import database_of
from gateway.stores.events import EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.identities import SqlIdentityStore
from gateway.stores.offersets import OfferSetStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.sessions import SessionStore

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
    authenticator = Authenticator(
        SqlIdentityStore(database, clock), settings.admin, settings.authentication, passwords
    )
    metrics = HttpMetrics(PREFIX, version(DISTRIBUTION))
    app = new_app(
        authenticator=authenticator,
        metrics=metrics,
        lifecycle=Lifecycle({"database": _database_check(database)}),
        shedding=Shedding(settings.shedding, HEAVY, PREFIX, metrics.registry),
        max_body_bytes=settings.max_body_bytes,
    )
    app[READS] = settings.authentication.reads
    if settings.public_url is not None:
        app[PUBLIC_URL] = settings.public_url
    app[CLOCK] = clock
    lakes = build_lakes(settings, data_dir, clock, metrics.registry)
    _add_services(app, settings, database, clock, metrics, lakes)
    add_request_routes(app)
    add_ranking_routes(app)
    add_session_routes(app)
    add_output_routes(app)
    add_node_routes(app)
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
) -> None:
    transport = transport_of(settings.transport)
    registry = NodeRegistry(
        clock.now,
        monotonic=clock.monotonic,
        settings=settings.health_of_nodes,
        metrics=HealthMetrics(metrics.registry),
    )
    for node in settings.nodes:
        registry.add(
            BrokerClient(node.to_profile(), transport, connect_s=settings.federation.connect_s)
        )
    stores = Stores(SessionStore(), CommandStore(), EventStore(), ResubmissionStore())
    offersets, keys = OfferSetStore(), IdempotencyStore()
    counts = GatewayMetrics(metrics.registry)
    node_calls = NodeCalls(registry)
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
    )
    idempotency = IdempotencyService(database, keys, offersets, clock, uuid4)
    fanout = FanoutService(
        registry, FanoutMetrics(metrics.registry), hedge_share=settings.asking.hedge_share
    )
    policies = policies_from_settings(settings.policies)
    refusals = RefusalMemory(timedelta(seconds=settings.federation.refusal_memory_s))
    planner = Planner(
        registry=registry,
        placing=PlacingService(
            lakes.locator if settings.locates_data else None, settings.placement
        ),
        refusals=refusals,
        policies=policies,
        clock=clock,
        settings=settings.federation,
        asking=settings.asking,
        placement=settings.placement,
    )
    book = OfferBook(database, stores, offersets, parts.transitions, clock)
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
    )
    background = BackgroundService(
        (
            Duty("outbox", parts.outbox.run_due, parts.outbox_wake),
            Duty("expire_offers", housekeeping.expire_offers, asyncio.Event()),
            Duty("follow_sessions", housekeeping.follow_sessions, asyncio.Event()),
            Duty("resubmit", resubmission.run_due, asyncio.Event()),
            Duty("probe_nodes", Probing(registry, clock).run_due, asyncio.Event()),
            Duty("measure", housekeeping.measure, asyncio.Event()),
            Duty("forget_old", housekeeping.forget_old, asyncio.Event()),
            *lakes.duties,
        )
    )
    app[NODES] = registry
    app[SESSIONS] = parts.sessions
    app[UPDATES] = parts.updates
    app[OUTPUTS] = OutputsService(parts.sessions, node_calls)
    app[OFFERS] = offers
    app[EXPLANATIONS] = ExplanationService(
        book, policies, shows_replicas=settings.placement.shows_replicas
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
        async with transport, lakes.running():
            await background.start()
            yield
            await fanout.aclose()
            await background.stop()
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
