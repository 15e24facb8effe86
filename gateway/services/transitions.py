"""Every move of a session, in the caller's transaction, with its event and its commands."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from gateway.clients.broker import SessionReply
from gateway.clock import Clock
from gateway.domain.overlay import show
from gateway.domain.restoring import restored
from gateway.domain.showing import with_message
from gateway.errors import UnknownSessionError
from gateway.services.staging_feedback import StagingFeedback
from gateway.settings import CommandSettings
from gateway.stores.commands import CommandStore, Wish
from gateway.stores.database import Transaction
from gateway.stores.events import Event, EventStore
from gateway.stores.sessions import SessionRow, SessionStore
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


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores that one move of a session touches."""

    sessions: SessionStore
    commands: CommandStore
    events: EventStore

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


class Transitions:
    """Moves sessions. Nothing here speaks to a node: that follows, once the move is saved.

    ``wake`` is set whenever a command was written, for whoever delivers them; ``feedback`` is told
    of what nodes say they have staged.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        settings: CommandSettings,
        wake: asyncio.Event,
        feedback: StagingFeedback,
    ) -> None:
        self._stores = stores
        self._feedback = feedback
        self._clock = clock
        self._settings = settings
        self.wake = wake

    async def command(
        self, tx: Transaction, row: SessionRow, phase: SessionPhase, *, delay_s: float = 0.0
    ) -> None:
        """Want ``phase`` at the node, first tried after ``delay_s``."""
        await self._stores.commands.put(tx, [self._wish(row, phase, delay_s)])
        self.wake.set()

    async def reject_holds(self, tx: Transaction, rows: Sequence[SessionRow]) -> None:
        """Have nodes let go of holds that are kept only to be let go of."""
        await self._stores.commands.put(
            tx, [self._wish(row, SessionPhase.REJECTED, 0.0) for row in rows]
        )
        self.wake.set()

    def _wish(self, row: SessionRow, phase: SessionPhase, delay_s: float) -> Wish:
        now = self._clock.now()
        give_up = now + timedelta(seconds=self._settings.give_up_s)
        is_only_on_offer = phase is SessionPhase.REJECTED and row.asked is not SessionPhase.ACCEPTED
        if is_only_on_offer and row.expires is not None:
            # It ends by itself: nobody needs telling after that. What may have been accepted does
            # not, and only its node can say whether it was.
            give_up = max(now, row.expires) + timedelta(seconds=NODE_GRACE_S)
        return Wish(
            session=row.uuid,
            node=row.node,
            phase=phase,
            created=now,
            due=now + timedelta(seconds=delay_s),
            give_up=give_up,
        )

    async def begin_accept(
        self, tx: Transaction, row: SessionRow, *, who: str, delay_s: float
    ) -> SessionRow:
        """Save the intent to accept, and the command that carries it through whatever happens."""
        await self._stores.sessions.ask(tx, row.uuid, SessionPhase.ACCEPTED)
        await self.command(tx, row, SessionPhase.ACCEPTED, delay_s=delay_s)
        await self._note(tx, row, "accept_asked", who)
        return replace(row, asked=SessionPhase.ACCEPTED)

    async def end_accept(self, tx: Transaction, row: SessionRow, *, why: str) -> SessionRow:
        """The node did not accept: the intent is over and another offer may be accepted."""
        await self._stores.sessions.ask(tx, row.uuid, None)
        await self._stores.commands.drop(tx, row.uuid)
        await self._note(tx, row, "accept_refused", f"node:{row.node}", why)
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

    async def fail(
        self, tx: Transaction, row: SessionRow, *, kind: str, template: str
    ) -> SessionRow:
        """FAILED for a reason that only this gateway knows; the reason stays on the session."""
        now = self._clock.now()
        reason = message(kind, MessageLevel.ERROR, template, {"node": row.node}, now)
        document = to_json(with_message(from_json(row.document or b"{}"), reason))
        await self._stores.sessions.observe(tx, row.uuid, document=document, observed=now)
        await self._stores.sessions.ask(tx, row.uuid, None)
        await self._stores.commands.drop(tx, row.uuid)
        row = await self._move(tx, row, SessionPhase.FAILED, f"node:{row.node}", kind)
        return replace(row, document=document, observed=now, asked=None)

    async def absorb(
        self, tx: Transaction, row: SessionRow, reply: SessionReply, seen: datetime
    ) -> SessionRow:
        """Take in what the node says of a session, as far as it may change what is shown.

        Once the node shows an acceptance, every other offer of the set is let go; once it shows the
        phase that was asked for, the command has done its work.
        """
        now = self._clock.now()
        phase = show(row.phase, row.asked, reply.view.phase, row.expires, now).phase
        if phase is reply.view.phase and phase is not row.phase:
            # Phases never go back, so this is news, whatever the clock says: a question that was
            # asked later may have been answered earlier, and clocks are set back.
            seen = max(seen, row.observed)
        if row.observed <= seen or row.observed > now:
            self._feedback.note(row, reply.view)
            document = restored(reply.raw, row.restoring)
            await self._stores.sessions.observe(tx, row.uuid, document=document, observed=seen)
            row = replace(row, document=document, observed=seen)
        if phase is row.phase:
            return row
        was_offered = row.phase is SessionPhase.OFFERED
        row = await self._move(tx, row, phase, f"node:{row.node}")
        if was_offered and is_taken(phase, row.asked):
            # Accepted at the node itself, past this gateway: it counts as this set's one accept,
            # unless that was given already, which is a disagreement the event shows.
            if (
                row.asked is not SessionPhase.ACCEPTED
                and await self._stores.sessions.accepted_sibling(tx, row) is None
            ):
                await self._stores.sessions.ask(tx, row.uuid, SessionPhase.ACCEPTED)
            await self._stores.commands.drop(tx, row.uuid)
            await self._let_siblings_go(tx, row)
        elif is_terminal(phase):
            await self._stores.commands.drop(tx, row.uuid)
            if row.asked is SessionPhase.ACCEPTED and was_offered:
                # It will never run: another of the set may be accepted.
                await self._stores.sessions.ask(tx, row.uuid, None)
                row = replace(row, asked=None)
        return row

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
        await self._note(tx, row, f"phase_{phase.value.lower()}", who, why)
        return replace(row, phase=phase, changed=now)

    async def _note(
        self, tx: Transaction, row: SessionRow, what: str, who: str, detail: str = ""
    ) -> None:
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
