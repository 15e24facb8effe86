"""A federation whose parts are killed, and the truth of it, which only the nodes know."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from aiohttp import web

from gateway.wire.documents import Document
from gateway.wire.phases import EXECUTION_PHASES, TERMINAL_SESSION_PHASES, SessionPhase
from node_stub.config import OfferSettings
from node_stub.platforms.simulated import SimulatedSettings
from tests.api.gateway.conftest import holds_of
from tests.support.gateway import Answer, GatewayProcess, GatewayUnderTest
from tests.support.node import (
    ADMIN,
    QUICK,
    NodeClient,
    node_settings,
    process_config,
    running_node,
)
from tests.support.nursery import Child, Nursery
from tests.support.proxy import Applies, Gate, Moment, Proxy, running_proxy
from tests.support.waiting import eventually, until

NODES: Final = ("alpha", "beta")

EXPIRES_S: Final = 3
"""Long enough for a gateway to start again within, on a busy machine not always."""

SETTLED_S: Final = 15.0
"""Everything has come to its end long before."""

QUICK_SECTIONS: Final[Document] = {
    "federation": {"deadline_s": 5.0, "connect_s": 0.5, "late_s": 5.0},
    "sessions": {
        "fresh_s": 0,
        "read_deadline_s": 1.0,
        "update_deadline_s": 1.0,
        "follow_s": 0.3,
    },
    "commands": {"first_s": 0.05, "longest_s": 0.2, "deadline_s": 0.5, "lease_s": 1.1},
}
"""Gateway settings under which what was cut short is taken up again at once."""

_RAN: Final = tuple(phase.value for phase in (*EXECUTION_PHASES, SessionPhase.COMPLETED))
_ENDED: Final = frozenset(phase.value for phase in TERMINAL_SESSION_PHASES)


def is_request(request: web.Request) -> bool:
    """Whether it asks for offers."""
    return request.path == "/requests"


def is_update(request: web.Request) -> bool:
    """Whether it changes a session."""
    return request.method == "POST" and request.path.startswith("/sessions/")


def is_update_of(uuid: str) -> Applies:
    """Whether it changes this session."""
    return lambda request: is_update(request) and request.path.endswith(uuid)


def ran_at(data_dir: Path) -> set[str]:
    """Every session that a node ever took up, by the node's own audit trail."""
    marks = ",".join("?" * len(_RAN))
    connection = sqlite3.connect(data_dir / "node.db")
    try:
        rows = connection.execute(
            f"SELECT session, phase FROM events WHERE phase IN ({marks})",  # marks
            _RAN,
        ).fetchall()
    finally:
        connection.close()
    assert len(rows) == len(set(rows)), "a session went through one phase twice"
    return {session for session, _ in rows}


class KillableGateway(GatewayProcess):
    """A gateway on the same data and port however often it is started."""

    def __init__(
        self, nursery: Nursery, nodes: Mapping[str, str], data_dir: Path, **sections: Any
    ) -> None:
        super().__init__(nodes, data_dir, **sections)
        (data_dir / "gateway.yaml").rename(data_dir / "settings.yaml")
        self._nursery = nursery
        self._folder = data_dir
        self._child: Child | None = None
        self._address = "127.0.0.1:0"

    async def start(self) -> None:
        """Start it, also again, and wait until it listens."""
        self._child = await self._nursery.start(
            "gateway.__main__", self._folder, self._address, {"TEST_PASSWORD": ADMIN.password}
        )
        self.url = self._child.url
        self._address = self.url.removeprefix("http://")

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        assert self._child is not None
        return self._child.pid

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self._child is not None
        await self._child.kill()


