"""Whatever a data lake does, requests are answered in time, say so, and tell nobody's secrets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.domain.reasons import MESSAGE_KIND_BASE
from gateway.sections.lake_settings import (
    LocatingSettings,
    RucioLakeSettings,
    SiteCapabilitiesSettings,
    SiteSettings,
)
from gateway.settings import FederationSettings, PlacementSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import SKAO_DATA
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import (
    Behaviour,
    closes_before_headers,
    closes_mid_body,
    huge_body,
    refuses,
    running,
    speaks_no_http,
)
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_stubs import (
    SCOPE,
    StubRucio,
    chunked,
    drips,
    fails,
    hangs,
    lines,
    says,
)
from tests.support.plain_node import PlainNode
from tests.support.requests import minimal_request

BUDGET_S = 0.4
MARGIN_S = 1.0
"""What the gateway takes besides, on a machine that does other things too."""

SITES = {
    "uk": SiteSettings(latitude=51.6, longitude=-1.3, rses=("UK",)),
    "japan": SiteSettings(latitude=35.7, longitude=139.5, rses=("JP",)),
}
LATER = LocatingSettings(failing_s=0.3, failures=2, rest_s=60.0)


def wanting(*names: str) -> Document:
    """A request for objects of the lake."""
    data: list[Any] = [
        {
            "kind": SKAO_DATA,
            "meta": {"name": name},
            "skao": {"namespace": SCOPE, "objectname": name},
        }
        for name in names
    ]
    return minimal_request(data=data)


@asynccontextmanager
async def over(
    lake_url: str, folder: Path, node: PlainNode | None = None, **more: Any
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over a node in Japan and the lake at this URL."""
    lake = RucioLakeSettings(
        url=lake_url, username="gateway", password=Secret("p4ssw0rd"), links=False
    )
    settings: dict[str, Any] = {
        "data_lake": (lake,),
        "sites": SITES,
        "locating": LATER,
        "placement": PlacementSettings(locate_s=BUDGET_S),
        "federation": FederationSettings(deadline_s=5.0, connect_s=2.0),
    }
    async with (
        running(node or PlainNode(frozenset({SKAO_DATA}))) as server,
        running_gateway(
            {"plain": server.url},
            folder,
            node_options={"plain": {"site": "japan"}},
            **settings | more,
        ) as gateway,
    ):
        yield gateway


def codes(answer: Document) -> set[str]:
    """The reasons among the messages of an answer."""
    kinds = (message["kind"] for message in answer["meta"].get("messages", ()))
    return {kind.removeprefix(MESSAGE_KIND_BASE) for kind in kinds}


KNOWN = StubRucio(files={"a": ("UK",)})
ROW = lines(KNOWN._meta("a"))

SLOW_TO_FIND = frozenset({"lake_timeout"})
"""Some faults may be found out before or after the time is up."""

FAULTS: list[tuple[str, Behaviour, frozenset[str]]] = [
    ("hung", hangs, SLOW_TO_FIND),
    ("dripping", drips(ROW), SLOW_TO_FIND),
    ("cut", chunked(ROW, is_whole=False), frozenset({"lake_invalid_answer"})),
    ("half", closes_mid_body, frozenset({"lake_invalid_answer"})),
    ("mute", closes_before_headers, frozenset({"lake_invalid_answer"})),
    ("garbage", says(b"{\xff"), frozenset({"lake_invalid_answer"})),
    ("another protocol", speaks_no_http, frozenset({"lake_invalid_answer"})),
    ("endless", huge_body(64 << 20, says_length=False), SLOW_TO_FIND | {"lake_invalid_answer"}),
    ("failing", fails("500 Internal Server Error"), frozenset({"lake_failed"})),
    ("overloaded", fails("503 Service Unavailable"), SLOW_TO_FIND | {"lake_failed"}),
    ("locked", fails("401 Unauthorized"), frozenset({"lake_refused_credentials"})),
    ("moved", says(b"", "302 Found", Location="http://192.0.2.1/"), frozenset({"lake_failed"})),
]


