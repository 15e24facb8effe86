"""Accepting, rejecting and cancelling: the wish is saved, the node is told, its phase decides."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext, SessionReply
from gateway.clients.exchange import (
    NodeError,
    NodeSessionUnknownError,
    NodeStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
    Stage,
)
from gateway.clock import Clock
from gateway.domain.showing import foreign_kinds
from gateway.errors import (
    AcceptPendingError,
    NodeRefusedAcceptError,
    NotOwnerError,
    UnknownSessionError,
    UpdateRefusedError,
)
from gateway.services.caller import Caller
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.node_calls import NodeCalls
from gateway.services.transitions import Stores, Transitions, is_taken
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.commands import Command
from gateway.stores.database import Database, RowConflictError, Transaction
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import SessionPhase, can_client_move, is_terminal


@dataclass(frozen=True, slots=True)
class Delivered:
    """The node has what it was told, or nothing more can be done about it; ``how`` says which."""

    how: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The node could not be told now; it is worth trying again."""

    why: str


class AcceptanceService:
    """Carries an owner's wish to the node that holds the session.

    ``update`` is what a client calls; ``deliver`` is what the outbox calls for wishes that could
    not be carried out at once, and comes to the same end.
    """

    def __init__(
        self,
        database: Database,
        stores: Stores,
        transitions: Transitions,
        nodes: NodeCalls,
        clock: Clock,
        settings: SessionSettings,
        command_settings: CommandSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._stores = stores
        self._transitions = transitions
        self._nodes = nodes
        self._clock = clock
        self._settings = settings
        self._commands = command_settings
        self._metrics = metrics

    async def update(
        self, uuid: UUID, phase: SessionPhase, caller: Caller, *, deadline: float | None = None
    ) -> SessionRow:
        """Bring a session to ``phase`` for its owner; asking twice is the same as asking once.

        ``deadline`` is in the clock's monotonic seconds.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        UpdateRefusedError
            It cannot be done now; subclasses say what the node answered, or that it did not.
        """
        if deadline is None:
            deadline = self._clock.monotonic() + self._settings.update_deadline_s
        if phase is SessionPhase.ACCEPTED:
            return await self._accept_counted(uuid, caller, deadline)
        if phase in {SessionPhase.REJECTED, SessionPhase.CANCELLED}:
            return await self._let_go(uuid, phase, caller, deadline)
        async with self._database.reading() as reader:
            row = await self._owned(reader, uuid, caller)
        raise _refusal(row, phase)

    async def deliver(self, command: Command) -> Delivered | Undelivered:
        """Carry out one saved wish."""
        async with self._database.reading() as reader:
            row = await self._stores.sessions.find(reader, command.session)
        client = self._nodes.client(command.node)
        if client is None:
            return Undelivered("node is not registered")
        deadline = self._clock.monotonic() + self._commands.deadline_s
        call = CallContext(
            idempotency_key=f"{command.session}:{command.phase.value}",
            authorization=self._nodes.remembered_authorization(row.owner if row else None),
            known_kinds=foreign_kinds(row.document if row else None),
        )
        if command.phase is not SessionPhase.ACCEPTED:
            return await self._tell(client, command.session, command.phase, call, deadline)
        if row is None or row.asked is not SessionPhase.ACCEPTED:
            return Delivered("no longer wanted")
        try:
            await self._carry_accept(row, client, call, deadline)
        except AcceptPendingError as error:
            return Undelivered(error.detail)
        except NodeRefusedAcceptError as error:
            return Delivered(error.detail)
        return Delivered("accepted")

    async def give_up(self, command: Command) -> None:
        """A wish came to nothing in the time it had."""
        if command.phase is not SessionPhase.ACCEPTED:
            return
        async with self._database.transaction() as tx:
            row = await self._stores.sessions.find(tx, command.session)
            if row and row.asked is SessionPhase.ACCEPTED and row.phase is SessionPhase.OFFERED:
                row = await self._transitions.end_accept(tx, row, why="the node was not reached")
                await self._transitions.expire(tx, row)

    # -- accept ---------------------------------------------------------------------------------

    async def _accept_counted(self, uuid: UUID, caller: Caller, deadline: float) -> SessionRow:
        try:
            row = await self._accept(uuid, caller, deadline)
        except AcceptPendingError:
            self._metrics.accepted("pending")
            raise
        except UpdateRefusedError:
            self._metrics.accepted("refused")
            raise
        self._metrics.accepted("accepted")
        return row

    async def _accept(self, uuid: UUID, caller: Caller, deadline: float) -> SessionRow:
        row = await self._intend(uuid, caller, deadline)
        if is_taken(row.phase, row.asked):
            return row
        if row.phase is not SessionPhase.OFFERED:
            raise _refusal(row, SessionPhase.ACCEPTED)
        client = self._nodes.client(row.node)
        if client is None:
            raise AcceptPendingError(row.node, row.expires, may_have_acted=False)
        call = CallContext(
            request_id=caller.request_id,
            authorization=caller.authorization,
            idempotency_key=f"{row.uuid}:{SessionPhase.ACCEPTED.value}",
            known_kinds=foreign_kinds(row.document),
        )
        try:
            return await self._carry_accept(row, client, call, deadline)
        except AcceptPendingError:
            await self._hasten(row)
            raise

    async def _intend(self, uuid: UUID, caller: Caller, deadline: float) -> SessionRow:
        """Save the intent to accept. What is no longer on offer comes back as it is."""
        try:
            async with self._database.transaction(durable=True) as tx:
                row = await self._owned(tx, uuid, caller)
                if row.phase is not SessionPhase.OFFERED or row.asked is SessionPhase.ACCEPTED:
                    return row
                if row.expires is not None and row.expires <= self._clock.now():
                    return await self._transitions.expire(tx, row)
                if sibling := await self._stores.sessions.accepted_sibling(tx, row):
                    raise _sibling_refusal(sibling)
                # The outbox is only the second line: this call carries the intent itself first.
                delay_s = deadline - self._clock.monotonic() + self._commands.first_s
                return await self._transitions.begin_accept(
                    tx, row, who=caller.who, delay_s=delay_s
                )
        except RowConflictError as error:
            raise _sibling_refusal(None) from error

    async def _carry_accept(
        self, row: SessionRow, client: BrokerClient, call: CallContext, deadline: float
    ) -> SessionRow:
        """Tell the node, and again where its answer was lost and it shows the offer still open."""
        sent = self._clock.now()
        reply = await self._tell_accept(row, client, call, deadline)
        if isinstance(reply, NodeError):
            first = reply
            sent = self._clock.now()
            reply = await self._truth(row, client, call, first)
            if reply.view.phase is SessionPhase.OFFERED:
                reply = await self._tell_accept(row, client, call, deadline)
            if isinstance(reply, NodeError):
                raise _pending(row, first, reply)
        async with self._database.transaction() as tx:
            row = await self._known(tx, row.uuid)
            row = await self._transitions.absorb(tx, row, reply, sent)
        if is_taken(row.phase, row.asked):
            self._nodes.note_accept(row.node, was_kept=True)
            return row
        if row.phase is SessionPhase.CANCELLED:
            return row
        return await self._refused(row, _phase_said(reply))

    async def _tell_accept(
        self, row: SessionRow, client: BrokerClient, call: CallContext, deadline: float
    ) -> SessionReply | NodeError:
        """The node's answer to ACCEPTED, or how it was lost, when anything may be true."""
        try:
            async with self._nodes.talking_to(row.node, deadline):
                return await client.update_phase(
                    row.uuid, SessionPhase.ACCEPTED, call, deadline=deadline
                )
        except NodeSessionUnknownError:
            await self._lost(row)
        except NodeStatusError as error:
            if _is_final(error):
                await self._refused(row, _why(error))
            return error
        except NodeError as error:
            return error

    async def _truth(
        self, row: SessionRow, client: BrokerClient, call: CallContext, lost: NodeError
    ) -> SessionReply:
        deadline = self._clock.monotonic() + self._settings.read_deadline_s
        try:
            return await client.read_session(row.uuid, call, deadline=deadline)
        except NodeSessionUnknownError:
            await self._lost(row)
            raise
        except NodeError as error:
            raise _pending(row, lost) from error

    async def _hasten(self, row: SessionRow) -> None:
        due = self._clock.now() + timedelta(seconds=self._commands.first_s)
        async with self._database.transaction() as tx:
            await self._stores.commands.hasten(tx, row.uuid, due)
        self._transitions.wake.set()

    async def _lost(self, row: SessionRow) -> NoReturn:
        async with self._database.transaction() as tx:
            row = await self._known(tx, row.uuid)
            if not is_terminal(row.phase):
                row = await self._transitions.fail(
                    tx,
                    row,
                    kind="urn:session-lost",
                    template="Node ${node} does not know this session any more",
                )
            alternatives = await self._alternatives(tx, row)
        self._nodes.note_accept(row.node, was_kept=False)
        raise NodeRefusedAcceptError(row.node, "it does not know the session", alternatives)

    async def _refused(self, row: SessionRow, why: str) -> NoReturn:
        async with self._database.transaction() as tx:
            row = await self._known(tx, row.uuid)
            if row.asked is SessionPhase.ACCEPTED:
                row = await self._transitions.end_accept(tx, row, why=why)
            alternatives = await self._alternatives(tx, row)
        self._nodes.note_accept(row.node, was_kept=False)
        raise NodeRefusedAcceptError(row.node, why, alternatives)

    async def _alternatives(self, tx: Transaction, row: SessionRow) -> list[UUID]:
        now = self._clock.now()
        return [
            other.uuid
            for other in await self._stores.sessions.of_offerset(tx, row.offerset)
            if other.uuid != row.uuid
            and other.phase is SessionPhase.OFFERED
            and (other.expires is None or other.expires > now)
        ]

    # -- reject and cancel ------------------------------------------------------------------------

    async def _let_go(
        self, uuid: UUID, phase: SessionPhase, caller: Caller, deadline: float
    ) -> SessionRow:
        async with self._database.transaction(durable=True) as tx:
            row = await self._owned(tx, uuid, caller)
            if row.phase is phase:
                return row
            if not can_client_move(row.phase, phase):
                raise _refusal(row, phase)
            delay_s = self._settings.update_deadline_s + self._commands.first_s
            row = await self._transitions.let_go(tx, row, phase, who=caller.who, delay_s=delay_s)
            command = await self._stores.commands.find(tx, uuid)
        client = self._nodes.client(row.node)
        if client is not None and command is not None:
            call = CallContext(
                request_id=caller.request_id,
                authorization=caller.authorization,
                idempotency_key=f"{uuid}:{phase.value}",
                known_kinds=foreign_kinds(row.document),
            )
            result = await self._tell(client, uuid, phase, call, deadline)
            if isinstance(result, Delivered):
                async with self._database.transaction() as tx:
                    await self._stores.commands.done(tx, command)
        return row

    async def _tell(
        self,
        client: BrokerClient,
        uuid: UUID,
        phase: SessionPhase,
        call: CallContext,
        deadline: float,
    ) -> Delivered | Undelivered:
        """Ask for REJECTED or CANCELLED until the node's phase shows an end."""
        try:
            async with self._nodes.talking_to(client.profile.name, deadline):
                reply = await client.update_phase(uuid, phase, call, deadline=deadline)
                if phase is SessionPhase.REJECTED and not is_terminal(reply.view.phase):
                    # An acceptance overtook the rejection: what runs there is nobody's, so end it.
                    reply = await client.update_phase(
                        uuid, SessionPhase.CANCELLED, call, deadline=deadline
                    )
        except NodeSessionUnknownError:
            return Delivered("node does not know the session any more")
        except NodeStatusError as error:
            if _is_final(error):
                return Delivered(f"refused with status {error.status}")
            return Undelivered(str(error))
        except NodeError as error:
            return Undelivered(str(error))
        if is_terminal(reply.view.phase) or reply.view.phase is SessionPhase.RELEASING:
            return Delivered(f"node shows {reply.view.phase.value}")
        return Undelivered(f"node still shows {reply.view.phase.value}")

    # -- rows -------------------------------------------------------------------------------------

    async def _owned(self, tx: Transaction, uuid: UUID, caller: Caller) -> SessionRow:
        row = await self._known(tx, uuid)
        if not caller.owns(row.owner):
            if not caller.can_read(row.owner):
                raise UnknownSessionError(uuid)
            raise NotOwnerError(uuid)
        return row

    async def _known(self, tx: Transaction, uuid: UUID) -> SessionRow:
        row = await self._stores.sessions.find(tx, uuid)
        if row is None:
            raise UnknownSessionError(uuid)
        return row


def _refusal(row: SessionRow, phase: SessionPhase) -> UpdateRefusedError:
    return UpdateRefusedError(
        f"Session {row.uuid} is {row.phase.value}; it cannot become {phase.value} by your asking.",
        code="urn:offer-expired" if row.phase is SessionPhase.EXPIRED else "urn:update-refused",
    )


def _sibling_refusal(sibling: UUID | None) -> UpdateRefusedError:
    which = f"Session {sibling}" if sibling else "Another session"
    return UpdateRefusedError(
        f"{which} of the same offer set is accepted or being accepted; one of a set can be.",
        code="urn:sibling-accepted",
    )


def _pending(row: SessionRow, *lost: NodeError) -> AcceptPendingError:
    may_have_acted = not all(_was_never_sent(error) for error in lost)
    return AcceptPendingError(row.node, row.expires, may_have_acted=may_have_acted)


def _was_never_sent(error: NodeError) -> bool:
    if isinstance(error, NodeTimeoutError):
        return error.stage in {Stage.QUEUED, Stage.CONNECT}
    return isinstance(error, NodeUnreachableError)


def _is_final(error: NodeStatusError) -> bool:
    """Whether asking again would be answered alike; refused credentials may be mended meanwhile."""
    return 400 <= error.status < 500 and error.status not in {401, 403, 408, 429}


def _phase_said(reply: SessionReply) -> str:
    reasons = [str(m["message"]) for m in reply.view.messages if m.get("message")]
    said = f"it shows {reply.view.phase.value}"
    return f"{said} ({reasons[-1]})" if reasons else said


def _why(error: NodeStatusError) -> str:
    detail = (error.problem or {}).get("detail")
    return f"{error} ({detail})" if detail else str(error)
