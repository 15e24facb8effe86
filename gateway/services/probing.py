"""Asking nodes whether they live, while nobody waits for the answer. A duty of the background."""

import asyncio
import random
from typing import Final

from gateway.clients.broker import CallContext
from gateway.clients.exchange import NodeError
from gateway.clock import Clock
from gateway.domain.health import HealthState
from gateway.services.registry import NodeRegistry, RegisteredNode

AT_ONCE: Final = 32
"""Probes under way: enough for 1,000 nodes of which each fourth hangs."""

MOST_PER_S: Final = 50.0
"""Probes in a second; with more nodes each is probed less often. Nomad's bound on heartbeats."""

JITTER: Final = 0.2
"""A wait is shorter by up to this share, so that neither nodes nor gateways are in step."""

LOOK_S: Final = 1.0
"""Seconds between two looks at who is due, at most."""

SHORTEST_LOOK_S: Final = 0.05

SWEEP_EVERY_S: Final = 10.0
"""How often nodes are held against each other; Envoy's interval."""


class Probing:
    """Probes nodes that were not heard from for a while, and ejected ones whose time is over."""

    def __init__(self, registry: NodeRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._settings = registry.watch.settings
        self._due: dict[str, float] = {}
        self._swept: float | None = None

    async def run_due(self) -> float:
        """Probe whoever is due; gives the seconds until this should run again."""
        now = self._clock.monotonic()
        if self._swept is None or now - self._swept >= SWEEP_EVERY_S:
            self._swept = now
            self._registry.watch.sweep()
        due = [node for node in self._registry if self._due_at(node) <= now]
        gate = asyncio.Semaphore(AT_ONCE)

        async def probe(node: RegisteredNode) -> None:
            async with gate:
                await self._probe(node)

        async with asyncio.TaskGroup() as group:
            for node in due:
                group.create_task(probe(node), name=f"probe {node.name}")
        now = self._clock.monotonic()
        soonest = min((self._due_at(node) for node in self._registry), default=now + LOOK_S)
        return min(LOOK_S, max(SHORTEST_LOOK_S, soonest - now))

    def _due_at(self, node: RegisteredNode) -> float:
        """When to probe the node next, by the monotonic clock; the first time at once."""
        if not node.is_probed:
            return float("inf")
        if node.health.state is HealthState.EJECTED and node.health.until is not None:
            return node.health.until
        if self._settings.probe_every_s <= 0:
            return float("inf")
        heard = node.last_heard
        due = self._due.get(node.name, float("-inf"))
        return due if heard is None else max(due, heard + self._every_s() * (1 - JITTER))

    def _every_s(self) -> float:
        return max(self._settings.probe_every_s, len(self._registry) / MOST_PER_S)

    async def _probe(self, node: RegisteredNode) -> None:
        now = self._clock.monotonic()
        spread = 1 - JITTER * random.random()  # noqa: S311  # spreads load, guards nothing
        self._due[node.name] = now + self._every_s() * spread
        try:
            found = await node.client.probe(
                CallContext(), deadline=now + self._settings.probe_wait_s
            )
        except NodeError as error:
            node.note_probe(error.outcome.value, is_well=False)
            return
        # Whoever answers lives, also without a page for it; only its own word is held against it.
        is_well = found.is_up or found.status < 500
        node.note_probe("up" if is_well else "down", is_well=is_well)
