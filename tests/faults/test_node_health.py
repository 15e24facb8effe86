"""What the gateway does with a node that fails again and again: left alone, probed, taken back."""

import asyncio
from asyncio import StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from structlog.testing import capture_logs

from gateway.settings import FederationSettings, HealthSettings
from gateway.wire.documents import Document
from tests.support import faulty_nodes as nodes
from tests.support.faulty_nodes import Asked, Behaviour
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

DEADLINE_S: Final = 0.6
FEDERATION: Final = FederationSettings(deadline_s=DEADLINE_S, connect_s=0.5, late_s=0.5, limit=100)
STRICT: Final = HealthSettings(
    failures=3,
    failing_for_s=0,
    fair_wait_s=0.3,
    ejection_s=60,
    grace_s=0,
    probe_every_s=0,
    probe_wait_s=0.5,
)
"""Ejects after three failures, for longer than any test."""


class Switched:
    """A node that behaves as it is told at the moment; its health page answers while it is well."""

    def __init__(self, behaviour: Behaviour, *, is_well: bool = False) -> None:
        self.behaviour = behaviour
        self.is_well = is_well
        self.probes = 0

    async def __call__(self, asked: Asked, writer: StreamWriter) -> None:
        if asked.path != "/readyz":
            await self.behaviour(asked, writer)
            return
        self.probes += 1
        status = "200 OK" if self.is_well else "503 Service Unavailable"
        writer.write(nodes.http_reply(b"{}", status=status))


@asynccontextmanager
async def gateway_over(
    data_dir: Path,
    behaviours: Mapping[str, Behaviour],
    health: HealthSettings = STRICT,
    **settings: Any,
) -> AsyncIterator[GatewayUnderTest]:
    async with AsyncExitStack() as stack:
        urls = {
            name: (await stack.enter_async_context(nodes.running(behaviour))).url
            for name, behaviour in behaviours.items()
        }
        given: dict[str, Any] = {"federation": FEDERATION, "health": health} | settings
        yield await stack.enter_async_context(running_gateway(urls, data_dir, **given))


async def ask(gateway: GatewayUnderTest, query: str = "") -> dict[str, Document]:
    """Coverage by node, each of them there once."""
    answer = await gateway.ask(minimal_request(), query)
    document = answer.document
    entries = (document.get("federation") or document)["coverage"]
    by_node = {entry["node"]: entry for entry in entries}
    assert len(by_node) == len(entries)
    return by_node


def code(entry: Document) -> tuple[str, str | None]:
    return entry["outcome"], entry["reason"]["code"] if entry["reason"] else None


async def health_of(gateway: GatewayUnderTest, name: str) -> Document:
    listed = (await gateway.call("GET", "/nodes")).document["nodes"]
    health: Document = next(node["health"] for node in listed if node["name"] == name)
    return health


async def metric(gateway: GatewayUnderTest, line: str) -> float:
    text = (await gateway.call("GET", "/metrics")).text
    found = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line)]
    return float(found[0]) if found else 0.0


async def until_ejected(gateway: GatewayUnderTest, name: str) -> Document:
    async def look() -> Document | None:
        entry = (await ask(gateway))[name]
        return entry if code(entry) == ("skipped", "ejected") else None

    entry = await eventually(look, within_s=20.0)
    assert entry is not None
    return entry


async def test_an_ejected_node_costs_no_time_and_is_asked_when_it_is_named(tmp_path: Path) -> None:
    behaviours: dict[str, Behaviour] = {
        "alpha": nodes.healthy(),
        "hung": nodes.hangs_before_headers,
        "omega": nodes.healthy(),
    }
    async with gateway_over(tmp_path, behaviours) as gateway:
        began = monotonic()
        first = await ask(gateway)
        assert monotonic() - began >= DEADLINE_S, "it is waited for at first"
        assert code(first["hung"]) == ("timeout", "headers_timeout")
        entry = await until_ejected(gateway, "hung")
        assert entry["took_ms"] is None
        assert entry["reason"]["values"]["cause"] == "late"
        began = monotonic()
        coverage = await ask(gateway)
        assert monotonic() - began < DEADLINE_S / 2
        assert [coverage[name]["offers"] for name in ("alpha", "hung", "omega")] == [4, 0, 4]
        for query in ("?nodes=hung,alpha", "?require=hung"):
            coverage = await ask(gateway, query)
            assert code(coverage["hung"]) == ("timeout", "headers_timeout")
        line = 'execbroker_node_ejections_total{cause="late",node="hung"}'
        assert await metric(gateway, line) == 1
        assert await metric(gateway, 'execbroker_node_state{node="hung",state="ejected"}') == 1


