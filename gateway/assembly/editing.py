"""Builds what drafts, lists and asking anew need: a part of the composition root."""

import asyncio
from uuid import uuid4

from aiohttp import web

from gateway.api.drafts import DRAFTS, add_draft_routes
from gateway.api.listing import LISTING, add_listing_routes
from gateway.api.requests import REASKING
from gateway.assembly.foundation import Foundation
from gateway.assembly.sessions import SessionParts
from gateway.services.background import Duty
from gateway.services.draft_sources import DraftSources
from gateway.services.drafts import DraftService
from gateway.services.listing import ListingService
from gateway.services.offers import OffersService
from gateway.services.reasking import ReaskingService
from gateway.stores.drafts import DraftStore, ReaskingStore
from gateway.stores.listing import ListingStore
from gateway.stores.software import SoftwareStore


def build_editing(
    app: web.Application, base: Foundation, sessions: SessionParts, offers: OffersService
) -> tuple[Duty, ...]:
    """Put the services where the handlers find them; gives what is to be done in the background."""
    database, stores, clock = base.database, base.stores, base.clock
    drafts = DraftService(
        database=database,
        drafts=DraftStore(),
        sources=DraftSources(database, stores, base.offersets, SoftwareStore()),
        offers=offers,
        clock=clock,
        settings=base.settings.drafts,
        max_bytes=base.settings.max_body_bytes,
        mint=uuid4,
    )
    reasking = ReaskingService(
        database=database,
        stores=stores,
        offersets=base.offersets,
        reaskings=ReaskingStore(),
        transitions=sessions.transitions,
        letting_go=sessions.letting_go,
        offers=offers,
        clock=clock,
    )
    app[DRAFTS] = drafts
    app[REASKING] = reasking
    app[LISTING] = ListingService(database, ListingStore(), clock)
    return (Duty("forget_drafts", drafts.forget_old, asyncio.Event()),)


def add_editing_api(app: web.Application) -> None:
    """Serve drafts and lists."""
    add_draft_routes(app)
    add_listing_routes(app)
