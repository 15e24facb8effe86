"""Delivering commands: what nodes have to be told, until they know it or it no longer matters."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.verdicts import Delivered, Undelivered
from gateway.settings import CommandSettings
from gateway.stores.database import Database, Transaction

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


class Waiting(Protocol):
    """Something that a node has to be told, taken by this process for a while."""

    @property
    def node(self) -> str: ...  # noqa: D102  # its name says it

    @property
    def attempts(self) -> int: ...  # noqa: D102  # likewise

    @property
    def give_up(self) -> datetime: ...  # noqa: D102  # likewise

    @property
    def told(self) -> int:
        """How many sessions the node is told of."""
        ...

    @property
    def held(self) -> int:
        """How many holds stay at the node if it never hears of it."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What it is about, for the log."""
        ...


T = TypeVar("T", bound=Waiting)


class Queue(Protocol[T]):
    """Where what has to be told waits: a table of ``gateway.stores.leasing``."""

    async def claim(  # noqa: D102  # see LeasedTable
        self,
        tx: Transaction,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        per_node: int,
        running: Mapping[str, int],
    ) -> list[T]: ...

    async def done_all(self, tx: Transaction, done: Sequence[T], /) -> None:
        """These are over, but for those that are not this process's any more."""
        ...

    async def again(self, tx: Transaction, item: T, /, *, due: datetime, error: str) -> None:
        """Try once more at ``due``."""
        ...

    async def pull_in(self, tx: Transaction, *, beyond: datetime, due: datetime) -> int: ...  # noqa: D102

    async def next_due(self, tx: Transaction) -> datetime | None: ...  # noqa: D102


class Carrier(Protocol[T]):
    """Who tells the nodes."""

    async def deliver(self, item: T, /) -> tuple[T, Delivered | Undelivered]:
        """Tell the node within the lease; what is left of it if that does not succeed, and why."""
        ...

    async def give_up(self, item: T, /) -> None:
        """It came to nothing in the time it had."""
        ...


class Outbox(Generic[T]):
    """Claims what is due and has it delivered, a bounded number at once."""

    def __init__(
        self,
        database: Database,
        queue: Queue[T],
        carrier: Carrier[T],
        clock: Clock,
        settings: CommandSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._queue = queue
        self._carrier = carrier
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._looked: datetime | None = None

    async def run_due(self) -> float:
        """Deliver what is due; the seconds until something else will be.

        A node that hangs takes up its own share of the deliveries, and delays nobody else's.
        """
        await self._heed_clock()
        running: dict[asyncio.Task[tuple[T, Delivered | Undelivered]], str] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                for item in await self._claim(Counter(running.values())):
                    running[group.create_task(self._deliver(item))] = item.node
                if not running:
                    break
                await asyncio.wait(running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(GATHER_S)
                done = [task for task in running if task.done()]
                for task in done:
                    del running[task]
                await self._settle([task.result() for task in done])
        async with self._database.reading() as reader:
            due = await self._queue.next_due(reader)
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
                count = await self._queue.pull_in(tx, beyond=beyond, due=now)
            if count:
                _log.warning("commands_pulled_in", count=count)
        self._looked = now

    async def _claim(self, running: Counter[str]) -> list[T]:
        """Take due commands, as many as there is room for, in all and for each node."""
        room = self._settings.at_once - running.total()
        if room <= 0:
            return []
        now = self._clock.now()
        async with self._database.transaction() as tx:
            return await self._queue.claim(
                tx,
                now=now,
                lease_until=now + timedelta(seconds=self._settings.lease_s),
                limit=room,
                per_node=max(self._settings.at_once // NODES_AT_ONCE, 1),
                running=running,
            )

    async def _deliver(self, item: T) -> tuple[T, Delivered | Undelivered]:
        try:
            return await self._carrier.deliver(item)
        except StoreUnavailableError as error:
            return item, Undelivered(error.detail)

    async def _settle(self, results: Sequence[tuple[T, Delivered | Undelivered]]) -> None:
        """Forget what was delivered, and have the rest tried again, all in one transaction."""
        now = self._clock.now()
        late = [
            item
            for item, result in results
            if isinstance(result, Undelivered) and now >= item.give_up
        ]
        for item in late:
            await self._carrier.give_up(item)
        over: list[T] = []
        async with self._database.transaction() as tx:
            for item, result in results:
                if isinstance(result, Undelivered) and item not in late:
                    due = now + timedelta(seconds=self._pause_s(item.attempts))
                    await self._queue.again(tx, item, due=due, error=result.why)
                else:
                    over.append(item)
            await self._queue.done_all(tx, over)
        delivered: Counter[str] = Counter()
        for item, result in results:
            if isinstance(result, Delivered):
                self._metrics.delivered("delivered", item.told)
                delivered[item.node] += item.told
            else:
                self._report(item, result, is_late=item in late)
        if delivered:
            # One line for all: there may be hundreds of holds to let go for one request.
            _log.info("commands_delivered", by_node=dict(delivered))

    def _report(self, item: T, result: Undelivered, *, is_late: bool) -> None:
        log = _log.bind(node=item.node, attempts=item.attempts, **item.facts())
        if is_late:
            self._metrics.delivered("given_up", item.told)
            if item.held:
                self._metrics.orphaned(item.node, item.held)
            log.error("command_given_up", why=result.why)
        else:
            self._metrics.delivered("undelivered", item.told)
            log.warning("command_undelivered", why=result.why)

    def _pause_s(self, attempts: int) -> float:
        longest = min(self._settings.first_s * 2 ** min(attempts - 1, 16), self._settings.longest_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  # spreads retries, no secret
