"""Builds what goes on between requests: a part of the composition root."""

import asyncio
from typing import Final

from gateway.assembly.authorization import renewing
from gateway.assembly.sessions import SessionParts
from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.services.background import Duty
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.node_calls import NodeCalls
from gateway.services.offers import OffersService
from gateway.services.probing import Probing
from gateway.services.quotas import QuotaService
from gateway.services.registry import NodeRegistry
from gateway.services.resubmission import ResubmissionService
from gateway.services.transitions import Stores
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore

UNKEPT_AFTER_S: Final = 0.05
"""Nobody hurries to let go of holds: the answer that they were not kept for goes out first, which
takes some 10 ms."""


def build_keeping(
    *,
    settings: GatewaySettings,
    database: Database,
    stores: Stores,
    offersets: OfferSetStore,
    keys: IdempotencyStore,
    registry: NodeRegistry,
    nodes: NodeCalls,
    sessions: SessionParts,
    offers: OffersService,
    quotas: QuotaService,
    clock: Clock,
    metrics: GatewayMetrics,
) -> tuple[Duty, ...]:
    """The duties towards sessions and nodes."""
    housekeeping = Housekeeping(
        database=database,
        stores=stores,
        offersets=offersets,
        keys=keys,
        transitions=sessions.transitions,
        sessions=sessions.sessions,
        clock=clock,
        settings=settings.sessions,
        metrics=metrics,
    )
    resubmission = ResubmissionService(
        database=database,
        stores=stores,
        offersets=offersets,
        registry=registry,
        nodes=nodes,
        offers=offers,
        falling_through=sessions.falling_through,
        letting_go=sessions.letting_go,
        transitions=sessions.transitions,
        sessions=sessions.sessions,
        clock=clock,
        settings=settings.sessions,
        command_settings=settings.commands,
        metrics=metrics,
        quotas=quotas,
    )
    return (
        Duty("outbox", sessions.outbox.run_due, sessions.outbox_wake),
        Duty("unkept_holds", sessions.unkept.run_due, sessions.unkept_wake, after_s=UNKEPT_AFTER_S),
        Duty("expire_offers", housekeeping.expire_offers, asyncio.Event()),
        Duty("follow_sessions", housekeeping.follow_sessions, asyncio.Event()),
        Duty("resubmit", resubmission.run_due, asyncio.Event()),
        Duty("probe_nodes", Probing(registry, clock).run_due, asyncio.Event()),
        Duty("renew_certificates", renewing(settings.transport), asyncio.Event()),
        Duty("measure", housekeeping.measure, asyncio.Event()),
        Duty("forget_old", housekeeping.forget_old, asyncio.Event()),
    )
