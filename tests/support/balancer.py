"""A balancer before several gateways: passes connections on to those that say they are ready."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from gateway.services.tasks import SupervisedTasks

LOOK_S: Final = 0.05
"""How often each gateway is asked whether it is ready."""

READ_BYTES: Final = 1 << 16


class Balancer:
    """Takes connections at ``url``; ``ready`` are the gateways that get new ones, in turn."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.url = ""
        self.ready: set[str] = set()
        self._targets = list(targets)
        self._tasks = SupervisedTasks()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, and begin to look who is ready."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        for target in self._targets:
            self._tasks.spawn(self._look(target), name=f"look at {target}")

    async def close(self) -> None:
        """Stop listening and cut what is connected."""
        if self._server is not None:
            self._server.close()
        await self._tasks.aclose()

    async def _look(self, target: str) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                if await _is_ready(http, target):
                    self.ready.add(target)
                else:
                    self.ready.discard(target)
                await asyncio.sleep(LOOK_S)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn(self._pass_on(reader, writer), name="connection")

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for target in self._in_turn():
                address = urlsplit(target)
                try:
                    upstream = await asyncio.open_connection(address.hostname, address.port)
                except OSError:
                    continue
                await _join((reader, writer), upstream)
                return
        finally:
            writer.close()

    def _in_turn(self) -> Iterator[str]:
        """Those that are ready, each time beginning with another."""
        self._targets.append(self._targets.pop(0))
        return iter([target for target in self._targets if target in self.ready])


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: _Connection, other: _Connection) -> None:
    """Pass on both ways until either end closes."""
    ways = [
        asyncio.ensure_future(_pump(one[0], other[1])),
        asyncio.ensure_future(_pump(other[0], one[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        other[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


async def _is_ready(http: aiohttp.ClientSession, target: str) -> bool:
    try:
        async with http.get(f"{target}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def running_balancer(targets: Sequence[str]) -> AsyncIterator[Balancer]:
    """A balancer before gateways at these URLs, until the block ends."""
    balancer = Balancer(targets)
    await balancer.open()
    try:
        yield balancer
    finally:
        await balancer.close()
