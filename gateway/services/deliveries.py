"""Carrying one saved command to its node, whatever it asks for, within the lease on it."""

from datetime import timedelta

from gateway.clients.broker import CallContext
from gateway.clock import Clock
from gateway.domain.showing import foreign_kinds
from gateway.services.acceptance import AcceptanceService
from gateway.services.letting_go import LettingGoService
from gateway.services.node_calls import NodeCalls
from gateway.services.transitions import Stores
from gateway.services.verdicts import TOO_LATE, UNREGISTERED, Delivered, Undelivered
from gateway.settings import CommandSettings
from gateway.stores.commands import Command
from gateway.stores.database import Database
from gateway.wire.phases import SessionPhase


class Deliveries:
    """What the outbox has carried out: acceptances by one service, endings by the other."""

    def __init__(
        self,
        *,
        database: Database,
        stores: Stores,
        acceptance: AcceptanceService,
        letting_go: LettingGoService,
        nodes: NodeCalls,
        clock: Clock,
        settings: CommandSettings,
    ) -> None:
        self._database = database
        self._stores = stores
        self._acceptance = acceptance
        self._letting_go = letting_go
        self._nodes = nodes
        self._clock = clock
        self._settings = settings

    async def deliver(self, command: Command) -> tuple[Command, Delivered | Undelivered]:
        """Carry out one claimed command; nothing is sent once the lease on it has run out."""
        async with self._database.reading() as reader:
            owner, document = await self._stores.sessions.addressed(reader, command.session)
        client = self._nodes.client(command.node)
        if client is None:
            return command, Undelivered(UNREGISTERED)
        call = CallContext(
            idempotency_key=f"{command.session}:{command.phase.value}",
            authorization=self._nodes.remembered_authorization(owner),
            known_kinds=foreign_kinds(document),
        )
        left = command.due - self._clock.now()
        if left <= timedelta(0):
            # This process was held up: another may be at it by now.
            return command, Undelivered(TOO_LATE)
        deadline = self._clock.monotonic() + min(self._settings.deadline_s, left.total_seconds())
        service = self._acceptance if command.phase is SessionPhase.ACCEPTED else self._letting_go
        return command, await service.deliver(command, client, call, deadline)

    async def give_up(self, command: Command) -> None:
        """A command came to nothing in the time it had."""
        if command.phase is SessionPhase.ACCEPTED:
            await self._acceptance.give_up(command)
