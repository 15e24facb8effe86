"""Direct execution: ask, accept the best, and fall through to the next while there is time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.showing import show_failed_session
from gateway.errors import AcceptPendingError, UpdateRefusedError
from gateway.services.acceptance import AcceptanceService
from gateway.services.caller import Caller
from gateway.services.idempotency import IdempotencyService
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.services.sessions import SessionReading, SessionService
from gateway.settings import SessionSettings
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
        acceptance: AcceptanceService,
        sessions: SessionService,
        idempotency: IdempotencyService,
        clock: Clock,
        settings: SessionSettings,
        mint: Callable[[], UUID],
    ) -> None:
        self._offers = offers
        self._acceptance = acceptance
        self._sessions = sessions
        self._idempotency = idempotency
        self._clock = clock
        self._settings = settings
        self._mint = mint
        self._locks = KeyedLocks()

    async def execute(
        self, question: OfferQuestion, caller: Caller
    ) -> SessionReading | FailedDirect:
        """Ask as ``OffersService.ask`` does, and accept the first offer whose node keeps to it.

        A node that may or may not have accepted ends the search: accepting another could run the
        work twice. Its session is given as it is, and says that the acceptance is pending.
        """
        offerset = await self._offers.ask(question, caller)
        async with self._locks.of(offerset.row.uuid):
            before = await self._idempotency.settled(offerset.row.uuid)
            if before is not None:
                reading = await self._sessions.read(before, caller)
                if reading.row.asked is not None or reading.row.phase not in _NOT_ACCEPTED:
                    return reading
                # It was chosen and never accepted: cut short, or its node withdrew it.
            return await self._accept_best(offerset, question, caller)

    async def _accept_best(
        self, offerset: OfferSetReading, question: OfferQuestion, caller: Caller
    ) -> SessionReading | FailedDirect:
        attempts: list[Document] = []
        deadline = self._clock.monotonic() + self._settings.update_deadline_s
        for offered in offerset.sessions:
            uuid, node = offered.row.uuid, offered.row.node
            if offered.row.phase is not SessionPhase.OFFERED:
                continue
            if self._clock.monotonic() >= deadline:
                break
            if question.key is not None:
                await self._idempotency.settle(offerset.row.uuid, uuid)
            try:
                row = await self._acceptance.update(
                    uuid, SessionPhase.ACCEPTED, caller, deadline=deadline
                )
            except AcceptPendingError as pending:
                attempts.append(self._attempt(node, pending.detail))
                if pending.may_have_acted:
                    reading = await self._sessions.read(uuid, caller)
                    return _with_attempts(reading, attempts)
                await self._acceptance.update(uuid, SessionPhase.CANCELLED, caller)
                continue
            except UpdateRefusedError as refusal:
                attempts.append(self._attempt(node, refusal.detail))
                continue
            return _with_attempts(await self._sessions.reading_of(row, caller), attempts)
        await self._acceptance.let_rest_go(offerset.row.uuid)
        return self._failed(offerset, attempts)

    def _failed(self, offerset: OfferSetReading, attempts: list[Document]) -> FailedDirect:
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

    def _attempt(self, node: str, why: str) -> Document:
        return message(
            "urn:accept-attempt",
            MessageLevel.WARN,
            "Tried node ${node}: ${why}",
            {"node": node, "why": why},
            self._clock.now(),
        )


def _with_attempts(reading: SessionReading, attempts: list[Document]) -> SessionReading:
    return replace(reading, messages=(*reading.messages, *attempts))
