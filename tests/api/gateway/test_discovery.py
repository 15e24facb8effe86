"""What the federation has to offer, told without asking any node for offers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.permissions import Names, Permissions, Rule
from gateway.settings import PlacementSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER, KIND_BASE, SIMPLE_COMPUTE, SIMPLE_DATA
from tests.api.gateway.conftest import Federation, running_federation
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.node import ALICE, BOB, NOBODY
from tests.support.problems import problem
from tests.support.requests import minimal_request

ABSTRACT_DATA = f"{KIND_BASE}/data/abstract-data-resource.yaml"
WITHOUT_BETA = Permissions(everyone=Rule(nodes=Names(deny=frozenset({"beta"}))))


@pytest.fixture
async def near_uk(tmp_path: Path) -> AsyncIterator[Federation]:
    """Three nodes at three sites; 500 GB lie at the first. Nobody may use the second."""
    lake = lake_at(tmp_path, file_entry(500 * GB, "UK_RSE"), file_entry(GB, "AU_RSE", name="small"))
    async with running_federation(
        tmp_path,
        data_lake=lake,
        sites=SITES,
        node_options=AT_SITES,
        permissions=WITHOUT_BETA,
        placement=PlacementSettings(shows_replicas=True),
    ) as federation:
        federation.gateway.account = ALICE
        yield federation


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway with one node, which is never heard from."""
    async with running_gateway({"alpha": "http://127.0.0.1:9"}, tmp_path) as gateway:
        gateway.account = ALICE
        yield gateway


async def get(gateway: GatewayUnderTest, path: str, **more: Any) -> Document:
    answer = await gateway.call("GET", path, **more)
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


async def kind(gateway: GatewayUnderTest, uri: str) -> dict[str, int]:
    (found,) = [
        one for one in (await get(gateway, "/discovery/kinds"))["kinds"] if one["kind"] == uri
    ]
    return {name: found[name] for name in ("nodes", "refusing", "unknown")}


async def test_a_kind_is_unknown_until_a_node_has_offered_it(federation: Federation) -> None:
    gateway = federation.gateway
    assert await kind(gateway, DOCKER_CONTAINER) == {"nodes": 0, "refusing": 0, "unknown": 3}
    request = minimal_request()
    assert (await gateway.ask(request, "?nodes=alpha,beta")).document["result"] == "YES"
    assert await kind(gateway, DOCKER_CONTAINER) == {"nodes": 2, "refusing": 0, "unknown": 1}
    request["executable"] = {"kind": "uri:own-kind"}
    assert (await gateway.ask(request, "?nodes=alpha")).document["result"] == "NO"
    assert await kind(gateway, "uri:own-kind") == {"nodes": 0, "refusing": 1, "unknown": 2}


async def test_nodes_are_told_with_what_they_know_and_not_where_they_are(
    near_uk: Federation,
) -> None:
    gateway = near_uk.gateway
    await gateway.ask(minimal_request(), "?nodes=alpha")
    listed = (await get(gateway, "/discovery/nodes"))["nodes"]
    assert [node["name"] for node in listed] == ["alpha", "gamma"]
    alpha = listed[0]
    assert alpha["site"] == "uk"
    assert alpha["state"] == "up"
    assert alpha["speed"] in {"quick", "moderate", "slow"}
    assert alpha["kinds"] == sorted([DOCKER_CONTAINER, SIMPLE_COMPUTE])
    assert "url" not in alpha
    assert listed[1]["speed"] == "unknown"


async def test_data_are_placed_for_every_node_that_may_be_used(near_uk: Federation) -> None:
    found = await get(near_uk.gateway, "/discovery/data?rucio_did=test:f1&rucio_did=test:gone")
    f1, gone = found["data"]
    assert (f1["id"], f1["is_found"], f1["bytes"]) == ("test:f1", True, 500 * GB)
    assert [replica["rse"] for replica in f1["replicas"]] == ["UK_RSE"]
    assert (gone["id"], gone["is_found"]) == ("test:gone", False)
    assert gone["reason"]["code"]
    assert [node["name"] for node in found["nodes"]] == ["alpha", "gamma"]
    # One of the two is nowhere, so nothing can be told of all of it.
    assert {node["proximity"] for node in found["nodes"]} == {None}

    found = await get(near_uk.gateway, "/discovery/data?rucio_did=test:f1")
    alpha, gamma = found["nodes"]
    assert (alpha["bytes_local"], alpha["bytes_to_move"], alpha["proximity"]) == (500 * GB, 0, 1.0)
    assert gamma["bytes_to_move"] == 500 * GB
    assert gamma["staging_s"] > alpha["staging_s"]

    found = await get(near_uk.gateway, "/discovery/data?ivoid=ivo://skao.int/data?test:small")
    assert [node["name"] for node in found["nodes"]] == ["gamma", "alpha"]


