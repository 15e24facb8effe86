"""Answers that come piece by piece, for every transport."""

import asyncio
from contextlib import aclosing

import pytest

from gateway.clients.exchange import (
    NodeLostError,
    NodeTimeoutError,
    NodeTooLargeError,
    NodeTransport,
    StreamTimeouts,
    collected,
)
from tests.support.raw_server import Line, answering, speaking
from tests.support.waiting import until

HEAD = b"HTTP/1.1 200 OK\r\nX-Kind: log\r\nTransfer-Encoding: chunked\r\n\r\n"
TIMEOUTS = StreamTimeouts(connect_s=1.0, first_s=2.0, idle_s=2.0)
PIECE = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


async def test_a_stream_has_its_head_before_its_body(transport: NodeTransport) -> None:
    go_on = asyncio.Event()

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(HEAD)
        await go_on.wait()
        await line.say(b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")

    async with speaking(talk) as server:
        opened = transport.open_stream("GET", server.url, {"Range": "bytes=0-"}, timeouts=TIMEOUTS)
        async with opened as reply:
            assert (reply.status, reply.headers["x-kind"]) == (200, "log")
            go_on.set()
            assert await collected(reply, 10) == b"abcde"
    assert b"\r\nRange: bytes=0-\r\n" in server.requests[0]


async def test_a_stream_comes_no_faster_than_it_is_taken(transport: NodeTransport) -> None:
    sent = 0

    async def talk(line: Line) -> None:
        nonlocal sent
        await line.request()
        await line.say(HEAD)
        while True:
            await line.say(PIECE)
            sent += len(PIECE)

    async with speaking(talk) as server:
        async with transport.open_stream("GET", server.url, {}, timeouts=TIMEOUTS) as reply:
            async with aclosing(reply.pieces()) as pieces:
                await anext(pieces)
                before = -1
                while before < sent:  # until the buffers of the system are full
                    before = sent
                    await asyncio.sleep(0.05)
            assert sent < 32 << 20
        await until(lambda: server.ended == 1)


async def test_a_stream_that_stops_is_not_waited_for(transport: NodeTransport) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(HEAD, b"1\r\na\r\n")
        await line.request()

    timeouts = StreamTimeouts(connect_s=1.0, first_s=2.0, idle_s=0.1)
    async with (
        speaking(talk) as server,
        transport.open_stream("GET", server.url, {}, timeouts=timeouts) as reply,
    ):
        with pytest.raises(NodeTimeoutError):
            await collected(reply, 10)


async def test_a_stream_cut_short_is_lost(transport: NodeTransport) -> None:
    async with (
        speaking(answering(HEAD + b"3\r\nabc\r\n")) as server,
        transport.open_stream("GET", server.url, {}, timeouts=TIMEOUTS) as reply,
    ):
        with pytest.raises(NodeLostError):
            await collected(reply, 10)


async def test_no_more_of_a_stream_is_collected_than_asked_for(transport: NodeTransport) -> None:
    async with (
        speaking(answering(HEAD + b"3\r\nabc\r\n0\r\n\r\n")) as server,
        transport.open_stream("GET", server.url, {}, timeouts=TIMEOUTS) as reply,
    ):
        with pytest.raises(NodeTooLargeError):
            await collected(reply, 2)
