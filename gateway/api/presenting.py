"""Readings of the services as the documents that clients get."""

from aiohttp import web

from gateway.api.callers import PUBLIC_URL
from gateway.domain.placement_metrics import with_placement_metrics
from gateway.domain.showing import show_offerset, show_session
from gateway.httpkit.bodies import base_url
from gateway.services.offers import OfferSetReading
from gateway.services.sessions import SessionReading
from gateway.wire.documents import Document, from_json
from gateway.wire.times import format_instant


def own_base_url(request: web.Request) -> str:
    """What the URLs in this answer begin with."""
    return base_url(request, request.app.get(PUBLIC_URL))


def present_session(reading: SessionReading, base: str) -> Document:
    """A session, with its options, messages and place in the federation."""
    row = reading.row
    federation = from_json(row.federation) if row.federation else None
    document = show_session(
        from_json(row.document or b"{}"),
        base_url=base,
        phase=row.phase,
        is_owner=reading.is_owner,
        messages=(*reading.messages, *(link.to_message(base) for link in reading.links)),
        federation=federation,
    )
    return with_placement_metrics(document, federation)


def present_offerset(reading: OfferSetReading, base: str) -> Document:
    """An offer set with its offers, best first, and its coverage."""
    return show_offerset(
        uuid=reading.row.uuid,
        base_url=base,
        created=format_instant(reading.row.created),
        offers=[present_session(session, base) for session in reading.sessions],
        messages=from_json(reading.row.messages),
        federation=reading.federation,
    )
