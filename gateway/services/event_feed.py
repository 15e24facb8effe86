"""Events handed to all who watch in this process, by one reader of the database.

Who watches gets every event of its scope once and in order: those that were there before are read
for it alone, those that come are read once for all. What it has not taken yet waits in a queue of
its own. One whose queue is full is cut off, and nobody else is kept waiting for it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from gateway.clock import Clock
from gateway.domain.cloud_events import Occurrence
from gateway.services.event_metrics import EventMetrics
from gateway.stores.database import Database
from gateway.stores.events import EventScope, EventStore

GATHER_S: Final = 0.03
"""How long events are gathered before they are given positions, all in one transaction that is
flushed to the disk: less than anybody notices, and at most some thirty flushes a second."""

LOOK_S: Final = 1.0
"""How often to look for what other processes have written, and for what nobody here waits for."""

SOON: Final = 5
"""After an event was written there are so many early looks, twice as far apart each time, from
``LOOK_S / 2**SOON`` on: it is announced a little before it is committed."""

BATCH: Final = 500
"""Events read, or given their positions, at once: some 100 KiB, a few milliseconds."""

QUEUE: Final = 4 * BATCH
"""Events that may wait for one who watches: what comes at once when a thousand sessions end, and
time to take it. They are the same objects for all, so each costs a pointer."""


class Watch:
    """One who watches; made by `EventFeed.watch`.

    ``position`` is as far as it has got: it has been given everything up to there.
    """

    def __init__(self, scope: EventScope) -> None:
        self.scope = scope
        self.position = 0
        self.is_cut_off = False
        self._queue: list[Occurrence] = []
        self._ready = asyncio.Event()
        self._is_closed = False

    def poke(self) -> None:
        """Have ``batches`` give an empty batch, if there is nothing else."""
        self._ready.set()

    def close(self) -> None:
        """End ``batches`` with what is in the queue."""
        self._is_closed = True
        self._ready.set()

    def put(self, occurrence: Occurrence) -> bool:
        """One more event of its scope. Who has too many waiting is cut off then: False."""
        if self.is_cut_off:
            return True
        if len(self._queue) >= QUEUE:
            self.is_cut_off = True
            self._queue.clear()
        else:
            self._queue.append(occurrence)
        self._ready.set()
        return not self.is_cut_off

    async def take(self) -> Sequence[Occurrence] | None:
        """What has come, or nothing where it was poked; None at the end."""
        await self._ready.wait()
        self._ready.clear()
        if self._queue:
            taken, self._queue = self._queue, []
            if self._is_closed:
                self._ready.set()
            return taken
        return None if self.is_cut_off or self._is_closed else ()


class EventFeed:
    """Gives events their positions, and hands them to those who watch.

    Run ``run`` as a duty that ``wake`` wakes. ``close`` ends every watch. ``placed`` is set when
    there are new ones for whoever reads them for himself.
    """

    def __init__(
        self,
        database: Database,
        events: EventStore,
        clock: Clock,
        metrics: EventMetrics,
        placed: asyncio.Event,
    ) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._metrics = metrics
        self._placed = placed
        self._watches: dict[EventScope, set[Watch]] = {}
        self._position = 0
        self._placed_at = -LOOK_S
        self._seen_written = 0
        self._soon = 0
        self._is_closed = False
        self.wake = events.wake

    async def run(self) -> float:
        """Give positions and hand out what is new; the seconds until the next look."""
        await asyncio.sleep(GATHER_S)
        is_watched = bool(self._watches)
        waited_s = self._clock.monotonic() - self._placed_at
        if not is_watched and waited_s < LOOK_S:
            return LOOK_S - waited_s
        if self._events.written != self._seen_written:
            self._seen_written, self._soon = self._events.written, SOON
        self._placed_at = self._clock.monotonic()
        await self._place()
        await self._hand_out()
        pause_s = LOOK_S / 2**self._soon
        self._soon = max(self._soon - 1, 0)
        return pause_s if is_watched else LOOK_S

    async def watch(
        self, watch: Watch, *, after: int | None, is_over: Callable[[int], Awaitable[bool]]
    ) -> AsyncGenerator[Sequence[Occurrence]]:
        """What has happened behind ``after``, and what happens; None: from now on.

        An empty batch comes once the watch has caught up, and where it was poked. It ends when
        ``is_over``, asked with the position reached after each end of a session, says so, when the
        watch is cut off, and when the feed is closed.

        Raises
        ------
        StoreUnavailableError
        """
        try:
            async with aclosing(self._before(watch, after)) as before:
                async for batch in before:
                    yield batch
            yield ()
            if await is_over(watch.position):
                return
            while (taken := await watch.take()) is not None:
                if not taken:
                    watch.position = max(watch.position, self._position)
                fresh = [one for one in taken if one.position > watch.position]
                if fresh:
                    watch.position = fresh[-1].position
                yield fresh
                if any(one.is_end for one in fresh) and await is_over(watch.position):
                    return
        finally:
            self._detach(watch)

    def scopes(self) -> tuple[EventScope, ...]:
        """What is watched in this process now."""
        return tuple(self._watches)

    def close(self) -> None:
        """End every watch, also those to come: the process is about to end."""
        self._is_closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.close()

    async def _before(
        self, watch: Watch, after: int | None
    ) -> AsyncGenerator[Sequence[Occurrence]]:
        """What is there already. From the end of it on the watch is handed all that comes."""
        if after is None:
            watch.position = await self._attach(watch)
            return
        watch.position = after
        # Long histories are read first, so that little comes into the queue meanwhile.
        while page := await self._page(watch):
            watch.position = page[-1].position
            yield page
            if len(page) < BATCH:
                break
        upto = await self._attach(watch)
        while page := [one for one in await self._page(watch) if one.position <= upto]:
            watch.position = page[-1].position
            yield page

    async def _page(self, watch: Watch) -> Sequence[Occurrence]:
        async with self._database.reading() as reader:
            return await self._events.after(reader, watch.scope, watch.position, BATCH)

    async def _attach(self, watch: Watch) -> int:
        """Have the watch handed all that is behind the position that this gives."""
        if not self._watches:
            async with self._database.reading() as reader:
                last = await self._events.last(reader)
            # Never back: what is being read to be handed out begins where it was.
            self._position = max(self._position, last)
        self._watches.setdefault(watch.scope, set()).add(watch)
        self._metrics.watchers.inc()
        if self._is_closed:
            watch.close()
        self.wake.set()
        return self._position

    def _detach(self, watch: Watch) -> None:
        watches = self._watches.get(watch.scope, set())
        if watch not in watches:
            return
        watches.discard(watch)
        if not watches:
            del self._watches[watch.scope]
        self._metrics.watchers.dec()

    async def _place(self) -> None:
        async with self._database.reading() as reader:
            if not await self._events.has_unplaced(reader):
                return
        placed = BATCH
        while placed == BATCH:
            # Who has been told of a position comes back with it: it must not be given again.
            async with self._database.transaction(durable=True) as tx:
                placed = await self._events.place(tx, BATCH)
        self._placed.set()

    async def _hand_out(self) -> None:
        count = BATCH
        while self._watches and count == BATCH:
            async with self._database.reading() as reader:
                found = await self._events.after(reader, EventScope(), self._position, BATCH)
            for one in found:
                if one.position > self._position:
                    self._position = one.position
                    self._hand(one)
            count = len(found)

    def _hand(self, occurrence: Occurrence) -> None:
        for scope in scopes_of(occurrence):
            for watch in self._watches.get(scope, ()):
                if not watch.put(occurrence):
                    self._metrics.overruns.inc()


def scopes_of(occurrence: Occurrence) -> tuple[EventScope, ...]:
    """Every scope that this event is in."""
    scopes = [EventScope(), EventScope(owner=occurrence.owner)]
    if occurrence.session is not None:
        scopes.append(EventScope(session=occurrence.session))
    if occurrence.offerset is not None:
        scopes.append(EventScope(offerset=occurrence.offerset))
    return tuple(scopes)
