"""Data on the way from request to offer: ranked by, limited by, told to nodes and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.sections.lake_settings import RucioLakeSettings, SiteSettings
from gateway.settings import FederationSettings, PlacementSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import (
    BYTES_TO_MOVE,
    DATA_PROXIMITY,
    IVOA_DATA,
    MINMAX_METRIC,
    RUCIO_DATA,
    SIMPLE_DATA,
    SKAO_DATA,
    STAGING_TIME,
)
from gateway.wire.secret import Secret
from tests.api.gateway.conftest import Federation, running_federation
from tests.support.faulty_nodes import hangs_before_headers, running
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.node import ALICE
from tests.support.plain_node import PlainNode
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


def wanting(*data: Document, **members: Any) -> Document:
    """A request for these data."""
    return minimal_request(data=list(data), **members)


def limit(type_: str, **bounds: float) -> Document:
    """A limit on a metric."""
    return {"kind": MINMAX_METRIC, "type": type_, **bounds}


@pytest.fixture
async def near_uk(tmp_path: Path) -> AsyncIterator[Federation]:
    """Three nodes at three sites; 500 GB lie at the first."""
    lake = lake_at(tmp_path, file_entry(500 * GB, "UK_RSE"), file_entry(GB, "AU_RSE", name="small"))
    async with running_federation(
        tmp_path, data_lake=lake, sites=SITES, node_options=AT_SITES
    ) as federation:
        yield federation


@asynccontextmanager
async def over(
    node: PlainNode, folder: Path, *entries: Document, **settings: Any
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over this one node, which is in Sweden."""
    options = {"site": "sweden", "simple_data": settings.pop("simple_data", False)}
    async with (
        running(node) as server,
        running_gateway(
            {"plain": server.url},
            folder / "gateway",
            node_options={"plain": options},
            data_lake=lake_at(folder, *entries),
            sites=SITES,
            **settings,
        ) as gateway,
    ):
        yield gateway


def best(answer: Document) -> dict[str, Document]:
    """The first offer of each node."""
    found: dict[str, Document] = {}
    for offer in answer["offers"]:
        found.setdefault(offer["federation"]["node"], offer)
    return found


def metrics_of(offer: Document) -> dict[str, float]:
    """The metrics by type; each is a value, not a range."""
    for metric in offer["metrics"]:
        assert metric["min"] == metric["max"]
    return {metric["type"]: metric["min"] for metric in offer["metrics"]}


async def test_the_node_where_the_data_lie_comes_first_and_says_why(near_uk: Federation) -> None:
    answer = (await near_uk.gateway.ask(wanting(skao()))).document
    offers = best(answer)
    assert list(offers) == ["alpha", "beta", "gamma"]
    codes = [why["code"] for why in offers["alpha"]["federation"]["reasons"]]
    assert "nearest_data" in codes
    assert "starts_soonest" in codes


async def test_an_offer_says_what_must_be_moved_how_long_it_takes_and_how_that_is_known(
    near_uk: Federation,
) -> None:
    offers = best((await near_uk.gateway.ask(wanting(skao()))).document)
    here, there = (offers[node]["federation"]["placement"] for node in ("alpha", "gamma"))
    assert here["bytes_to_move"] == 0
    assert here["bytes_local"] == here["bytes_total"] == 500 * GB
    assert here["proximity"] == 1.0
    assert there["bytes_to_move"] == 500 * GB
    assert there["staging_s"] > 900
    assert there["basis"] == "geography"
    metrics = metrics_of(offers["gamma"])
    assert metrics[BYTES_TO_MOVE] == 500.0 * GB
    assert metrics[STAGING_TIME] == there["staging_s"]
    assert metrics[DATA_PROXIMITY] == there["proximity"]
    assert metrics_of(offers["alpha"])[DATA_PROXIMITY] == 1.0


async def test_a_session_shows_the_same_as_its_offer(near_uk: Federation) -> None:
    offer = best((await near_uk.gateway.ask(wanting(skao()))).document)["gamma"]
    session = await near_uk.gateway.read(offer["meta"]["uuid"])
    assert metrics_of(session) == metrics_of(offer)
    assert session["federation"]["placement"] == offer["federation"]["placement"]


