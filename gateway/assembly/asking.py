"""Builds what turns a request into an offer set: a part of the composition root."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from prometheus_client import CollectorRegistry

from gateway.assembly.lakes import LakeParts
from gateway.assembly.sessions import SessionParts
from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.domain.candidates import RefusalMemory
from gateway.domain.policies import policies_from_settings
from gateway.services.direct import DirectService
from gateway.services.explanations import ExplanationService
from gateway.services.fanout import FanoutService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.idempotency import IdempotencyService
from gateway.services.installation import Installation
from gateway.services.nested_explanations import NestedExplanations
from gateway.services.node_calls import NodeCalls
from gateway.services.offer_book import OfferBook
from gateway.services.offers import OffersService
from gateway.services.permissions import PermissionService
from gateway.services.placing import PlacingService
from gateway.services.planning import Planner
from gateway.services.quotas import QuotaService
from gateway.services.registry import NodeRegistry
from gateway.services.transitions import Stores
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore


@dataclass(frozen=True, slots=True)
class AskingParts:
    """What asks nodes and ranks their offers. ``fanout`` is to be closed: it reads late answers."""

    fanout: FanoutService
    refusals: RefusalMemory
    placing: PlacingService
    planner: Planner
    offers: OffersService
    direct: DirectService
    explanations: ExplanationService


def build_asking(
    *,
    settings: GatewaySettings,
    database: Database,
    stores: Stores,
    offersets: OfferSetStore,
    keys: IdempotencyStore,
    registry: NodeRegistry,
    nodes: NodeCalls,
    sessions: SessionParts,
    lakes: LakeParts,
    permissions: PermissionService,
    quotas: QuotaService,
    installation: Installation,
    clock: Clock,
    metrics: CollectorRegistry,
    counts: GatewayMetrics,
) -> AskingParts:
    """The parts, wired to each other."""
    policies = policies_from_settings(settings.policies)
    refusals = RefusalMemory(timedelta(seconds=settings.federation.refusal_memory_s))
    placing = PlacingService(lakes.locator if settings.locates_data else None, settings.placement)
    fanout = FanoutService(
        registry, FanoutMetrics(metrics), hedge_share=settings.asking.hedge_share
    )
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
    book = OfferBook(database, stores, offersets, sessions.transitions, clock, quotas)
    idempotency = IdempotencyService(database, keys, offersets, clock, uuid4)
    offers = OffersService(
        registry=registry,
        fanout=fanout,
        book=book,
        idempotency=idempotency,
        node_calls=nodes,
        planner=planner,
        refusals=refusals,
        clock=clock,
        name=settings.federation.name,
        metrics=counts,
        mint=uuid4,
    )
    direct = DirectService(
        offers=offers,
        falling_through=sessions.falling_through,
        letting_go=sessions.letting_go,
        sessions=sessions.sessions,
        idempotency=idempotency,
        clock=clock,
        settings=settings.sessions,
        mint=uuid4,
    )
    explanations = ExplanationService(
        book,
        policies,
        NestedExplanations(nodes),
        shows_replicas=settings.placement.shows_replicas,
        wait_s=settings.sessions.read_deadline_s,
    )
    return AskingParts(fanout, refusals, placing, planner, offers, direct, explanations)
