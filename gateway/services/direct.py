"""Direct execution: ask, accept the best, and fall through to the next while there is time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.showing import show_failed_session
from gateway.errors import SessionQuotaError
from gateway.services.acceptance import IntentStep
from gateway.services.caller import Caller
from gateway.services.falling_through import Accepted, FallThroughService
from gateway.services.idempotency import IdempotencyService
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.letting_go import LettingGoService
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.services.sessions import SessionReading, SessionService
from gateway.settings import SessionSettings
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase
from gateway.wire.times import format_instant

_NOT_ACCEPTED: Final = frozenset(
    {SessionPhase.OFFERED, SessionPhase.REJECTED, SessionPhase.EXPIRED}
)


@dataclass(frozen=True, slots=True)
class FailedDirect:
    """Nobody executes it: a FAILED session that says why, and that was never stored."""

    document: Document


class DirectService:
    """Executes without a choice of the client's."""

    def __init__(
        self,
        *,
        offers: OffersService,
        falling_through: FallThroughService,
        letting_go: LettingGoService,
        sessions: SessionService,
        idempotency: IdempotencyService,
        clock: Clock,
        settings: SessionSettings,
        mint: Callable[[], UUID],
    ) -> None:
        self._offers = offers
        self._falling_through = falling_through
        self._letting_go = letting_go
        self._sessions = sessions
        self._idempotency = idempotency
        self._clock = clock
        self._settings = settings
        self._mint = mint
        self._locks = KeyedLocks()

    async def execute(
        self, question: OfferQuestion, caller: Caller, *, step: IntentStep | None = None
    ) -> SessionReading | FailedDirect:
        """Ask as ``OffersService.ask`` does, and accept the first offer whose node keeps to it.

        A node that may or may not have accepted ends the search: its session is given as it is, and
        says that the acceptance is pending. ``step`` is saved with the intent to accept.
        """
        offerset = await self._offers.ask(replace(question, accepts=True), caller)
        async with self._locks.of(offerset.row.uuid):
            before = await self._idempotency.settled(offerset.row.uuid)
            if before is not None:
                reading = await self._sessions.read(before, caller)
                if reading.row.asked is not None or reading.row.phase not in _NOT_ACCEPTED:
                    return reading
                # It was chosen and never accepted: cut short, or its node withdrew it.
            return await self._accept_best(offerset, question, caller, step)

    async def _accept_best(
        self,
        offerset: OfferSetReading,
        question: OfferQuestion,
        caller: Caller,
        step: IntentStep | None,
    ) -> SessionReading | FailedDirect:
        deadline = self._clock.monotonic() + self._settings.update_deadline_s

        async def choose(tried: frozenset[UUID]) -> SessionRow | None:
            rows = (offered.row for offered in offerset.sessions if offered.row.uuid not in tried)
            row = next((row for row in rows if row.phase is SessionPhase.OFFERED), None)
            if row is not None and question.key is not None:
                await self._idempotency.settle(offerset.row.uuid, row.uuid)
            return row

        try:
            result = await self._falling_through.accept_first(
                choose, caller, deadline=deadline, step=step
            )
        except SessionQuotaError:
            await self._letting_go.let_rest_go(offerset.row.uuid)
            raise
        if not isinstance(result, Accepted):
            await self._letting_go.let_rest_go(offerset.row.uuid)
            return self._failed(offerset, result.attempts)
        if result.pending is not None:
            reading = await self._sessions.read(result.row.uuid, caller)
        else:
            reading = await self._sessions.reading_of(result.row, caller)
        return reading.with_messages(result.attempts)

    def _failed(self, offerset: OfferSetReading, attempts: Sequence[Document]) -> FailedDirect:
        now = self._clock.now()
        why = message(
            "urn:no-node-executes",
            MessageLevel.ERROR,
            "None of ${nodes} nodes executes this request",
            {"nodes": str(len(offerset.coverage))},
            now,
        )
        return FailedDirect(
            show_failed_session(
                uuid=self._mint(),
                created=format_instant(now),
                messages=[why, *attempts, *from_json(offerset.row.messages)],
            )
        )
