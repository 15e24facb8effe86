"""Brokers to be driven from outside: each one running on loopback, with an account."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp.test_utils import TestServer

from tests.support import canned_broker
from tests.support.gateway import running_gateway
from tests.support.node import ALICE, node_settings, running_node


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and an account on it."""

    url: str
    username: str
    password: str


@asynccontextmanager
async def canned() -> AsyncIterator[Broker]:
    """The canned broker, in the shape of a gateway."""
    server = TestServer(canned_broker.CannedBroker().app())
    await server.start_server()
    try:
        url = str(server.make_url("")).rstrip("/")
        yield Broker(url, canned_broker.USERNAME, canned_broker.PASSWORD)
    finally:
        await server.close()


@asynccontextmanager
async def node() -> AsyncIterator[Broker]:
    """A real node broker."""
    with TemporaryDirectory() as directory:
        async with running_node(Path(directory)) as client:
            yield Broker(client.url, ALICE.login, ALICE.password)


@asynccontextmanager
async def gateway() -> AsyncIterator[Broker]:
    """A real gateway over two real node brokers."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        urls: dict[str, str] = {}
        for name in ("alpha", "beta"):
            data_dir = directory / name
            data_dir.mkdir()
            client = await stack.enter_async_context(
                running_node(data_dir, node_settings(name=name))
            )
            urls[name] = client.url
        data_dir = directory / "gateway"
        data_dir.mkdir()
        running = await stack.enter_async_context(running_gateway(urls, data_dir))
        yield Broker(running.url, ALICE.login, ALICE.password)


BROKERS: Final[dict[str, Callable[[], AbstractAsyncContextManager[Broker]]]] = {
    "canned": canned,
    "node": node,
    "gateway": gateway,
}
"""Every broker by name: what holds for one must hold for all."""
