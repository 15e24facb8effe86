"""Rejecting and cancelling: here at once, and at the node until it shows an end."""

from datetime import timedelta
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.exchange import NodeError, NodeSessionUnknownError
from gateway.clock import Clock
from gateway.domain.resubmission import Stage
from gateway.domain.showing import foreign_kinds
from gateway.services.caller import Caller
from gateway.services.node_calls import NodeCalls
from gateway.services.transitions import Stores, Transitions
from gateway.services.verdicts import Delivered, Undelivered, ended, is_final, refusal
from gateway.settings import CommandSettings, SessionSettings
from gateway.stores.commands import Command
from gateway.stores.database import Database
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_client_move, is_terminal


class LettingGoService:
    """Ends what is not wanted: offers, and sessions on their way.

    ``let_go`` is what an owner asks for, ``deliver`` is for the outbox.
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
    ) -> None:
        self._database = database
        self._stores = stores
        self._transitions = transitions
        self._nodes = nodes
        self._clock = clock
        self._settings = settings
        self._commands = command_settings

    async def let_go(
        self,
        uuid: UUID,
        phase: SessionPhase,
        caller: Caller,
        *,
        deadline: float,
        seen: SessionRow | None = None,
    ) -> SessionRow:
        """REJECTED or CANCELLED for its owner; the node hears of it now or by the outbox.

        ``deadline`` is in the clock's monotonic seconds.

        Raises
        ------
        UnknownSessionError, NotOwnerError
            It is not the caller's to change.
        PreconditionFailedError
            It is not as it was ``seen``, if that is given.
        UpdateRefusedError
            The session's phase does not allow it.
        """
        async with self._database.transaction(durable=True) as tx:
            row = await self._stores.owned(tx, uuid, caller, seen)
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
            result = await self.deliver(command, client, call, deadline)
            if isinstance(result, Delivered):
                async with self._database.transaction() as tx:
                    await self._stores.commands.done(tx, command)
        return row

    async def let_rest_go(self, offerset: UUID) -> None:
        """Nobody will accept what is still on offer in this set."""
        async with self._database.transaction() as tx:
            for row in await self._stores.sessions.of_offerset(tx, offerset):
                if row.phase is SessionPhase.OFFERED and row.asked is None:
                    await self._transitions.let_go(tx, row, SessionPhase.REJECTED, who="gateway")

    async def deliver(
        self, command: Command, client: BrokerClient, call: CallContext, deadline: float
    ) -> Delivered | Undelivered:
        """Ask for REJECTED or CANCELLED until the node's phase shows an end."""
        try:
            return await self.end(command.session, command.phase, client, call, deadline)
        except NodeSessionUnknownError:
            return await self._unknown(command)

    async def end(
        self,
        uuid: UUID,
        phase: SessionPhase,
        client: BrokerClient,
        call: CallContext,
        deadline: float,
    ) -> Delivered | Undelivered:
        """Ask the node for REJECTED or CANCELLED, once.

        Raises
        ------
        NodeSessionUnknownError
            It has no such session.
        """
        try:
            async with self._nodes.talking_to(client.profile.name, deadline):
                shown = await client.end(uuid, phase, call, deadline=deadline)
                if phase is SessionPhase.REJECTED and not is_terminal(shown):
                    # An acceptance overtook the rejection: what runs there is nobody's, so end it.
                    shown = await client.end(uuid, SessionPhase.CANCELLED, call, deadline=deadline)
                return ended(shown)
        except NodeSessionUnknownError:
            raise
        except NodeError as error:
            if not is_final(error):
                return Undelivered(str(error))
        # It will not do it; but perhaps there is nothing left to do.
        try:
            shown = (await client.read_session(uuid, call, deadline=deadline)).view.phase
            if phase is SessionPhase.REJECTED and shown in EXECUTION_PHASES:
                shown = await client.end(uuid, SessionPhase.CANCELLED, call, deadline=deadline)
            return ended(shown)
        except NodeSessionUnknownError:
            raise
        except NodeError as error:
            return Undelivered(str(error))

    async def _unknown(self, command: Command) -> Delivered | Undelivered:
        """A node that was lost may know its sessions again; any other has nothing to end."""
        async with self._database.reading() as reader:
            resubmission = await self._stores.resubmissions.find(reader, command.session)
        is_replaced = resubmission is not None and resubmission.stage is Stage.MOVED
        until = command.created + timedelta(seconds=self._commands.give_up_s)
        if is_replaced and self._clock.now() < until:
            return Undelivered("it was lost, and does not know the session yet")
        return Delivered("node does not know the session any more")
