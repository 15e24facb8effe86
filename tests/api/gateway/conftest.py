"""A gateway in front of real node brokers, all in this process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.wire.documents import Document
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, NodeClient, node_settings, running_node
from tests.support.waiting import eventually


@dataclass(slots=True)
class Federation:
    """A gateway and the nodes behind it, by name."""

    gateway: GatewayUnderTest
    nodes: dict[str, NodeClient]

    async def phase_at_node(self, offer: Document) -> str:
        """What the node itself says of an offer."""
        node = self.nodes[offer["federation"]["node"]]
        phase: str = (await node.session(offer["meta"]["uuid"]))["phase"]
        return phase

    async def becomes(self, offer: Document, *phases: str, within_s: float = 8.0) -> None:
        """Wait until the gateway shows one of these phases."""

        async def look() -> bool:
            return (await self.gateway.read(offer["meta"]["uuid"]))["phase"] in phases

        await eventually(look, within_s)

    async def becomes_at_node(self, offer: Document, *phases: str) -> None:
        """Wait until the node itself shows one of these phases."""

        async def look() -> bool:
            return await self.phase_at_node(offer) in phases

        await eventually(look)


@asynccontextmanager
async def running_federation(
    data_dir: Path,
    names: tuple[str, ...] = ("alpha", "beta", "gamma"),
    *,
    others: Mapping[str, str] | None = None,
    node_changes: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> AsyncIterator[Federation]:
    """A gateway over real nodes of these names and ``others`` by URL."""
    async with AsyncExitStack() as stack:
        nodes: dict[str, NodeClient] = {}
        for name in names:
            changes = (node_changes or {}).get(name, {})
            folder = data_dir / name
            folder.mkdir(parents=True, exist_ok=True)
            node = await stack.enter_async_context(
                running_node(folder, node_settings(name=name, **changes))
            )
            node.auth = ADMIN
            nodes[name] = node
        urls = {name: node.url for name, node in nodes.items()} | dict(others or {})
        gateway = await stack.enter_async_context(
            running_gateway(urls, data_dir / "gateway", **settings)
        )
        yield Federation(gateway, nodes)


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    """Three quick nodes and their gateway."""
    async with running_federation(tmp_path) as running:
        yield running


async def holds_of(node: NodeClient) -> int:
    """How many holds and bookings a node has, by its own count."""
    answer = await node.text("/metrics")
    return int(float(answer.partition("\nexecbroker_node_ledger_bookings ")[2].split()[0]))
