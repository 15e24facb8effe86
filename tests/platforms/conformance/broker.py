"""A node broker that can be killed at any time, and a server that keeps its data waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.wire.documents import Document
from tests.support.node import ADMIN, NodeClient, process_config
from tests.support.nursery import Child, Nursery

CAPACITY: Final[Document] = {"cores": 40, "memory_gib": 40, "storage_gib": 400}

SLOW_CONTENT: Final = b"data that took its time"


class Broker:
    """A node process on the same data and port however often it is started."""

    def __init__(self, nursery: Nursery, data_dir: Path, sections: Document) -> None:
        self._nursery = nursery
        self._data_dir = data_dir
        self._address = "127.0.0.1:0"
        self._child: Child | None = None
        # What is to start in a few seconds must be offered, and an engine may be slow to answer.
        offers = {"count": 1, "min_expires_s": 1, "estimate_timeout_s": 30}
        config = process_config(**{"capacity": CAPACITY, "offers": offers} | sections)
        (data_dir / "settings.yaml").write_text(yaml.safe_dump(config))

    async def start(self) -> str:
        """Start it, also again, and wait until it listens; where."""
        environ = {"ADMIN_PASSWORD": ADMIN.password}
        self._child = await self._nursery.start(
            "node_stub.__main__", self._data_dir, self._address, environ
        )
        self._address = self._child.url.removeprefix("http://")
        return self._child.url

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            await self._child.kill()
            self._child = None

    def log(self) -> str:
        """The end of what it has written."""
        return (self._data_dir / "log").read_text()[-4000:]


@asynccontextmanager
async def running_broker(
    nursery: Nursery, data_dir: Path, sections: Document
) -> AsyncIterator[tuple[Broker, NodeClient]]:
    """A broker that has been started, and a client of it; killed at the end."""
    broker = Broker(nursery, data_dir, sections)
    url = await broker.start()
    try:
        async with NodeClient(url, ADMIN) as client:
            yield broker, client
    finally:
        await broker.kill()


@dataclass(frozen=True, slots=True)
class SlowSource:
    """A file that is not given out before it may be."""

    url: str
    is_asked: asyncio.Event
    may_answer: asyncio.Event


@asynccontextmanager
async def slow_source() -> AsyncIterator[SlowSource]:
    """A server of such a file, on loopback."""
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def give(request: web.Request) -> web.Response:
        if request.method == "GET":
            is_asked.set()
            await may_answer.wait()
        return web.Response(body=SLOW_CONTENT)

    app = web.Application()
    app.router.add_get("/slow.dat", give)
    server = TestServer(app)
    await server.start_server()
    try:
        yield SlowSource(str(server.make_url("/slow.dat")), is_asked, may_answer)
    finally:
        may_answer.set()
        await server.close()
