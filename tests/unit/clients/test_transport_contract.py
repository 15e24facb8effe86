"""The transport against real servers: what comes back whole, and the name of every failure."""

import asyncio
from functools import partial
from time import monotonic

import pytest

from gateway.clients.exchange import (
    NodeError,
    NodeGarbageError,
    NodeLostError,
    NodeTimeoutError,
    NodeTooLargeError,
    NodeTransport,
    NodeUnreachableError,
    Progress,
    Reply,
    Stage,
    Timeouts,
)
from gateway.clients.transports import transport_of
from gateway.domain.reasons import ReasonCode
from gateway.settings import TransportSettings, TransportType
from tests.support import faulty_nodes as nodes
from tests.support.waiting import until

DEADLINE_S = 0.3
MARGIN_S = 0.15


async def post(
    transport: NodeTransport, url: str, progress: Progress | None = None, wait_s: float = 2.0
) -> Reply:
    until = asyncio.get_running_loop().time() + wait_s
    return await transport.exchange(
        "POST", url + "/requests", {}, b"{}", timeouts=Timeouts(until, 1.0), progress=progress
    )


def has_reached(progress: Progress, stage: Stage) -> bool:
    return progress.stage is stage


async def test_a_reply_comes_back_whole_with_its_headers_in_any_case(
    transport: NodeTransport,
) -> None:
    async with nodes.running(nodes.answers_status("418 Teapot", b'{"a": 1}')) as node:
        reply = await post(transport, node.url)
    assert (reply.status, reply.body) == (418, b'{"a": 1}')
    assert reply.headers["content-type"] == "application/json"


async def test_a_redirect_is_not_followed_and_no_cookie_is_kept(
    transport: NodeTransport,
) -> None:
    answer = nodes.http_reply(b"", headers="Location: /x\r\nSet-Cookie: a=b; Path=/\r\n")

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with nodes.running(behave) as node:
        replies = [await post(transport, node.url) for _ in range(2)]
    assert [reply.status for reply in replies] == [303, 303]
    assert [asked.method for asked in node.asked] == ["POST", "POST"]
    assert "cookie" not in node.asked[1].headers


async def test_the_connection_is_used_again(transport: NodeTransport) -> None:
    async with nodes.running(nodes.healthy()) as node:
        progress = [Progress() for _ in range(3)]
        for each in progress:
            await post(transport, node.url, each)
    assert node.connections == 1
    assert [each.is_fresh for each in progress] == [True, False, False]


async def drips_body(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
    head, body = nodes.http_reply(b"x" * 10_000).split(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    for byte in body:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("behaviour", "stage"),
    [
        (nodes.hangs_before_headers, Stage.HEADERS),
        (nodes.hangs_mid_body, Stage.BODY),
        (nodes.drips(1.0), Stage.HEADERS),
        (drips_body, Stage.BODY),
    ],
)
async def test_the_time_limit_is_exact_and_names_its_stage(
    transport: NodeTransport, behaviour: nodes.Behaviour, stage: Stage
) -> None:
    async with nodes.running(behaviour) as node:
        began = monotonic()
        with pytest.raises(NodeTimeoutError) as caught:
            await post(transport, node.url, wait_s=DEADLINE_S)
        took_s = monotonic() - began
    assert caught.value.stage is stage
    assert DEADLINE_S - 0.01 <= took_s < DEADLINE_S + MARGIN_S


async def test_a_limit_beyond_five_seconds_is_not_rounded_up(transport: NodeTransport) -> None:
    async with nodes.running(nodes.hangs_before_headers) as node:
        loop = asyncio.get_running_loop()
        ask = asyncio.create_task(post(transport, node.url, wait_s=5.25))
        await asyncio.sleep(0.05)
        timers = [handle.when() - loop.time() for handle in loop._scheduled]  # type: ignore[attr-defined]
        ask.cancel()
        await asyncio.wait([ask])
    assert any(5.0 < left_s < 5.25 for left_s in timers)


@pytest.mark.parametrize("name", ["refused", "unknown"])
async def test_a_node_without_a_connection_was_not_asked(
    transport: NodeTransport, name: str
) -> None:
    progress = Progress()
    with nodes.refuses() as refusing:
        url = refusing.url if name == "refused" else "http://node.invalid"
        with pytest.raises(NodeUnreachableError) as caught:
            await post(transport, url, progress)
    expected = ReasonCode.CONNECTION_REFUSED if name == "refused" else ReasonCode.NAME_UNKNOWN
    assert caught.value.reason.code is expected
    assert not progress.may_have_acted


async def test_a_node_that_does_not_speak_tls_is_named_so(transport: NodeTransport) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NodeUnreachableError) as caught:
            await post(transport, f"https://127.0.0.1:{port}")
    assert caught.value.reason.code is ReasonCode.TLS_FAILED


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (nodes.closes_before_headers, NodeLostError),
        (nodes.closes_mid_body, NodeLostError),
        (nodes.speaks_no_http, NodeGarbageError),
        (nodes.huge_body(says_length=True), NodeTooLargeError),
        (nodes.huge_body(says_length=False), NodeTooLargeError),
    ],
)
async def test_a_broken_answer_has_its_name(
    transport: NodeTransport, behaviour: nodes.Behaviour, expected: type[NodeError]
) -> None:
    progress = Progress()
    async with nodes.running(behaviour) as node:
        with pytest.raises(expected):
            await post(transport, node.url, progress)
    assert len(node.asked) == 1
    assert progress.may_have_acted


