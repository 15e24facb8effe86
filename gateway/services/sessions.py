"""Reading sessions: from the node when it answers, else from the last copy, with its age."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

from gateway.clients.broker import CallContext
from gateway.clients.exchange import NodeError, NodeSessionUnknownError
from gateway.clock import Clock
from gateway.domain.overlay import show
from gateway.domain.reasons import Reason
from gateway.domain.resubmission import (
    BEFORE_RUNNING,
    SessionLink,
    Stage,
    moved_from,
    moved_to,
    outlook,
)
from gateway.domain.showing import foreign_kinds, phase_said
from gateway.errors import StoreUnavailableError, UnknownComponentError, UnknownSessionError
from gateway.services.caller import GATEWAY, Caller
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.last_known import LastKnown
from gateway.services.node_calls import NodeCalls
from gateway.services.transitions import Stores, Transitions, is_over
from gateway.settings import SessionSettings
from gateway.stores.commands import Command
from gateway.stores.database import Database, Transaction
from gateway.stores.resubmissions import Resubmission
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase, is_terminal
from gateway.wire.times import format_instant


@dataclass(frozen=True, slots=True)
class SessionReading:
    """A session with what has to be said about this copy of it; ``is_owner`` may change it.

    ``links`` are messages too, which name other sessions.
    """

    row: SessionRow
    is_owner: bool
    messages: tuple[Document, ...] = ()
    links: tuple[SessionLink, ...] = ()

    def with_messages(self, messages: Iterable[Document]) -> Self:
        """The same reading, with more to be said."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True, slots=True)
class Look:
    """A session after its node was asked, and why there is no answer, if there is none."""

    row: SessionRow
    silent: NodeError | str | None


