"""TLS, for every transport: who is believed, who is not, and nothing left open."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clients.exchange import (
    NodeTimeoutError,
    NodeTransport,
    NodeUnreachableError,
    Progress,
    Stage,
)
from gateway.clients.transports import transport_of
from gateway.domain.reasons import ReasonCode
from gateway.settings import TransportSettings, TransportType
from tests.support.authority import Authority
from tests.support.raw_server import Line, answering, speaking
from tests.support.transports import ask
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=list(TransportType))
async def trusting(
    request: pytest.FixtureRequest, authority: Authority
) -> AsyncIterator[NodeTransport]:
    async with transport_of(TransportSettings(request.param, ca_file=authority.file)) as transport:
        yield transport


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_node_with_a_good_certificate_is_asked_over_one_connection(
    trusting: NodeTransport, authority: Authority
) -> None:
    context = server_context(authority.certify("127.0.0.1"))
    async with speaking(answering(OK, OK, OK), context) as server:
        replies = [await ask(trusting, server.url) for _ in range(3)]
    assert [reply.body for reply in replies] == [b"ok"] * 3
    assert server.connections == 1


async def test_the_node_is_told_the_name_that_is_asked_for(
    trusting: NodeTransport, authority: Authority
) -> None:
    context = server_context(authority.certify("localhost"))
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    async with speaking(answering(OK), context) as server:
        await ask(trusting, server.url.replace("127.0.0.1", "localhost"))
    assert names == ["localhost"]
    assert b"\r\nhost: localhost:" in server.requests[0].lower()


async def test_a_certificate_of_another_name_is_not_believed(
    trusting: NodeTransport, authority: Authority
) -> None:
    progress = Progress()
    context = server_context(authority.certify("other.example.org"))
    async with speaking(answering(OK), context) as server:
        with pytest.raises(NodeUnreachableError) as caught:
            await ask(trusting, server.url, progress=progress)
    assert caught.value.reason.code is ReasonCode.TLS_FAILED
    assert not progress.may_have_acted
    assert server.requests == []


async def test_a_certificate_of_an_unknown_authority_is_not_believed(
    transport: NodeTransport, authority: Authority
) -> None:
    context = server_context(authority.certify("127.0.0.1"))
    async with speaking(answering(OK), context) as server:
        with pytest.raises(NodeUnreachableError) as caught:
            await ask(transport, server.url)
    assert caught.value.reason.code is ReasonCode.TLS_FAILED


async def test_a_handshake_that_hangs_is_a_connection_that_hangs(trusting: NodeTransport) -> None:
    async def talk(line: Line) -> None:
        await line.reader.read()

    progress = Progress()
    async with speaking(talk) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(NodeTimeoutError) as caught:
            await ask(trusting, url, wait_s=0.2, progress=progress)
        assert caught.value.stage is Stage.CONNECT
        assert not progress.may_have_acted


async def test_who_leaves_during_the_handshake_leaves_nothing_open(
    trusting: NodeTransport,
) -> None:
    hello = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.reader.read(1)
        hello.set()
        await line.reader.read()

    async with speaking(talk) as server:
        leaving = asyncio.create_task(ask(trusting, server.url.replace("http:", "https:")))
        await hello.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        await until(lambda: server.ended == 1)


async def test_an_answer_may_last_until_the_end_of_the_connection(
    trusting: NodeTransport, authority: Authority
) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\nthe answer")

    context = server_context(authority.certify("127.0.0.1"))
    async with speaking(talk, context) as server:
        assert (await ask(trusting, server.url)).body == b"the answer"
