"""A federation over a real network: the gateway in one namespace, each node in one of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from gateway.httpkit.passwords import Passwords
from gateway.settings import FederationSettings, HealthSettings, SessionSettings
from gateway.wire.documents import Document
from node_stub.app import build_app
from node_stub.config import NodeSettings
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import ran_at
from tests.support.gateway import UNPROBED, GatewayUnderTest, running_gateway
from tests.support.netns import Namespace
from tests.support.node import ADMIN, CHEAP_HASHER, NodeClient, node_settings
from tests.support.pair import LASTING
from tests.support.requests import minimal_request
from tests.support.waiting import eventually
from tests.support.wires import Wire, wire

ISLANDS: Final = ("alpha", "beta")

DEADLINE_S: Final = 1.5
CONNECT_S: Final = 0.7
"""Shorter than the deadline, so that the coverage can tell one stage from the other."""

HEALED_S: Final = 20.0
"""A kernel that sent again and again into the void waits longer each time."""

QUICK_ASKING: Final = FederationSettings(deadline_s=DEADLINE_S, connect_s=CONNECT_S, late_s=5.0)
UNHURRIED: Final = SessionSettings(
    fresh_s=0.0, read_deadline_s=1.0, update_deadline_s=1.0, follow_s=0.3
)
NEVER_EJECTS: Final[HealthSettings] = replace(UNPROBED, failures=1000)
"""A partition is meant to show in each exchange, not in what the gateway remembers of others."""


@dataclass(slots=True)
class Islands:
    """The parts; ``nodes`` are reached past the wires, by whoever wants to know the truth."""

    gateway: GatewayUnderTest
    nodes: dict[str, NodeClient]
    wires: dict[str, Wire]
    at: Path
    home: Namespace

    async def ask(self, **headers: str) -> Document:
        """The answer to a small request."""
        answer = await self.gateway.ask(minimal_request(), **headers)
        assert answer.status == 303, answer.text
        document: Document = answer.document
        return document

    async def best(self, **headers: str) -> dict[str, Document]:
        """The best offer of each node."""
        found: dict[str, Document] = {}
        for offer in (await self.ask(**headers))["offers"]:
            found.setdefault(offer["federation"]["node"], offer)
        return found

    async def becomes(self, uuid: str, *phases: str) -> None:
        """Wait until the gateway shows the session in one of these phases."""

        async def look() -> bool:
            return (await self.gateway.read(uuid))["phase"] in phases

        await eventually(look, HEALED_S)

    async def holds_nothing(self, name: str, within_s: float = HEALED_S) -> None:
        """Wait until the node has no holds and no bookings."""

        async def is_free() -> bool:
            return await holds_of(self.nodes[name]) == 0

        await eventually(is_free, within_s)

    def ran(self) -> set[str]:
        """Every session that was ever taken up, at any node."""
        return {uuid for name in ISLANDS for uuid in ran_at(self.at / name)}


@asynccontextmanager
async def islands(
    at: Path,
    *,
    node_changes: Document | None = None,
    hosts: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Islands]:
    """Two nodes, a wire to each, and a gateway; ``settings`` are the gateway's.

    ``hosts`` are host names under which the gateway knows nodes, in place of their addresses.
    """
    async with AsyncExitStack() as stack:
        home = stack.enter_context(Namespace())
        stack.enter_context(home.entered())
        nodes, wires, urls = {}, {}, {}
        for number, name in enumerate(ISLANDS, 1):
            far = stack.enter_context(Namespace())
            wires[name] = await stack.enter_async_context(wire(number, home, far))
            (at / name).mkdir()
            served = _serving(
                node_settings(name=name, **node_changes or {}), at / name, far, wires[name].address
            )
            port, nodes[name] = await stack.enter_async_context(served)
            urls[name] = f"http://{(hosts or {}).get(name, wires[name].address)}:{port}"
        given: dict[str, Any] = {
            "federation": QUICK_ASKING,
            "sessions": UNHURRIED,
            "commands": LASTING,
            "health": NEVER_EJECTS,
        } | settings
        gateway = await stack.enter_async_context(running_gateway(urls, at / "gateway", **given))
        yield Islands(gateway, nodes, wires, at, home)


@asynccontextmanager
async def _serving(
    settings: NodeSettings, data_dir: Path, far: Namespace, address: str
) -> AsyncIterator[tuple[int, NodeClient]]:
    """A node on a port in its own namespace, and here for whoever wants to look at it."""
    app = build_app(settings, data_dir, passwords=Passwords(CHEAP_HASHER))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        listening = far.listening(address)
        port = listening.getsockname()[1]
        await web.SockSite(runner, listening).start()
        here = web.TCPSite(runner, "127.0.0.1", 0)
        await here.start()
        async with NodeClient(f"http://127.0.0.1:{here.port}", ADMIN) as client:
            yield port, client
    finally:
        await runner.cleanup()
