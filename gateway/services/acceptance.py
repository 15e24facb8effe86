"""Accepting: the intent is saved, the node is told, and its phase decides what became of it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn, TypeAlias
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext, SessionReply
from gateway.clients.exchange import NodeError, NodeSessionUnknownError
from gateway.clock import Clock
from gateway.domain.showing import foreign_kinds
from gateway.errors import AcceptPendingError, NodeRefusedAcceptError, UpdateRefusedError
from gateway.services.caller import Caller
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.node_calls import NodeCalls
from gateway.services.quotas import QuotaService
from gateway.services.transitions import Stores, Transitions, is_over, is_taken
from gateway.services.verdicts import (
    Delivered,
    Undelivered,
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
from gateway.wire.phases import SessionPhase, is_terminal

TRIES: Final = 2
"""How often one call tells a node to accept; after that it is the outbox's."""

IntentStep: TypeAlias = Callable[[Transaction, SessionRow], Awaitable[None]]
"""What else is saved with the intent to accept a session; what it raises prevents the intent."""


@dataclass(frozen=True, slots=True)
class _Intent:
    """A saved intent and the command that carries it, which this call holds.

    ``is_first``: no earlier call or delivery can have told the node.
    """

    row: SessionRow
    command: Command
    is_first: bool


class AcceptanceService:
    """Carries the acceptance of an offer to the node that holds it.

    ``accept`` is for whoever wants it, ``deliver`` for the outbox; both come to the same end. What
    a node shows to be accepted is true whoever hears it. That it refuses is believed only by the
    holder of the newest claim on the command: another may be telling it at the same time.
    """

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        transitions: Transitions,
        nodes: NodeCalls,
        clock: Clock,
        settings: SessionSettings,
        command_settings: CommandSettings,
        metrics: GatewayMetrics,
        quotas: QuotaService,
    ) -> None:
        self._database = database
        self._stores = stores
        self._transitions = transitions
        self._nodes = nodes
        self._clock = clock
        self._settings = settings
        self._commands = command_settings
        self._metrics = metrics
        self._quotas = quotas
        self._locks = KeyedLocks()

    async def accept(
        self,
        uuid: UUID,
        caller: Caller,
        *,
        deadline: float,
        step: IntentStep | None = None,
        gives_up_unsent: bool = False,
        seen: SessionRow | None = None,
    ) -> SessionRow:
        """Accept a session for its owner; asking twice is the same as asking once.

        ``deadline`` is in the clock's monotonic seconds. With ``gives_up_unsent``, what is sure not
        to have reached the node is cancelled rather than carried on with.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        PreconditionFailedError
            It is not as it was ``seen``, if that is given.
        UpdateRefusedError
            It cannot be done; subclasses say what the node answered, or that it did not, or that
            the caller has sessions enough.
        """
        try:
            row = await self._accept(
                uuid, caller, deadline, step, gives_up_unsent=gives_up_unsent, seen=seen
            )
        except AcceptPendingError:
            self._metrics.accepted("pending")
            raise
        except UpdateRefusedError:
            self._metrics.accepted("refused")
            raise
        self._metrics.accepted("accepted")
        return row

    async def deliver(
        self, command: Command, client: BrokerClient, call: CallContext, deadline: float
    ) -> Delivered | Undelivered:
        """Carry out a saved intent, unless it has come to its end meanwhile."""
        try:
            async with self._locks.holding(command.session, deadline):
                return await self._deliver_alone(command, client, call, deadline)
        except TimeoutError:
            return Undelivered("its owner is accepting it just now")

    async def give_up(self, command: Command) -> None:
        """An intent came to nothing in the time it had.

        Whether the node has accepted will only be seen when it is there again: so what it may hold
        is ended there, however late.
        """
        async with self._database.transaction() as tx:
            row = await self._stores.sessions.find(tx, command.session)
            is_open = row is not None and row.asked is SessionPhase.ACCEPTED
            if row is None or not is_open or row.phase is not SessionPhase.OFFERED:
                return
            if await self._stores.commands.is_held(tx, command):
                ended = await self._transitions.end_accept(tx, row, why="the node was not reached")
                await self._transitions.expire(tx, ended)
                await self._transitions.command(tx, row, SessionPhase.REJECTED)

    async def _deliver_alone(
        self, command: Command, client: BrokerClient, call: CallContext, deadline: float
    ) -> Delivered | Undelivered:
        async with self._database.reading() as reader:
            row = await self._stores.sessions.find(reader, command.session)
            is_held = await self._stores.commands.is_held(reader, command)
        if row is None or row.asked is not SessionPhase.ACCEPTED or not is_held:
            return Delivered("no longer wanted")
        try:
            await self._carry(_Intent(row, command, is_first=False), client, call, deadline)
        except AcceptPendingError as error:
            return Undelivered(error.detail)
        except NodeRefusedAcceptError as error:
            return Delivered(error.detail)
        return Delivered("accepted")

    async def _accept(
        self,
        uuid: UUID,
        caller: Caller,
        deadline: float,
        step: IntentStep | None,
        *,
        gives_up_unsent: bool,
        seen: SessionRow | None,
    ) -> SessionRow:
        # One call of this process at a time: the others find what became of it.
        try:
            async with self._locks.holding(uuid, deadline):
                intent = await self._intend(uuid, caller, deadline, step, seen)
                if isinstance(intent, SessionRow):
                    return _as_it_is(intent)
                return await self._carry_for(
                    intent, caller, deadline, gives_up_unsent=gives_up_unsent
                )
        except TimeoutError as error:
            async with self._database.reading() as reader:
                row = await self._stores.owned(reader, uuid, caller)
            raise AcceptPendingError(row.node) from error

    async def _carry_for(
        self, intent: _Intent, caller: Caller, deadline: float, *, gives_up_unsent: bool
    ) -> SessionRow:
        row = intent.row
        client = self._nodes.client(row.node)
        call = CallContext(
            request_id=caller.request_id,
            authorization=caller.authorization,
            idempotency_key=f"{row.uuid}:{SessionPhase.ACCEPTED.value}",
            known_kinds=foreign_kinds(row.document),
        )
        try:
            return await self._carry(intent, client, call, deadline)
        except AcceptPendingError as error:
            is_alone = await self._leave(
                intent, is_given_up=gives_up_unsent and not error.may_have_acted, who=caller.who
            )
            if is_alone:
                raise
            raise AcceptPendingError(row.node) from error

    async def _intend(
        self,
        uuid: UUID,
        caller: Caller,
        deadline: float,
        step: IntentStep | None,
        seen: SessionRow | None,
    ) -> _Intent | SessionRow:
        """Save the intent to accept, or join one. What is not on offer comes back as it is."""
        # The outbox is only the second line: this call carries the intent itself first.
        delay_s = deadline - self._clock.monotonic() + self._commands.first_s
        try:
            async with self._database.transaction(durable=True) as tx:
                row = await self._stores.owned(tx, uuid, caller, seen)
                now = self._clock.now()
                if is_over(row, now):
                    row = await self._transitions.expire(tx, row)
                is_first = row.asked is not SessionPhase.ACCEPTED
                if row.phase is SessionPhase.OFFERED:
                    if is_first and (
                        sibling := await self._stores.sessions.accepted_sibling(tx, row)
                    ):
                        raise sibling_refusal(sibling)
                    if is_first:
                        await self._quotas.check_session(tx, caller)
                        row = await self._transitions.begin_accept(
                            tx, row, who=caller.who, delay_s=delay_s
                        )
                if step is not None and not is_terminal(row.phase):
                    await step(tx, row)
                if row.phase is not SessionPhase.OFFERED:
                    return row
                command = await self._stores.commands.take_over(
                    tx, uuid, due=now + timedelta(seconds=delay_s)
                )
        except RowConflictError as error:
            raise sibling_refusal(None) from error
        if command is None:
            message = f"the intent to accept session {uuid} has no command"
            raise RuntimeError(message)
        return _Intent(row, command, is_first)

    async def _leave(self, intent: _Intent, *, is_given_up: bool, who: str) -> bool:
        """Leave a pending intent to the outbox, or cancel it; False when another carries it."""
        first = timedelta(seconds=self._commands.first_s)
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, intent.row.uuid)
            if not await self._stores.commands.hasten(
                tx, intent.command, self._clock.now() + first
            ):
                return False
            if is_given_up and not is_terminal(row.phase):
                await self._transitions.let_go(tx, row, SessionPhase.CANCELLED, who=who)
        self._transitions.wake.set()
        return True

    async def _carry(
        self, intent: _Intent, client: BrokerClient | None, call: CallContext, deadline: float
    ) -> SessionRow:
        """Tell the node, and again where its answer was lost and it shows the offer still open."""
        lost: list[NodeError] = []
        if client is None:
            raise pending(intent.row, is_first=intent.is_first)
        while not lost or self._may_tell_again(intent.row.node, len(lost), deadline):
            sent = self._clock.now()
            reply = await self._tell(intent, client, call, deadline)
            if not isinstance(reply, NodeError):
                if reply.view.phase is SessionPhase.OFFERED:
                    return await self._end_offer(intent, client, call, phase_said(reply))
                return await self._take_in(intent, reply, sent, phase_said(reply))
            lost.append(reply)
            sent = self._clock.now()
            truth = await self._truth(intent, client, call, lost)
            if truth.view.phase is not SessionPhase.OFFERED:
                why = why_not(reply) if is_final(reply) else phase_said(truth)
                return await self._take_in(intent, truth, sent, why)
            if is_final(reply):
                return await self._end_offer(intent, client, call, why_not(reply))
        raise pending(intent.row, *lost, is_first=intent.is_first)

    async def _end_offer(
        self, intent: _Intent, client: BrokerClient, call: CallContext, why: str
    ) -> SessionRow:
        """The node will not, and keeps the offer open: end it there before anybody is told.

        An ACCEPTED that is still under way, a delayed or doubled one, could be granted later, when
        another of the set runs. Nodes that know no REJECTED leave it open all the same.
        """
        uuid, sent = intent.row.uuid, self._clock.now()
        deadline = self._clock.monotonic() + self._settings.read_deadline_s
        call = replace(call, idempotency_key=f"{uuid}:{SessionPhase.REJECTED.value}")
        try:
            async with self._nodes.talking_to(intent.row.node, deadline):
                told = await client.update_phase(
                    uuid, SessionPhase.REJECTED, call, deadline=deadline
                )
        except NodeSessionUnknownError:
            await self._lost(intent)
        except NodeError as error:
            if not is_final(error):
                raise pending(intent.row, error, is_first=False) from error
            return await self._refused(intent, why)
        return await self._take_in(intent, told, sent, why)

    def _may_tell_again(self, node: str, tries: int, deadline: float) -> bool:
        is_in_time = tries < TRIES and self._clock.monotonic() < deadline
        return is_in_time and self._nodes.may_retry(node)

    async def _take_in(
        self, intent: _Intent, reply: SessionReply, sent: datetime, why: str
    ) -> SessionRow:
        """What the node shows decides; ``why`` is for when that is no acceptance."""
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, intent.row.uuid)
            row = await self._transitions.absorb(tx, row, reply, sent)
        if is_taken(row.phase, row.asked):
            # One that fails at once was taken, but its node's word was worth nothing.
            self._nodes.note_accept(row.node, was_kept=row.phase is not SessionPhase.FAILED)
            return row
        if row.phase is SessionPhase.CANCELLED:
            return row
        return await self._refused(intent, why)

    async def _tell(
        self, intent: _Intent, client: BrokerClient, call: CallContext, deadline: float
    ) -> SessionReply | NodeError:
        """The node's answer to ACCEPTED, or how it was lost, when anything may be true."""
        row = intent.row
        try:
            async with self._nodes.talking_to(row.node, deadline):
                return await client.update_phase(
                    row.uuid, SessionPhase.ACCEPTED, call, deadline=deadline
                )
        except NodeSessionUnknownError:
            await self._lost(intent)
        except NodeError as error:
            return error

    async def _truth(
        self, intent: _Intent, client: BrokerClient, call: CallContext, lost: Sequence[NodeError]
    ) -> SessionReply:
        """What the node says of the session, now that its answer was lost or made no sense."""
        deadline = self._clock.monotonic() + self._settings.read_deadline_s
        try:
            return await client.read_session(intent.row.uuid, call, deadline=deadline)
        except NodeSessionUnknownError:
            await self._lost(intent)
        except NodeError as error:
            raise pending(intent.row, *lost, is_first=intent.is_first) from error

    async def _lost(self, intent: _Intent) -> NoReturn:
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, intent.row.uuid)
            if not is_terminal(row.phase):
                await self._check_held(tx, intent)
                if not intent.is_first and await self._stores.resubmissions.find(tx, row.uuid):
                    # It may have been accepted: the resubmission decides whether it is lost.
                    raise AcceptPendingError(row.node)
                row = await self._transitions.lose(tx, row)
            alternatives = await self._stores.alternatives(tx, row, self._clock.now())
        self._nodes.note_accept(row.node, was_kept=False)
        raise NodeRefusedAcceptError(row.node, "it does not know the session", alternatives)

    async def _refused(self, intent: _Intent, why: str) -> SessionRow:
        """End the intent, unless the node has been seen to accept meanwhile."""
        async with self._database.transaction() as tx:
            row = await self._stores.session(tx, intent.row.uuid)
            if is_taken(row.phase, row.asked):
                return row
            if row.asked is SessionPhase.ACCEPTED:
                await self._check_held(tx, intent)
                row = await self._transitions.end_accept(tx, row, why=why)
            alternatives = await self._stores.alternatives(tx, row, self._clock.now())
        self._nodes.note_accept(row.node, was_kept=False)
        raise NodeRefusedAcceptError(row.node, why, alternatives)

    async def _check_held(self, tx: Transaction, intent: _Intent) -> None:
        if not await self._stores.commands.is_held(tx, intent.command):
            raise AcceptPendingError(intent.row.node)


def _as_it_is(row: SessionRow) -> SessionRow:
    if is_taken(row.phase, row.asked):
        return row
    raise refusal(row, SessionPhase.ACCEPTED)
