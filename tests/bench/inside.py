"""A gateway in this process, with nodes that are no more than functions: what it costs by itself.

There is no HTTP on either side, so that a thousand nodes and a hundred thousand sessions can be
measured in a minute. What the simulated nodes use is told and taken off.
"""

import asyncio
import gc
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import process_time
from typing import Final
from unittest.mock import patch

from aiohttp import web
from multidict import CIMultiDict

from gateway.api.requests import OFFERS
from gateway.app import build_app
from gateway.clients.exchange import Progress, Reply, Stage, Timeouts
from gateway.config import GatewaySettings, NodeSettings
from gateway.httpkit.logs import configure_logging
from gateway.httpkit.server_settings import AuthenticationSettings
from gateway.services.caller import Caller
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.settings import AskingSettings, FederationSettings
from gateway.wire.documents import from_json
from tests.bench.federation import REQUEST, max_holds
from tests.bench.stub_nodes import StubNode

_QUIET_S: Final = 0.05
"""Nodes that heard nothing for so long will hear nothing more."""

CALLER: Final = Caller(is_admin=True, request_id="bench")
"""Who asks for everything here."""


class SimulatedNodes:
    """A transport behind which stub nodes answer from memory. ``used_s`` is their own CPU time."""

    def __init__(self, offers: int) -> None:
        self.used_s = 0.0
        self.calls = 0
        self._offers = offers
        self._nodes: dict[str, StubNode] = {}

    async def __aenter__(self) -> "SimulatedNodes":
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def exchange(  # the arguments are those of every transport
        self,
        _method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,  # noqa: ARG002
        progress: Progress | None = None,
    ) -> Reply:
        """The answer of the stub node of that host."""
        began_s = process_time()
        if progress is not None:
            progress.stage, progress.may_have_acted = Stage.BODY, True
        host, _, path = url.removeprefix("http://").partition("/")
        if (node := self._nodes.get(host)) is None:
            node = self._nodes[host] = StubNode(self._offers)
        said = CIMultiDict({"Content-Type": "application/json"})
        if key := headers.get("Idempotency-Key"):
            said["Idempotency-Key"] = key
        if path.startswith("requests"):
            reply = Reply(303, said, node.offerset(began_s))
        else:
            phase = from_json(body)["value"] if body else "OFFERED"
            reply = Reply(200, said, node.session(began_s, path.rpartition("/")[2], phase))
        self.calls += 1
        self.used_s += process_time() - began_s
        return reply


class Inside:
    """The gateway's services, and its nodes."""

    def __init__(self, app: web.Application, nodes: SimulatedNodes, database: Path) -> None:
        self.app = app
        self.nodes = nodes
        self.database = database

    async def ask(self) -> OfferSetReading:
        """One request for offers, answered."""
        offers: OffersService = self.app[OFFERS]
        reading = await offers.ask(OfferQuestion(json.loads(REQUEST), "/requests"), CALLER)
        if not reading.sessions:
            message = f"no offers: {reading.coverage[:3]}"
            raise RuntimeError(message)
        return reading

    async def used_us(self, work: Callable[[], Awaitable[object]], times: int) -> float:
        """CPU of this process for one piece of work and all it leaves to be done."""
        gc.collect()
        await self._settled()
        nodes_s, began_s = self.nodes.used_s, process_time()
        for _ in range(times):
            await work()
        await self._settled()
        used_s = process_time() - began_s - (self.nodes.used_s - nodes_s)
        return used_s / times * 1e6

    async def _settled(self) -> None:
        """Wait until nodes hear nothing more: what was not handed out has been let go."""
        before = -1
        while before != self.nodes.calls:
            before = self.nodes.calls
            await asyncio.sleep(_QUIET_S)


@contextmanager
def _unread_log() -> Iterator[None]:
    """Have everything logged, as that costs too, where nobody reads it."""
    with Path(os.devnull).open("w") as nowhere:
        configure_logging(json=True, level="info", stream=nowhere)
        yield


@asynccontextmanager
async def inside(nodes: int, *, offers: int = 2, is_wave: bool = False) -> AsyncIterator[Inside]:
    """A running gateway with so many nodes and an empty database.

    All nodes are asked for each request, or in a wave or two as many as it takes.
    """
    simulated = SimulatedNodes(offers)
    settings = GatewaySettings(
        public_url="http://127.0.0.1",
        authentication=AuthenticationSettings(enabled=False),
        nodes=tuple(
            NodeSettings(name=f"node-{i:04}", url=f"http://node-{i:04}.example", site="bench")
            for i in range(nodes)
        ),
        federation=FederationSettings(deadline_s=60.0),
        asking=AskingSettings(all_up_to=1)
        if is_wave
        else AskingSettings(all_up_to=nodes, max_holds=max_holds(nodes)),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        _unread_log(),
        patch("gateway.assembly.nodes.transport_of", lambda *_, **__: simulated),
    ):
        runner = web.AppRunner(build_app(settings, Path(folder)))
        await runner.setup()
        try:
            yield Inside(runner.app, simulated, Path(folder) / "gateway.db")
        finally:
            await runner.cleanup()
