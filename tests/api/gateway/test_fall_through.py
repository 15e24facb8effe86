"""An acceptance that may fall to the next offer of the set, as far as the client lets it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire import kinds
from node_stub.config import FigureSettings
from node_stub.rules import Figure
from tests.support.crashing import is_update, ran_at
from tests.support.faulty_nodes import answers_unchanged_to_accept, running
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.lost_node import kinds_of
from tests.support.node import ADMIN, BOB, NodeClient, node_settings, running_node
from tests.support.pair import LASTING, PATIENT, STRICT
from tests.support.proxy import Proxy, Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

UNDERWAY: Final = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING"}
TAKEN: Final = UNDERWAY | {"COMPLETED"}
IN_AN_HOUR: Final = "2126-08-03T09:00:00Z"


@dataclass(slots=True)
class Market:
    """A gateway over nodes that ask different prices, each behind a breakable network."""

    gateway: GatewayUnderTest
    at: Path
    nodes: dict[str, NodeClient] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    offers: dict[str, str] = field(default_factory=dict)

    async def accept(self, node: str, query: str, **headers: Any) -> Answer:
        """Accept the offer of that node, or what it may fall to."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"}
        path = f"/sessions/{self.offers[node]}{query}"
        return await self.gateway.call("POST", path, update, **(STRICT | headers))

    async def phase(self, node: str) -> str:
        """What the gateway shows of that node's offer."""
        return str((await self.gateway.read(self.offers[node]))["phase"])

    def ran(self) -> set[str]:
        """Every session that a node ever took up."""
        return {uuid for name in self.nodes for uuid in ran_at(self.at / name)}


@asynccontextmanager
async def market(tmp_path: Path, **prices: float | None) -> AsyncIterator[Market]:
    """Nodes of these names and prices; ``stubborn`` never keeps to its offer, which costs 0.5."""
    async with AsyncExitStack() as stack:
        stubborn = await stack.enter_async_context(running(answers_unchanged_to_accept()))
        urls, nodes, proxies = {"stubborn": stubborn.url}, {}, {}
        for name, price in prices.items():
            figures = (Figure(kinds.MONETARY_COST, price, price),) if price is not None else ()
            (tmp_path / name).mkdir()
            settings = node_settings(name=name, costs=FigureSettings(session=figures))
            node = await stack.enter_async_context(running_node(tmp_path / name, settings))
            node.auth = ADMIN
            nodes[name] = node
            proxies[name] = await stack.enter_async_context(running_proxy(node.url))
            urls[name] = proxies[name].url
        gateway = await stack.enter_async_context(
            running_gateway(urls, tmp_path / "gateway", sessions=PATIENT, commands=LASTING)
        )
        answer = await gateway.ask(minimal_request(), "?per_node=1&policy=cheapest")
        assert answer.status == 303, answer.text
        offers = {o["federation"]["node"]: o["meta"]["uuid"] for o in answer.document["offers"]}
        yield Market(gateway, tmp_path, nodes, proxies, offers)


async def test_an_acceptance_falls_to_the_next_offer_that_is_no_worse(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4, dear=0.6) as it:
        answer = await it.accept("stubborn", "?fall_through=3")
        assert answer.status == 200, answer.text
        uuid = it.offers["cheap"]
        assert answer.document["meta"]["uuid"] == uuid
        assert answer.document["phase"] in TAKEN
        assert answer.headers["Content-Location"] == f"{it.gateway.url}/sessions/{uuid}"
        (tried,) = [
            said
            for said in answer.document["meta"]["messages"]
            if said["kind"] == "urn:accept-attempt"
        ]
        assert tried["values"]["node"] == "stubborn"
        assert tried["values"]["session"] == it.offers["stubborn"]
        assert await it.phase("dear") == "REJECTED"
        assert await it.phase("stubborn") == "REJECTED"
        assert it.ran() == {uuid}


async def test_an_offer_that_is_kept_to_is_the_one_accepted(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4, dear=0.6) as it:
        answer = await it.accept("dear", "?fall_through=3")
        assert answer.document["meta"]["uuid"] == it.offers["dear"]
        assert answer.headers["Content-Location"].endswith(it.offers["dear"])
        assert "urn:accept-attempt" not in kinds_of(answer.document)


@pytest.mark.parametrize(
    ("price", "query"),
    [
        pytest.param(0.6, "?fall_through=3", id="dearer-than-the-offer"),
        pytest.param(None, "?fall_through=3", id="of-unknown-cost"),
        pytest.param(0.4, "?fall_through=3&max_cost=0.3", id="dearer-than-said"),
        pytest.param(
            0.4, "?fall_through=3&start_before=2026-01-01T00:00:00Z", id="later-than-said"
        ),
        pytest.param(0.4, "", id="not-allowed-at-all"),
    ],
)
async def test_an_acceptance_falls_no_farther_than_it_may(
    tmp_path: Path, price: float | None, query: str
) -> None:
    async with market(tmp_path, other=price) as it:
        answer = await it.accept("stubborn", query)
        assert answer.status == 409, answer.text
        assert answer.document["type"].endswith("node-refused")
        assert await it.phase("other") == "OFFERED"
        assert it.ran() == set()
        if query:
            assert [said["values"]["node"] for said in answer.document["attempts"]] == ["stubborn"]
            assert answer.document["session"] == it.offers["stubborn"]