async def test_little_data_far_away_cost_little(near_uk: Federation) -> None:
    offers = best((await near_uk.gateway.ask(wanting(skao("small")))).document)
    assert next(iter(offers)) == "gamma"
    assert offers["alpha"]["federation"]["score"] > 0.9 * offers["gamma"]["federation"]["score"]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ([limit(STAGING_TIME, max=60)], {"alpha"}),
        ([limit(DATA_PROXIMITY, min=0.9)], {"alpha"}),
        ([limit(BYTES_TO_MOVE, max=1.0)], {"alpha"}),
        ([limit(STAGING_TIME, max=1e6)], {"alpha", "beta", "gamma"}),
    ],
)
async def test_a_request_can_set_limits_on_what_is_known_of_its_data(
    near_uk: Federation, limits: list[Document], kept: set[str]
) -> None:
    answer = (await near_uk.gateway.ask(wanting(skao(), metrics=limits))).document
    assert {offer["federation"]["node"] for offer in answer["offers"]} == kept
    dropped = {
        entry["node"]: entry["reason"]["code"]
        for entry in answer["federation"]["coverage"]
        if entry["reason"]
    }
    assert set(dropped) == {"alpha", "beta", "gamma"} - kept
    assert set(dropped.values()) <= {"no_fitting_offer"}


async def test_data_that_are_not_in_the_lake_are_said_not_to_be(near_uk: Federation) -> None:
    answer = (await near_uk.gateway.ask(wanting(skao(), skao("nowhere")))).document
    (said,) = [m for m in answer["meta"]["messages"] if m["kind"].endswith("data_not_found")]
    assert "test:nowhere" in said["message"]
    offer = best(answer)["alpha"]
    assert offer["federation"]["placement"]["unlocated"] == 1
    assert offer["federation"]["placement"]["proximity"] is None
    assert STAGING_TIME not in {metric["type"] for metric in offer.get("metrics", [])}
    codes = {why["code"] for why in offer["federation"]["reasons"]}
    assert not codes & {"nearest_data", "starts_soonest"}


async def test_a_limit_on_data_that_nobody_can_locate_is_noted_and_drops_nothing(
    near_uk: Federation,
) -> None:
    request = wanting(skao("nowhere"), metrics=[limit(STAGING_TIME, max=60)])
    answer = (await near_uk.gateway.ask(request)).document
    assert set(best(answer)) == {"alpha", "beta", "gamma"}
    reasons = answer["offers"][0]["federation"]["reasons"]
    assert "may_miss_metric_limit" in {why["code"] for why in reasons}


async def test_a_request_without_data_has_no_placement(near_uk: Federation) -> None:
    answer = (await near_uk.gateway.ask(wanting())).document
    assert all("placement" not in offer["federation"] for offer in answer["offers"])


async def test_without_a_lake_nothing_is_said_of_data(federation: Federation) -> None:
    answer = (await federation.gateway.ask(wanting(skao()))).document
    assert all("placement" not in offer["federation"] for offer in answer["offers"])


async def test_data_on_a_host_of_a_site_lie_there(tmp_path: Path) -> None:
    sites = {**SITES, "uk": SiteSettings(latitude=51.6, longitude=-1.3, hosts=("*.example.org",))}
    data = {"kind": SIMPLE_DATA, "location": "https://data.example.org/f.fits"}
    async with running_federation(tmp_path, sites=sites, node_options=AT_SITES) as federation:
        offers = best((await federation.gateway.ask(wanting(data))).document)
    assert offers["alpha"]["federation"]["placement"]["staging_s"] == 0
    assert offers["gamma"]["federation"]["placement"]["staging_s"] is None


async def test_each_node_is_told_of_the_replicas_nearest_to_it(tmp_path: Path) -> None:
    north, south = (PlainNode(frozenset({SKAO_DATA, IVOA_DATA})) for _ in range(2))
    entry = file_entry(GB, "UK_RSE", "AU_RSE", checksums={"adler32": "0a0b0c0d"})
    ivoa = {"kind": IVOA_DATA, "ivoa": {"ivoid": "ivo://skao.int/data?test:f1"}}
    async with (
        running(north) as one,
        running(south) as other,
        running_gateway(
            {"north": one.url, "south": other.url},
            tmp_path / "gateway",
            node_options={"north": {"site": "sweden"}, "south": {"site": "australia"}},
            data_lake=lake_at(tmp_path, entry),
            sites=SITES,
        ) as gateway,
    ):
        await gateway.ask(wanting(skao(), ivoa))
    for node, order in ((north, ["UK_RSE", "AU_RSE"]), (south, ["AU_RSE", "UK_RSE"])):
        for item in node.requests[0]["data"]:
            assert [replica["rsename"] for replica in item["skao"]["replicas"]] == order
            assert item["skao"]["datasize"] == GB
            assert item["skao"]["checksum"] == {"type": "adler32", "value": "0a0b0c0d"}
        assert node.requests[0]["data"][1]["kind"] == IVOA_DATA