@dataclass(slots=True)
class Federation:
    """A gateway in a process of its own over real nodes, with a proxy before each node."""

    gateway: KillableGateway
    client: GatewayUnderTest
    nodes: dict[str, NodeClient]
    proxies: dict[str, Proxy]
    data_dir: Path

    async def restart(self) -> None:
        """Bring the gateway back."""
        await self.gateway.start()
        assert self.gateway.url == self.client.url

    def stop_at(self, moment: Moment, applies_to: Applies, *names: str) -> list[Gate]:
        """A gate before each of these nodes, or before all."""
        return [self.proxies[name].stop_at(moment, applies_to) for name in names or NODES]

    async def killed_during(
        self, call: Awaitable[Answer], gates: Sequence[Gate], *, at_first: bool = False
    ) -> Answer | None:
        """Kill the gateway when the call has come to all these gates, or to the first of them.

        The answer, if one came.
        """
        enough = any if at_first else all
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_or_nothing(call))
            await until(lambda: enough(gate.reached.is_set() for gate in gates))
            await self.gateway.kill()
        return task.result()

    def lose_all(self, gates: Iterable[Gate]) -> None:
        """End what waits at these gates, and let everything pass that comes later."""
        for gate in gates:
            gate.lose()
        for proxy in self.proxies.values():
            proxy.remove_gates()

    def ran(self) -> set[str]:
        """Every session that was ever taken up, at any node."""
        return {uuid for name in NODES for uuid in ran_at(self.data_dir / name)}

    async def holds(self) -> dict[str, int]:
        """Holds and bookings by node."""
        return {name: await holds_of(node) for name, node in self.nodes.items()}

    async def comes_to_rest(self, told: Iterable[Document]) -> dict[str, str]:
        """Wait until what the client was told of has ended and nothing is held; the last phases."""
        last: dict[str, str] = {}
        uuids = [offer["meta"]["uuid"] for offer in told]

        async def look() -> bool:
            for uuid in uuids:
                last[uuid] = (await self.client.read(uuid))["phase"]
            return set(last.values()) <= _ENDED

        async def is_free() -> bool:
            return set((await self.holds()).values()) == {0}

        await eventually(look, SETTLED_S)
        await eventually(is_free, SETTLED_S)
        return last


class KillableNode:
    """A node behind a proxy, on the same data and port however often it is started."""

    def __init__(self, nursery: Nursery, data_dir: Path, proxy: Proxy, config: Document) -> None:
        self.proxy = proxy
        self._data_dir = data_dir
        self._nursery = nursery
        self._child: Child | None = None
        self._address = "127.0.0.1:0"
        (data_dir / "settings.yaml").write_text(yaml.safe_dump(config))

    async def start(self) -> None:
        """Start it, also again, and wait until it listens."""
        self._child = await self._nursery.start(
            "node_stub.__main__", self._data_dir, self._address, {"ADMIN_PASSWORD": ADMIN.password}
        )
        self.proxy.target = self._child.url
        self._address = self._child.url.removeprefix("http://")

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self._child is not None
        await self._child.kill()

    async def holds(self) -> int:
        """How many holds and bookings it has, by its own count."""
        async with NodeClient(self.proxy.target) as client:
            return await holds_of(client)

    def ran(self) -> set[str]:
        """Every session that it ever took up."""
        return ran_at(self._data_dir)


@asynccontextmanager
async def killable_node(
    nursery: Nursery, data_dir: Path, **changes: Any
) -> AsyncIterator[KillableNode]:
    """A running node that can be killed; ``changes`` are settings."""
    offers = {"count": 2, "expires_s": EXPIRES_S, "min_expires_s": 1}
    config = process_config(**{"offers": offers} | changes)
    async with running_proxy("http://node.invalid") as proxy:
        node = KillableNode(nursery, data_dir, proxy, config)
        await node.start()
        try:
            yield node
        finally:
            await node.kill()


async def _or_nothing(call: Awaitable[Answer]) -> Answer | None:
    try:
        return await call
    except aiohttp.ClientError:
        return None


@asynccontextmanager
async def killable_federation(
    nursery: Nursery,
    data_dir: Path,
    *,
    platform: SimulatedSettings = QUICK,
    expires_s: int = EXPIRES_S,
    **sections: Any,
) -> AsyncIterator[Federation]:
    """Two nodes with two offers each for a request, and a gateway that can be killed."""
    async with AsyncExitStack() as stack:
        nodes: dict[str, NodeClient] = {}
        proxies: dict[str, Proxy] = {}
        for name in NODES:
            settings = node_settings(
                name=name,
                platform=platform,
                offers=OfferSettings(count=2, expires_s=expires_s, min_expires_s=1),
            )
            (data_dir / name).mkdir(exist_ok=True)
            node = await stack.enter_async_context(running_node(data_dir / name, settings))
            node.auth = ADMIN
            nodes[name] = node
            proxies[name] = await stack.enter_async_context(running_proxy(node.url))
        urls = {name: proxy.url for name, proxy in proxies.items()}
        folder = data_dir / "gateway"
        folder.mkdir(exist_ok=True)
        gateway = KillableGateway(nursery, urls, folder, **QUICK_SECTIONS | sections)
        await gateway.start()
        stack.push_async_callback(gateway.kill)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = GatewayUnderTest(gateway.url, session)
        yield Federation(gateway, client, nodes, proxies, data_dir)
