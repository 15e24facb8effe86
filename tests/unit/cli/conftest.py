"""A canned broker on loopback, and clients of it."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer

from gateway.cli.client import ExecutionBrokerClient
from tests.support.canned_broker import FAST, PASSWORD, USERNAME, CannedBroker


@pytest.fixture
def broker() -> CannedBroker:
    """The state behind ``url``, to be bent before the first call."""
    return CannedBroker()


@pytest.fixture
async def url(broker: CannedBroker) -> AsyncIterator[str]:
    """Where the broker listens."""
    server = TestServer(broker.app())
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def client(url: str) -> AsyncIterator[ExecutionBrokerClient]:
    """A client with the right password."""
    async with ExecutionBrokerClient(url, USERNAME, PASSWORD, polling=FAST) as client:
        yield client
