"""Forty sites of which ten are slow or dead: everybody is answered in time, with all there is.

The measured figure of the same, with its plot, comes from ``tests.bench.bench_sites``.
"""

from pathlib import Path
from typing import Final

from gateway.wire.documents import to_json
from tests.bench.measure import running
from tests.bench.open_load import Gun, Shot, outcomes, percentile
from tests.bench.site_nodes import OFFERS, Sort
from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN
from tests.support.requests import minimal_request

SITES: Final = 40
FAULTY: Final = 0.25
DEADLINE_S: Final = 1.5
MARGIN_S: Final = 0.5
"""Allowed beyond the deadline: two cores have the gateway, the sites and those who ask."""

CALLERS: Final = 2
"""What these leave of a core is more than half."""

SECONDS: Final = 10.0


async def test_a_quarter_of_slow_and_dead_sites_costs_only_their_own_offers(tmp_path: Path) -> None:
    command = ["-m", "tests.bench.site_nodes", str(SITES), str(FAULTY), str(2 * DEADLINE_S), "1"]
    with running(command, tmp_path / "sites.log") as started:
        names = [f"site-{i:02}" for i in range(SITES)]
        sorts = dict(zip(names, started.ready["sorts"], strict=True))
        urls = dict(zip(names, started.ready["urls"], strict=True))
        gateway = GatewayProcess(urls, tmp_path, federation={"deadline_s": DEADLINE_S})
        await gateway.start()
        try:
            headers = {"Content-Type": "application/json", **ADMIN.headers}
            body = to_json(minimal_request())
            async with Gun(gateway.url, "/requests?limit=100", body, headers) as asking:
                shots = await asking.saturate(CALLERS, SECONDS)
        finally:
            await gateway.stop()
    healthy = {site for site, sort in sorts.items() if sort == Sort.HEALTHY}
    assert len(healthy) == SITES * (1 - FAULTY)
    for shot in shots:
        assert shot.status == 303, shot.body[:1000]
        check_whole(shot, healthy)
    assert percentile([shot.took_s for shot in shots], 0.99) <= DEADLINE_S + MARGIN_S


def check_whole(shot: Shot, healthy: set[str]) -> None:
    """Every site once with its outcome, and everything that the healthy ones offered."""
    document = shot.document
    lines = document["federation"]["coverage"]
    assert len(lines) == len(outcomes(document)) == SITES
    missing = {line["node"]: line for line in lines if line["node"] in healthy}
    said = {site: line for site, line in missing.items() if line["offers"] != OFFERS}
    assert not said
    by_site = [offer["federation"]["node"] for offer in document["offers"]]
    assert all(by_site.count(site) == OFFERS for site in healthy)
