"""Gateways in front of gateways: rings, diamonds, chains, and what each level says of the next."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.wire.documents import Document
from tests.api.gateway.test_acceptance import UNDERWAY
from tests.support.faulty_nodes import running as running_faulty
from tests.support.gateway import FEDERATION, GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.plain_node import PlainNode
from tests.support.proxy import Proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


@dataclass(slots=True)
class Hierarchy:
    """What was started so far, by name."""

    folder: Path
    stack: AsyncExitStack
    nodes: dict[str, NodeClient] = field(default_factory=dict)
    gateways: dict[str, GatewayUnderTest] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)

    async def node(self, name: str) -> None:
        """A quick node, and a proxy before it that counts its requests."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        node = await self.stack.enter_async_context(running_node(folder, node_settings(name=name)))
        node.auth = ADMIN
        self.nodes[name] = node
        await self.proxy(name, node.url)

    async def proxy(self, name: str, target: str) -> None:
        proxy = self.proxies[name] = Proxy(target)
        await proxy.open()
        self.stack.push_async_callback(proxy.close)

    async def gateway(self, key: str, *below: str, **federation: Any) -> GatewayUnderTest:
        """A gateway over nodes and gateways that are there already, by their proxies."""
        settings = replace(FEDERATION, **{"name": key, **federation})
        gateway = await self.stack.enter_async_context(
            running_gateway(
                {one: self.proxies[one].url for one in below},
                self.folder / key,
                federation=settings,
            )
        )
        self.gateways[key] = gateway
        if key in self.proxies:
            self.proxies[key].target = gateway.url
        else:
            await self.proxy(key, gateway.url)
        return gateway

    def asked(self, name: str) -> int:
        """How often the node was asked for offers."""
        return self.proxies[name].seen.count(("POST", "/requests"))


@asynccontextmanager
async def hierarchy(folder: Path) -> AsyncIterator[Hierarchy]:
    async with AsyncExitStack() as stack:
        yield Hierarchy(folder, stack)


def coverage_of(document: Document) -> Mapping[str, Document]:
    return {entry["node"]: entry for entry in document["federation"]["coverage"]}


def reasons_below(document: Document) -> set[str]:
    """Every reason code in the coverage of every level."""

    def codes(coverage: list[Document]) -> set[str]:
        found: set[str] = set()
        for entry in coverage:
            if entry["reason"]:
                found.add(entry["reason"]["code"])
            if entry.get("below"):
                found |= codes(entry["below"]["coverage"])
        return found

    return codes(document["federation"]["coverage"])


