"""Who may see which events, and reading them: by pages, or as they come."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.domain.cloud_events import Occurrence, is_wanted
from gateway.errors import (
    NotYourEventsError,
    UnknownEventError,
    UnknownOfferSetError,
    UnknownSessionError,
)
from gateway.services.caller import Caller
from gateway.services.event_feed import EventFeed, Watch
from gateway.services.transitions import Stores
from gateway.stores.database import Database
from gateway.stores.events import EventScope
from gateway.stores.offersets import OfferSetStore

LOOKED_AT: Final = 1000
"""Events looked at for one page at most, however few of them are of a type that is wanted."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events; the next page is behind the position ``next``."""

    events: Sequence[Occurrence]
    next: int


class EventService:
    """Reads events for those who may; ``feed`` hands out those that come."""

    def __init__(
        self, database: Database, stores: Stores, offersets: OfferSetStore, feed: EventFeed
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._feed = feed

    async def of_session(self, uuid: UUID, caller: Caller) -> EventScope:
        """The events of a session, for one who may read it.

        Raises
        ------
        UnknownSessionError
        """
        async with self._database.reading() as reader:
            row = await self._stores.session(reader, uuid)
        if not caller.can_read(row.owner):
            raise UnknownSessionError(uuid)
        return EventScope(session=uuid)

    async def of_offerset(self, uuid: UUID, caller: Caller) -> EventScope:
        """The events of an offer set and its sessions, for one who may read it.

        Raises
        ------
        UnknownOfferSetError
        """
        async with self._database.reading() as reader:
            row = await self._offersets.find(reader, uuid)
        if row is None or not caller.can_read(row.owner):
            raise UnknownOfferSetError(uuid)
        return EventScope(offerset=uuid)

    def of_caller(self, caller: Caller, owner: str | None = None) -> EventScope:
        """All that concerns the caller; for the administrator everybody's, or those of ``owner``.

        Raises
        ------
        NotYourEventsError
            The caller did not say who it is, or names somebody else.
        """
        if caller.is_admin:
            return EventScope(owner=owner)
        if caller.owner is None or owner not in {None, caller.owner}:
            raise NotYourEventsError
        return EventScope(owner=caller.owner)

    async def page(
        self, scope: EventScope, after: int, limit: int, filters: Sequence[str]
    ) -> EventPage:
        """At most ``limit`` events of these types behind a position."""
        async with self._database.reading() as reader:
            count = LOOKED_AT if filters else limit
            found = await self._stores.events.after(reader, scope, after, count)
        wanted = [one for one in found if is_wanted(one, filters)][:limit]
        if len(wanted) == limit:
            return EventPage(wanted, wanted[-1].position)
        return EventPage(wanted, found[-1].position if found else after)

    async def can_follow(self, scope: EventScope, after: int | None) -> bool:
        """Whether there is or may be anything behind this position.

        Raises
        ------
        UnknownEventError
            No event has had that position yet.
        """
        if after is None:
            return True
        async with self._database.snapshot() as reader:
            if after > await self._stores.events.last(reader):
                raise UnknownEventError(after)
            return not await self._stores.events.is_over(reader, scope, after)

    def follow(self, watch: Watch, after: int | None) -> AsyncGenerator[Sequence[Occurrence]]:
        """The events as they come: see `EventFeed.watch`."""

        async def is_over(position: int) -> bool:
            async with self._database.snapshot() as reader:
                return await self._stores.events.is_over(reader, watch.scope, position)

        return self._feed.watch(watch, after=after, is_over=is_over)