async def test_a_node_that_is_well_again_comes_back_on_trial_and_is_trusted_after_answers(
    tmp_path: Path,
) -> None:
    ill = Switched(nodes.answers_500)
    behaviours: dict[str, Behaviour] = {
        "alpha": nodes.healthy(),
        "ill": ill,
        "omega": nodes.healthy(),
    }
    async with gateway_over(tmp_path, behaviours, replace(STRICT, ejection_s=0.2)) as gateway:
        await until_ejected(gateway, "ill")
        await until(lambda: ill.probes >= 2)
        assert (await health_of(gateway, "ill"))["state"] == "ejected"
        ill.behaviour, ill.is_well = nodes.healthy(), True

        async def is_back() -> bool:
            return bool((await health_of(gateway, "ill"))["cause"] == "returned")

        await eventually(is_back)
        for _ in range(3):
            assert code((await ask(gateway))["ill"]) == ("answered", None)
        health = await health_of(gateway, "ill")
        assert (health["state"], health["cause"]) == ("up", "answered")
        assert [change["state"] for change in health["changes"]] == ["up", "degraded", "ejected"]
        assert health["changes"][-1]["cause"] == "failing"
        assert await metric(gateway, 'execbroker_node_probes_total{node="ill",outcome="down"}') >= 2


async def test_a_node_that_looks_ready_and_fails_is_left_alone_for_longer_each_time(
    tmp_path: Path,
) -> None:
    liar = Switched(nodes.answers_500, is_well=True)
    behaviours: dict[str, Behaviour] = {"alpha": nodes.healthy(), "liar": liar}
    async with gateway_over(tmp_path, behaviours, replace(STRICT, ejection_s=0.1)) as gateway:

        async def is_ejected_again() -> bool:
            await ask(gateway)
            return bool((await health_of(gateway, "liar"))["ejections"] >= 3)

        await eventually(is_ejected_again, within_s=20.0)
        assert await metric(gateway, 'execbroker_node_ejections_total{cause="failing",node="l') >= 3


async def test_a_node_that_asks_to_be_left_alone_is_and_is_no_worse_for_it(tmp_path: Path) -> None:
    for status in ("503 Service Unavailable", "429 Too Many Requests"):
        busy = Switched(_busy(status))
        behaviours: dict[str, Behaviour] = {"alpha": nodes.healthy(), "busy": busy}
        async with gateway_over(tmp_path / status[:3], behaviours) as gateway:
            assert code((await ask(gateway))["busy"]) == ("error", "error_status")
            entry = (await ask(gateway, "?nodes=alpha,busy"))["busy"]
            assert code(entry) == ("skipped", "asked_to_wait")
            assert entry["reason"]["values"]["until"]
            assert (await health_of(gateway, "busy"))["state"] == "unknown"
            busy.behaviour = nodes.healthy()

            async def is_asked_again(gateway: GatewayUnderTest = gateway) -> bool:
                return code((await ask(gateway))["busy"]) == ("answered", None)

            await eventually(is_asked_again)


async def test_a_node_that_loses_a_call_in_five_is_never_left_alone(tmp_path: Path) -> None:
    count = 0

    async def lossy(asked: Asked, writer: StreamWriter) -> None:
        nonlocal count
        count += asked.path.startswith("/requests")
        await (nodes.healthy() if count % 5 else nodes.answers_500)(asked, writer)

    behaviours: dict[str, Behaviour] = {"alpha": nodes.healthy(), "lossy": lossy}
    async with gateway_over(tmp_path, behaviours) as gateway:
        outcomes = [(await ask(gateway))["lossy"]["outcome"] for _ in range(30)]
        assert outcomes.count("error") == 6
        assert outcomes.count("answered") == 24
        states = [change["state"] for change in (await health_of(gateway, "lossy"))["changes"]]
        assert states == ["up"]


