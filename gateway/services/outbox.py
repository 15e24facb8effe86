"""Delivering commands: what nodes have to be told, until they know it or it no longer matters."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.services.deliveries import Deliveries
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.verdicts import Delivered, Undelivered
from gateway.settings import CommandSettings
from gateway.stores.commands import Command, CommandStore
from gateway.stores.database import Database
from gateway.wire.phases import SessionPhase

IDLE_S: Final = 2.0
"""How long to sleep at most. A new command wakes the outbox at once, but not those of the other
gateways on the same database, and the one that wrote it may be gone."""

LOOK_S: Final = 0.2
"""How often to look for new commands while others are being delivered."""

GATHER_S: Final = 0.005
"""How long others may still end to be settled together with the first: a transaction for each, and
another to claim the next, would cost more than telling the node."""

NODES_AT_ONCE: Final = 4
"""Nodes that can hang before deliveries to the others have to wait."""

FARTHEST: Final = timedelta(minutes=5)
"""No command is planned so far ahead beyond its lease and its back-off: a client that waits for an
acceptance does so for seconds."""

_log = structlog.stdlib.get_logger(__name__)


class Outbox:
    """Claims due commands and has them delivered, a bounded number at once."""

    def __init__(
        self,
        database: Database,
        commands: CommandStore,
        deliveries: Deliveries,
        clock: Clock,
        settings: CommandSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._commands = commands
        self._deliveries = deliveries
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._looked: datetime | None = None

    async def run_due(self) -> float:
        """Deliver what is due; the seconds until something else will be.

        A node that hangs takes up its own share of the deliveries, and delays nobody else's.
        """
        await self._heed_clock()
        running: dict[asyncio.Task[Delivered | Undelivered], Command] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                busy = Counter(command.node for command in running.values())
                for command in await self._claim(busy):
                    running[group.create_task(self._deliver(command))] = command
                if not running:
                    break
                await asyncio.wait(running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(GATHER_S)
                done = [task for task in running if task.done()]
                await self._settle([(running.pop(task), task.result()) for task in done])
        async with self._database.reading() as reader:
            due = await self._commands.next_due(reader)
        if due is None:
            return IDLE_S
        return min(max((due - self._clock.now()).total_seconds(), 0.0), IDLE_S)

    async def _heed_clock(self) -> None:
        """What was planned by a clock that has been set back since would wait until it catches up.

        At the first look nobody knows whether it has been.
        """
        now = self._clock.now()
        if self._looked is None or now < self._looked:
            planned = self._settings.lease_s + self._settings.longest_s
            beyond = now + FARTHEST + timedelta(seconds=planned)
            async with self._database.transaction() as tx:
                count = await self._commands.pull_in(tx, beyond=beyond, due=now)
            if count:
                _log.warning("commands_pulled_in", count=count)
        self._looked = now

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

    async def _deliver(self, command: Command) -> Delivered | Undelivered:
        try:
            return await self._deliveries.deliver(command)
        except StoreUnavailableError as error:
            return Undelivered(error.detail)

    async def _settle(self, results: Sequence[tuple[Command, Delivered | Undelivered]]) -> None:
        """Forget what was delivered, and have the rest tried again, all in one transaction."""
        now = self._clock.now()
        late = [
            command
            for command, result in results
            if isinstance(result, Undelivered) and now >= command.give_up
        ]
        for command in late:
            await self._deliveries.give_up(command)
        over: list[Command] = []
        async with self._database.transaction() as tx:
            for command, result in results:
                if isinstance(result, Undelivered) and command not in late:
                    due = now + timedelta(seconds=self._pause_s(command.attempts))
                    await self._commands.again(tx, command, due=due, error=result.why)
                else:
                    over.append(command)
            await self._commands.done_all(tx, over)
        for command, result in results:
            self._report(command, result, is_late=command in late)
        delivered = Counter(c.node for c, result in results if isinstance(result, Delivered))
        if delivered:
            # One line for all: there may be hundreds of holds to let go for one request.
            _log.info("commands_delivered", by_node=dict(delivered))

    def _report(self, command: Command, result: Delivered | Undelivered, *, is_late: bool) -> None:
        if isinstance(result, Delivered):
            self._metrics.delivered("delivered")
            return
        log = _log.bind(
            session=str(command.session),
            node=command.node,
            phase=command.phase.value,
            attempts=command.attempts,
        )
        if is_late:
            self._metrics.delivered("given_up")
            if command.phase is not SessionPhase.ACCEPTED:
                self._metrics.orphaned(command.node)
            log.error("command_given_up", why=result.why)
        else:
            self._metrics.delivered("undelivered")
            log.warning("command_undelivered", why=result.why)

    def _pause_s(self, attempts: int) -> float:
        longest = min(self._settings.first_s * 2 ** min(attempts - 1, 16), self._settings.longest_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  # spreads retries, no secret