@pytest.mark.parametrize("query", ["&max_cost=0.7", f"&max_cost=0.6&start_before={IN_AN_HOUR}"])
async def test_an_acceptance_falls_as_far_as_it_may(tmp_path: Path, query: str) -> None:
    async with market(tmp_path, dear=0.6) as it:
        answer = await it.accept("stubborn", "?fall_through=1" + query)
        assert answer.status == 200, answer.text
        assert answer.document["meta"]["uuid"] == it.offers["dear"]


async def test_a_lenient_client_is_shown_the_offer_and_what_was_tried(tmp_path: Path) -> None:
    async with market(tmp_path, dear=0.6) as it:
        answer = await it.accept("stubborn", "?fall_through=2", Prefer="resubmit")
        assert answer.status == 200
        assert answer.document["phase"] == "OFFERED"
        assert {"urn:node-refused", "urn:accept-attempt"} <= kinds_of(answer.document)


async def test_the_same_acceptance_again_comes_to_the_same_session(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4) as it:
        first = await it.accept("stubborn", "?fall_through=1")
        again = await it.accept("stubborn", "?fall_through=1")
        assert first.status == again.status == 200, again.text
        assert first.document["meta"]["uuid"] == again.document["meta"]["uuid"]
        assert it.ran() == {it.offers["cheap"]}


async def test_an_acceptance_that_may_have_come_through_falls_nowhere(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4, dear=0.6) as it:
        it.proxies["dear"].applies_to = is_update
        it.proxies["dear"].weather = Weather.FAILS
        answer = await it.accept("dear", "?fall_through=3")
        assert answer.status == 503, answer.text
        assert answer.document["type"].endswith("accept-pending")
        assert answer.document["session"] == it.offers["dear"]
        assert [said["values"]["node"] for said in answer.document["attempts"]] == ["dear"]
        assert (await it.accept("cheap", "")).status == 409
        it.proxies["dear"].weather = Weather.FINE

        async def is_taken() -> bool:
            return await it.phase("dear") in TAKEN

        await eventually(is_taken)
        assert it.ran() == {it.offers["dear"]}


async def test_an_offer_whose_node_cannot_be_reached_is_left_for_the_next(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4, dear=0.6) as it:
        await it.proxies["dear"].close()
        answer = await it.accept("dear", "?fall_through=3")
        assert answer.status == 200, answer.text
        # Of the two that are no dearer, the one that keeps to its offer.
        assert answer.document["meta"]["uuid"] == it.offers["cheap"]
        assert await it.phase("dear") == "CANCELLED"
        await it.proxies["dear"].open()

        async def is_let_go() -> bool:
            session = await it.nodes["dear"].session(it.offers["dear"])
            return session["phase"] in {"CANCELLED", "REJECTED"}

        await eventually(is_let_go)
        assert it.ran() == {it.offers["cheap"]}


async def test_an_offer_whose_node_cannot_be_reached_is_waited_for_where_there_is_no_other(
    tmp_path: Path,
) -> None:
    async with market(tmp_path, cheap=0.4) as it:
        await it.proxies["cheap"].close()
        answer = await it.accept("cheap", "?fall_through=3")
        assert answer.status == 503, answer.text
        await it.proxies["cheap"].open()

        async def is_taken() -> bool:
            return await it.phase("cheap") in TAKEN

        await eventually(is_taken)


async def test_only_the_owner_accepts_whatever_it_may_fall_to(tmp_path: Path) -> None:
    async with market(tmp_path, cheap=0.4) as it:
        answer = await it.accept("stubborn", "?fall_through=3", account=BOB)
        assert answer.status == 403
        assert await it.phase("cheap") == "OFFERED"


@pytest.mark.parametrize(
    "query",
    [
        "?max_cost=1",
        "?fall_through=0",
        "?fall_through=11",
        "?fall_through=2&max_cost=-1",
        "?fall_through=2&max_cost=nan",
        "?fall_through=2&start_before=tomorrow",
        "?fall_through=2&start_before=2026-02-30T00:00:00Z",
        "?fall_through=2&farther=1",
    ],
)
async def test_limits_that_mean_nothing_are_refused(tmp_path: Path, query: str) -> None:
    async with (
        running(answers_unchanged_to_accept()) as node,
        running_gateway({"node": node.url}, tmp_path) as gateway,
    ):
        offers = (await gateway.ask(minimal_request())).document["offers"]
        it = Market(gateway, tmp_path, offers={"node": offers[0]["meta"]["uuid"]})
        answer = await it.accept("node", query)
        assert answer.status in {400, 422}, answer.text
        assert answer.document["errors"]
        assert not [asked for asked in node.asked if asked.path.startswith("/sessions")]