async def test_a_dead_node_is_found_while_nobody_asks_for_anything(tmp_path: Path) -> None:
    with nodes.refuses() as dead:
        async with nodes.running(Switched(nodes.healthy(), is_well=True)) as well:
            urls = {"alpha": well.url, "dead": dead.url}
            health = replace(STRICT, probe_every_s=0.1, ejection_s=0.2)
            async with running_gateway(urls, tmp_path, health=health) as gateway:

                async def is_found() -> bool:
                    found = await health_of(gateway, "dead")
                    return bool(found["cause"] == "unreachable")

                await eventually(is_found)
                assert (await health_of(gateway, "alpha"))["state"] == "up"
                line = 'execbroker_node_probes_total{node="dead",outcome="refused"}'
                assert await metric(gateway, line) >= STRICT.failures
                assert [asked.path for asked in well.asked if asked.path != "/readyz"] == []


async def test_a_gateway_without_a_network_leaves_nobody_alone_and_says_so_once(
    tmp_path: Path,
) -> None:
    names = ("alpha", "beta", "gamma", "delta")
    behaviours = {name: Switched(nodes.healthy()) for name in names}
    async with gateway_over(tmp_path, behaviours) as gateway:
        await ask(gateway)
        for node in behaviours.values():
            node.behaviour = nodes.closes_before_headers
        with capture_logs() as logs:
            for _ in range(6):
                coverage = await ask(gateway)
                assert {entry["outcome"] for entry in coverage.values()} == {"error"}
        said = [log["why"] for log in logs if log["event"] == "node_ejections_withheld"]
        assert said == ["all_silent"]
        changed = [log["node"] for log in logs if log["event"] == "node_state_changed"]
        assert sorted(changed) == sorted(names), "each change is told once"
        for node in behaviours.values():
            node.behaviour = nodes.healthy()
        coverage = await ask(gateway)
        assert {entry["outcome"] for entry in coverage.values()} == {"answered"}


async def test_half_of_the_nodes_are_always_asked_whatever_they_do(tmp_path: Path) -> None:
    behaviours: dict[str, Behaviour] = {"well": nodes.healthy()}
    behaviours |= {f"bad-{number}": nodes.answers_500 for number in range(5)}
    async with gateway_over(tmp_path, behaviours) as gateway:
        for _ in range(8):
            await ask(gateway)
        coverage = await ask(gateway)
        outcomes = [entry["outcome"] for entry in coverage.values()]
        assert outcomes.count("skipped") == 3
        assert outcomes.count("error") == 2
        assert coverage["well"]["outcome"] == "answered"


async def test_an_acceptance_does_not_wait_behind_requests_that_hang(tmp_path: Path) -> None:
    node = Switched(nodes.answers_unchanged_to_accept())
    offers, behaviours = node.behaviour, {"alpha": node}

    async def hangs_over_requests(asked: Asked, writer: StreamWriter) -> None:
        is_request = asked.path.startswith("/requests")
        await (nodes.hangs_before_headers if is_request else offers)(asked, writer)

    async with gateway_over(
        tmp_path, behaviours, node_options={"alpha": {"max_in_flight": 8}}
    ) as gateway:
        answer = await gateway.ask(minimal_request())
        (offer,) = answer.document["offers"]
        node.behaviour = hangs_over_requests
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(gateway.ask(minimal_request()))

            async def is_full() -> bool:
                (listed,) = (await gateway.call("GET", "/nodes")).document["nodes"]
                return bool(listed["waiting"])

            await eventually(is_full, within_s=DEADLINE_S)
            began = monotonic()
            refused = await gateway.move(
                offer["meta"]["uuid"], "ACCEPTED", Prefer="handling=strict"
            )
            took_s = monotonic() - began
        assert refused.status == 409, "the node itself has said no"
        assert took_s < DEADLINE_S / 2


def _busy(status: str) -> Behaviour:
    async def behave(asked: Asked, writer: StreamWriter) -> None:
        del asked
        writer.write(nodes.http_reply(b"", status=status, headers="Retry-After: 1\r\n"))

    return behave
