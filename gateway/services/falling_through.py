"""Accepting the first offer whose node keeps to it: for direct requests, and within limits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.falling_through import FallThrough, allowed
from gateway.domain.record import RecordVersionError, record_from_json
from gateway.errors import AcceptPendingError, SessionQuotaError, UpdateRefusedError
from gateway.services.acceptance import AcceptanceService, IntentStep
from gateway.services.appraisal import read_request
from gateway.services.caller import Caller
from gateway.services.transitions import Stores, is_over
from gateway.services.verdicts import SIBLING_ACCEPTED
from gateway.stores.database import Database
from gateway.stores.offersets import OfferSetStore
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase

Choose: TypeAlias = Callable[[frozenset[UUID]], Awaitable[SessionRow | None]]
"""The next offer to try, given those that were tried; None when there is no other."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The session that was accepted, or that may have been: then ``pending`` says so.

    ``attempts`` are messages about those that were tried before, and about a pending one.
    """

    row: SessionRow
    attempts: tuple[Document, ...] = ()
    pending: AcceptPendingError | None = None


@dataclass(frozen=True, slots=True)
class NobodyAccepted:
    """No node kept to its offer. ``first`` is why the first did not; None if there was no offer."""

    attempts: tuple[Document, ...] = ()
    first: UpdateRefusedError | None = None


class FallThroughService:
    """Tries offers one after the other.

    A node that may or may not have accepted ends the search: another could run the work twice.
    """

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        offersets: OfferSetStore,
        acceptance: AcceptanceService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._acceptance = acceptance
        self._clock = clock

    async def accept_first(
        self,
        choose: Choose,
        caller: Caller,
        *,
        deadline: float,
        step: IntentStep | None = None,
        keeps_last: bool = False,
        seen: SessionRow | None = None,
    ) -> Accepted | NobodyAccepted:
        """Accept the first offer that ``choose`` gives and its node keeps to.

        ``deadline`` is in the clock's monotonic seconds; ``step`` as for accepting one, and so
        ``seen``, which is about the first that is tried. What is
        sure not to have reached its node is cancelled; with ``keeps_last`` not so the last offer,
        whose acceptance is pending until its node can be told.

        Raises
        ------
        SessionQuotaError
            The caller has sessions enough, whichever offer it is.
        ProblemError
            Of another kind than a refusal: the search is over, and so far nothing was accepted.
        """
        tried: list[UUID] = []
        attempts: list[Document] = []
        first: UpdateRefusedError | None = None
        while not tried or self._clock.monotonic() < deadline:
            row = await choose(frozenset(tried))
            if row is None:
                break
            as_seen = None if tried else seen
            tried.append(row.uuid)
            is_last = keeps_last and await choose(frozenset(tried)) is None
            try:
                accepted = await self._acceptance.accept(
                    row.uuid,
                    caller,
                    deadline=deadline,
                    step=step,
                    gives_up_unsent=not is_last,
                    seen=as_seen,
                )
            except SessionQuotaError:
                raise  # no other offer would be taken, either
            except UpdateRefusedError as refusal:
                first = first or refusal
                attempts.append(self._attempt(row, refusal.detail))
                if isinstance(refusal, AcceptPendingError) and (refusal.may_have_acted or is_last):
                    return Accepted(row, tuple(attempts), refusal)
                if refusal.code == SIBLING_ACCEPTED:
                    break
                continue
            return Accepted(accepted, tuple(attempts))
        return NobodyAccepted(tuple(attempts), first)

    async def accept_within(
        self,
        uuid: UUID,
        wish: FallThrough,
        caller: Caller,
        *,
        deadline: float,
        step: IntentStep | None = None,
        seen: SessionRow | None = None,
    ) -> Accepted | NobodyAccepted:
        """Accept an offer, or the next best of its set that the client's limits allow.

        Asked again after an answer was lost, it comes to the session that was accepted then.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        PreconditionFailedError
            The offer asked for is not as it was ``seen``, if that is given.
        """
        async with self._database.reading() as reader:
            asked = await self._stores.owned(reader, uuid, caller)

        async def choose(tried: frozenset[UUID]) -> SessionRow | None:
            if not tried:
                return asked
            if len(tried) > wish.offers:
                return None
            return await self._next(asked, wish, tried)

        result = await self.accept_first(
            choose, caller, deadline=deadline, step=step, keeps_last=True, seen=seen
        )
        if isinstance(result, NobodyAccepted):
            return await self._accepted_before(asked, wish) or result
        return result

    async def _next(
        self, asked: SessionRow, wish: FallThrough, tried: frozenset[UUID]
    ) -> SessionRow | None:
        """The best offer that is still open and allowed."""
        good = await self._allowed(asked, wish)
        now = self._clock.now()
        async with self._database.reading() as reader:
            rows = await self._stores.sessions.of_offerset(reader, asked.offerset)
        open_rows = (
            row
            for row in rows
            if row.phase is SessionPhase.OFFERED and row.asked is None and not is_over(row, now)
        )
        return next((row for row in open_rows if row.uuid in good - tried), None)

    async def _accepted_before(self, asked: SessionRow, wish: FallThrough) -> Accepted | None:
        """The offer of the set that was accepted already, if it could be in place of this one."""
        async with self._database.reading() as reader:
            sibling = await self._stores.sessions.accepted_sibling(reader, asked)
            row = await self._stores.sessions.find(reader, sibling) if sibling else None
        if row is None or row.uuid not in await self._allowed(asked, wish):
            return None
        is_pending = row.phase is SessionPhase.OFFERED
        return Accepted(row, pending=AcceptPendingError(row.node) if is_pending else None)

    async def _allowed(self, asked: SessionRow, wish: FallThrough) -> frozenset[UUID]:
        async with self._database.reading() as reader:
            offerset = await self._offersets.find(reader, asked.offerset)
        if offerset is None:
            return frozenset()
        has_data = bool(read_request(from_json(offerset.request)).data)
        try:
            record = record_from_json(offerset.record)
        except RecordVersionError:
            return frozenset()  # ranked by another version: nothing can be compared
        return allowed(record, asked.uuid, wish, has_data=has_data)

    def _attempt(self, row: SessionRow, why: str) -> Document:
        return message(
            "urn:accept-attempt",
            MessageLevel.WARN,
            "Tried node ${node}: ${why}",
            {"node": row.node, "session": str(row.uuid), "why": why},
            self._clock.now(),
        )
