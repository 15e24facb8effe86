"""The data of one request: each resource is answered for, by the lake that the client means."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from gateway.clients.lakes.base import DataLake
from gateway.clients.lakes.combined import CombinedLake, LakeRoute
from gateway.clients.lakes.static import StaticLake
from gateway.clock import SystemClock
from gateway.domain.holdings import Copy, Did, DidKind, Holding, Part, Place, Site
from gateway.domain.reasons import ReasonCode
from gateway.services.locating import Lakes, Locator, endpoint_key
from gateway.services.locating_metrics import LocatingMetrics
from gateway.services.locating_resources import HostSites
from gateway.services.locating_topology import DeclaredTopology, TopologyService
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA, SIMPLE_DATA, SKAO_DATA
from tests.support.lake_stubs import StubRucio, hangs, in_s
from tests.support.locating import guarded_rucio, views


def holding(scope: str, name: str, rse: str) -> Holding:
    part = Part(f"{scope}:{name}", 1, 1, (Copy(Place(rse=rse), 1, 1),))
    return Holding(Did(scope, name), DidKind.FILE, bytes=1, files=1, parts=(part,))


def locator(*lakes: DataLake, endpoints: dict[str, DataLake] | None = None) -> Locator:
    clock = SystemClock()
    by_endpoint = {endpoint_key(url): lake for url, lake in (endpoints or {}).items()}
    return Locator(
        Lakes(CombinedLake([LakeRoute(lake) for lake in lakes]), by_endpoint),
        TopologyService(DeclaredTopology(sites=(Site("uk"),)), clock),
        HostSites([("data.example.org", "uk")]),
        clock,
        LocatingMetrics(CollectorRegistry()),
    )


OURS = StaticLake("ours", [holding("test", "a", "UK")])
THEIRS = StaticLake("theirs", [holding("test", "a", "JP")])


async def test_every_resource_is_found_or_it_is_said_why_not() -> None:
    data = views(
        [
            {"kind": SKAO_DATA, "skao": {"namespace": "test", "objectname": "a"}},
            {"kind": SKAO_DATA, "skao": {"namespace": "test", "objectname": "nobody"}},
            {"kind": SKAO_DATA, "skao": {"namespace": "test"}},
            {"kind": SIMPLE_DATA, "location": "https://data.example.org/x"},
            {"kind": SIMPLE_DATA, "location": "https://elsewhere.example.net/x"},
            {"kind": IVOA_DATA, "ivoa": {"ivoid": "ivo://skao.net/data?test:a"}},
            {"kind": IVOA_DATA, "ivoa": {"ivoid": "ivo://example.org/data"}},
            {"kind": "https://example.org/a-new-kind"},
        ]
    )
    located = await locator(OURS).locate(data, in_s(1))
    assert sorted([*located.holdings, *located.missing]) == list(range(8))
    assert {index: one.did for index, one in located.holdings.items()} == {
        0: Did("test", "a"),
        3: None,
        5: Did("test", "a"),
    }
    assert located.holdings[3].parts[0].copies[0].place == Place(site="uk")
    assert located.missing[1].code is ReasonCode.DATA_NOT_FOUND
    assert {located.missing[index].code for index in (2, 4, 6, 7)} == {
        ReasonCode.DATA_PLACE_UNKNOWN
    }
    assert set(located.topology.sites) == {"uk"}


@pytest.mark.parametrize(
    ("endpoint", "rse"),
    [
        (None, "UK"),
        ("https://rucio.theirs.org", "JP"),
        ("https://RUCIO.theirs.org:443/some/path", "JP"),
        ("rucio.theirs.org", "JP"),
        ("https://rucio.ours.org:8443", "UK"),
    ],
)
async def test_the_rucio_that_the_client_names_is_asked(endpoint: str | None, rse: str) -> None:
    asked = locator(
        OURS,
        THEIRS,
        endpoints={"https://rucio.ours.org:8443": OURS, "https://rucio.theirs.org": THEIRS},
    )
    block = {"scope": "test", "object": "a"} | ({"endpoint": endpoint} if endpoint else {})
    located = await asked.locate(views([{"kind": RUCIO_DATA, "rucio": block}]), in_s(1))
    assert located.holdings[0].parts[0].copies[0].place.rse == rse


async def test_data_in_a_rucio_of_others_are_not_looked_for_in_ours() -> None:
    block = {"scope": "test", "object": "a", "endpoint": "https://rucio.elsewhere.org"}
    located = await locator(OURS).locate(views([{"kind": RUCIO_DATA, "rucio": block}]), in_s(1))
    assert located.missing[0].code is ReasonCode.DATA_PLACE_UNKNOWN


async def test_replicas_that_the_client_names_stand_in_for_a_lake_that_is_silent() -> None:
    skao = {
        "namespace": "test",
        "objectname": "a",
        "replicas": [{"rsename": "UK", "dataurl": "https://uk/a"}],
    }
    stub = StubRucio(faults={"/dids/bulkmeta": hangs})
    async with guarded_rucio(stub) as lake:
        began = asyncio.get_running_loop().time()
        located = await locator(lake).locate(views([{"kind": SKAO_DATA, "skao": skao}]), in_s(0.2))
        assert asyncio.get_running_loop().time() - began < 0.4
    assert located.holdings[0].parts[0].copies[0].place == Place(rse="UK")
    assert [note.code for note in located.notes] == [ReasonCode.LAKE_TIMEOUT]


async def test_the_same_data_twice_in_a_request_are_looked_up_once() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    resource = {"kind": SKAO_DATA, "skao": {"namespace": "test", "objectname": "a"}}
    async with guarded_rucio(stub) as lake:
        located = await locator(lake).locate(views([resource, resource]), in_s(2))
    assert set(located.holdings) == {0, 1}
    assert stub.calls["/replicas/list"] == 1


async def test_a_request_without_data_asks_nobody() -> None:
    located = await locator(OURS).locate([], in_s(1))
    assert (located.holdings, located.missing) == ({}, {})


@pytest.mark.parametrize("url", ["https://[bad", "https://x:y:z", "", "::"])
def test_an_endpoint_that_is_no_url_is_like_no_other(url: str) -> None:
    assert endpoint_key(url) != endpoint_key("https://rucio.example.org")
