"""Updates: what a client asks of a session, and which service does it."""

from datetime import timedelta
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.falling_through import FallThrough
from gateway.domain.resubmission import BEFORE_RUNNING
from gateway.services.acceptance import AcceptanceService
from gateway.services.caller import Caller
from gateway.services.falling_through import Accepted, FallThroughService
from gateway.services.letting_go import LettingGoService
from gateway.services.sessions import SessionReading, SessionService
from gateway.services.transitions import Stores
from gateway.services.verdicts import refusal
from gateway.settings import SessionSettings
from gateway.stores.database import Database, Transaction
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import SessionPhase


class UpdateService:
    """Brings sessions to the phases that their owners ask for."""

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        acceptance: AcceptanceService,
        falling_through: FallThroughService,
        letting_go: LettingGoService,
        sessions: SessionService,
        clock: Clock,
        settings: SessionSettings,
    ) -> None:
        self._database = database
        self._stores = stores
        self._acceptance = acceptance
        self._falling_through = falling_through
        self._letting_go = letting_go
        self._sessions = sessions
        self._clock = clock
        self._settings = settings

    async def update(
        self,
        uuid: UUID,
        phase: SessionPhase,
        caller: Caller,
        *,
        resubmits: bool = False,
        seen: SessionRow | None = None,
    ) -> SessionReading:
        """Bring a session to ``phase`` for its owner; asking twice is the same as asking once.

        ``resubmits``: what is accepted is asked for elsewhere when its node is lost before it runs.
        ``seen`` is the session as its owner has seen it, where nothing else may be changed.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        PreconditionFailedError
            It is not as it was ``seen``.
        UpdateRefusedError
            It cannot be done now; subclasses say what the node answered, or that it did not.
        """
        deadline = self._clock.monotonic() + self._settings.update_deadline_s
        if phase is SessionPhase.ACCEPTED:
            step = self.wish if resubmits else None
            row = await self._acceptance.accept(
                uuid, caller, deadline=deadline, step=step, seen=seen
            )
        elif phase in {SessionPhase.REJECTED, SessionPhase.CANCELLED}:
            row = await self._letting_go.let_go(uuid, phase, caller, deadline=deadline, seen=seen)
        else:
            async with self._database.reading() as reader:
                row = await self._stores.owned(reader, uuid, caller)
            raise refusal(row, phase)
        return await self._sessions.reading_of(row, caller)

    async def accept_within(
        self,
        uuid: UUID,
        wish: FallThrough,
        caller: Caller,
        *,
        resubmits: bool = False,
        seen: SessionRow | None = None,
    ) -> SessionReading:
        """Accept an offer, or the next best of its set that the client's limits allow.

        The reading is that of the session accepted in the end, and says what was tried before.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        PreconditionFailedError
            The offer asked for is not as it was ``seen``.
        UpdateRefusedError
            None of them was accepted, or one may have been; ``attempts`` says what was tried.
        """
        deadline = self._clock.monotonic() + self._settings.update_deadline_s
        result = await self._falling_through.accept_within(
            uuid, wish, caller, deadline=deadline, step=self.wish if resubmits else None, seen=seen
        )
        if isinstance(result, Accepted) and result.pending is None:
            reading = await self._sessions.reading_of(result.row, caller)
            return reading.with_messages(result.attempts)
        if isinstance(result, Accepted):
            assert result.pending is not None
            raise result.pending.about(result.row.uuid, result.attempts)
        assert result.first is not None, "the offer asked for is always tried"
        raise result.first.about(uuid, result.attempts)

    async def wish(self, tx: Transaction, row: SessionRow) -> None:
        """Keep with the intent to accept that the owner wants it elsewhere if the node is lost."""
        if row.phase in BEFORE_RUNNING and self._settings.resubmit_limit > 0:
            now = self._clock.now()
            due = now + timedelta(seconds=self._settings.follow_s)
            await self._stores.resubmissions.wish(tx, row.uuid, generation=0, due=due, now=now)
