"""Placing data for nodes: never longer than the client's wait allows."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.clients.broker import BrokerClient
from gateway.clients.transport import AiohttpTransport
from gateway.domain.holdings import Area, Copy, Did, DidKind, Holding, Located, Part, Place, Site
from gateway.domain.holdings import Topology as Map
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import ReasonCode
from gateway.services.placing import PLACE_AT_LEAST_S, PlacingService
from gateway.services.registry import NodeRegistry
from gateway.settings import PlacementSettings
from gateway.wire.kinds import SKAO_DATA
from gateway.wire.views import DataView

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)


class KnownLake:
    """Knows every resource, and says so at once."""

    def __init__(self, located: Located) -> None:
        self._located = located

    async def locate(self, data: Sequence[DataView], deadline: float) -> Located:  # noqa: ARG002
        return self._located


def world(resources: int, nodes: int) -> tuple[KnownLake, NodeRegistry, list[DataView]]:
    """So many files, each at two of so many sites with a node each."""
    sites = {
        f"site-{n}": Site(f"site-{n}", None, (n * 7) % 120 - 60, (n * 13) % 360 - 180)
        for n in range(nodes)
    }
    topology = Map(sites, tuple(Area(f"RSE_{name}", name) for name in sites))
    holdings = {}
    for number in range(resources):
        did = Did("test", f"f{number}")
        copies = tuple(
            Copy(Place(rse=f"RSE_site-{(number + step) % nodes}"), 10**9, 1) for step in (0, 1)
        )
        holdings[number] = Holding(did, DidKind.FILE, 10**9, 1, (Part(str(did), 10**9, 1, copies),))
    registry = NodeRegistry(lambda: NOW)
    for name in sites:
        profile = NodeProfile(f"node-{name}", "http://node.invalid", name)
        registry.add(BrokerClient(profile, AiohttpTransport()))
    data = [DataView(number, SKAO_DATA, None, {"kind": SKAO_DATA}) for number in range(resources)]
    return KnownLake(Located(holdings, topology=topology)), registry, data


async def test_data_are_placed_for_every_node() -> None:
    lake, registry, data = world(3, 4)
    placed = await PlacingService(lake, PlacementSettings()).place(
        data, registry, wait_s=10, now=NOW
    )
    assert placed is not None
    assert len(placed.placements) == 4
    assert {one.bytes_total for one in placed.placements.values()} == {3 * 10**9}
    assert placed.messages(NOW) == []


async def test_more_than_can_be_placed_in_time_is_unknown_and_said() -> None:
    lake, registry, data = world(400, 400)
    began = asyncio.get_running_loop().time()
    placed = await PlacingService(lake, PlacementSettings()).place(
        data, registry, wait_s=0.01, now=NOW
    )
    took_s = asyncio.get_running_loop().time() - began

    assert placed is not None
    assert took_s < PLACE_AT_LEAST_S + 1.0
    assert len(placed.placements) == 400
    assert {one.proximity for one in placed.placements.values()} == {None}
    assert {one.bytes_to_move for one in placed.placements.values()} == {None}
    (message,) = placed.messages(NOW)
    assert message["kind"].endswith(ReasonCode.TOO_MUCH_TO_PLACE.value)
    assert message["values"]["resources"] == "400"
