"""Drafts: requests that their owners write step by step, and then ask with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.drafts import DraftContent, EditError, Look, look_at, patched, updated
from gateway.editing_errors import (
    DraftTooLargeError,
    IncompleteRequestError,
    InvalidEditError,
    TooManyDraftsError,
    UnknownDraftError,
)
from gateway.errors import PreconditionFailedError
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.draft_sources import DraftSources
from gateway.services.listing import ListQuestion, Page, paged
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.settings import DraftSettings
from gateway.stores.database import Database, Transaction
from gateway.stores.drafts import DraftRow, DraftStore, Submission
from gateway.stores.listing import Place
from gateway.wire.codecs.base import CodecError, checked
from gateway.wire.documents import Document, from_json, to_json

SHOWN_SUBMISSIONS: Final = 20
"""How many times it was asked with a draft shows; who asked more often wants the last ones."""

FORGET_EVERY_S: Final = 3600.0
"""How often to delete drafts that nobody has changed for long: they are kept for months."""


@dataclass(frozen=True, slots=True)
class DraftReading:
    """A draft as its owner reads it."""

    row: DraftRow
    request: Document
    look: Look
    submissions: tuple[Submission, ...] = ()


class DraftService:
    """Keeps drafts, changes them, and asks with them."""

    def __init__(
        self,
        *,
        database: Database,
        drafts: DraftStore,
        sources: DraftSources,
        offers: OffersService,
        clock: Clock,
        settings: DraftSettings,
        max_bytes: int,
        mint: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._drafts = drafts
        self._sources = sources
        self._offers = offers
        self._clock = clock
        self._settings = settings
        self._max_bytes = max_bytes
        self._mint = mint

    async def create(self, source: Document, name: str | None, caller: Caller) -> DraftReading:
        """Begin a draft; ``source`` has one member at most, which says from what.

        Raises
        ------
        UnknownDraftSourceError, InvalidEditError
            There is no such thing to begin from.
        TooManyDraftsError
        """
        request = await self._sources.request_of(source, caller)
        now, owner = self._clock.now(), caller.owner or ADMIN_OWNER
        # What was written out is in the draft itself.
        began = {what: which for what, which in source.items() if what != "request"}
        row = DraftRow(
            uuid=self._mint(),
            owner=owner,
            name=name,
            source=to_json(began),
            request=self._to_json(request),
            revision=1,
            created=now,
            changed=now,
        )
        async with self._database.transaction() as tx:
            if await self._drafts.count_of(tx, owner) >= self._settings.per_owner:
                raise TooManyDraftsError(self._settings.per_owner)
            await self._drafts.add(tx, row)
        return DraftReading(row, request, look_at(request))

    async def read(self, uuid: UUID, caller: Caller) -> DraftReading:
        """The draft as it is now.

        Raises
        ------
        UnknownDraftError
            There is none, or it is not the caller's.
        """
        async with self._database.snapshot() as reader:
            row = await self._owned(reader, uuid, caller)
            submissions = await self._drafts.submissions(reader, uuid, SHOWN_SUBMISSIONS)
        return _reading(row, submissions)

    async def page(self, question: ListQuestion, caller: Caller) -> Page[DraftRow]:
        """A page of the caller's drafts; the administrator sees everybody's.

        Raises
        ------
        InvalidCursorError
        """
        by_change = question.sort.by_change
        return await paged(
            self._database,
            question,
            caller,
            what="drafts",
            fetch=self._drafts.page,
            place=lambda row: Place(row.changed if by_change else row.created, row.uuid),
            name=lambda row: row.name,
        )

    async def patch(
        self, uuid: UUID, patch: Document, caller: Caller, *, revision: int | None
    ) -> DraftReading:
        """Change a draft by a merge patch, if it still is the ``revision`` that was seen.

        Raises
        ------
        UnknownDraftError, PreconditionFailedError, InvalidEditError, DraftTooLargeError
        """
        return await self._edit(uuid, lambda content: patched(content, patch), caller, revision)

    async def update(
        self, uuid: UUID, update: Document, caller: Caller, *, revision: int | None
    ) -> DraftReading:
        """Change a draft by an update, if it still is the ``revision`` that was seen.

        Raises
        ------
        UnknownDraftError, PreconditionFailedError, InvalidEditError, DraftTooLargeError
        """
        return await self._edit(uuid, lambda content: updated(content, update), caller, revision)

    async def remove(self, uuid: UUID, caller: Caller, *, revision: int | None) -> None:
        """Delete a draft, if it still is the ``revision`` that was seen.

        Raises
        ------
        UnknownDraftError, PreconditionFailedError
        """
        async with self._database.transaction() as tx:
            _check_revision(await self._owned(tx, uuid, caller), revision)
            await self._drafts.remove(tx, uuid)

    async def submit(
        self, draft: DraftReading, question: OfferQuestion, caller: Caller
    ) -> OfferSetReading:
        """Ask for offers with a draft as it was read, and keep that in its history.

        Raises what ``OffersService.ask`` does.
        """
        reading = await self._offers.ask(question, caller)
        submission = Submission(reading.row.uuid, draft.row.revision, self._clock.now())
        async with self._database.transaction() as tx:
            await self._drafts.note_submission(tx, draft.row.uuid, submission)
        return reading

    async def forget_old(self) -> float:
        """Delete drafts that were left alone; the seconds until the next time."""
        before = self._clock.now() - timedelta(days=self._settings.days)
        async with self._database.transaction() as tx:
            await self._drafts.forget(tx, before)
        return FORGET_EVERY_S

    async def _edit(
        self,
        uuid: UUID,
        change: Callable[[DraftContent], DraftContent],
        caller: Caller,
        revision: int | None,
    ) -> DraftReading:
        async with self._database.transaction() as tx:
            row = await self._owned(tx, uuid, caller)
            _check_revision(row, revision)
            try:
                content = change(DraftContent(from_json(row.request), row.name))
            except EditError as error:
                raise InvalidEditError(error.fault) from error
            changed = replace(
                row,
                name=content.name,
                request=self._to_json(content.request),
                revision=row.revision + 1,
                changed=self._clock.now(),
            )
            if not await self._drafts.change(tx, changed):
                raise PreconditionFailedError
            submissions = await self._drafts.submissions(tx, uuid, SHOWN_SUBMISSIONS)
        return _reading(changed, submissions)

    async def _owned(self, tx: Transaction, uuid: UUID, caller: Caller) -> DraftRow:
        row = await self._drafts.find(tx, uuid)
        if row is None or not caller.owns(row.owner):
            raise UnknownDraftError(uuid)
        return row

    def _to_json(self, request: Document) -> bytes:
        """The request as it is kept; many small changes must not make what no one change could."""
        try:
            text = to_json(checked(request))
        except CodecError as error:
            raise DraftTooLargeError(str(error)) from error
        if len(text) > self._max_bytes:
            raise DraftTooLargeError(f"more than {self._max_bytes} bytes")
        return text


def check_ready(request: Document) -> None:
    """Refuse a request that nobody can be asked with.

    Raises
    ------
    IncompleteRequestError
        With everything that is missing or wrong.
    """
    look = look_at(request)
    if not look.is_ready:
        raise IncompleteRequestError(look.all_faults())


def _reading(row: DraftRow, submissions: Sequence[Submission]) -> DraftReading:
    request: Document = from_json(row.request)
    return DraftReading(row, request, look_at(request), tuple(submissions))


def _check_revision(row: DraftRow, revision: int | None) -> None:
    if revision is not None and row.revision != revision:
        raise PreconditionFailedError
