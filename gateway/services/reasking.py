"""Asking again with changes: a new offer set in place of an old one.

The old set keeps what it holds until the new one stands. Then one transaction notes which came of
which and marks what the old one held as rejected; the nodes hear of it by the outbox. A gateway
that dies in between leaves two sets, of which the old one ends by itself, and who asks once more
with the same idempotency key gets the same new set and has the rest done.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.domain.merge_patch import merge_patch
from gateway.editing_errors import (
    InvalidEditError,
    NotOfferSetOwnerError,
    OfferSetReplacedError,
    OfferSetTakenError,
)
from gateway.errors import UnknownOfferSetError
from gateway.services.caller import Caller
from gateway.services.drafts import check_ready
from gateway.services.letting_go import LettingGoService
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.services.resubmission_question import as_before
from gateway.services.transitions import Stores, Transitions, is_taken
from gateway.stores.database import Database, RowConflictError, Transaction
from gateway.stores.drafts import Neighbours, Reasking, ReaskingStore
from gateway.stores.events import Event
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import from_json
from gateway.wire.phases import SessionPhase
from gateway.wire.problem import Fault

_log = structlog.stdlib.get_logger(__name__)


class ReaskingService:
    """Asks anew, lets the old offers go, and says which set came of which."""

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        offersets: OfferSetStore,
        reaskings: ReaskingStore,
        transitions: Transitions,
        letting_go: LettingGoService,
        offers: OffersService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._reaskings = reaskings
        self._transitions = transitions
        self._letting_go = letting_go
        self._offers = offers
        self._clock = clock

    async def read(self, uuid: UUID, caller: Caller) -> OfferSetReading:
        """The offer set as it is now, with what came before it and what after.

        Raises
        ------
        UnknownOfferSetError
            There is none, or the caller may not read it.
        """
        reading = await self._offers.read(uuid, caller)
        async with self._database.reading() as reader:
            neighbours = await self._reaskings.neighbours(reader, uuid)
        return _with_neighbours(reading, neighbours)

    async def ask_again(
        self, uuid: UUID, question: OfferQuestion, caller: Caller
    ) -> OfferSetReading:
        """Ask anew; ``question.document`` is a merge patch of what was asked before.

        What the question leaves open is as it was. If no node answers, or none has an offer, the
        old set stays as it is.

        Raises
        ------
        UnknownOfferSetError, NotOfferSetOwnerError
            It is not the caller's to change.
        OfferSetTakenError, OfferSetReplacedError
            An offer of it is accepted, or it has been asked anew already.
        InvalidEditError, IncompleteRequestError
            With the changes it is no request.

        What ``OffersService.ask`` raises, too.
        """
        async with self._database.snapshot() as reader:
            row = await self._owned(reader, uuid, caller)
            sessions = await self._stores.sessions.of_offerset(reader, uuid)
            replacement = await self._reaskings.replacement(reader, uuid)
        is_repeated = replacement is not None and replacement.key == question.key is not None
        if replacement is not None and not is_repeated:
            raise OfferSetReplacedError(uuid, replacement.offerset)
        if not is_repeated:
            _refuse_taken(uuid, sessions)
        reading = await self._offers.ask(_changed(row, question), caller)
        await self._put_in_place(row, reading, question.key, caller)
        return _with_neighbours(reading, Neighbours(previous=uuid))

    async def _owned(self, reader: Transaction, uuid: UUID, caller: Caller) -> OfferSetRow:
        row = await self._offersets.find(reader, uuid)
        if row is None or not caller.can_read(row.owner):
            raise UnknownOfferSetError(uuid)
        if not caller.owns(row.owner):
            raise NotOfferSetOwnerError(uuid)
        return row

    async def _put_in_place(
        self, old: OfferSetRow, new: OfferSetReading, key: str | None, caller: Caller
    ) -> None:
        """Note what came of what, and let go of what the old set holds, both or neither."""
        try:
            async with self._database.transaction(durable=True) as tx:
                await self._replace(tx, old, new, key, caller)
        except (OfferSetTakenError, RowConflictError) as error:
            # The old set was accepted from, or replaced, while the nodes were asked.
            await self._letting_go.let_rest_go(new.row.uuid)
            if isinstance(error, OfferSetTakenError):
                raise
            raise OfferSetReplacedError(old.uuid, None) from error

    async def _replace(
        self,
        tx: Transaction,
        old: OfferSetRow,
        new: OfferSetReading,
        key: str | None,
        caller: Caller,
    ) -> None:
        # Who keeps the old set may change its sessions.
        sessions = await self._stores.sessions.of_offerset(tx, old.uuid)
        if await self._reaskings.of_offerset(tx, new.row.uuid) is not None:
            return
        replaces = bool(new.sessions)
        if replaces:
            _refuse_taken(old.uuid, sessions)
        now = self._clock.now()
        await self._reaskings.add(tx, Reasking(new.row.uuid, old.uuid, key, replaces, now))
        if not replaces:
            return
        held = [one for one in sessions if one.phase is SessionPhase.OFFERED]
        for session in held:
            await self._transitions.let_go(tx, session, SessionPhase.REJECTED, who=caller.who)
        detail = f"by {new.row.uuid}, {len(held)} offers let go"
        event = Event(now, "asked_anew", caller.who, offerset=old.uuid, detail=detail)
        await self._stores.events.add(tx, event)
        _log.info(
            "offerset_replaced",
            offerset=str(old.uuid),
            replacement=str(new.row.uuid),
            let_go=len(held),
        )


def _changed(old: OfferSetRow, question: OfferQuestion) -> OfferQuestion:
    """The question whole: what it does not say is as in the old one.

    Raises
    ------
    InvalidEditError, IncompleteRequestError
    """
    before = as_before(old, question.path)
    document = merge_patch(from_json(old.request), question.document)
    if not isinstance(document, dict):
        raise InvalidEditError(Fault("", "Must be an object."))
    check_ready(document)
    return replace(
        question,
        document=document,
        replaces=old.uuid,
        limit=question.limit or before.limit,
        per_node=question.per_node or before.per_node,
        policy=question.policy or before.policy,
        nodes=before.nodes if question.nodes is None else question.nodes,
    )


def _refuse_taken(uuid: UUID, sessions: Sequence[SessionRow]) -> None:
    for session in sessions:
        if session.asked is SessionPhase.ACCEPTED or is_taken(session.phase, session.asked):
            raise OfferSetTakenError(uuid, session.uuid)


def _with_neighbours(reading: OfferSetReading, neighbours: Neighbours) -> OfferSetReading:
    named = {"previous": neighbours.previous, "next": neighbours.next}
    known = {name: str(uuid) for name, uuid in named.items() if uuid is not None}
    return replace(reading, federation=reading.federation | known) if known else reading
