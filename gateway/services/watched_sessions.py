"""Looks often at sessions that somebody watches: events come of what a node is seen to show."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from gateway.services.event_feed import EventFeed
from gateway.services.sessions import SessionService
from gateway.stores.database import Database
from gateway.stores.sessions import SessionStore
from gateway.wire.phases import EXECUTION_PHASES

LOOK_S: Final = 1.0
"""How often; a client that polls looks as often."""

AT_A_TIME: Final = 50
"""Sessions looked at in one turn, some 50 ms of work. Of more, each has its turn later."""

AT_ONCE: Final = 16
"""Nodes asked at the same time."""

_UNDER_WAY: Final = frozenset(EXECUTION_PHASES)


class WatchedSessions:
    """A duty of the background, for the sessions watched in this process alone."""

    def __init__(
        self, database: Database, store: SessionStore, feed: EventFeed, sessions: SessionService
    ) -> None:
        self._database = database
        self._store = store
        self._feed = feed
        self._sessions = sessions
        self._last: UUID | None = None

    async def run(self) -> float:
        """Look at those whose turn it is; the seconds until the next turn."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def look(uuid: UUID) -> None:
            async with gate:
                await self._sessions.refresh(uuid)

        async with asyncio.TaskGroup() as group:
            for uuid in self._turn(await self._watched()):
                group.create_task(look(uuid))
        return LOOK_S

    async def _watched(self) -> list[UUID]:
        """All of them in a fixed order, those of offer sets too."""
        scopes = self._feed.scopes()
        watched = {scope.session for scope in scopes if scope.session is not None}
        offersets = [scope.offerset for scope in scopes if scope.offerset is not None]
        if offersets:
            async with self._database.reading() as reader:
                for offerset in offersets:
                    rows = await self._store.of_offerset(reader, offerset)
                    watched.update(row.uuid for row in rows if row.phase in _UNDER_WAY)
        return sorted(watched)

    def _turn(self, watched: Sequence[UUID]) -> Sequence[UUID]:
        """The next few, after those of the last turn."""
        begin = 0
        if self._last is not None:
            begin = next((i for i, uuid in enumerate(watched) if uuid > self._last), 0)
        turn = [*watched[begin:], *watched[:begin]][:AT_A_TIME]
        self._last = turn[-1] if turn else None
        return turn
