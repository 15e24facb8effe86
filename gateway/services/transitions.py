"""Every move of a session, in the caller's transaction, with its event and its commands."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from gateway.clients.broker import SessionReply
from gateway.clock import Clock
from gateway.domain.overlay import show
from gateway.domain.reasons import Reason, ReasonCode
from gateway.domain.restoring import restored
from gateway.domain.showing import phase_said, with_message
from gateway.errors import NotOwnerError, PreconditionFailedError, UnknownSessionError
from gateway.services.caller import Caller
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.staging_feedback import StagingFeedback
from gateway.settings import CommandSettings
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Transaction
from gateway.stores.events import Event, EventStore
from gateway.stores.resubmissions import Resubmission, ResubmissionStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.stores.unkept import Unkept, UnkeptStore
from gateway.wire.documents import from_json, to_json
from gateway.wire.messages import message
from gateway.wire.phases import (
    EXECUTION_PHASES,
    MessageLevel,
    SessionPhase,
    is_terminal,
)

NODE_GRACE_S = 60.0
"""How long after an offer's expiry its node is still told: clocks differ, commands are late."""

_WORKS: Final = frozenset(EXECUTION_PHASES) - {SessionPhase.RELEASING}
_DISAGREEMENTS: Final = {
    ReasonCode.NODE_STILL_ACTIVE: "still_active",
    ReasonCode.NODE_WENT_BACK: "went_back",
    ReasonCode.NODE_ENDED_DIFFERENTLY: "ended_differently",
}


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores that one move of a session touches."""

    sessions: SessionStore
    commands: CommandStore
    events: EventStore
    resubmissions: ResubmissionStore
    unkept: UnkeptStore

    async def session(self, tx: Transaction, uuid: UUID) -> SessionRow:
        """The session of that UUID.

        Raises
        ------
        UnknownSessionError
            There is none that is shown.
        """
        row = await self.sessions.find(tx, uuid)
        if row is None:
            raise UnknownSessionError(uuid)
        return row

    async def owned(
        self, tx: Transaction, uuid: UUID, caller: Caller, seen: SessionRow | None = None
    ) -> SessionRow:
        """The session of that UUID, for one who may change it, if it still is as it was ``seen``.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            There is none, or it is not the caller's to change.
        PreconditionFailedError
            It has changed since.
        """
        row = await self.session(tx, uuid)
        if not caller.owns(row.owner):
            if not caller.can_read(row.owner):
                raise UnknownSessionError(uuid)
            raise NotOwnerError(uuid)
        if seen is not None and not _is_same(row, seen):
            raise PreconditionFailedError
        return row

    async def alternatives(self, tx: Transaction, row: SessionRow, now: datetime) -> list[UUID]:
        """The other offers of its set that can still be accepted, best first."""
        return [
            other.uuid
            for other in await self.sessions.of_offerset(tx, row.offerset)
            if other.uuid != row.uuid
            and other.phase is SessionPhase.OFFERED
            and (other.expires is None or other.expires > now)
        ]


class Transitions:
    """Moves sessions. Nothing here speaks to a node: that follows, once the move is saved.

    ``wake`` is set whenever a command was written, ``wake_unkept`` when there are holds to let go
    of, for whoever delivers them; ``feedback`` is told of what nodes say they have staged.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        settings: CommandSettings,
        wake: asyncio.Event,
        wake_unkept: asyncio.Event,
        feedback: StagingFeedback,
        metrics: GatewayMetrics,
    ) -> None:
        self._stores = stores
        self._feedback = feedback
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self.wake = wake
        self._wake_unkept = wake_unkept

    async def command(
        self, tx: Transaction, row: SessionRow, phase: SessionPhase, *, delay_s: float = 0.0
    ) -> None:
        """Want ``phase`` at the node, first tried after ``delay_s``."""
        await self._stores.commands.put(tx, [self._wish(row, phase, self._clock.now(), delay_s)])
        self.wake.set()

    async def let_unkept_go(self, tx: Transaction, holds: Sequence[Unkept]) -> None:
        """Have nodes told of holds that nobody was shown."""
        await self._stores.unkept.put(tx, holds, self._clock.now())
        self._wake_unkept.set()

    def give_up_offer(self, expires: datetime | None, now: datetime) -> datetime:
        """Until when the node of an offer is told to let go of it.

        It ends by itself: nobody needs telling after that.
        """
        if expires is None:
            return now + timedelta(seconds=self._settings.give_up_s)
        return max(now, expires) + timedelta(seconds=NODE_GRACE_S)

    def _wish(
        self, row: SessionRow, phase: SessionPhase, now: datetime, delay_s: float = 0.0
    ) -> Wish:
        if phase is SessionPhase.ACCEPTED:
            give_up = now + timedelta(seconds=self._settings.give_up_s)
        elif phase is SessionPhase.CANCELLED or row.asked is SessionPhase.ACCEPTED:
            # It runs or may run: only its node can end it, however late that is there again.
            give_up = now + timedelta(days=self._settings.cancel_days)
        else:
            give_up = self.give_up_offer(row.expires, now)
        return Wish(
            session=row.uuid,
            node=row.node,
            phase=phase,
            created=now,
            due=now + timedelta(seconds=delay_s) if delay_s else now,
            give_up=give_up,
        )

    async def begin_accept(
        self, tx: Transaction, row: SessionRow, *, who: str, delay_s: float
    ) -> SessionRow:
        """Save the intent to accept, and the command that carries it through whatever happens."""
        await self._stores.sessions.ask(tx, row.uuid, SessionPhase.ACCEPTED)
        await self.command(tx, row, SessionPhase.ACCEPTED, delay_s=delay_s)
        await self.note(tx, row, "accept_asked", who)
        return replace(row, asked=SessionPhase.ACCEPTED)

    async def end_accept(self, tx: Transaction, row: SessionRow, *, why: str) -> SessionRow:
        """The node did not accept: the intent is over and another offer may be accepted."""
        await self._stores.sessions.ask(tx, row.uuid, None)
        await self._stores.commands.drop(tx, row.uuid)
        await self.note(tx, row, "accept_refused", f"node:{row.node}", why)
        return replace(row, asked=None)

    async def let_go(
        self, tx: Transaction, row: SessionRow, phase: SessionPhase, *, who: str, delay_s: float = 0
    ) -> SessionRow:
        """REJECTED or CANCELLED here at once, and by command at the node."""
        await self._stores.sessions.ask(tx, row.uuid, phase)
        await self.command(tx, row, phase, delay_s=delay_s)
        row = await self._move(tx, row, phase, who)
        return replace(row, asked=phase)

    async def expire(self, tx: Transaction, row: SessionRow) -> SessionRow:
        """The offer's time is over; its node lets it go by itself."""
        return await self._move(tx, row, SessionPhase.EXPIRED, "gateway")

    async def lose(self, tx: Transaction, row: SessionRow) -> SessionRow:
        """FAILED, as its node does not know it any more; the reason stays on the session."""
        now = self._clock.now()
        kind = "urn:session-lost"
        template = "Node ${node} does not know this session any more"
        reason = message(kind, MessageLevel.ERROR, template, {"node": row.node}, now)
        document = to_json(with_message(from_json(row.document or b"{}"), reason))
        await self._stores.sessions.observe(tx, row.uuid, document=document, observed=now)
        await self._stores.sessions.ask(tx, row.uuid, None)
        await self._stores.commands.drop(tx, row.uuid)
        row = await self._move(tx, row, SessionPhase.FAILED, f"node:{row.node}", kind)
        self._metrics.disagreed("session_unknown")
        return replace(row, document=document, observed=now, asked=None)

    async def absorb(
        self, tx: Transaction, row: SessionRow, reply: SessionReply, seen: datetime
    ) -> SessionRow:
        """Take in what the node says of a session, as far as it may change what is shown.

        Once the node shows an acceptance, every other offer of the set is let go; once it shows the
        phase that was asked for, the command has done its work. What works there for nobody is
        ended.
        """
        now = self._clock.now()
        shown = show(row.phase, row.asked, reply.view.phase, row.expires, now)
        phase = shown.phase
        if phase is reply.view.phase and phase is not row.phase:
            # Phases never go back, so this is news, whatever the clock says: a question that was
            # asked later may have been answered earlier, and clocks are set back.
            seen = max(seen, row.observed)
        before = row
        is_news = row.observed <= seen or row.observed > now
        if is_news:
            self._feedback.note(row, reply.view)
            document = restored(reply.raw, row.restoring)
            await self._stores.sessions.observe(tx, row.uuid, document=document, observed=seen)
            row = replace(row, document=document, observed=seen)
        if phase is row.phase:
            if is_news:
                await self._note_disagreement(tx, before, reply.view.phase, shown.reason)
            await self._end_what_works(tx, row, reply.view.phase)
            return row
        was_offered = row.phase is SessionPhase.OFFERED
        row = await self._move(tx, row, phase, f"node:{row.node}")
        if was_offered and is_taken(phase, row.asked):
            return await self._take(tx, row)
        if is_terminal(phase):
            await self._stores.commands.drop(tx, row.uuid)
            if row.asked is SessionPhase.ACCEPTED and was_offered:
                # It will never run: another of the set may be accepted.
                await self._stores.sessions.ask(tx, row.uuid, None)
                row = replace(row, asked=None)
        return row

    async def _take(self, tx: Transaction, row: SessionRow) -> SessionRow:
        """The node has accepted: this is the set's one session, or there is one too many."""
        await self._stores.commands.drop(tx, row.uuid)
        if row.asked is not SessionPhase.ACCEPTED:
            # Accepted past this gateway, or by a call that was given up: it counts as this set's
            # one accept, unless that was given already.
            if await self._stores.sessions.accepted_sibling(tx, row) is not None:
                self._metrics.disagreed("accepted_twice")
                return await self._end_surplus(tx, row)
            self._metrics.disagreed("accepted_unasked")
            await self._stores.sessions.ask(tx, row.uuid, SessionPhase.ACCEPTED)
            row = replace(row, asked=SessionPhase.ACCEPTED)
        replaced = await self._stores.resubmissions.of_successor(tx, row.uuid)
        if replaced is not None and not await self._arrives(tx, row, replaced):
            return await self._end_surplus(tx, row)
        await self._let_siblings_go(tx, row)
        return row

    async def _arrives(self, tx: Transaction, row: SessionRow, replaced: Resubmission) -> bool:
        """Whether the session is to take the place of the one it was asked for.

        Not where that was called off, and not where the lost node has shown it alive again before.
        """
        resubmissions, now = self._stores.resubmissions, self._clock.now()
        standing = await resubmissions.standing(tx, replaced.session)
        if not replaced.may_be_replaced(standing):
            await resubmissions.call_off(tx, replaced.session, now)
            return False
        if not await resubmissions.arrive(tx, row.uuid, now):
            return False
        await self.note(tx, row, "resubmitted", "gateway", f"in place of {replaced.session}")
        self._metrics.resubmitted("moved")
        return True

    async def _end_surplus(self, tx: Transaction, row: SessionRow) -> SessionRow:
        if is_terminal(row.phase):
            return row
        return await self.let_go(tx, row, SessionPhase.CANCELLED, who="gateway")

    async def _note_disagreement(
        self, tx: Transaction, row: SessionRow, said: SessionPhase, why: Reason | None
    ) -> None:
        """Count what the node shows otherwise, once.

        What it is still to be told, as a cancel on its way, is nothing to wonder at, nor is
        the way to an end.
        """
        kind = _DISAGREEMENTS.get(why.code) if why else None
        if kind is None or said is SessionPhase.RELEASING or phase_said(row.document) is said:
            return
        if await self._stores.commands.find(tx, row.uuid) is None:
            self._metrics.disagreed(kind)
            await self.note(tx, row, f"node_{kind}", f"node:{row.node}", said.value)

    async def _end_what_works(self, tx: Transaction, row: SessionRow, said: SessionPhase) -> None:
        """Have the node end what works there although it is over here, and so works for nobody."""
        is_ended = is_terminal(row.phase) and row.phase is not SessionPhase.COMPLETED
        if said not in _WORKS or not is_ended:
            return
        if await self._stores.commands.find(tx, row.uuid) is None:
            await self.command(tx, row, SessionPhase.CANCELLED)

    async def _let_siblings_go(self, tx: Transaction, row: SessionRow) -> None:
        for sibling in await self._stores.sessions.of_offerset(tx, row.offerset):
            if sibling.uuid != row.uuid and sibling.phase is SessionPhase.OFFERED:
                await self.let_go(tx, sibling, SessionPhase.REJECTED, who="gateway")

    async def _move(
        self, tx: Transaction, row: SessionRow, phase: SessionPhase, who: str, why: str = ""
    ) -> SessionRow:
        now = self._clock.now()
        moved = await self._stores.sessions.move(tx, row.uuid, was=row.phase, phase=phase, at=now)
        if not moved:
            message = f"session {row.uuid} is not {row.phase} within its own transaction"
            raise RuntimeError(message)
        await self.note(tx, row, f"phase_{phase.value.lower()}", who, why)
        return replace(row, phase=phase, changed=now)

    async def note(
        self, tx: Transaction, row: SessionRow, what: str, who: str, detail: str = ""
    ) -> None:
        """Keep in the audit trail what happened to a session."""
        await self._stores.events.add(
            tx,
            Event(
                at=self._clock.now(),
                what=what,
                who=who,
                session=row.uuid,
                offerset=row.offerset,
                detail=detail,
            ),
        )


def _is_same(row: SessionRow, seen: SessionRow) -> bool:
    """Whether nothing has changed but when the node was looked at last."""
    return replace(row, observed=seen.observed) == seen


def is_taken(phase: SessionPhase, asked: SessionPhase | None) -> bool:
    """Whether a session that was on offer has been accepted, as its node's phase shows."""
    if phase is SessionPhase.FAILED:
        return asked is SessionPhase.ACCEPTED
    return phase in EXECUTION_PHASES or phase is SessionPhase.COMPLETED


def is_over(row: SessionRow, now: datetime) -> bool:
    """Whether an offer's time is over; one that is being accepted is its node's to decide."""
    return (
        row.phase is SessionPhase.OFFERED
        and row.asked is None
        and row.expires is not None
        and row.expires <= now
    )
