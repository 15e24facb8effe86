"""What it costs to locate data, to place them for every node, and to rank the offers.

Every node is at a site of its own, and every resource lies at three sites: the worst case, since
whatever nodes or resources have in common is worked out once. Told as a ratio to what the smallest
case would cost if cost grew with the work, resources times nodes: more than one is growth that is
worse than linear. What a round shows is the best of several tries.
"""

import argparse
import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Final
from uuid import UUID

from prometheus_client import CollectorRegistry

from gateway.clients.lakes.static import StaticLake
from gateway.clock import SystemClock
from gateway.domain.enrichment import enrich
from gateway.domain.holdings import Area, Copy, Did, DidKind, Holding, Located, Part, Place, Site
from gateway.domain.holdings import Topology as Map
from gateway.domain.network import Network, NodePlace
from gateway.domain.placement import NodePlacement, place
from gateway.domain.policies import POLICIES
from gateway.domain.quantities import Candidate
from gateway.domain.ranking import Ranking
from gateway.domain.reasons import Reason
from gateway.services.locating import Lakes, Locator
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.locating_resources import HostSites
from gateway.wire.documents import Document
from gateway.wire.kinds import SKAO_DATA
from gateway.wire.views import DataView
from tests.bench.figures import Figure

COPIES: Final = 3
OFFERS: Final = 2
ROUNDS: Final = 3
SMALLEST: Final = (100, 10)
"""Resources and nodes of the case that the others are compared with: some milliseconds a step."""

ENRICHED: Final = 10
"""Nodes for which the request is written; the bodies of all are as many times that."""


@dataclass(frozen=True)
class Known:
    """A map that does not change."""

    map: Map

    def current(self) -> Map:
        """The map."""
        return self.map

    def notes(self) -> tuple[Reason, ...]:
        """Nothing to be said about it."""
        return ()


@dataclass(frozen=True)
class World:
    """A lake and the nodes around it."""

    topology: Map
    nodes: tuple[NodePlace, ...]
    holdings: tuple[Holding, ...]
    request: Document
    locator: Locator


def world(resources: int, nodes: int) -> World:
    """So many files at three of so many sites each, all over the globe."""
    chance = random.Random(7)
    sites = {
        f"site-{n}": Site(f"site-{n}", None, chance.uniform(-60, 70), chance.uniform(-180, 180))
        for n in range(nodes)
    }
    topology = Map(sites, tuple(Area(f"RSE_{name}", name) for name in sites))
    holdings = tuple(
        _file(number, chance.sample(sorted(sites), COPIES)) for number in range(resources)
    )
    lake = StaticLake("static", holdings)
    locator = Locator(
        Lakes(lake),
        Known(topology),
        HostSites(()),
        SystemClock(),
        LocatingMetrics(CollectorRegistry()),
    )
    data = [
        {"kind": SKAO_DATA, "skao": {"namespace": "bench", "objectname": f"f{number}"}}
        for number in range(resources)
    ]
    places = tuple(NodePlace(f"node-{n}", f"site-{n}") for n in range(nodes))
    return World(topology, places, holdings, {"data": data}, locator)


def _file(number: int, sites: Sequence[str]) -> Holding:
    size = 1_000_000 * (number + 1)
    copies = tuple(
        Copy(Place(rse=f"RSE_{site}"), size, 1, urls=(f"https://{site}.example.org/f{number}",))
        for site in sites
    )
    did = Did("bench", f"f{number}")
    return Holding(did, DidKind.FILE, size, 1, (Part(str(did), size, 1, copies),))


def seconds(act: Callable[[], object]) -> float:
    """Processor time of one call: the best of some."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = process_time()
        act()
        best = min(best, process_time() - before)
    return best


def locate(one: World) -> Located:
    """Find the data, in a lake that answers at once."""
    data = [
        DataView(index, item["kind"], None, item) for index, item in enumerate(one.request["data"])
    ]

    async def ask() -> Located:
        return await one.locator.locate(data, asyncio.get_running_loop().time() + 60)

    return asyncio.run(ask())


def rank(placements: dict[str, NodePlacement]) -> Ranking:
    """Rank two offers of every node, and say the reasons for the first ten."""
    candidates = [
        Candidate(node, UUID(int=OFFERS * number + which), 60_000, placement.to_ranking())
        for number, (node, placement) in enumerate(placements.items())
        for which in range(OFFERS)
    ]
    ranking = Ranking(candidates, POLICIES["balanced"])
    for scored in ranking.ordered[:10]:
        ranking.reasons_of(scored)
    return ranking


def measured(one: World) -> dict[str, float]:
    """Seconds of each step."""
    located = locate(one)
    network = Network(one.topology, one.nodes)
    placements = place(located, one.nodes, network)
    homes = [network.home_of(node) for node in one.nodes[:ENRICHED]]

    def write() -> None:
        for home in homes:
            enrich(one.request, located.holdings, network, home)

    return {
        "locate": seconds(lambda: locate(one)),
        "place": seconds(lambda: place(located, one.nodes, Network(one.topology, one.nodes))),
        "again": seconds(lambda: place(located, one.nodes, network)),
        "enrich": seconds(write),
        "rank": seconds(lambda: rank(placements)),
    }


def _work(step: str, resources: int, nodes: int) -> float:
    """How many times the work of the smallest case a step has to do."""
    few_resources, few_nodes = SMALLEST
    return resources / few_resources * (1 if step == "enrich" else nodes / few_nodes)


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Every step of every case, beside the smallest.

    ``again`` is placing with a known map, and ``enrich`` writes the request of ten nodes.
    """
    worlds = {case: world(*case) for case in (SMALLEST, *options.placed)}
    rounds = [{case: measured(one) for case, one in worlds.items()} for _ in range(options.rounds)]
    return [
        Figure(
            f"{step} {resources} resources, {nodes} nodes",
            "x linear",
            tuple(
                one[resources, nodes][step] / one[SMALLEST][step] / _work(step, resources, nodes)
                for one in rounds
            ),
            note=f"{min(one[resources, nodes][step] for one in rounds) * 1e3:.1f} ms",
        )
        for resources, nodes in options.placed
        for step in ("locate", "place", "again", "enrich", "rank")
    ]
