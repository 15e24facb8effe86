"""Builds what turns a request into an offer set: a part of the composition root."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from gateway.assembly.foundation import Foundation
from gateway.assembly.lakes import LakeParts
from gateway.assembly.sessions import SessionParts
from gateway.domain.candidates import RefusalMemory
from gateway.domain.policies import policies_from_settings
from gateway.services.direct import DirectService
from gateway.services.explanations import ExplanationService
from gateway.services.fanout import FanoutService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.idempotency import IdempotencyService
from gateway.services.nested_explanations import NestedExplanations
from gateway.services.offer_book import OfferBook
from gateway.services.offers import OffersService
from gateway.services.placing import PlacingService
from gateway.services.planning import Planner


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


def build_asking(base: Foundation, sessions: SessionParts, lakes: LakeParts) -> AskingParts:
    """The parts, wired to each other."""
    settings, registry, clock = base.settings, base.registry, base.clock
    policies = policies_from_settings(settings.policies)
    refusals = RefusalMemory(timedelta(seconds=settings.federation.refusal_memory_s))
    placing = PlacingService(lakes.locator if settings.locates_data else None, settings.placement)
    fanout = FanoutService(
        registry, FanoutMetrics(base.metrics), hedge_share=settings.asking.hedge_share
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
        permissions=base.permissions,
        quotas=base.quotas,
        installation=base.installation,
    )
    book = OfferBook(
        base.database, base.stores, base.offersets, sessions.transitions, clock, base.quotas
    )
    idempotency = IdempotencyService(base.database, base.keys, base.offersets, clock, uuid4)
    offers = OffersService(
        registry=registry,
        fanout=fanout,
        book=book,
        idempotency=idempotency,
        node_calls=base.nodes,
        planner=planner,
        refusals=refusals,
        clock=clock,
        name=settings.federation.name,
        metrics=base.counts,
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
        NestedExplanations(base.nodes),
        shows_replicas=settings.placement.shows_replicas,
        wait_s=settings.sessions.read_deadline_s,
    )
    return AskingParts(fanout, refusals, placing, planner, offers, direct, explanations)
