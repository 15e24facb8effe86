"""Probing: who is due, how long it takes, and that nobody is asked without need."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.clients.broker import BrokerClient
from gateway.clients.transport import AiohttpTransport
from gateway.clock import SystemClock
from gateway.domain.coverage import Outcome
from gateway.domain.health import Cause, HealthState
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import ReasonCode, reason
from gateway.services.probing import AT_ONCE, LOOK_S, Probing
from gateway.services.registry import NodeRegistry
from gateway.settings import HealthSettings
from tests.support import faulty_nodes as nodes
from tests.support.faulty_nodes import Asked, Behaviour, FaultyNode
from tests.support.waiting import eventually

REFUSED = reason(ReasonCode.CONNECTION_REFUSED)


@dataclass(slots=True)
class Rig:
    """Real nodes, and a probing of them that runs when it is told to."""

    probing: Probing
    registry: NodeRegistry
    nodes: Mapping[str, FaultyNode]

    def probed(self) -> dict[str, int]:
        """How often each was."""
        return {name: len(node.asked) for name, node in self.nodes.items()}


@asynccontextmanager
async def probing(
    behaviours: Mapping[str, Behaviour],
    *,
    disabled: frozenset[str] = frozenset(),
    settings: HealthSettings | None = None,
) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(AiohttpTransport())
        clock = SystemClock()
        registry = NodeRegistry(
            lambda: datetime.now(UTC),
            monotonic=clock.monotonic,
            settings=settings or HealthSettings(probe_wait_s=0.2),
        )
        running = {}
        for name, behaviour in behaviours.items():
            node = running[name] = await stack.enter_async_context(nodes.running(behaviour))
            profile = NodeProfile(name, node.url, is_enabled=name not in disabled)
            registry.add(BrokerClient(profile, transport))
        yield Rig(Probing(registry, clock), registry, running)


async def test_at_the_start_every_node_is_probed_once_and_then_left_alone_for_a_while() -> None:
    behaviours = {name: nodes.answers_status("200 OK") for name in ("alpha", "beta", "off")}
    async with probing(behaviours, disabled=frozenset({"off"})) as rig:
        assert await rig.probing.run_due() == LOOK_S
        await rig.probing.run_due()
        assert rig.probed() == {"alpha": 1, "beta": 1, "off": 0}
        assert [node.health.state for node in rig.registry] == [
            HealthState.UP,
            HealthState.UP,
            HealthState.UNKNOWN,
        ]


async def test_a_node_that_was_heard_otherwise_is_not_probed() -> None:
    async with probing({"alpha": nodes.answers_status("200 OK")}) as rig:
        rig.registry.get("alpha").note(Outcome.ANSWERED, None, took_s=0.01, was_heard=True)
        await rig.probing.run_due()
        assert rig.probed() == {"alpha": 0}


async def test_a_node_without_a_health_page_lives_if_it_answers_at_all() -> None:
    async with probing({"alpha": nodes.answers_status("404 Not Found")}) as rig:
        await rig.probing.run_due()
        assert [asked.path for asked in rig.nodes["alpha"].asked] == ["/readyz", "/actuator/health"]
        assert rig.registry.get("alpha").health.state is HealthState.UP


async def test_probes_are_bounded_in_number() -> None:
    under_way = most = 0

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        writer.write(nodes.http_reply(b"{}", status="200 OK"))

    behaviours = {f"slow-{number:02}": slow for number in range(AT_ONCE + 8)}
    settings = HealthSettings(probe_wait_s=10)
    async with probing(behaviours, settings=settings) as rig:
        await rig.probing.run_due()
        assert set(rig.probed().values()) == {1}
        assert 1 < most <= AT_ONCE


async def test_a_probe_of_a_node_that_hangs_ends() -> None:
    async with probing({"alpha": nodes.hangs_before_headers}) as rig:
        async with asyncio.timeout(5):
            await rig.probing.run_due()
        assert rig.probed() == {"alpha": 1}
        assert rig.registry.get("alpha").health.state is HealthState.UNKNOWN


async def test_an_ejected_node_is_probed_when_its_time_is_over_and_not_before() -> None:
    settings = HealthSettings(
        failures=1, failing_for_s=0, grace_s=0, ejection_s=0.2, longest_ejection_s=1
    )
    behaviours = {name: nodes.answers_status("200 OK") for name in ("alpha", "beta")}
    async with probing(behaviours, settings=settings) as rig:
        alpha, beta = rig.registry
        alpha.note(Outcome.REFUSED, REFUSED, took_s=None, was_heard=False)
        assert alpha.health.state is HealthState.DEGRADED, "nobody else was heard"
        beta.note(Outcome.ANSWERED, None, took_s=0.01, was_heard=True)
        alpha.note(Outcome.REFUSED, REFUSED, took_s=None, was_heard=False)
        assert alpha.state().ejected_until is not None
        await rig.probing.run_due()
        assert rig.probed() == {"alpha": 0, "beta": 0}

        async def has_returned() -> bool:
            await rig.probing.run_due()
            return alpha.health.cause is Cause.RETURNED

        await eventually(has_returned)
        assert rig.probed() == {"alpha": 1, "beta": 0}


async def test_no_more_than_fifty_nodes_are_probed_in_a_second() -> None:
    async with probing({}) as rig:
        transport = AiohttpTransport()
        for number in range(1000):
            profile = NodeProfile(f"node-{number}", "http://node.invalid")
            rig.registry.add(BrokerClient(profile, transport))
        assert rig.probing._every_s() == 20
