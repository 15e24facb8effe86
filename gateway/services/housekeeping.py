"""What time does to sessions: offers expire, sessions go on unseen, old things are forgotten."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.services.gateway_metrics import COMMANDS, GatewayMetrics
from gateway.services.sessions import SessionService
from gateway.services.transitions import Stores, Transitions
from gateway.settings import SessionSettings
from gateway.stores.database import Database
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.offersets import OfferSetStore

BATCH: Final = 200
"""Rows handled in one transaction, so that requests get their turn."""

LOOK_S: Final = 5.0
"""How often to look whether a session has not been seen for long."""

EXPIRY_LOOK_S: Final = 30.0
"""How long to sleep at most before looking for expired offers: new ones come in without a sign."""

FORGET_EVERY_S: Final = 600.0
"""How often to delete what nobody needs any more."""

MEASURE_EVERY_S: Final = 10.0
"""How often the gauges are brought up to date: oftener than scrapers come."""

FOLLOWED: Final = 100
"""Sessions of each node looked at in one round."""

AT_ONCE: Final = 8
"""Sessions looked at at the same time by the follower."""


class Housekeeping:
    """Duties of the background; each gives the seconds until it wants to run again."""

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        offersets: OfferSetStore,
        keys: IdempotencyStore,
        transitions: Transitions,
        sessions: SessionService,
        clock: Clock,
        settings: SessionSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._keys = keys
        self._transitions = transitions
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._metrics = metrics

    async def expire_offers(self) -> float:
        """Mark offers whose time is over."""
        while True:
            now = self._clock.now()
            async with self._database.transaction() as tx:
                rows = await self._stores.sessions.expired(tx, now, BATCH)
                for row in rows:
                    await self._transitions.expire(tx, row)
            if len(rows) < BATCH:
                break
        async with self._database.reading() as reader:
            due = await self._stores.sessions.next_expiry(reader)
        if due is None:
            return EXPIRY_LOOK_S
        return min(max((due - self._clock.now()).total_seconds(), 0.05), EXPIRY_LOOK_S)

    async def follow_sessions(self) -> float:
        """Look at sessions on their way that no client reads, so that their end is known."""
        now = self._clock.now()
        before = now - timedelta(seconds=self._settings.follow_s)
        async with self._database.reading() as reader:
            uuids = await self._stores.sessions.stale(reader, before, now, FOLLOWED)
        gate = asyncio.Semaphore(AT_ONCE)

        async def look(uuid: UUID) -> None:
            async with gate:
                await self._sessions.refresh(uuid)

        async with asyncio.TaskGroup() as group:
            for uuid in uuids:
                group.create_task(look(uuid))
        return min(LOOK_S, self._settings.follow_s)

    async def measure(self) -> float:
        """Bring the gauges up to date."""
        async with self._database.reading() as reader:
            counts = await self._stores.sessions.count_by_phase(reader)
            commands = await self._stores.commands.backlog(reader)
            unkept = await self._stores.unkept.backlog(reader)
        now = self._clock.now()
        self._metrics.show_sessions(counts)
        for phase in COMMANDS:
            waiting = [part[phase] for part in (commands, unkept) if phase in part]
            oldest = min((one.oldest for one in waiting), default=now)
            age_s = max((now - oldest).total_seconds(), 0.0)
            self._metrics.show_backlog(phase, sum(one.pending for one in waiting), age_s)
        return MEASURE_EVERY_S

    async def forget_old(self) -> float:
        """Delete offer sets that ended long ago, and keys whose offer set is gone."""
        now = self._clock.now()
        offers_before = now - timedelta(seconds=self._settings.offers_s)
        ended_before = now - timedelta(days=self._settings.offersets_days)
        async with self._database.transaction() as tx:
            await self._offersets.forget(
                tx, ended_before=ended_before, expired_before=offers_before
            )
            await self._offersets.forget_claims(tx, offers_before)
            await self._keys.forget(tx, offers_before)
            await self._stores.events.forget(tx, ended_before)
        return FORGET_EVERY_S
