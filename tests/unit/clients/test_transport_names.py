"""Names, for the lean transport: looked up once for all, and not forgotten with the name server."""

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.clients.exchange import NodeTimeoutError, NodeUnreachableError
from gateway.clients.lean.asking import Origin
from gateway.clients.lean.dialling import Dialler
from gateway.clients.lean.names import Names
from gateway.clients.lean.pool import ConnectionPool
from gateway.clients.trust import tls_context
from gateway.domain.reasons import ReasonCode
from tests.support.raw_server import answering, speaking

PORT = 80


class NameServer(AbstractResolver):
    """Knows one name; can be gone, or mute."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self.is_gone = False
        self.is_mute = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_mute:
            await asyncio.Event().wait()
        if self.is_gone or host != "node":
            raise OSError(None, "no such name")
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self.addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_many_who_ask_at_once_ask_once() -> None:
    server = NameServer("127.0.0.1")
    names = Names(server, 60)
    found = await asyncio.gather(*(names.addresses("node", PORT) for _ in range(20)))
    assert all(each == found[0] for each in found)
    assert found[0][0][4] == ("127.0.0.1", PORT)
    assert server.asked == 1


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    server = NameServer("127.0.0.1")
    names = Names(server, 60)
    first, second = (asyncio.create_task(names.addresses("node", PORT)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    server = NameServer()
    assert (await Names(server, 60).addresses(host, PORT))[0][4][0] == host
    assert server.asked == 0


async def test_a_name_that_means_nothing_says_so_each_time() -> None:
    server = NameServer()
    names = Names(server, 60)
    for _ in range(2):
        with pytest.raises(NodeUnreachableError) as caught:
            await names.addresses("other", PORT)
        assert caught.value.reason.code is ReasonCode.NAME_UNKNOWN
    assert server.asked == 2


@pytest.mark.parametrize("fault", ["gone", "mute"])
async def test_what_a_name_meant_outlives_the_name_server(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.clients.lean.names._PATIENCE_S", 0.02)
    server = NameServer("127.0.0.1")
    names = Names(server, 0)
    before = await names.addresses("node", PORT)
    server.is_gone, server.is_mute = fault == "gone", fault == "mute"
    assert await names.addresses("node", PORT) == before
    assert server.asked == 2
    server.is_gone = server.is_mute = False
    server.addresses = ("127.0.0.2",)
    assert await names.addresses("node", PORT) != before


async def test_a_node_that_moved_is_found_before_its_name_is_out_of_date() -> None:
    async with speaking(answering()) as listening:
        port = int(listening.url.rpartition(":")[2])
        server = NameServer("127.0.0.77")  # nobody listens there
        dialler = Dialler(Names(server, 3600), tls_context(None))
        origin, pool = Origin(is_tls=False, host="node", port=port), ConnectionPool(15)
        until = asyncio.get_running_loop().time() + 2
        with pytest.raises(NodeUnreachableError) as caught:
            await dialler.dial(origin, pool, until)
        assert caught.value.reason.code is ReasonCode.CONNECTION_REFUSED
        server.addresses = ("127.0.0.1",)
        await dialler.dial(origin, pool, until)
        await pool.aclose()


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    async with speaking(answering()) as listening:
        port = int(listening.url.rpartition(":")[2])
        dialler = Dialler(Names(NameServer("127.0.0.77", "127.0.0.1"), 60), tls_context(None))
        origin, pool = Origin(is_tls=False, host="node", port=port), ConnectionPool(15)
        await dialler.dial(origin, pool, asyncio.get_running_loop().time() + 2)
        await pool.aclose()


async def test_a_mute_name_server_costs_no_more_than_the_time_for_the_connection() -> None:
    server = NameServer()
    server.is_mute = True
    dialler = Dialler(Names(server, 60), tls_context(None))
    origin = Origin(is_tls=False, host="node", port=PORT)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(NodeTimeoutError):
        await dialler.dial(origin, ConnectionPool(15), began + 0.05)
    assert loop.time() - began < 0.5
