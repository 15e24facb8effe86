"""Delivering commands: what nodes have to be told, until they know it or it no longer matters."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.services.acceptance import AcceptanceService
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.verdicts import Delivered, Undelivered
from gateway.settings import CommandSettings
from gateway.stores.commands import Command, CommandStore
from gateway.stores.database import Database

IDLE_S: Final = 30.0
"""How long to sleep with nothing due; a new command wakes the outbox at once."""

LOOK_S: Final = 0.2
"""How often to look for new commands while others are being delivered."""

NODES_AT_ONCE: Final = 4
"""Nodes that can hang before deliveries to the others have to wait."""

_log = structlog.stdlib.get_logger(__name__)


class Outbox:
    """Claims due commands and has them delivered, a bounded number at once."""

    def __init__(
        self,
        database: Database,
        commands: CommandStore,
        acceptance: AcceptanceService,
        clock: Clock,
        settings: CommandSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._commands = commands
        self._acceptance = acceptance
        self._clock = clock
        self._settings = settings
        self._metrics = metrics

    async def run_due(self) -> float:
        """Deliver what is due; the seconds until something else will be.

        A node that hangs takes up its own share of the deliveries, and delays nobody else's.
        """
        running: dict[asyncio.Task[None], str] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for command in await self._claim(Counter(running.values())):
                    task = group.create_task(self._deliver(command))
                    running[task] = command.node
                if not running:
                    break
                done, _ = await asyncio.wait(
                    running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    del running[task]
        async with self._database.reading() as reader:
            due = await self._commands.next_due(reader)
        if due is None:
            return IDLE_S
        return min(max((due - self._clock.now()).total_seconds(), 0.0), IDLE_S)

    async def _claim(self, running: Counter[str]) -> list[Command]:
        """Take due commands, as many as there is room for, in all and for each node."""
        room = self._settings.at_once - running.total()
        if room <= 0:
            return []
        now = self._clock.now()
        async with self._database.transaction() as tx:
            return await self._commands.claim(
                tx,
                now=now,
                lease_until=now + timedelta(seconds=self._settings.lease_s),
                limit=room,
                per_node=max(self._settings.at_once // NODES_AT_ONCE, 1),
                running=running,
            )

    async def _deliver(self, command: Command) -> None:
        try:
            await self._settle(command, await self._acceptance.deliver(command))
        except StoreUnavailableError:
            # The command is still there, and comes back when its lease ends.
            _log.warning("command_not_settled", session=str(command.session))

    async def _settle(self, command: Command, result: Delivered | Undelivered) -> None:
        log = _log.bind(
            session=str(command.session),
            node=command.node,
            phase=command.phase.value,
            attempts=command.attempts,
        )
        now = self._clock.now()
        if isinstance(result, Undelivered) and now < command.give_up:
            due = now + timedelta(seconds=self._pause_s(command.attempts))
            async with self._database.transaction() as tx:
                await self._commands.again(tx, command, due=due, error=result.why)
            self._metrics.delivered("undelivered")
            log.warning("command_undelivered", why=result.why)
            return
        if isinstance(result, Undelivered):
            self._metrics.delivered("given_up")
            self._metrics.orphaned(command.node)
            log.error("command_given_up", why=result.why)
            await self._acceptance.give_up(command)
        else:
            self._metrics.delivered("delivered")
            log.info("command_delivered", how=result.how)
        async with self._database.transaction() as tx:
            await self._commands.done(tx, command)

    def _pause_s(self, attempts: int) -> float:
        longest = min(self._settings.first_s * 2 ** min(attempts - 1, 16), self._settings.longest_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  # spreads retries, no secret
