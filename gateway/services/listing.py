"""Lists of what belongs to somebody: offer sets and sessions, page by page."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Generic, TypeVar

import msgspec

from gateway.clock import Clock
from gateway.editing_errors import InvalidCursorError
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.listing_cursor import CursorError, cursor_of, place_of
from gateway.stores.database import Database, Transaction
from gateway.stores.listing import (
    ListedOfferSet,
    ListedSession,
    ListingStore,
    Place,
    Selection,
    Sort,
)
from gateway.wire.phases import SessionPhase

USUAL_LIMIT: Final = 50
"""Entries of a page unless it is said otherwise: as many as fit on two screens."""

MAX_LIMIT: Final = 200
"""Most entries of a page: the documents of so many sessions are some 3 MB to look into."""

MAX_SEEN: Final = 1000
"""Most rows looked at for one page where names decide; the page then ends early."""

_Row = TypeVar("_Row")
Fetch = Callable[[Transaction, Selection], Awaitable[Sequence[_Row]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuestion:
    """What a caller wants listed; None is all.

    ``owner`` is for administrators. ``name`` is a part of the name, in any case. ``cursor`` is what
    the page before ended with.
    """

    owner: str | None = None
    phases: tuple[SessionPhase, ...] = ()
    node: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    name: str | None = None
    sort: Sort = Sort.NEWEST
    limit: int = USUAL_LIMIT
    cursor: str | None = None

    def filters(self, what: str) -> object:
        """What must be the same on the next page; ``what`` is the list."""
        return [
            what,
            self.owner,
            sorted(phase.value for phase in self.phases),
            self.node,
            self.since,
            self.until,
            self.name,
            self.sort.value,
        ]


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """Some entries, and the cursor of what comes after; None where nothing does.

    Where names decide a page can have fewer entries than asked for, or none, and still go on.
    """

    entries: tuple[_Row, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class NamedOfferSet:
    """An offer set in a list, with the name of what it would execute."""

    row: ListedOfferSet
    name: str | None


@dataclass(frozen=True, slots=True)
class NamedSession:
    """A session in a list, with its name, in the phase that clients see."""

    row: ListedSession
    name: str | None
    phase: SessionPhase


class ListingService:
    """Lists what callers own."""

    def __init__(self, database: Database, listing: ListingStore, clock: Clock) -> None:
        self._database = database
        self._listing = listing
        self._clock = clock

    async def offersets(self, question: ListQuestion, caller: Caller) -> Page[NamedOfferSet]:
        """A page of the caller's offer sets; the administrator sees everybody's.

        Raises
        ------
        InvalidCursorError
        """

        async def fetch(tx: Transaction, selection: Selection) -> Sequence[NamedOfferSet]:
            rows = await self._listing.offersets(tx, selection)
            return [NamedOfferSet(row, _name_of_request(row.request)) for row in rows]

        return await paged(
            self._database,
            question,
            caller,
            what="offersets",
            fetch=fetch,
            place=lambda entry: Place(entry.row.created, entry.row.uuid),
            name=lambda entry: entry.name,
        )

    async def sessions(self, question: ListQuestion, caller: Caller) -> Page[NamedSession]:
        """A page of the caller's sessions; the administrator sees everybody's.

        Raises
        ------
        InvalidCursorError
        """
        now = self._clock.now()
        by_change = question.sort.by_change

        async def fetch(tx: Transaction, selection: Selection) -> Sequence[NamedSession]:
            rows = await self._listing.sessions(tx, selection)
            return [NamedSession(row, _name(row.document), _phase(row, now)) for row in rows]

        return await paged(
            self._database,
            question,
            caller,
            what="sessions",
            fetch=fetch,
            place=lambda entry: Place(
                entry.row.changed if by_change else entry.row.created, entry.row.uuid
            ),
            name=lambda entry: entry.name,
        )


async def paged(
    database: Database,
    question: ListQuestion,
    caller: Caller,
    *,
    what: str,
    fetch: Fetch[_Row],
    place: Callable[[_Row], Place],
    name: Callable[[_Row], str | None],
) -> Page[_Row]:
    """A page of the list ``what``: of the caller's own, or for the administrator of anybody's.

    Names are within documents and so not for the database to look for: rows are read on until the
    page is full, at most ``MAX_SEEN``.

    Raises
    ------
    InvalidCursorError
    """
    filters = question.filters(what)
    try:
        after = None if question.cursor is None else place_of(question.cursor, filters)
    except CursorError as error:
        raise InvalidCursorError(str(error)) from error
    wanted = None if question.name is None else question.name.casefold()
    selection = Selection(
        owner=_owner(question, caller),
        phases=question.phases,
        node=question.node,
        since=question.since,
        until=question.until,
        sort=question.sort,
        # One more than the page tells whether there is another.
        limit=question.limit + 1,
    )
    found: list[_Row] = []
    seen = 0
    async with database.snapshot() as reader:
        while True:
            rows = await fetch(reader, replace(selection, after=after))
            for row in rows:
                if len(found) == question.limit:
                    return _page(found, after, filters)
                after = place(row)
                if wanted is None or wanted in (name(row) or "").casefold():
                    found.append(row)
            seen += len(rows)
            if len(rows) < selection.limit:
                return Page(tuple(found), None)
            if seen >= MAX_SEEN:
                return _page(found, after, filters)


def _page(found: Sequence[_Row], after: Place | None, filters: object) -> Page[_Row]:
    return Page(tuple(found), None if after is None else cursor_of(after, filters))


def _owner(question: ListQuestion, caller: Caller) -> str | None:
    """Whose things are listed; None for everybody's."""
    return question.owner if caller.is_admin else caller.owner or ADMIN_OWNER


class _Named(msgspec.Struct):
    name: str | None = None


class _Component(msgspec.Struct):
    meta: _Named | None = None


class _Request(msgspec.Struct):
    executable: _Component | None = None


_SESSION: Final = msgspec.json.Decoder(_Component)
_REQUEST: Final = msgspec.json.Decoder(_Request)


def _name(document: bytes) -> str | None:
    try:
        meta = _SESSION.decode(document).meta
    except msgspec.ValidationError:
        return None  # a kind of its own, whose members can be anything
    return meta.name if meta else None


def _name_of_request(request: bytes) -> str | None:
    try:
        executable = _REQUEST.decode(request).executable
    except msgspec.ValidationError:
        return None  # an executable of an unknown kind, whose members can be anything
    return executable.meta.name if executable and executable.meta else None


def _phase(row: ListedSession, now: datetime) -> SessionPhase:
    """The phase of a session; an offer whose time is over has expired."""
    is_over = row.asked is None and row.expires is not None and row.expires <= now
    return SessionPhase.EXPIRED if row.phase is SessionPhase.OFFERED and is_over else row.phase
