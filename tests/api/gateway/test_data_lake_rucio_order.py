"""Against a real Rucio: six sites in the order that a computation file by file gives them."""

import math
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.holdings import Located
from gateway.domain.network import LinkBasis, Network, NodePlace
from gateway.domain.placement import place
from gateway.settings import PlacementSettings
from gateway.wire.kinds import SKAO_DATA
from tests.support.faulty_nodes import running
from tests.support.gateway import running_gateway
from tests.support.plain_node import PlainNode
from tests.support.requests import minimal_request
from tests.support.rucio import RucioServer
from tests.support.rucio_lake import SITE_SETTINGS, lake_settings, running_lake, skao
from tests.support.rucio_seed import COMPLETE, GB, SCOPE, SITES, TAPE, SeededSite

pytestmark = [pytest.mark.xdist_group("rucio"), pytest.mark.timeout(240)]


def _rtt_s(one: SeededSite, other: SeededSite) -> float:
    """The way that light takes there and back through a cable 1.9 times the great circle."""
    here, there = (
        (math.radians(site.latitude), math.radians(site.longitude)) for site in (one, other)
    )
    angle = math.acos(
        math.sin(here[0]) * math.sin(there[0])
        + math.cos(here[0]) * math.cos(there[0]) * math.cos(here[1] - there[1])
    )
    return 2 * angle * 6371 * 1.9 / 200_000 + 0.002


def _by_file(rows: list[dict[str, Any]], target: SeededSite) -> tuple[int, float]:
    """Bytes to move to a site and the seconds that takes, file by file from the nearest copy."""
    by_rse = {site.rse: site for site in SITES} | {TAPE: SITES[0]}
    moved, seconds, tapes = 0, 0.0, False
    for row in rows:
        sources = [by_rse[rse] for rse in row["rses"]]
        is_tape = all(pfn["type"] == "TAPE" for pfn in row["pfns"].values())
        if target in sources and not is_tape:
            continue
        tapes |= is_tape
        if target in sources:
            continue
        rtt_s = min(_rtt_s(source, target) for source in sources)
        rate = min(1.25e9, 8 * 16 * 2**20 / rtt_s)
        moved += row["bytes"]
        seconds += row["bytes"] / rate + (0.5 + 2 * rtt_s) / 20
    return moved, (30 + seconds if moved else 0) + (600 if tapes else 0)


@pytest.mark.parametrize("name", ["complete", "scattered", "outer", "deep/er/name.fits"])
async def test_six_sites_are_ordered_as_a_computation_file_by_file_orders_them(
    name: str, rucio: RucioServer, tmp_path: Path
) -> None:
    async with running_lake(rucio, tmp_path) as lake:
        holding = await lake.holding(name)
        topology = lake.parts.topology.current()
    nodes = [NodePlace(site.name, site.name) for site in SITES]
    placements = place(Located({0: holding}, topology=topology), nodes, Network(topology, nodes))
    asked = {"dids": [{"scope": SCOPE, "name": name}], "sort": "random"}
    rows = rucio.call("POST", "/replicas/list", asked, ok=200)
    expected = {site.name: _by_file(rows, site) for site in SITES}
    assert {site: one.bytes_to_move for site, one in placements.items()} == {
        site: moved for site, (moved, _) in expected.items()
    }
    for site, (_, seconds) in expected.items():
        staging_ms = placements[site].staging_ms
        assert staging_ms is not None
        # A dataset is brought from where it is whole, a single file from where it is nearest.
        assert staging_ms / 1000 == pytest.approx(seconds, rel=0.33), site
    order = sorted(placements, key=lambda site: (placements[site].staging_ms or 0, site))
    assert order == sorted(expected, key=lambda site: (round(expected[site][1], 3), site))
    assert {one.basis for one in placements.values()} <= {
        LinkBasis.GEOGRAPHY,
        LinkBasis.MEASURED,
    }


async def test_six_nodes_are_offered_in_the_order_of_their_distance_from_the_data(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(running(PlainNode(frozenset({SKAO_DATA}))))
            for _ in SITES
        ]
        gateway = await stack.enter_async_context(
            running_gateway(
                {site.name: node.url for site, node in zip(SITES, nodes, strict=True)},
                tmp_path,
                node_options={site.name: {"site": site.name} for site in SITES},
                data_lake=(lake_settings(rucio, links=False),),
                sites=SITE_SETTINGS,
                placement=PlacementSettings(locate_s=4.0),
            )
        )
        request = minimal_request(data=[skao("complete")])
        answer = await gateway.ask(request, "?policy=nearest")
    assert answer.status == 303, answer.text
    offers = answer.document["offers"]
    moved = {
        offer["federation"]["node"]: offer["federation"]["placement"]["bytes_to_move"]
        for offer in offers
    }
    tenth = COMPLETE[9][1]
    assert moved == {site.name: 55 * GB for site in SITES} | {"uk": 0, "jp": tenth, "au": tenth}
    assert [offer["federation"]["node"] for offer in offers] == [
        "uk",
        *sorted(("jp", "au", "se", "ca", "za"), key=lambda name: _seconds(rucio, name)),
    ]


def _seconds(server: RucioServer, name: str) -> float:
    """How long the dataset takes to a site, file by file."""
    asked = {"dids": [{"scope": SCOPE, "name": "complete"}], "sort": "random"}
    rows = server.call("POST", "/replicas/list", asked, ok=200)
    return _by_file(rows, next(site for site in SITES if site.name == name))[1]