@pytest.mark.parametrize(
    ("fault", "named"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
async def test_a_lake_in_trouble_delays_no_answer_and_is_named(
    fault: Behaviour, named: frozenset[str], tmp_path: Path
) -> None:
    stub = StubRucio(files={"a": ("UK",)}, faults={"/dids/bulkmeta": fault})
    async with running(stub) as server, over(server.url, tmp_path) as gateway:
        began = monotonic()
        answer = await gateway.ask(wanting("a"))
        took_s = monotonic() - began
    assert answer.status == 303, answer.text
    assert answer.document["offers"], "the node could run it all the same"
    assert took_s < BUDGET_S + MARGIN_S
    assert codes(answer.document) & named
    placement = answer.document["offers"][0]["federation"]["placement"]
    assert placement["staging_s"] is None
    assert placement["basis"] == "unknown"


async def test_a_lake_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with refuses() as nobody:
        async with over(nobody.url, tmp_path) as gateway:
            began = monotonic()
            answer = await gateway.ask(wanting("a"))
            assert monotonic() - began < MARGIN_S
    assert "lake_unavailable" in codes(answer.document)
    assert answer.document["offers"]


async def test_a_lake_that_hangs_delays_the_first_requests_and_not_the_next(
    tmp_path: Path,
) -> None:
    stub = StubRucio(faults={"/dids/bulkmeta": hangs})
    async with running(stub) as server, over(server.url, tmp_path) as gateway:
        for name in ("a", "b"):
            await gateway.ask(wanting(name))
        began = monotonic()
        answer = await gateway.ask(wanting("c"))
        took_s = monotonic() - began
        metrics = (await gateway.call("GET", "/metrics")).text
    assert "lake_resting" in codes(answer.document)
    assert took_s < BUDGET_S
    assert 'execbroker_lake_resting{lake="rucio"} 1.0' in metrics


async def test_a_lake_that_fails_later_leaves_old_answers_that_are_marked(
    tmp_path: Path,
) -> None:
    stub = StubRucio(files={"a": ("UK",)})
    soon_old = LocatingSettings(closed_s=0.01, failures=100)
    async with (
        running(stub) as server,
        over(server.url, tmp_path, locating=soon_old) as gateway,
    ):
        first = (await gateway.ask(wanting("a"))).document
        stub.faults["/"] = fails("500 Internal Server Error")
        await asyncio.sleep(0.02)
        second = (await gateway.ask(wanting("a"))).document
    moved = [
        answer["offers"][0]["federation"]["placement"]["bytes_to_move"]
        for answer in (first, second)
    ]
    assert moved == [1000, 1000]
    assert "locations_stale" not in codes(first)
    assert {"locations_stale", "lake_failed"} <= codes(second)


async def test_half_an_answer_is_used_for_what_it_is_about(tmp_path: Path) -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"slow": ("a",)})
    stub.faults[f"/replicas/{SCOPE}/slow/"] = hangs
    async with running(stub) as server, over(server.url, tmp_path) as gateway:
        answer = (await gateway.ask(wanting("a", "slow"))).document
    placement = answer["offers"][0]["federation"]["placement"]
    assert (placement["resources"], placement["unlocated"]) == (2, 1)
    assert placement["bytes_total"] == 1000
    assert "lake_timeout" in codes(answer)


async def test_a_catalogue_of_sites_that_hangs_delays_nothing(tmp_path: Path) -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with running(stub) as server, running(hangs) as hung:
        topology = SiteCapabilitiesSettings(url=hung.url)
        async with over(server.url, tmp_path, topology=topology) as gateway:
            began = monotonic()
            answer = (await gateway.ask(wanting("a"))).document
            assert monotonic() - began < MARGIN_S
            assert (await gateway.call("GET", "/readyz")).status == 200
    assert answer["offers"][0]["federation"]["placement"]["bytes_to_move"] == 1000


async def test_where_replicas_lie_is_told_to_nodes_and_to_nobody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"d": ("a",)})
    node = PlainNode(frozenset({SKAO_DATA}))
    url = stub._replica("a")["rses"]["UK"][0]
    async with running(stub) as server, over(server.url, tmp_path, node) as gateway:
        answer = await gateway.ask(wanting("a", "d", "nobody"))
        uuid = answer.document["meta"]["uuid"]
        read = [
            await gateway.call("GET", path)
            for path in (
                f"/offersets/{uuid}",
                f"/offersets/{uuid}/explanation",
                f"/sessions/{answer.document['offers'][0]['meta']['uuid']}",
                "/nodes",
                "/metrics",
            )
        ]
    assert url in str(node.requests), "the node needs to know"
    shown = "".join(one.text for one in (answer, *read))
    written = "".join(capfd.readouterr())
    assert url not in shown + written
    assert "p4ssw0rd" not in shown + written
    assert not any(token in shown + written for token in stub.logins)
