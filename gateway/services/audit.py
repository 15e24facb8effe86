"""The audit trail: calls are noted at once and saved in groups, off the way of their answers."""

import asyncio
from collections import deque
from datetime import timedelta
from itertools import islice
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.services.audit_metrics import AuditMetrics
from gateway.settings import AuditSettings
from gateway.stores.audit import AuditEntry, AuditQuery, AuditStore
from gateway.stores.database import Database
from gateway.wire.audit import AuditedCall

GATHER_S: Final = 0.2
"""How long calls are gathered, to be saved in one transaction. As much is lost of a process that is
killed; what it changed is in the table of events, whose rows are saved with the change itself."""

IDLE_S: Final = 60.0
"""How long to sleep at most. Each call that is noted wakes the writer."""

MOST_WAITING: Final = 10_000
"""Calls kept in memory, half a kilobyte each: those of half a minute at the most that one process
answers. Beyond them they are logged only."""

BATCH: Final = 1000
"""Rows saved or deleted in one transaction, so that requests get their turn."""

FORGET_EVERY_S: Final = 3600.0
"""How often old entries are deleted."""

NOBODYS_PER_S: Final = 5.0
"""Calls without credentials that hold are saved so often at most, by and large: one can make as
many as one likes, and fill the table. The rest is counted."""

_BURST: Final = 300.0
_NOBODY: Final = "nobody"

_log = structlog.stdlib.get_logger("audit")


class AuditTrail:
    """Takes notes of calls and keeps them; ``wake`` is set when there is something to save."""

    def __init__(
        self,
        database: Database,
        store: AuditStore,
        clock: Clock,
        settings: AuditSettings,
        metrics: AuditMetrics,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[AuditEntry] = deque()
        self._logged = 0  # so many of the first that wait are in the log already
        self._nobodys = (_BURST, 0.0)
        self._flushing = asyncio.Lock()
        self.wake = asyncio.Event()

    def note(self, call: AuditedCall) -> None:
        """Keep a call; never waits, never fails."""
        if call.who == _NOBODY and not self._has_room_for_nobody():
            self._metrics.left_out()
            return
        entry = AuditEntry(self._clock.now(), call)
        if len(self._waiting) >= MOST_WAITING:
            _report(entry)
            self._metrics.logged_only()
            return
        self._waiting.append(entry)
        self.wake.set()

    async def run_due(self) -> float:
        """Save what waits; the seconds until there may be more to do."""
        if self._waiting:
            await asyncio.sleep(GATHER_S)
            await self._save()
        return IDLE_S

    async def flush(self) -> None:
        """Save what waits at the end of the process; what cannot be saved is in the log."""
        try:
            await self._save()
        except StoreUnavailableError:
            self._metrics.logged_only(len(self._waiting))
            self._waiting.clear()

    async def forget_old(self) -> float:
        """Delete what is older than it has to be kept."""
        before = self._clock.now() - timedelta(days=self._settings.days)
        while True:
            async with self._database.transaction() as tx:
                count = await self._store.forget(tx, before, BATCH)
            if count < BATCH:
                return FORGET_EVERY_S

    async def page(
        self, query: AuditQuery, *, before: int | None, limit: int
    ) -> tuple[list[AuditEntry], int | None]:
        """The newest entries, and the id before which there are more, if there are."""
        async with self._database.reading() as reader:
            found = await self._store.page(reader, query, before=before, limit=limit + 1)
        page = found[:limit]
        return page, page[-1].id if len(found) > limit else None

    async def _save(self) -> None:
        """Save all that waits.

        Raises
        ------
        StoreUnavailableError
            The database is away: all of it is logged, and kept for the next time.
        """
        async with self._flushing:
            while self._waiting:
                batch = list(islice(self._waiting, BATCH))
                try:
                    async with self._database.transaction() as tx:
                        await self._store.add(tx, batch)
                except StoreUnavailableError:
                    for entry in islice(self._waiting, self._logged, None):
                        _report(entry)
                    self._logged = len(self._waiting)
                    raise
                for _ in batch:
                    self._waiting.popleft()
                self._logged = max(0, self._logged - len(batch))
                self._metrics.saved(len(batch))

    def _has_room_for_nobody(self) -> bool:
        level, at = self._nobodys
        now = self._clock.monotonic()
        level = min(_BURST, level + (now - at) * NOBODYS_PER_S)
        has_room = level >= 1
        self._nobodys = (level - has_room, now)
        return has_room


def _report(entry: AuditEntry) -> None:
    """Log what the table does not have, or not yet."""
    call = entry.call
    _log.warning(
        "audit",
        at=entry.at.isoformat(),
        who=call.who,
        what=call.what,
        object=call.object,
        origin=call.origin,
        call=call.request_id,
        status=call.status,
        reason=call.reason,
    )
