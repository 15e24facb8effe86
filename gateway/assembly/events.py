"""Builds what tells of events: streams and webhooks. A part of the composition root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from aiohttp import web

from gateway.api.events import EVENT_SOURCE, EVENT_STREAMS, EVENTS
from gateway.api.webhooks import WEBHOOKS
from gateway.assembly.foundation import Foundation
from gateway.clients.addresses import AddressGuard
from gateway.clients.webhooks import WebhookClient
from gateway.clock import Clock
from gateway.config import GatewaySettings
from gateway.domain.webhooks import allowed_origin
from gateway.httpkit.event_stream import EventStreams
from gateway.httpkit.health import LIFECYCLE
from gateway.sealing import Sealer
from gateway.services.background import Duty
from gateway.services.event_feed import EventFeed
from gateway.services.event_metrics import EventMetrics
from gateway.services.event_reading import EventService
from gateway.services.sessions import SessionService
from gateway.services.standing import OwnerStanding
from gateway.services.watched_sessions import WatchedSessions
from gateway.services.webhook_calls import WebhookCalls
from gateway.services.webhooks import Targets, WebhookService
from gateway.stores.database import Database
from gateway.stores.identities import SqlIdentityStore
from gateway.stores.revocations import SqlRevocationStore
from gateway.stores.webhooks import WebhookStore


@dataclass(frozen=True, slots=True)
class EventParts:
    """What tells of events: its work in the background, and what has to be open meanwhile."""

    duties: tuple[Duty, ...]
    calls: WebhookCalls
    client: WebhookClient

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the connections to webhooks, for as long as the block lasts."""
        async with self.client.opened():
            try:
                yield
            finally:
                await self.calls.aclose()


def build_events(app: web.Application, base: Foundation, sessions: SessionService) -> EventParts:
    """The parts, wired to each other and put where the handlers find them."""
    settings, database, stores, clock = base.settings, base.database, base.stores, base.clock
    metrics = EventMetrics(base.metrics)
    key = settings.secret_key
    sealer = None if key is None else Sealer(key.reveal())
    source = f"urn:execbroker:gateway:{settings.federation.name}"
    webhooks = WebhookStore()
    targets = Targets(frozenset(map(allowed_origin, settings.webhooks.allow)), sealer)
    client = WebhookClient(
        AddressGuard(may_be_private=settings.webhooks.allow_private), settings.webhooks.deadline_s
    )
    calls = WebhookCalls(
        database=database,
        webhooks=webhooks,
        events=stores.events,
        targets=targets,
        standing=_standing(settings, database, clock),
        client=client,
        clock=clock,
        settings=settings.webhooks,
        source=source,
        metrics=metrics,
    )
    feed = EventFeed(database, stores.events, clock, metrics, placed=calls.wake)
    app[EVENTS] = EventService(database, stores, base.offersets, feed)
    app[EVENT_STREAMS] = EventStreams(
        settings.events.streams, settings.events.streams_per_owner, settings.events.stream_s
    )
    app[EVENT_SOURCE] = source
    app[WEBHOOKS] = WebhookService(
        database=database,
        webhooks=webhooks,
        events=stores.events,
        targets=targets,
        clock=clock,
        per_owner=settings.webhooks.per_owner,
        mint=uuid4,
    )
    _end_with(app, feed)
    watched = WatchedSessions(database, stores.sessions, feed, sessions)
    duties = (
        Duty("follow_watched", watched.run, asyncio.Event()),
        Duty("follow_events", feed.run, feed.wake),
        Duty("call_webhooks", calls.run, calls.wake),
    )
    return EventParts(duties, calls, client)


def _standing(settings: GatewaySettings, database: Database, clock: Clock) -> OwnerStanding:
    trusted = settings.authentication
    return OwnerStanding(
        SqlIdentityStore(database, clock),
        SqlRevocationStore(database, clock),
        issuers=[one.issuer for one in trusted.issuers],
        has_admin=settings.admin is not None,
        asks_who=trusted.enabled,
    )


def _end_with(app: web.Application, feed: EventFeed) -> None:
    """Streams end when the process is told to end, so that their readers come back elsewhere."""
    lifecycle = app[LIFECYCLE]

    def end_if_draining() -> None:
        if lifecycle.is_draining:
            feed.close()

    async def end(_app: web.Application) -> None:
        feed.close()

    lifecycle.watch(end_if_draining)
    app.on_shutdown.append(end)
