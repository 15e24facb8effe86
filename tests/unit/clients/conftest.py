"""The transports, each open for one test."""

from collections.abc import AsyncIterator

import pytest

from gateway.clients.exchange import NodeTransport
from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transports import transport_of
from gateway.settings import TransportSettings, TransportType
from tests.support.transports import MAX_REPLY_BYTES


@pytest.fixture(params=list(TransportType))
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[NodeTransport]:
    """Every transport in turn: one contract for all."""
    settings = TransportSettings(request.param, max_reply_bytes=MAX_REPLY_BYTES)
    async with transport_of(settings) as transport:
        yield transport


@pytest.fixture
async def lean() -> AsyncIterator[NodeTransport]:
    """The lean transport, where it promises more than the contract."""
    async with LeanTransport(TransportSettings(max_reply_bytes=MAX_REPLY_BYTES)) as transport:
        yield transport