async def test_no_client_learns_where_replicas_are(tmp_path: Path) -> None:
    node = PlainNode(frozenset({SKAO_DATA}))
    async with over(node, tmp_path, file_entry(GB, "UK_RSE", "SE_RSE")) as gateway:
        answer = await gateway.ask(wanting(skao()), account=ALICE)
        uuid, session = (
            answer.document["meta"]["uuid"],
            answer.document["offers"][0]["meta"]["uuid"],
        )
        await gateway.move(session, "ACCEPTED", account=ALICE)
        texts = [answer.text]
        for path in (
            f"/offersets/{uuid}",
            f"/offersets/{uuid}/explanation",
            f"/sessions/{session}",
            f"/data/{answer.document['offers'][0]['data'][0]['meta']['uuid']}",
        ):
            reply = await gateway.call("GET", path, account=ALICE)
            assert reply.status == 200, reply.text
            texts.append(reply.text)
    assert len(node.requests[0]["data"][0]["skao"]["replicas"]) == 2
    for text in texts:
        assert "_RSE" not in text
        assert "rse.example.org" not in text


async def test_who_may_see_replicas_does(tmp_path: Path) -> None:
    node = PlainNode(frozenset({SKAO_DATA}))
    allowed = PlacementSettings(shows_replicas=True)
    async with over(node, tmp_path, file_entry(GB, "UK_RSE"), placement=allowed) as gateway:
        answer = await gateway.ask(wanting(skao()))
    (item,) = answer.document["offers"][0]["data"]
    assert item["skao"]["replicas"][0]["rsename"] == "UK_RSE"


async def test_a_node_that_refuses_lake_data_can_serve_them_all_the_same(tmp_path: Path) -> None:
    """The upstream service answers NO to every SKAO or Rucio resource (contract §5.5)."""
    node = PlainNode()
    rucio = {"kind": RUCIO_DATA, "rucio": {"scope": "test", "object": "f2"}}
    data = [{**skao(), "meta": {"name": "obs"}}, rucio]
    entries = (file_entry(GB, "SE_RSE", "UK_RSE"), file_entry(GB, "UK_RSE", name="f2"))
    async with over(node, tmp_path, *entries, simple_data=True) as gateway:
        answer = (await gateway.ask(wanting(*data))).document
        assert answer["result"] == "YES", answer
        (offer,) = answer["offers"]
        await gateway.move(offer["meta"]["uuid"], "ACCEPTED")
        session = await gateway.read(offer["meta"]["uuid"])
    sent = node.requests[0]["data"]
    assert [item["kind"] for item in sent] == [SIMPLE_DATA, SIMPLE_DATA]
    assert sent[0]["location"] == "https://se-rse.example.org/f1"
    assert sent[0]["meta"] == {"name": "obs"}
    for shown in (offer, session):
        first, second = shown["data"]
        assert first["kind"] == SKAO_DATA
        assert first["skao"] == {"namespace": "test", "objectname": "f1"}
        assert first["meta"]["name"] == "obs"
        assert first["meta"]["uuid"]
        assert second["kind"] == RUCIO_DATA
        assert second["rucio"] == rucio["rucio"]
        assert all("location" not in item for item in shown["data"])


async def test_without_that_setting_such_a_node_says_no_and_is_believed(tmp_path: Path) -> None:
    async with over(PlainNode(), tmp_path, file_entry(GB, "SE_RSE")) as gateway:
        answer = (await gateway.ask(wanting(skao()))).document
    assert answer["result"] == "NO"


async def test_a_node_with_simple_data_is_not_held_to_have_refused_what_it_was_not_sent(
    tmp_path: Path,
) -> None:
    node = PlainNode()
    dataset = {**file_entry(GB, "SE_RSE", name="ds"), "kind": "DATASET", "files": 2}
    dataset["copies"] = [{"rse": "SE_RSE"}]
    entries = (file_entry(GB, "SE_RSE"), dataset)
    async with over(node, tmp_path, *entries, simple_data=True) as gateway:
        assert (await gateway.ask(wanting(skao("ds")))).document["result"] == "NO"
        assert (await gateway.ask(wanting(skao()))).document["result"] == "YES"