async def test_replicas_are_nobodys_business_unless_the_settings_say_so(tmp_path: Path) -> None:
    lake = lake_at(tmp_path, file_entry(GB, "UK_RSE"))
    async with running_gateway({}, tmp_path / "gateway", data_lake=lake, sites=SITES) as gateway:
        found = await gateway.call("GET", "/discovery/data?rucio_did=test:f1", account=ALICE)
        (data,) = found.document["data"]
        assert data["is_found"]
        assert "replicas" not in data
        assert "UK_RSE" not in found.text
        problem(await gateway.call("GET", "/discovery/data", account=NOBODY), 401)


async def test_without_a_data_lake_nothing_is_known_of_data(lone: GatewayUnderTest) -> None:
    found = await get(lone, "/discovery/data?rucio_did=a:b")
    assert found["data"] == [{"id": "a:b", "is_found": False, "reason": None}]
    assert found["nodes"] == []


@pytest.mark.parametrize(
    "query",
    ["rucio_did=x", "rucio_did=a:", "ivoid=http://x", "ivoid=", "did=a:b", "rucio_did=a:b%20c"],
)
async def test_what_identifies_nothing_is_refused(lone: GatewayUnderTest, query: str) -> None:
    problem(await lone.call("GET", f"/discovery/data?{query}"), 400)


async def estimate(gateway: GatewayUnderTest, request: Document, query: str = "") -> Document:
    answer = await gateway.call("POST", f"/discovery/estimate{query}", request)
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


async def test_an_estimate_asks_nobody_and_says_whom_it_would(near_uk: Federation) -> None:
    request = minimal_request(data=[skao("f1")])
    found = await estimate(near_uk.gateway, request, "?policy=soonest&limit=3&nodes=alpha,beta")
    assert found["is_permitted"] is True
    assert (found["policy"], found["limit"]) == ("soonest", 3)
    (alpha,) = found["asked"]
    assert (alpha["node"], alpha["is_first"]) == ("alpha", True)
    assert alpha["placement"]["bytes_local"] == 500 * GB
    assert {one["node"]: one["reason"]["code"] for one in found["skipped"]} == {
        "beta": "node_not_permitted",
        "gamma": "not_wanted",
    }
    at_alpha = near_uk.nodes["alpha"]
    assert 'route="/requests"' not in await at_alpha.text("/metrics")
    await near_uk.gateway.ask(request)
    assert 'route="/requests"' in await at_alpha.text("/metrics")


async def test_an_estimate_agrees_with_what_happens(near_uk: Federation) -> None:
    request = minimal_request(data=[skao("f1")])
    estimated = await estimate(near_uk.gateway, request)
    happened = (await near_uk.gateway.ask(request)).document
    coverage = {one["node"]: one["outcome"] for one in happened["federation"]["coverage"]}
    assert {one["node"] for one in estimated["asked"]} == {
        name for name, outcome in coverage.items() if outcome != "skipped"
    }
    assert {one["node"] for one in estimated["skipped"]} == {"beta"}
    placements = {one["node"]: one["placement"] for one in estimated["asked"]}
    for offer in happened["offers"]:
        node = offer["federation"]["node"]
        assert offer["federation"]["placement"] == placements[node]


async def test_an_estimate_of_a_template_leaves_out_what_is_open(tmp_path: Path) -> None:
    request = minimal_request(data=[{"kind": ABSTRACT_DATA, "meta": {"name": "input"}}])
    # A placeholder is no kind of data: neither rules nor nodes can know it.
    only_urls = Permissions(everyone=Rule(kinds=Names(allow=frozenset({SIMPLE_DATA}))))
    nodes = {"alpha": "http://127.0.0.1:9"}
    async with running_gateway(nodes, tmp_path, permissions=only_urls) as gateway:
        gateway.account = ALICE
        found = await estimate(gateway, request)
    assert found["is_permitted"]
    assert [place["path"] for place in found["placeholders"]] == ["data[0]"]
    assert [one["node"] for one in found["asked"]] == ["alpha"]


async def test_an_estimate_says_that_the_request_would_be_refused(tmp_path: Path) -> None:
    rules = Permissions(everyone=Rule(may_submit=False))
    async with running_gateway({}, tmp_path, permissions=rules) as gateway:
        gateway.account = BOB
        found = await estimate(gateway, minimal_request())
        assert found["is_permitted"] is False
        assert found["refusal"]["status"] == 403
        assert found["asked"] == []


async def test_estimates_are_checked_like_requests(lone: GatewayUnderTest) -> None:
    path = "/discovery/estimate"
    problem(await lone.call("POST", path, minimal_request(), account=NOBODY), 401)
    problem(await lone.call("POST", path, {"executable": {}}), 400)
    problem(await lone.call("POST", f"{path}?nodes=nobody", minimal_request()), 400)
    problem(await lone.call("POST", f"{path}?policy=nonsense", minimal_request()), 400)
