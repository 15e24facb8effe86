"""What time alone does: offers expire, the ledger's past and what was kept long enough go away.

A clock that was set is heeded as soon as nothing is promised any more.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from node_stub.archive import Archive
from node_stub.clock import Clock, whole_second
from node_stub.config import RetentionSettings
from node_stub.ledger import Ledger
from node_stub.sessions import Sessions
from node_stub.store import Store
from node_stub.waiting import wait_until

FORGET_EVERY: Final = timedelta(hours=1)
"""How often old records are looked for: the shortest retention anybody would set."""

MEANT_S: Final = 1.0
"""A clock that differs by less was not set: it is the machine's own correction."""

NEWS_S: Final = 60.0
"""A clock that stays wrong is told of again when it differs by so much more or less."""

_log = structlog.get_logger(__name__)


class Sweeper:
    """Wakes when the next offer expires, and now and then to tidy up."""

    def __init__(
        self,
        sessions: Sessions,
        store: Store,
        ledger: Ledger,
        archive: Archive,
        settings: RetentionSettings,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._ledger = ledger
        self._archive = archive
        self._settings = settings
        self._clock = clock
        self._changed = asyncio.Event()
        self._told_s = 0.0

    def wake(self) -> None:
        """There may be another offer to expire first."""
        self._changed.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        forget_at = self._clock.now()
        while True:
            await self._sessions.expire()
            now = self._clock.now()
            await self._prune(now)
            if now >= forget_at:
                await self._forget(now)
                forget_at = now + FORGET_EVERY
            if await self._heed_the_machine():
                forget_at = min(forget_at, self._clock.now() + FORGET_EVERY)
            next_expiry = await self._store.next_expiry()
            due = forget_at if next_expiry is None else min(next_expiry, forget_at)
            await wait_until(due, self._changed, self._clock)

    async def _heed_the_machine(self) -> bool:
        """Whether a clock that was set has been taken over: only while nothing is held."""
        behind_s = self._clock.behind_s()
        if abs(behind_s) < MEANT_S:
            return False
        async with self._store.transaction() as transaction:
            # Alone with the store: nobody promises anything by the time that was.
            is_free = not await self._store.holding_count()
            if is_free:
                transaction.afterwards(self._clock.settle)
        if is_free or abs(behind_s - self._told_s) >= NEWS_S:
            self._told_s = 0.0 if is_free else behind_s
            log = _log.info if is_free else _log.warning
            log("clock_differs", behind_s=round(behind_s, 1), is_taken_over=is_free)
        return is_free

    async def _prune(self, now: datetime) -> None:
        # The ledger belongs to whoever holds the transaction, also for what changes no promise.
        async with self._store.transaction() as transaction:
            transaction.afterwards(lambda: self._ledger.prune(whole_second(now) - 1))

    async def _forget(self, now: datetime) -> None:
        async with self._store.transaction() as transaction:
            count = await transaction.forget(
                now - timedelta(days=self._settings.offersets_days),
                now - timedelta(seconds=self._settings.offers_s),
            )
        results = await self._archive.forget(now - timedelta(days=self._settings.results_days))
        if count or results:
            _log.info("records_forgotten", count=count, results=results)