class SessionService:
    """Sessions as their clients read them."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        transitions: Transitions,
        nodes: NodeCalls,
        clock: Clock,
        settings: SessionSettings,
    ) -> None:
        self._database = database
        self._stores = stores
        self._transitions = transitions
        self._nodes = nodes
        self._clock = clock
        self._settings = settings
        self._locks = KeyedLocks()
        self._last_known = LastKnown()

    async def read(self, uuid: UUID, caller: Caller) -> SessionReading:
        """The session as it is now, as far as that can be known in time.

        Raises
        ------
        UnknownSessionError
            There is none, or the caller may not read it.
        StoreUnavailableError
            The database is away, and the session was not read here lately.
        """
        try:
            row = await self._readable(uuid, caller)
            # A database whose disk is full can be read and takes nothing in.
            self._last_known.note(row, self._clock.now())
            row, why = await self._refreshed(row, caller)
            return await self._reading(row, caller, why)
        except StoreUnavailableError:
            memory = self._last_known.find(uuid)
            if memory is None or not caller.can_read(memory.row.owner):
                raise
            remark = memory.remark(self._clock.now())
            return SessionReading(memory.row, caller.owns(memory.row.owner), (remark,))

    async def read_component(self, uuid: UUID, caller: Caller) -> SessionReading:
        """The session that a component belongs to.

        Raises
        ------
        UnknownComponentError
            There is none, or the caller may not read it.
        """
        async with self._database.reading() as reader:
            row = await self._stores.sessions.find_by_component(reader, uuid)
        if row is None or not caller.can_read(row.owner):
            raise UnknownComponentError(uuid)
        row, why = await self._refreshed(row, caller)
        return await self._reading(row, caller, why)

    async def read_saved(self, uuid: UUID, caller: Caller) -> SessionReading:
        """The session as it was last seen; the node is not asked.

        Raises
        ------
        UnknownSessionError
            There is none, or the caller may not read it.
        """
        return await self._reading(await self._readable(uuid, caller), caller, None)

    async def reading_of(self, row: SessionRow, caller: Caller) -> SessionReading:
        """A row that is at hand, as the caller reads it; the node is not asked."""
        return await self._reading(row, caller, None)

    async def refresh(self, uuid: UUID) -> Look | None:
        """Look at a session for nobody in particular; None if there is none."""
        try:
            row = await self._readable(uuid, GATEWAY)
        except UnknownSessionError:
            return None
        row, why = await self._refreshed(row, GATEWAY)
        return Look(row, why)

    async def _refreshed(
        self, row: SessionRow, caller: Caller
    ) -> tuple[SessionRow, NodeError | str | None]:
        """The row after asking its node, and why that could not be done, if it could not."""
        async with self._locks.of(row.uuid):
            # Whoever waited here finds the copy that the one before has just fetched.
            row = await self._readable(row.uuid, GATEWAY)
            if not _is_worth_asking(row):
                return row, None
            now = self._clock.now()
            if is_over(row, now):
                async with self._database.transaction() as tx:
                    current = await self._stores.sessions.find(tx, row.uuid)
                    if current is not None and is_over(current, now):
                        current = await self._transitions.expire(tx, current)
                return current or row, None
            if 0 <= (now - row.observed).total_seconds() < self._settings.fresh_s:
                return row, None
            return await self._from_node(row, caller)

    async def _from_node(
        self, row: SessionRow, caller: Caller
    ) -> tuple[SessionRow, NodeError | str | None]:
        client = self._nodes.client(row.node)
        if client is None:
            return row, "it is not registered here any more"
        sent = self._clock.now()
        deadline = self._clock.monotonic() + self._settings.read_deadline_s
        call = CallContext(
            request_id=caller.request_id,
            authorization=caller.authorization or self._nodes.remembered_authorization(row.owner),
            known_kinds=foreign_kinds(row.document),
        )
        try:
            async with self._nodes.talking_to(row.node, deadline):
                reply = await client.read_session(row.uuid, call, deadline=deadline)
        except NodeSessionUnknownError:
            return await self._unknown(row.uuid)
        except NodeError as error:
            return row, None if is_terminal(row.phase) else error
        async with self._database.transaction() as tx:
            current = await self._stores.session(tx, row.uuid)
            return await self._transitions.absorb(tx, current, reply, sent), None

    async def _unknown(self, uuid: UUID) -> tuple[SessionRow, str | None]:
        """FAILED, unless it is to be executed elsewhere once its node has been lost for long."""
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, uuid)
            if is_terminal(row.phase):
                return row, None
            if row.phase in BEFORE_RUNNING:
                wish = await self._stores.resubmissions.find(tx, uuid)
                if wish is not None and wish.decides:
                    return row, "it does not know the session"
            return await self._transitions.lose(tx, row), None

    async def _reading(
        self, row: SessionRow, caller: Caller, why: NodeError | str | None
    ) -> SessionReading:
        self._last_known.note(row, self._clock.now())
        notes: list[Document] = []
        if why is not None:
            notes.append(self._stale(row, str(why)))
        elif (remark := self._remark(row)) is not None:
            notes.append(remark.to_message(self._clock.now(), node=row.node))
        links: tuple[SessionLink, ...] = ()
        if row.asked is not None:
            async with self._database.reading() as reader:
                command = await self._stores.commands.find(reader, row.uuid)
                moves = await self._stores.resubmissions.around(reader, row.uuid)
                links = await self._links(reader, row, moves)
                waits = why is not None and await self._waits(reader, row)
            if command is not None and command.phase in {row.asked, SessionPhase.CANCELLED}:
                notes.append(self._pending(row, command))
            if waits and (note := self._outlook(row, moves)) is not None:
                notes.append(note)
        return SessionReading(row, caller.owns(row.owner), tuple(notes), links)

    async def _links(
        self, reader: Transaction, row: SessionRow, moves: Sequence[Resubmission]
    ) -> tuple[SessionLink, ...]:
        """Where the work of this session went, and where it came from."""
        links = []
        for move in moves:
            if move.stage is not Stage.MOVED or move.successor is None:
                continue
            if move.session == row.uuid:
                links.append(moved_to(move.successor, row.node, move.changed))
                continue
            before = await self._stores.sessions.find(reader, move.session)
            if before is not None:
                links.append(moved_from(before.uuid, before.node, move.changed))
        return tuple(links)

    async def _waits(self, reader: Transaction, row: SessionRow) -> bool:
        """Whether a session has not run as of now.

        The row was read before its node was asked. Others may have heard of it meanwhile, and
        ended what was wished for it.
        """
        standing = await self._stores.resubmissions.standing(reader, row.uuid)
        return standing is not None and standing.phase in BEFORE_RUNNING

    def _outlook(self, row: SessionRow, moves: Sequence[Resubmission]) -> Document | None:
        """What becomes of a session that has not run and whose node is silent."""
        move = next((move for move in moves if move.session == row.uuid), None)
        return outlook(
            move.stage if move else None,
            node=row.node,
            since=move.silence.since if move and move.silence else None,
            grace_s=self._settings.resubmit_after_s,
            last_error=move.last_error if move else None,
            now=self._clock.now(),
        )

    def _remark(self, row: SessionRow) -> Reason | None:
        """What a client should know where the node shows something else than is shown here."""
        said = phase_said(row.document)
        if said is None or row.phase is SessionPhase.OFFERED:
            return None  # what is pending is said elsewhere
        return show(row.phase, row.asked, said, row.expires, self._clock.now()).reason

    def _stale(self, row: SessionRow, why: str) -> Document:
        now = self._clock.now()
        return message(
            "urn:last-known",
            MessageLevel.WARN,
            "Node ${node} does not answer (${why}); it said this ${age_s} s ago, at ${seen}",
            {
                "node": row.node,
                "why": why,
                "age_s": str(round((now - row.observed).total_seconds())),
                "seen": format_instant(row.observed.replace(microsecond=0)),
            },
            now,
        )

    def _pending(self, row: SessionRow, command: Command) -> Document:
        values = {
            "phase": command.phase.value,
            "node": row.node,
            "since": format_instant(command.created.replace(microsecond=0)),
            "attempts": str(max(command.attempts, 1)),
        }
        template = (
            "${phase} is pending at node ${node}, which has been told ${attempts} times "
            "since ${since}"
        )
        if command.last_error is not None:
            values["why"] = command.last_error
            template += "; the last time: ${why}"
        return message(
            "urn:command-pending", MessageLevel.WARN, template, values, self._clock.now()
        )

    async def _readable(self, uuid: UUID, caller: Caller) -> SessionRow:
        async with self._database.reading() as reader:
            row = await self._stores.session(reader, uuid)
        if not caller.can_read(row.owner):
            raise UnknownSessionError(uuid)
        return row


def _is_worth_asking(row: SessionRow) -> bool:
    """Whether the node may have news: also of a session that was cancelled and may still run."""
    if not is_terminal(row.phase):
        return True
    said = phase_said(row.document)
    return row.asked is SessionPhase.CANCELLED and said is not None and not is_terminal(said)
