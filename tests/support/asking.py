"""A fan-out over real loopback nodes, with everything it counts and every late answer at hand."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.transport import AiohttpTransport
from gateway.domain.node import DEFAULT_MAX_IN_FLIGHT, NodeProfile
from gateway.services.answers import Completeness, FanoutResult, NodeAnswer, NodeQuestion, Pace
from gateway.services.fanout import FanoutService
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.registry import NodeRegistry
from gateway.settings import TransportSettings
from tests.support.faulty_nodes import Behaviour, FaultyNode, refuses, running
from tests.support.waiting import until

REFUSES = "refuses"
"""In place of a behaviour: nobody listens."""

AnyBehaviour = Behaviour | str
"""What a node of the fan-out does."""

MAX_REPLY_BYTES = 1 << 20
"""Small, so that a huge answer need not be sent whole."""


@dataclass(slots=True)
class Asking:
    """A fan-out and the nodes it can ask, by name."""

    fanout: FanoutService
    registry: NodeRegistry
    nodes: Mapping[str, FaultyNode]
    collector: CollectorRegistry
    late: list[NodeAnswer] = field(default_factory=list)

    async def take_late(self, answer: NodeAnswer) -> None:
        """What the fan-out hands late answers to."""
        self.late.append(answer)

    async def ask(
        self,
        *,
        wait_s: float = 0.3,
        late_s: float = 1.0,
        names: Sequence[str] | None = None,
        completeness: Completeness | None = None,
        call: CallContext | None = None,
    ) -> FanoutResult:
        """Ask these nodes, or all; late answers are read for ``late_s`` after the deadline."""
        asked = list(self.nodes) if names is None else names
        questions = [NodeQuestion(name, b"{}", call or CallContext()) for name in asked]
        return await self.put(questions, wait_s=wait_s, late_s=late_s, completeness=completeness)

    async def put(
        self,
        questions: Iterable[NodeQuestion],
        *,
        wait_s: float = 0.3,
        late_s: float = 1.0,
        completeness: Completeness | None = None,
        pace: Pace | None = None,
    ) -> FanoutResult:
        """Put these questions, at once or at a pace."""
        now = asyncio.get_running_loop().time()
        return await self.fanout.ask(
            questions,
            deadline=now + wait_s,
            late_until=now + wait_s + late_s,
            on_late=self.take_late,
            completeness=completeness,
            pace=pace,
        )

    async def until_late(self, count: int) -> None:
        """Wait for so many late answers; the test's time limit ends it."""
        await until(lambda: len(self.late) >= count)

    def holds_lost(self, node: str) -> float:
        """How much was counted as lost at this node."""
        found = self.collector.get_sample_value("execbroker_holds_lost_total", {"node": node})
        return found or 0.0


@asynccontextmanager
async def asking(
    behaviours: Mapping[str, AnyBehaviour],
    *,
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
    honours_idempotency: bool | None = None,
    connect_s: float = 1.0,
) -> AsyncIterator[Asking]:
    """The nodes running, and a fan-out that knows them all."""
    async with AsyncExitStack() as stack:
        nodes: dict[str, FaultyNode] = {}
        for name, behaviour in behaviours.items():
            if isinstance(behaviour, str):
                nodes[name] = stack.enter_context(refuses())
            else:
                nodes[name] = await stack.enter_async_context(running(behaviour))
        settings = TransportSettings(max_reply_bytes=MAX_REPLY_BYTES)
        transport = await stack.enter_async_context(AiohttpTransport(settings))
        registry = NodeRegistry(lambda: datetime.now(UTC))
        for name, node in nodes.items():
            profile = NodeProfile(
                name,
                node.url,
                max_in_flight=max_in_flight,
                honours_idempotency=honours_idempotency,
            )
            registry.add(BrokerClient(profile, transport, connect_s=connect_s))
        collector = CollectorRegistry()
        fanout = FanoutService(registry, FanoutMetrics(collector))
        stack.push_async_callback(fanout.aclose)
        yield Asking(fanout, registry, nodes, collector)
