"""Accepting, rejecting and cancelling: the wish is saved, the node is told, its phase decides."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext, SessionReply
from gateway.clients.exchange import NodeError, NodeSessionUnknownError
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
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.node_calls import NodeCalls
from gateway.services.transitions import Stores, Transitions, is_taken
from gateway.services.verdicts import (
    Delivered,
    Undelivered,
    ended,
    is_final,
    pending,
    phase_said,
    refusal,
    sibling_refusal,
    why_not,
)
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.commands import Command
from gateway.stores.database import Database, RowConflictError, Transaction
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_client_move, is_terminal

TRIES: Final = 2
"""How often one call tells a node to accept; after that it is the outbox's."""


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
        self._locks = KeyedLocks()

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
        raise refusal(row, phase)

    async def let_rest_go(self, offerset: UUID) -> None:
        """Nobody will accept what is still on offer in this set."""
        async with self._database.transaction() as tx:
            for row in await self._stores.sessions.of_offerset(tx, offerset):
                if row.phase is SessionPhase.OFFERED and row.asked is None:
                    await self._transitions.let_go(tx, row, SessionPhase.REJECTED, who="gateway")

    async def deliver(self, command: Command) -> Delivered | Undelivered:
        """Carry out one saved wish."""
        async with self._database.reading() as reader:
            row = await self._stores.sessions.find(reader, command.session)
            owner = await self._stores.sessions.owner_of(reader, command.session)
        client = self._nodes.client(command.node)
        if client is None:
            return Undelivered("node is not registered")
        deadline = self._clock.monotonic() + self._commands.deadline_s
        call = CallContext(
            idempotency_key=f"{command.session}:{command.phase.value}",
            authorization=self._nodes.remembered_authorization(owner),
            known_kinds=foreign_kinds(row.document if row else None),
        )
        if command.phase is not SessionPhase.ACCEPTED:
            return await self._tell(client, command.session, command.phase, call, deadline)
        try:
            async with self._locks.holding(command.session, deadline):
                return await self._deliver_accept(command.session, client, call, deadline)
        except TimeoutError:
            return Undelivered("its owner is accepting it just now")

    async def _deliver_accept(
        self, uuid: UUID, client: BrokerClient, call: CallContext, deadline: float
    ) -> Delivered | Undelivered:
        async with self._database.reading() as reader:
            row = await self._stores.sessions.find(reader, uuid)
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
        # One call at a time: else one could take for refused what another has accepted.
        try:
            async with self._locks.holding(uuid, deadline):
                return await self._accept_alone(uuid, caller, deadline)
        except TimeoutError as error:
            async with self._database.reading() as reader:
                row = await self._owned(reader, uuid, caller)
            raise AcceptPendingError(row.node) from error

    async def _accept_alone(self, uuid: UUID, caller: Caller, deadline: float) -> SessionRow:
        row = await self._intend(uuid, caller, deadline)
        if is_taken(row.phase, row.asked):
            return row
        if row.phase is not SessionPhase.OFFERED:
            raise refusal(row, SessionPhase.ACCEPTED)
        client = self._nodes.client(row.node)
        if client is None:
            raise AcceptPendingError(row.node, may_have_acted=False)
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
                    raise sibling_refusal(sibling)
                # The outbox is only the second line: this call carries the intent itself first.
                delay_s = deadline - self._clock.monotonic() + self._commands.first_s
                return await self._transitions.begin_accept(
                    tx, row, who=caller.who, delay_s=delay_s
                )
        except RowConflictError as error:
            raise sibling_refusal(None) from error

    async def _carry_accept(
        self, row: SessionRow, client: BrokerClient, call: CallContext, deadline: float
    ) -> SessionRow:
        """Tell the node, and again where its answer was lost and it shows the offer still open."""
        lost: list[NodeError] = []
        while not lost or (len(lost) < TRIES and self._clock.monotonic() < deadline):
            sent = self._clock.now()
            reply = await self._tell_accept(row, client, call, deadline)
            if not isinstance(reply, NodeError):
                return await self._take_in(row, reply, sent, phase_said(reply))
            lost.append(reply)
            sent = self._clock.now()
            truth = await self._truth(row, client, call, lost)
            if truth.view.phase is not SessionPhase.OFFERED:
                why = why_not(reply) if is_final(reply) else phase_said(truth)
                return await self._take_in(row, truth, sent, why)
            if is_final(reply):
                return await self._refused(row, why_not(reply))
        raise pending(row, *lost)

    async def _take_in(
        self, row: SessionRow, reply: SessionReply, sent: datetime, why: str
    ) -> SessionRow:
        """What the node shows decides; ``why`` is for when that is no acceptance."""
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, row.uuid)
            row = await self._transitions.absorb(tx, row, reply, sent)
        if is_taken(row.phase, row.asked):
            self._nodes.note_accept(row.node, was_kept=True)
            return row
        if row.phase is SessionPhase.CANCELLED:
            return row
        return await self._refused(row, why)

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
        except NodeError as error:
            return error

    async def _truth(
        self, row: SessionRow, client: BrokerClient, call: CallContext, lost: Sequence[NodeError]
    ) -> SessionReply:
        """What the node says of the session, now that its answer was lost or made no sense."""
        deadline = self._clock.monotonic() + self._settings.read_deadline_s
        try:
            return await client.read_session(row.uuid, call, deadline=deadline)
        except NodeSessionUnknownError:
            await self._lost(row)
        except NodeError as error:
            raise pending(row, *lost) from error

    async def _hasten(self, row: SessionRow) -> None:
        due = self._clock.now() + timedelta(seconds=self._commands.first_s)
        async with self._database.transaction() as tx:
            await self._stores.commands.hasten(tx, row.uuid, due)
        self._transitions.wake.set()

    async def _lost(self, row: SessionRow) -> NoReturn:
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, row.uuid)
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

    async def _refused(self, row: SessionRow, why: str) -> SessionRow:
        """End the intent, unless the node has been seen to accept meanwhile."""
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, row.uuid)
            if is_taken(row.phase, row.asked):
                return row
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
                raise refusal(row, phase)
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
                return ended(reply.view.phase)
        except NodeSessionUnknownError:
            return Delivered("node does not know the session any more")
        except NodeError as error:
            if not is_final(error):
                return Undelivered(str(error))
        # It will not do it; but perhaps there is nothing left to do.
        try:
            reply = await client.read_session(uuid, call, deadline=deadline)
            if phase is SessionPhase.REJECTED and reply.view.phase in EXECUTION_PHASES:
                reply = await client.update_phase(
                    uuid, SessionPhase.CANCELLED, call, deadline=deadline
                )
            return ended(reply.view.phase)
        except NodeSessionUnknownError:
            return Delivered("node does not know the session any more")
        except NodeError as error:
            return Undelivered(str(error))

    # -- rows -------------------------------------------------------------------------------------

    async def _owned(self, tx: Transaction, uuid: UUID, caller: Caller) -> SessionRow:
        row = await self._stores.session(tx, uuid)
        if not caller.owns(row.owner):
            if not caller.can_read(row.owner):
                raise UnknownSessionError(uuid)
            raise NotOwnerError(uuid)
        return row
