"""Connections to URLs of strangers lead only to addresses that may be reached so."""

import socket
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from gateway.clients.addresses import AddressGuard, AddressRefusedError, guarded_session, refusal_in


class Names(AbstractResolver):
    """Gives these addresses, whatever the name; counts the questions and whether it was closed."""

    def __init__(self, *addresses: str) -> None:
        self._addresses: Sequence[str] = addresses
        self.asked = 0
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked += 1
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        self.is_closed = True


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/", hello)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


async def get(url: str, guard: AddressGuard, names: Names | None = None) -> str:
    async with guarded_session(guard, names) as session, session.get(url) as response:
        return await response.text()


async def refused(url: str, guard: AddressGuard, names: Names | None = None) -> AddressRefusedError:
    with pytest.raises(aiohttp.ClientError) as caught:
        await get(url, guard, names)
    found = refusal_in(caught.value)
    assert found is not None, caught.value
    return found


async def test_a_private_address_is_reached_only_where_that_is_allowed(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    assert await get(url, AddressGuard(may_be_private=True)) == "hello"
    assert (await refused(url, AddressGuard())).host == "127.0.0.1"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "10.0.0.1"],
)
async def test_an_address_in_the_url_is_checked_however_it_is_written(host: str, port: int) -> None:
    await refused(f"http://{host}:{port}/", AddressGuard())


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "100.100.100.200"])
async def test_some_addresses_are_reached_by_nobody(address: str) -> None:
    await refused(f"http://{address}/", AddressGuard(may_be_private=True))


async def test_a_name_is_refused_if_one_of_its_addresses_is_private(port: int) -> None:
    names = Names("203.0.113.7", "127.0.0.1")
    found = await refused(f"http://strange.example.org:{port}/", AddressGuard(), names)
    assert found.host == "strange.example.org"
    assert "127.0.0.1" not in str(found)


async def test_a_name_is_looked_up_once_for_a_connection_and_anew_for_the_next(port: int) -> None:
    names = Names("127.0.0.1")
    url = f"http://mine.example.org:{port}/"
    async with guarded_session(AddressGuard(may_be_private=True), names) as session:
        for turn in (1, 2):
            async with session.get(url) as response:
                assert await response.text() == "hello"
            assert names.asked == turn
    assert names.is_closed


def test_another_failure_is_no_refusal() -> None:
    assert refusal_in(OSError("other")) is None
    assert refusal_in(None) is None
