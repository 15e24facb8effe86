"""Builds what drafts, lists and asking anew need: a part of the composition root."""

import asyncio
from uuid import uuid4

from aiohttp import web

from gateway.api.drafts import DRAFTS, add_draft_routes
from gateway.api.listing import LISTING, add_listing_routes
from gateway.api.requests import REASKING
from gateway.assembly.sessions import SessionParts
from gateway.clock import Clock
from gateway.services.background import Duty
from gateway.services.draft_sources import DraftSources
from gateway.services.drafts import DraftService
from gateway.services.listing import ListingService
from gateway.services.offers import OffersService
from gateway.services.reasking import ReaskingService
from gateway.services.transitions import Stores
from gateway.settings import DraftSettings
from gateway.stores.database import Database
from gateway.stores.drafts import DraftStore, ReaskingStore
from gateway.stores.listing import ListingStore
from gateway.stores.offersets import OfferSetStore
from gateway.stores.software import SoftwareStore


def build_editing(
    app: web.Application,
    *,
    database: Database,
    stores: Stores,
    offersets: OfferSetStore,
    offers: OffersService,
    parts: SessionParts,
    clock: Clock,
    settings: DraftSettings,
    max_bytes: int,
) -> tuple[Duty, ...]:
    """Put the services where the handlers find them; gives what is to be done in the background.

    A request has at most ``max_bytes``.
    """
    drafts = DraftService(
        database=database,
        drafts=DraftStore(),
        sources=DraftSources(database, stores, offersets, SoftwareStore()),
        offers=offers,
        clock=clock,
        settings=settings,
        max_bytes=max_bytes,
        mint=uuid4,
    )
    reasking = ReaskingService(
        database=database,
        stores=stores,
        offersets=offersets,
        reaskings=ReaskingStore(),
        transitions=parts.transitions,
        letting_go=parts.letting_go,
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
