"""What the federation has to offer to a caller, without asking any node for offers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.clock import Clock
from gateway.domain.candidates import RefusalMemory
from gateway.domain.discovery import KindFacts, Known, data_of, kinds_of, speed_of
from gateway.domain.holdings import Holding
from gateway.domain.node import NodeProfile
from gateway.domain.placement import NodePlacement
from gateway.domain.reasons import Reason
from gateway.domain.registration import LIVE, NodeStanding
from gateway.services.caller import Caller
from gateway.services.permissions import PermissionService
from gateway.services.placing import Placed, PlacingService
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.wire.documents import Document
from gateway.wire.kinds import COMPONENT_KINDS
from gateway.wire.times import format_instant

_TAKING: Final = LIVE - {NodeStanding.DRAINING}
"""Nodes in these standings are asked for offers."""


@dataclass(frozen=True, slots=True)
class DataFinding:
    """What is known of data, and what that means for each node that the caller may use.

    ``holdings`` and ``missing`` are by the place of an identifier in the question; one is in
    neither where this gateway has no data lake.
    """

    names: tuple[str, ...]
    placed: Placed | None
    nodes: tuple[NodeProfile, ...]
    at: datetime

    def holding(self, index: int) -> Holding | None:
        """What was found of one identifier."""
        return None if self.placed is None else self.placed.located.holdings.get(index)

    def missing(self, index: int) -> Reason | None:
        """Why nothing was found of it."""
        return None if self.placed is None else self.placed.located.missing.get(index)

    def placements(self) -> list[tuple[NodeProfile, NodePlacement]]:
        """The nodes, those that have the data soonest first; those of unknown time at the end."""
        if self.placed is None:
            return []
        placements = self.placed.placements
        pairs = [(node, placements[node.name]) for node in self.nodes if node.name in placements]
        return sorted(pairs, key=_soonest)


def _soonest(pair: tuple[NodeProfile, NodePlacement]) -> tuple[bool, int, str]:
    node, placement = pair
    exact_ms = placement.exact_ms
    return exact_ms is None, exact_ms or 0, node.name


class DiscoveryService:
    """Tells what there is, as far as the caller may use it."""

    def __init__(
        self,
        registry: NodeRegistry,
        refusals: RefusalMemory,
        permissions: PermissionService,
        placing: PlacingService,
        clock: Clock,
        wait_s: float,
    ) -> None:
        self._registry = registry
        self._refusals = refusals
        self._permissions = permissions
        self._placing = placing
        self._clock = clock
        self._wait_s = wait_s

    def kinds(self, caller: Caller) -> Document:
        """Which kinds can run now, at how many of the nodes that would be asked."""
        nodes = [node for node in self._usable(caller) if node.standing in _TAKING]
        return {
            "nodes": len(nodes),
            "kinds": kinds_of((self._facts(node) for node in nodes), COMPONENT_KINDS),
        }

    def nodes(self, caller: Caller) -> list[Document]:
        """The live nodes that the caller may use, by name."""
        usable = sorted(self._usable(caller), key=lambda node: node.name)
        return [self._node(node) for node in usable if node.standing in LIVE]

    async def data(
        self, dids: Sequence[tuple[str, str]], ivoids: Sequence[str], caller: Caller
    ) -> DataFinding:
        """Where data are and what that means for each node, within the time of a request."""
        views, now = data_of(dids, ivoids), self._clock.now()
        # For all nodes: the map of the network is kept as long as these are the same.
        placed = await self._placing.place(views, self._registry, wait_s=self._wait_s, now=now)
        nodes = tuple(n.profile for n in self._usable(caller) if n.standing in LIVE)
        return DataFinding(tuple(str(view.name) for view in views), placed, nodes, now)

    def _usable(self, caller: Caller) -> Iterator[RegisteredNode]:
        allowance = self._permissions.allowance_of(caller)
        return (node for node in self._registry if allowance.refused_node(node.profile) is None)

    def _facts(self, node: RegisteredNode) -> KindFacts:
        return KindFacts(
            node.membership.capabilities,
            self._refusals.offered(node.name),
            self._refusals.refused(node.name, self._clock.now()),
        )

    def _node(self, node: RegisteredNode) -> Document:
        """A node as callers see it: nothing of where it is reached and by whom."""
        facts, can = self._facts(node), node.membership.capabilities
        known = {kind: facts.knows(kind) for kind in sorted(facts.mentioned())}
        storage = (*node.profile.storage, *(can.storage if can else ()))
        return {
            "name": node.name,
            "site": node.profile.site,
            "regions": list(node.profile.regions),
            "state": node.standing.value,
            "kinds": [kind for kind, said in known.items() if said is Known.YES],
            "refused_kinds": [kind for kind, said in known.items() if said is Known.NO],
            "storage": list(dict.fromkeys(storage)),
            "platforms": list(can.platforms) if can else [],
            "limits": {
                "cores": can.cores if can else None,
                "memory_gib": can.memory_gib if can else None,
                "storage_gib": can.storage_gib if can else None,
            },
            "speed": speed_of(node.latency.quantile(0.5)).value,
            "waits_until": _time(node.state().waits_until),
        }


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_instant(at)
