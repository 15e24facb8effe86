"""A session that alpha has accepted, beta to go on at, and the network before each of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.settings import SessionSettings
from gateway.wire.documents import Document
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from tests.support.crashing import ran_at
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, QUICK, NodeClient, node_settings, running_node
from tests.support.pair import LASTING
from tests.support.proxy import Proxy, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

GRACE_S: Final = 0.6
"""Many looks long: a node that answers one of them in time is not lost."""

WATCHFUL: Final = SessionSettings(
    fresh_s=0.0,
    read_deadline_s=1.0,
    update_deadline_s=2.0,
    follow_s=0.1,
    resubmit_after_s=GRACE_S,
)
"""Looks often, and judges soon."""

PATIENT_GRACE: Final = replace(WATCHFUL, resubmit_after_s=60.0)
"""Looks often, and judges nobody within a test."""

NEVER_RUNS: Final = SimulatedSettings(
    prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.PREPARE})
)
"""Work that is prepared for ever."""

RUNS_ON: Final = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))
"""Work that ends only when it is cancelled."""

RUNS_LATER: Final = SimulatedSettings(
    prepare_s=1.5, run_s=0, release_s=0, hang=frozenset({JobStep.RUN})
)
"""Work that begins once its node has been lost for longer than the grace."""

WISH: Final = {"Prefer": "resubmit, handling=strict"}
"""As the owner says it, so that a refusal is seen."""


def kinds_of(document: Document) -> set[str]:
    """The kinds of the messages of a session."""
    return {said["kind"] for said in document["meta"].get("messages", [])}


def message_of(document: Document, kind: str) -> Document:
    """The message of that kind; there is exactly one."""
    (found,) = [said for said in document["meta"]["messages"] if said["kind"] == kind]
    return dict(found)


async def metric_of(gateway: GatewayUnderTest, name: str, **labels: str) -> float:
    """The value of a counter or gauge; 0 where nothing was counted yet."""
    text = (await gateway.call("GET", "/metrics")).text
    wanted = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    head = f"execbroker_{name}{{{wanted}}} " if wanted else f"execbroker_{name} "
    lines = [line for line in text.splitlines() if line.startswith(head)]
    return float(lines[0].removeprefix(head)) if lines else 0.0


@dataclass(slots=True)
class LostNode:
    """The parts, and the ``session`` at alpha."""

    gateway: GatewayUnderTest
    nodes: dict[str, NodeClient]
    proxies: dict[str, Proxy]
    at: Path
    session: str = ""

    @property
    def alpha(self) -> Proxy:
        """The way to the node that holds the session."""
        return self.proxies["alpha"]

    @property
    def beta(self) -> Proxy:
        """The way to the other one."""
        return self.proxies["beta"]

    async def read(self, uuid: str = "") -> Document:
        """A session as the gateway shows it, by default the one at alpha."""
        return await self.gateway.read(uuid or self.session)

    async def becomes(self, *phases: str, uuid: str = "", within_s: float = 8.0) -> Document:
        """The session as soon as the gateway shows it in one of these phases."""

        async def look() -> Document | None:
            document = await self.read(uuid)
            return document if document["phase"] in phases else None

        found = await eventually(look, within_s)
        assert found is not None
        return found

    async def says(self, kind: str, uuid: str = "", within_s: float = 8.0) -> Document:
        """The message of that kind, as soon as the session has it."""

        async def look() -> Document | None:
            document = await self.read(uuid)
            return message_of(document, kind) if kind in kinds_of(document) else None

        found = await eventually(look, within_s)
        assert found is not None
        return found

    async def says_no_more(self, *kinds: str) -> None:
        """Wait until the session has no message of these kinds."""

        async def look() -> bool:
            return not kinds_of(await self.read()) & set(kinds)

        await eventually(look, 8.0)

    async def at_node(self, node: str, uuid: str, *phases: str) -> None:
        """Wait until the node itself shows the session in one of these phases."""

        async def look() -> bool:
            return (await self.nodes[node].session(uuid))["phase"] in phases

        await eventually(look, 8.0)

    async def successor(self) -> str:
        """The session that took the place of the one at alpha, once that says so."""
        return str((await self.says("urn:resubmitted-as"))["values"]["session"])

    async def counted(self, outcome: str) -> float:
        """How often a resubmission came to that."""
        return await metric_of(self.gateway, "resubmissions_total", outcome=outcome)

    async def comes_to(self, outcome: str) -> None:
        """Wait until a resubmission came to that."""

        async def look() -> bool:
            return await self.counted(outcome) >= 1

        await eventually(look, 8.0)

    async def let_go_at_beta(self) -> str:
        """The path of beta's first offer, once beta is told that it is not wanted."""

        async def look() -> str | None:
            return next((path for _, path in self.beta.seen if path.startswith("/sess")), None)

        path = await eventually(look)
        assert path is not None
        return path

    async def stays_for(self, seconds: float, *phases: str) -> None:
        """Look for so long, and see the session in these phases only."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            assert (await self.read())["phase"] in phases
            await asyncio.sleep(0.02)

    def ran(self) -> set[str]:
        """Every session that any node ever took up."""
        return ran_at(self.at / "alpha") | ran_at(self.at / "beta")


@asynccontextmanager
async def two_nodes(
    at: Path, *, alpha: SimulatedSettings = NEVER_RUNS, beta: SimulatedSettings = QUICK
) -> AsyncIterator[tuple[dict[str, NodeClient], dict[str, Proxy]]]:
    """Two nodes whose work goes as these settings say, by default never and at once."""
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    async with (
        running_node(at / "alpha", node_settings(name="alpha", platform=alpha)) as first,
        running_node(at / "beta", node_settings(name="beta", platform=beta)) as second,
        running_proxy(first.url) as to_first,
        running_proxy(second.url) as to_second,
    ):
        first.auth = second.auth = ADMIN
        yield {"alpha": first, "beta": second}, {"alpha": to_first, "beta": to_second}


async def accept_at_alpha(gateway: GatewayUnderTest, headers: dict[str, str]) -> str:
    """Ask, and accept an offer of alpha's; its UUID."""
    answer = await gateway.ask(minimal_request(), "?per_node=1")
    assert answer.status == 303, answer.text
    offers = {offer["federation"]["node"]: offer for offer in answer.document["offers"]}
    uuid: str = offers["alpha"]["meta"]["uuid"]
    accepted = await gateway.move(uuid, "ACCEPTED", **headers)
    assert accepted.status == 200, accepted.text
    return uuid


@asynccontextmanager
async def accepted_at_alpha(
    at: Path,
    *,
    platform: SimulatedSettings = NEVER_RUNS,
    beta: SimulatedSettings = QUICK,
    wish: bool = True,
    **settings: Any,
) -> AsyncIterator[LostNode]:
    """A gateway over two nodes, and a session that alpha has accepted."""
    given: dict[str, Any] = {"sessions": WATCHFUL, "commands": LASTING} | settings
    async with two_nodes(at, alpha=platform, beta=beta) as (nodes, proxies):
        urls = {name: proxy.url for name, proxy in proxies.items()}
        async with running_gateway(urls, at / "gateway", **given) as gateway:
            lost = LostNode(gateway, nodes, proxies, at)
            headers = WISH if wish else {"Prefer": "handling=strict"}
            lost.session = await accept_at_alpha(gateway, headers)
            yield lost
