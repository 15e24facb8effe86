"""Where data are, and what that counts: public failures of other brokers, and this one.

Each test names where the failure is to be read. What the other program does is written down in a
few lines of its own, so that the case is known to be one; it is no copy of that program.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from gateway.domain.policies import POLICIES
from gateway.domain.quantities import Candidate, Placement
from gateway.domain.ranking import Ranking
from gateway.sections.lake_settings import RucioLakeSettings, SiteSettings
from gateway.settings import FederationSettings, PlacementSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_DATA, SKAO_DATA
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import (
    hangs_before_headers,
    hangs_mid_body,
    refuses,
    running,
)
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.plain_node import PlainNode
from tests.support.requests import minimal_request
from tests.unit.domain.builders import uuid
from tests.unit.domain.maps import TB, found, holding, part, placed


def order_of(answer: Document) -> list[str]:
    """The nodes as their first offers come."""
    return list(dict.fromkeys(offer["federation"]["node"] for offer in answer["offers"]))


def outcomes(answer: Document) -> Mapping[str, str]:
    """What became of each node."""
    return {entry["node"]: entry["outcome"] for entry in answer["federation"]["coverage"]}


def lake_node() -> PlainNode:
    """A node that takes SKAO and simple data."""
    return PlainNode(frozenset({SKAO_DATA, SIMPLE_DATA}))


async def asked(gateway: GatewayUnderTest, *data: Document, **more: Any) -> Document:
    """The answer to a request for these data."""
    answer = await gateway.ask(minimal_request(data=list(data), **more))
    assert answer.status == 303, answer.text
    document: Document = answer.document
    return document


async def test_protes_netloc_a_host_with_a_port_has_its_place_like_any_other(
    tmp_path: Path,
) -> None:
    """proTES ranks nothing once one URI has a port.

    Its distance middleware resolves ``netloc``, port included, so ``host:port`` raises and the
    whole ranking falls back to a random order, with a warning in the log alone
    (elixir-cloud-aai/proTES, pro_tes/plugins/middlewares/task_distribution/distance.py:231).
    """
    sites = {
        **SITES,
        "australia": SiteSettings(latitude=-31.9, longitude=115.8, hosts=("data.example.au",)),
    }
    data = {"kind": SIMPLE_DATA, "location": "https://data.example.au:8443/obs/f.fits"}
    async with (
        running(lake_node()) as one,
        running(lake_node()) as other,
        running_gateway(
            {"alpha": one.url, "gamma": other.url},
            tmp_path / "gateway",
            node_options={name: AT_SITES[name] for name in ("alpha", "gamma")},
            sites=sites,
        ) as gateway,
    ):
        orders = [order_of(await asked(gateway, data)) for _ in range(3)]
    assert orders == [["gamma", "alpha"]] * 3


async def test_protes_loop_one_dead_node_costs_its_own_offers_and_not_the_request(
    tmp_path: Path,
) -> None:
    """proTES fails the whole request when the node it tries first is down.

    The fallback loop catches ``requests.HTTPError`` only; a refused connection is another exception
    and leaves the loop (proTES, pro_tes/ga4gh/tes/task_runs.py:186,199; its users ask for "try the
    next if any is unavailable": proTES#16, #37).
    """
    with refuses() as dead:
        async with (
            running(hangs_before_headers) as hung,
            running(hangs_mid_body) as halted,
            running(lake_node()) as fine,
            running_gateway(
                {"dead": dead.url, "hung": hung.url, "halted": halted.url, "fine": fine.url},
                tmp_path / "gateway",
                # Those that fail are the nearest, and so would be tried first.
                node_options={
                    "dead": {"site": "uk"},
                    "hung": {"site": "uk"},
                    "halted": {"site": "uk"},
                    "fine": {"site": "australia"},
                },
                data_lake=lake_at(tmp_path, file_entry(500 * GB, "UK_RSE")),
                sites=SITES,
                federation=FederationSettings(deadline_s=0.7, connect_s=0.3),
            ) as gateway,
        ):
            began = monotonic()
            answer = await asked(gateway, skao())
            took_s = monotonic() - began
    assert order_of(answer) == ["fine"]
    assert outcomes(answer) == {
        "dead": "refused",
        "hung": "timeout",
        "halted": "timeout",
        "fine": "answered",
    }
    assert took_s < 2.0


def test_protes_kilometres_a_terabyte_far_away_outweighs_a_kilobyte_far_away() -> None:
    """proTES weighs a 1 kB index as much as a 1 TB cube: it sums kilometres, not bytes.

    (proTES, distance.py:190,276.) The cube lies in Australia, two small files in Europe: by
    kilometres a node in Europe is right, by time the one in Australia.
    """
    kilometres = {
        "uk": {"au": 14_500, "uk": 0, "se": 1_060},
        "au": {"au": 0, "uk": 14_500, "se": 13_800},
    }
    inputs = {"cube": ("au", TB), "index": ("uk", 1000), "list": ("se", 1000)}
    by_kilometres = min(
        kilometres, key=lambda node: sum(kilometres[node][where] for where, _ in inputs.values())
    )
    assert by_kilometres == "uk"
    result = placed(found(*(holding(part(size, where)) for where, size in inputs.values())))
    assert min(("uk", "au"), key=lambda node: result[node].staging_ms or 0) == "au"


def test_protes_minimum_the_nearest_of_several_replicas_counts_and_not_all_of_them() -> None:
    """proTES's docstring says "minimum"; no minimum over replicas is taken (distance.py:190)."""
    alone = placed(found(holding(part(TB, "uk"))))["se"]
    with_far_copy = placed(found(holding(part(TB, "uk", "au"))))["se"]
    assert with_far_copy.staging_ms == alone.staging_ms


def test_funnel_inert_ranking_is_not_ours() -> None:
    """Funnel's ranking does nothing: weights are nil, so each score is multiplied by zero, the
    averages are appended behind zeros made in advance, and the sort ascends.

    (ohsu-comp-bio/funnel b427ea1, compute/scheduler/default.go, scores.go; reasons are worked out
    and thrown away in predicates.go. Its users ask why: funnel#118.)
    """
    scores = {"near": 0.9, "far": 0.1}
    weights: dict[str, float] = {}
    inert = [0.0] * len(scores) + [score * weights.get(name, 0.0) for name, score in scores.items()]
    assert set(inert) == {0.0}
    near = Candidate("near", uuid(1), 0, Placement(0))
    far = Candidate("far", uuid(2), 0, Placement(10 * 3_600_000))
    for policy in POLICIES.values():
        for arrived in ([near, far], [far, near]):
            ranking = Ranking(arrived, policy)
            assert [scored.node for scored in ranking.ordered] == ["near", "far"], policy.name
            assert ranking.ordered[0].score > ranking.ordered[1].score
            assert all(ranking.reasons_of(scored) for scored in ranking.ordered)


async def test_rucio_7123_an_order_that_is_lost_is_said_to_be_lost(tmp_path: Path) -> None:
    """Rucio's clients got replicas in random order when the server had no geography, in silence.

    (rucio/rucio#7123: the order was lost and the errors hidden; #4832: sorting had no effect.)
    Here nobody knows where the sites are: the order does not pretend to be by distance, and says
    so; the replicas still come in the same order every time.
    """
    nowhere = {name: SiteSettings(rses=site.rses) for name, site in SITES.items()}
    node = lake_node()
    async with (
        running(node) as one,
        running_gateway(
            {"gamma": one.url},
            tmp_path / "gateway",
            node_options={"gamma": AT_SITES["gamma"]},
            data_lake=lake_at(tmp_path, file_entry(GB, "UK_RSE", "SE_RSE")),
            sites=nowhere,
        ) as gateway,
    ):
        answers = [await asked(gateway, skao()) for _ in range(3)]
    for answer in answers:
        placement = answer["offers"][0]["federation"]["placement"]
        assert placement["basis"] == "unknown"
        assert placement["staging_s"] is None
        assert placement["proximity"] is None
        codes = {why["code"] for why in answer["offers"][0]["federation"]["reasons"]}
        assert codes & {"only_a_bound", "unknown_quantity"}
        assert "nearest_data" not in codes
    told = [[r["rsename"] for r in sent["data"][0]["skao"]["replicas"]] for sent in node.requests]
    assert len(told) == 3
    assert all(order == told[0] for order in told)


async def test_skypilot_7849_data_count_without_anybody_declaring_their_size(
    tmp_path: Path,
) -> None:
    """SkyPilot has no data term unless the user declares inputs and their size, so almost everybody
    runs without one ("did I miss it?": skypilot-org/skypilot#7849); within one cloud it is zero
    even between continents (sky/optimizer.py).
    """
    async with (
        running(lake_node()) as one,
        running(lake_node()) as other,
        running_gateway(
            {"alpha": one.url, "gamma": other.url},
            tmp_path / "gateway",
            node_options={name: AT_SITES[name] for name in ("alpha", "gamma")},
            data_lake=lake_at(tmp_path, file_entry(2 * TB, "AU_RSE")),
            sites=SITES,
        ) as gateway,
    ):
        answer = await asked(gateway, skao())
    assert "datasize" not in skao()["skao"]
    assert order_of(answer) == ["gamma", "alpha"]
    far = answer["offers"][1]["federation"]["placement"]
    assert far["bytes_to_move"] == 2 * TB
    assert far["staging_s"] > 3600


def test_karmada_5011_one_node_of_which_nothing_is_known_changes_no_other() -> None:
    """Karmada drops an estimator's answer for all clusters when one of them fails, and takes every
    one to be unlimited (karmada-io/karmada, pkg/scheduler/core/util.go ``calAvailableReplicas``;
    "unschedulable" read as "no limit": karmada#5011). ARC takes a failed query for 0 bytes.
    """
    known = placed(found(holding(part(TB, "uk"))))
    candidates = [
        Candidate(site, uuid(number), 0, known[site].to_ranking())
        for number, site in enumerate(("uk", "se", "au"), start=1)
    ]
    failed = Candidate("failed", uuid(9), 0, Placement(None))
    for policy in POLICIES.values():
        alone = Ranking(candidates, policy).ordered
        beside = Ranking([failed, *candidates], policy).ordered
        assert [s for s in beside if s.node != "failed"] == list(alone)
        assert beside[0].node == "uk"


async def test_karmada_5011_a_lake_that_fails_for_one_resource_leaves_the_others_placed(
    tmp_path: Path,
) -> None:
    """The same at the edge: of two lakes one hangs, and what the other knows still counts."""
    async with running(hangs_before_headers) as hung, running(lake_node()) as node:
        (static,) = lake_at(tmp_path, file_entry(GB, "UK_RSE"))
        lakes = (
            RucioLakeSettings(
                url=hung.url,
                name="hung",
                username="u",
                password=Secret("p"),
                namespaces=("elsewhere",),
            ),
            static,
        )
        async with running_gateway(
            {"alpha": node.url},
            tmp_path / "gateway",
            node_options={"alpha": AT_SITES["alpha"]},
            data_lake=lakes,
            sites=SITES,
            placement=PlacementSettings(locate_s=0.3),
        ) as gateway:
            async with asyncio.timeout(5):
                strange = {
                    "kind": SKAO_DATA,
                    "skao": {"namespace": "elsewhere", "objectname": "x"},
                }
                answer = await asked(gateway, skao(), strange)
    placement = answer["offers"][0]["federation"]["placement"]
    assert placement["bytes_local"] == GB
    assert (placement["resources"], placement["unlocated"]) == (2, 1)
    said = {m["kind"].rpartition(":")[2] for m in answer["meta"]["messages"]}
    assert said & {"lake_timeout", "lake_unavailable"}
