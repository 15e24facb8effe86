"""Builds what goes on between requests: a part of the composition root."""

import asyncio
from typing import Final

from gateway.assembly.authorization import renewing
from gateway.assembly.foundation import Foundation
from gateway.assembly.sessions import SessionParts
from gateway.services.background import Duty
from gateway.services.housekeeping import Housekeeping
from gateway.services.offers import OffersService
from gateway.services.probing import Probing
from gateway.services.resubmission import ResubmissionService

UNKEPT_AFTER_S: Final = 0.05
"""Nobody hurries to let go of holds: the answer that they were not kept for goes out first, which
takes some 10 ms."""


def build_keeping(
    base: Foundation, sessions: SessionParts, offers: OffersService
) -> tuple[Duty, ...]:
    """The duties towards sessions and nodes."""
    settings, clock = base.settings, base.clock
    housekeeping = Housekeeping(
        database=base.database,
        stores=base.stores,
        offersets=base.offersets,
        keys=base.keys,
        transitions=sessions.transitions,
        sessions=sessions.sessions,
        clock=clock,
        settings=settings.sessions,
        metrics=base.counts,
    )
    resubmission = ResubmissionService(
        database=base.database,
        stores=base.stores,
        offersets=base.offersets,
        registry=base.registry,
        nodes=base.nodes,
        offers=offers,
        falling_through=sessions.falling_through,
        letting_go=sessions.letting_go,
        transitions=sessions.transitions,
        sessions=sessions.sessions,
        clock=clock,
        settings=settings.sessions,
        command_settings=settings.commands,
        metrics=base.counts,
        quotas=base.quotas,
    )
    return (
        Duty("outbox", sessions.outbox.run_due, sessions.outbox_wake),
        Duty("unkept_holds", sessions.unkept.run_due, sessions.unkept_wake, after_s=UNKEPT_AFTER_S),
        Duty("expire_offers", housekeeping.expire_offers, asyncio.Event()),
        Duty("follow_sessions", housekeeping.follow_sessions, asyncio.Event()),
        Duty("resubmit", resubmission.run_due, asyncio.Event()),
        Duty("probe_nodes", Probing(base.registry, clock).run_due, asyncio.Event()),
        Duty("renew_certificates", renewing(settings.transport), asyncio.Event()),
        Duty("measure", housekeeping.measure, asyncio.Event()),
        Duty("forget_old", housekeeping.forget_old, asyncio.Event()),
    )