async def test_what_a_node_reports_as_staged_corrects_its_next_estimate(tmp_path: Path) -> None:
    node = PlainNode(frozenset({SKAO_DATA}), staged_bytes=100.0 * GB, staged_s=100_000.0)
    async with over(node, tmp_path, file_entry(100 * GB, "UK_RSE")) as gateway:
        offer = (await gateway.ask(wanting(skao()))).document["offers"][0]
        before = offer["federation"]["placement"]
        await gateway.move(offer["meta"]["uuid"], "ACCEPTED")

        async def is_learned() -> bool:
            await gateway.read(offer["meta"]["uuid"])
            (shown,) = (await gateway.call("GET", "/nodes")).document["nodes"]
            return bool(shown["staging"]["reports"])

        await eventually(is_learned)
        await gateway.read(offer["meta"]["uuid"])
        (shown,) = (await gateway.call("GET", "/nodes")).document["nodes"]
        after = (await gateway.ask(wanting(skao()))).document["offers"][0]["federation"][
            "placement"
        ]
    assert shown["staging"]["reports"] == 1
    assert shown["staging"]["rate_factor"] < 1
    assert after["correction"] < 1
    assert after["staging_s"] > before["staging_s"]
    assert after["bytes_to_move"] == before["bytes_to_move"]


async def test_a_lake_that_hangs_costs_its_budget_and_not_the_offers(tmp_path: Path) -> None:
    quick = PlacementSettings(locate_s=0.3)
    async with running(hangs_before_headers) as lake, running(PlainNode()) as node:
        rucio = RucioLakeSettings(url=lake.url, username="u", password=Secret("p"))
        async with running_gateway(
            {"plain": node.url},
            tmp_path / "gateway",
            data_lake=(rucio,),
            placement=quick,
            federation=FederationSettings(deadline_s=5.0),
        ) as gateway:
            began = monotonic()
            answer = await gateway.ask(wanting({"kind": SIMPLE_DATA, "location": "https://x/f"}))
            plain_s = monotonic() - began
            began = monotonic()
            answer = await gateway.ask(wanting(skao()))
            took_s = monotonic() - began
    assert plain_s < 0.3
    assert took_s < 1.5
    kinds = {m["kind"].rpartition(":")[2] for m in answer.document["meta"]["messages"]}
    assert kinds & {"lake_timeout", "lake_unavailable"}


async def test_locating_takes_no_more_than_its_share_of_a_short_wait(tmp_path: Path) -> None:
    async with running(hangs_before_headers) as lake, running(PlainNode()) as node:
        rucio = RucioLakeSettings(url=lake.url, username="u", password=Secret("p"))
        async with running_gateway(
            {"plain": node.url}, tmp_path / "gateway", data_lake=(rucio,)
        ) as gateway:
            began = monotonic()
            await gateway.ask(wanting(skao()), Prefer="wait=1")
            assert monotonic() - began < 1.2


async def test_a_late_offer_is_placed_like_the_others(tmp_path: Path) -> None:
    slow = PlainNode(frozenset({SKAO_DATA}))

    async def dawdle(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/requests"):
            await asyncio.sleep(0.5)
        await slow(asked, writer)

    async with (
        running(dawdle) as server,
        running(PlainNode(frozenset({SKAO_DATA}))) as quick,
        running_gateway(
            {"quick": quick.url, "slow": server.url},
            tmp_path / "gateway",
            node_options={"quick": {"site": "uk"}, "slow": {"site": "australia"}},
            data_lake=lake_at(tmp_path, file_entry(500 * GB, "AU_RSE")),
            sites=SITES,
            federation=FederationSettings(deadline_s=0.3, late_s=5.0),
        ) as gateway,
    ):
        answer = (await gateway.ask(wanting(skao()))).document
        assert [offer["federation"]["node"] for offer in answer["offers"]] == ["quick"]
        path = f"/offersets/{answer['meta']['uuid']}"

        async def has_both() -> bool:
            return len((await gateway.call("GET", path)).document["offers"]) == 2

        await eventually(has_both)
        late = (await gateway.call("GET", path)).document
        (entry,) = [n for n in (await _nodes(gateway)) if n["name"] == "slow"]
    assert [offer["federation"]["node"] for offer in late["offers"]] == ["slow", "quick"]
    assert late["offers"][0]["federation"]["placement"]["bytes_to_move"] == 0
    assert "replicas" not in late["offers"][0]["data"][0]["skao"]
    assert entry["track_record"]["late"] > 0.9
    assert entry["kept_share"] < 0.8


async def _nodes(gateway: GatewayUnderTest) -> list[Document]:
    nodes: list[Document] = (await gateway.call("GET", "/nodes")).document["nodes"]
    return nodes