async def test_a_ring_of_three_gateways_answers_once_and_asks_nobody_twice(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        for name in ("alpha", "beta", "gamma"):
            await here.node(name)
        await here.proxy("one", "http://127.0.0.1:9")  # closes the ring once it is there
        await here.gateway("three", "gamma", "one")
        await here.gateway("two", "beta", "three")
        top = await here.gateway("one", "alpha", "two")
        answer = await top.ask(minimal_request(), "?limit=20")
        assert answer.status == 303, answer.text
        paths = {tuple(o["federation"]["path"]) for o in answer.document["offers"]}
        assert paths == {("alpha",), ("two", "beta"), ("two", "three", "gamma")}
        assert [here.asked(name) for name in ("alpha", "beta", "gamma")] == [1, 1, 1]
        assert here.asked("one") == 1, "the ring was gone round once"
        assert "path_loop" in reasons_below(answer.document), answer.text


async def test_a_node_behind_two_gateways_is_offered_once(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        for name in ("shared", "west-node", "east-node"):
            await here.node(name)
        await here.gateway("west", "shared", "west-node")
        await here.gateway("east", "shared", "east-node")
        top = await here.gateway("top", "west", "east", per_node=9)
        answer = await top.ask(minimal_request(), "?limit=50")
        assert answer.status == 303, answer.text
        ways = [tuple(o["federation"]["path"]) for o in answer.document["offers"]]
        assert {way[-1] for way in ways} == {"shared", "west-node", "east-node"}
        assert len({way for way in ways if way[-1] == "shared"}) == 1, "by one of its two ways"
        below = [coverage_of(answer.document)[name]["below"] for name in ("west", "east")]
        said = {
            (entry["outcome"], (entry["reason"] or {}).get("code"))
            for one in below
            for entry in one["coverage"]
            if entry["node"] == "shared"
        }
        assert said == {("answered", None), ("no", "node_said_no")}


async def test_a_node_that_cannot_tell_two_ways_apart_is_still_offered_once(
    tmp_path: Path,
) -> None:
    plain = PlainNode()
    async with running_faulty(plain) as node, hierarchy(tmp_path) as here:
        await here.proxy("shared", node.url)
        await here.gateway("west", "shared")
        top = await here.gateway("top", "west", "shared")
        answer = await top.ask(minimal_request(), "?limit=50")
        assert answer.status == 303, answer.text
        ways = {tuple(o["federation"]["path"]) for o in answer.document["offers"]}
        assert ways == {("shared",)}, "the shorter one"
        explained = await top.call(
            "GET", f"/offersets/{answer.document['meta']['uuid']}/explanation"
        )
        longer = [
            one
            for one in explained.document["rejected"]
            if any(why["code"] == "longer_way" for why in one["reasons"])
        ]
        assert [one["node"] for one in longer] == ["west"]

        async def is_let_go() -> bool:
            return bool(plain.sessions[longer[0]["offer"]]["phase"] == "REJECTED")

        await eventually(is_let_go)


async def test_a_gateway_reached_by_two_ways_asks_its_nodes_once(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        await here.node("alpha")
        await here.gateway("base", "alpha")
        await here.gateway("west", "base")
        await here.gateway("east", "base")
        top = await here.gateway("top", "west", "east")
        answer = await top.ask(minimal_request(), "?limit=50")
        assert answer.status == 303, answer.text
        assert answer.document["offers"]
        assert here.asked("base") == 2
        assert here.asked("alpha") == 1
        assert "asked_already" in reasons_below(answer.document)


async def test_two_gateways_that_are_called_alike_are_no_loop(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        await here.node("alpha")
        await here.gateway("below", "alpha", name="gateway")
        top = await here.gateway("above", "below", name="gateway")
        answer = await top.ask(minimal_request())
        assert answer.document["result"] == "YES", answer.text


async def test_a_chain_that_is_too_long_ends_and_says_so(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        await here.node("alpha")
        await here.node("beta")
        await here.gateway("fourth", "alpha", hop_limit=3)
        await here.gateway("third", "fourth", "beta", hop_limit=3)
        await here.gateway("second", "third", hop_limit=3)
        top = await here.gateway("first", "second", hop_limit=3)
        answer = await top.ask(minimal_request())
        assert answer.status == 303, answer.text
        ways = {tuple(o["federation"]["path"]) for o in answer.document["offers"]}
        assert ways == {("second", "third", "beta")}
        assert here.asked("alpha") == 0
        assert "hop_limit" in reasons_below(answer.document)


async def test_two_gateways_over_five_nodes_answer_accept_run_and_cancel_through_the_top(
    tmp_path: Path,
) -> None:
    async with hierarchy(tmp_path) as here:
        for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
            await here.node(name)
        base = await here.gateway("base", "gamma", "delta", "epsilon")
        top = await here.gateway("top", "alpha", "beta", "base", per_node=6)
        answer = await top.ask(minimal_request(), "?limit=50")
        offers = answer.document["offers"]
        assert {o["federation"]["path"][-1] for o in offers} == set(here.nodes)
        deep = [o for o in offers if o["federation"]["path"][0] == "base"]
        uuid = deep[0]["meta"]["uuid"]
        accepted = await top.move(uuid, "ACCEPTED")
        assert accepted.document["phase"] in UNDERWAY

        async def is_completed() -> bool:
            return bool((await top.read(uuid))["phase"] == "COMPLETED")

        await eventually(is_completed, 10.0)
        assert (await base.read(uuid))["phase"] == "COMPLETED"

        again = await top.ask(minimal_request(schedule={"requested": {"duration": "PT10M"}}))
        second = again.document["offers"][0]
        await top.move(second["meta"]["uuid"], "ACCEPTED")
        cancelled = await top.move(second["meta"]["uuid"], "CANCELLED")
        assert cancelled.document["phase"] == "CANCELLED", cancelled.text
        owner_of = here.nodes[second["federation"]["path"][-1]]

        async def is_cancelled() -> bool:
            return bool((await owner_of.session(second["meta"]["uuid"]))["phase"] == "CANCELLED")

        await eventually(is_cancelled)


async def test_explanations_nest_and_say_which_gateway_is_silent(tmp_path: Path) -> None:
    async with hierarchy(tmp_path) as here:
        for name in ("alpha", "beta"):
            await here.node(name)
        await here.gateway("lowest", "alpha")
        await here.gateway("middle", "lowest", "beta")
        top = await here.gateway("top", "middle")
        answer = await top.ask(minimal_request())
        path = f"/offersets/{answer.document['meta']['uuid']}/explanation"
        explained = await top.call("GET", path)
        [middle] = explained.document["below"]
        assert middle["node"] == "middle"
        assert {c["node"] for c in middle["explanation"]["candidates"]} == {"lowest", "beta"}
        [lowest] = middle["explanation"]["below"]
        assert {c["node"] for c in lowest["explanation"]["candidates"]} == {"alpha"}

        await here.proxies["lowest"].close()
        explained = await top.call("GET", path)
        [lowest] = explained.document["below"][0]["explanation"]["below"]
        assert lowest["reason"]["code"] == "connection_refused"


async def test_each_level_leaves_the_next_less_time(tmp_path: Path) -> None:
    plain = PlainNode()
    async with running_faulty(plain) as node, hierarchy(tmp_path) as here:
        await here.proxy("leaf", node.url)
        await here.gateway("lower", "leaf", margin_s=0.5)
        top = await here.gateway("upper", "lower", margin_s=0.5)
        answer = await top.ask(minimal_request(), prefer="wait=4")
        assert answer.status == 303, answer.text
        [asked] = [one for one in node.asked if one.path.startswith("/requests")]
        assert int(asked.headers["federation-budget-ms"]) <= 3500
        assert asked.headers["federation-path"].count(",") == 1
        assert asked.headers["federation-request"] == answer.document["meta"]["uuid"]