async def test_an_answer_in_an_unasked_content_coding_is_not_unpacked(
    transport: NodeTransport,
) -> None:
    packed = nodes.http_reply(b"\x1f\x8b bomb", headers="Content-Encoding: gzip\r\n")

    async def behave(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(packed)

    async with nodes.running(behave) as node:
        with pytest.raises(NodeGarbageError):
            await post(transport, node.url)
    assert node.asked[0].headers["accept-encoding"] == "identity"


async def test_a_stale_connection_is_replaced_once(transport: NodeTransport) -> None:
    async with nodes.running(nodes.closes_idle_on_use(nodes.healthy())) as node:
        replies = [await post(transport, node.url) for _ in range(3)]
    assert [reply.status for reply in replies] == [303, 303, 303]
    assert node.connections == 3
    assert len(node.asked) == 5


async def test_a_fresh_connection_that_is_lost_is_not_asked_again(
    transport: NodeTransport,
) -> None:
    async with nodes.running(nodes.closes_first(nodes.healthy())) as node:
        with pytest.raises(NodeLostError):
            await post(transport, node.url)
    assert len(node.asked) == 1


async def test_a_reused_connection_lost_after_work_began_is_not_asked_again(
    transport: NodeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.clients.exchange.STALE_WITHIN_S", 0.01)

    async def works_then_dies(asked: nodes.Asked, writer: asyncio.StreamWriter) -> None:
        if len(node.asked) > 1:
            await asyncio.sleep(0.04)
            writer.close()
        else:
            writer.write(nodes.http_reply(b"{}"))

    async with nodes.running(works_then_dies) as node:
        await post(transport, node.url)
        with pytest.raises(NodeLostError):
            await post(transport, node.url)
    assert len(node.asked) == 2


@pytest.mark.parametrize("stage", [Stage.HEADERS, Stage.BODY])
async def test_a_cancelled_exchange_gives_its_connection_up(
    transport: NodeTransport, stage: Stage
) -> None:
    behaviour = nodes.hangs_before_headers if stage is Stage.HEADERS else nodes.hangs_mid_body
    async with nodes.running(behaviour) as node:
        for _ in range(2):
            progress = Progress()
            ask = asyncio.create_task(post(transport, node.url, progress))
            await until(partial(has_reached, progress, stage))
            ask.cancel()
            await asyncio.wait([ask])
            assert ask.cancelled()
            assert progress.is_fresh


@pytest.mark.parametrize("kind", list(TransportType))
async def test_a_closed_transport_says_so(kind: TransportType) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await post(transport_of(TransportSettings(kind)), "http://127.0.0.1:1")
