"""The same on uvloop, where connections are made of other classes."""

import asyncio
import importlib.util
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clients.exchange import (
    NodeGarbageError,
    NodeLostError,
    NodeTimeoutError,
    NodeTransport,
    NodeUnreachableError,
    Progress,
    Stage,
)
from gateway.clients.transports import transport_of
from gateway.settings import TransportSettings, TransportType
from tests.support.authority import Authority
from tests.support.faulty_nodes import refuses
from tests.support.raw_server import Line, RawServer, answering, speaking
from tests.support.required import required
from tests.support.transports import ask
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=list(TransportType))
def kind(request: pytest.FixtureRequest) -> TransportType:
    found: TransportType = request.param
    return found


Scenario = Callable[[NodeTransport, RawServer], Awaitable[None]]


def play(
    kind: TransportType,
    scenario: Scenario,
    talk: Callable[[Line], Awaitable[None]],
    folder: Path | None = None,
) -> None:
    """The scenario on uvloop; over TLS if there is a folder for the certificates."""

    async def run() -> None:
        ca_file, context = None, None
        if folder is not None:
            authority = Authority(folder)
            ca_file = authority.file
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(authority.certify("127.0.0.1"))
        settings = TransportSettings(kind, ca_file=ca_file)
        async with speaking(talk, context) as server, transport_of(settings) as transport:
            await scenario(transport, server)

    found = importlib.util.find_spec("uvloop") is not None
    required("uvloop", found, "the transports on that loop")
    factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_connection_is_used_again(kind: TransportType, is_tls: bool, tmp_path: Path) -> None:
    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        for _ in range(3):
            assert (await ask(transport, server.url)).body == b"ok"
        assert server.connections == 1

    play(kind, scenario, answering(OK, OK, OK), tmp_path if is_tls else None)


def test_a_second_answer_is_not_given_to_the_next_request(kind: TransportType) -> None:
    lines: list[Line] = []

    async def talk(line: Line) -> None:
        lines.append(line)
        while True:
            await line.request()
            await line.say(OK)

    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        await ask(transport, server.url)
        lines[0].writer.write(OK.replace(b"ok", b"no"))
        assert (await ask(transport, server.url)).body == b"ok"
        assert server.connections == 2

    play(kind, scenario, talk)


def test_garbage_is_refused_and_its_connection_ended(kind: TransportType) -> None:
    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        with pytest.raises(NodeGarbageError):
            await ask(transport, server.url)
        await until(lambda: server.ended == 1)

    play(kind, scenario, answering(b"SSH-2.0-x\r\n\r\n", OK))


def test_an_answer_cut_short_is_lost(kind: TransportType) -> None:
    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        with pytest.raises(NodeLostError):
            await ask(transport, server.url)

    play(kind, scenario, answering(OK[:-1]))


def test_a_stale_connection_is_replaced(kind: TransportType) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(OK)
        if line.number == 1:
            await line.request()

    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        await ask(transport, server.url)
        assert (await ask(transport, server.url)).body == b"ok"
        assert server.connections == 2

    play(kind, scenario, talk)


@pytest.mark.parametrize("is_tls", [False, True])
def test_what_hangs_is_given_up_in_time_and_left_in_order(
    kind: TransportType, is_tls: bool, tmp_path: Path
) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.request()

    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(NodeTimeoutError) as caught:
            await ask(transport, server.url, wait_s=0.2)
        assert 0.19 <= loop.time() - began < 0.5
        assert caught.value.stage is Stage.HEADERS
        leaving = asyncio.create_task(ask(transport, server.url))
        await until(lambda: len(server.requests) == 2)
        leaving.cancel()
        await asyncio.wait([leaving])
        await until(lambda: server.ended == 2)

    play(kind, scenario, talk, tmp_path if is_tls else None)


def test_nobody_there_is_refused(kind: TransportType) -> None:
    async def scenario(transport: NodeTransport, server: RawServer) -> None:
        progress = Progress()
        with refuses() as node, pytest.raises(NodeUnreachableError):
            await ask(transport, node.url, progress=progress)
        assert not progress.may_have_acted

    play(kind, scenario, answering())
