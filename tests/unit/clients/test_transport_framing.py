"""Where an answer ends, for every transport: bytes from a real server, whole and in pieces."""

import asyncio
from dataclasses import dataclass

import pytest

from gateway.clients.exchange import (
    NodeError,
    NodeGarbageError,
    NodeLostError,
    NodeTooLargeError,
    NodeTransport,
    Progress,
    Timeouts,
)
from gateway.clients.lean.bodies import MAX_CHUNKS
from gateway.clients.lean.reading import MAX_HEAD_BYTES
from tests.support.raw_server import Line, answering, speaking
from tests.support.transports import MAX_REPLY_BYTES, ask

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Good:
    """An answer that can be read in one way."""

    raw: bytes
    body: bytes = b"ok"
    status: int = 200
    method: str = "POST"
    keeps: bool = True


GOOD = {
    "length": Good(OK),
    "empty": Good(HEAD + b"Content-Length: 0\r\n\r\n", b""),
    "no reason": Good(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
    "fields in any case": Good(HEAD + b"cOnTeNt-LeNgTh:2\r\nX:\t a \xe9 \r\n\r\nok"),
    "chunks": Good(CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
    "chunks with extension": Good(CHUNKED + b'2;a="b c"\r\nok\r\n0\r\n\r\n'),
    "chunks with trailer": Good(CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
    "chunks in a large hexadecimal": Good(
        CHUNKED + b"000A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"
    ),
    "until the end": Good(HEAD + b"\r\nok", keeps=False),
    "old": Good(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", keeps=False),
    "old, until the end": Good(b"HTTP/1.0 200 OK\r\n\r\nok", keeps=False),
    "says close": Good(HEAD + b"Connection: x, Close\r\nContent-Length: 2\r\n\r\nok", keeps=False),
    "interim": Good(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK),
    "no content": Good(b"HTTP/1.1 204 No Content\r\n\r\n", b"", 204),
    "not modified": Good(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", 304),
    "head": Good(HEAD + b"Content-Length: 9\r\n\r\n", b"", method="HEAD"),
    "head in chunks": Good(CHUNKED, b"", method="HEAD"),
    "surplus": Good(OK + OK, keeps=False),
}


@pytest.mark.parametrize("name", GOOD)
async def test_an_answer_ends_where_it_says(transport: NodeTransport, name: str) -> None:
    good = GOOD[name]

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(good.raw if line.number == 1 else NEXT)
        if good.keeps:
            await line.request()
            await line.say(NEXT)

    async with speaking(talk) as server:
        reply = await ask(transport, server.url, good.method)
        after = await ask(transport, server.url)
    assert (reply.status, reply.body) == (good.status, good.body)
    assert after.body == b"next"
    assert server.connections == (1 if good.keeps else 2)


@pytest.mark.parametrize("name", [name for name in GOOD if name != "surplus"])
async def test_an_answer_in_single_bytes_is_the_same(transport: NodeTransport, name: str) -> None:
    good = GOOD[name]

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(*(bytes((byte,)) for byte in good.raw))
        if good.keeps:
            await line.request()

    async with speaking(talk) as server:
        reply = await ask(transport, server.url, good.method)
    assert (reply.status, reply.body) == (good.status, good.body)


REFUSED_BY_ALL = {
    "length and chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n")
    + b"2\r\nok\r\n0\r\n\r\n",
    "chunks and length": HEAD
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nok",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\nok",
    "a hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\nok",
    "a length beyond counting": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "an empty length": HEAD + b"Content-Length: \r\n\r\nok",
    "a field without a colon": HEAD + b"Content-Length\r\n\r\nok",
    "a field without a name": HEAD + b": 2\r\n\r\nok",
    "a NUL": HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "a bare carriage return": HEAD + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "chunks that end in line feeds": CHUNKED + b"2\nok\n0\n\n",
    "a chunk with a prefix": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk beyond counting": CHUNKED + b"fffffffffffffffff\r\nok\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"2\r\nok\r\n0\r\nxx\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "no version": b"HTTP/ 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a version to come": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no content, and some": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    "one long field": HEAD + b"X: " + b"a" * 40_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "many fields": HEAD + b"X: aaaa\r\n" * 10_000 + b"Content-Length: 2\r\n\r\nok",
}
REFUSED_BY_LEAN = {
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "one line feed alone": HEAD + b"X: y\nContent-Length: 2\r\n\r\nok",
    "a line feed alone, and no end": HEAD + b"X: y\n\n",
    "a folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\nok",
    "codings before chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks twice": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: identity\r\n\r\nok",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "old chunks": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a space after a chunk's size": CHUNKED + b"2 \r\nok\r\n0\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "no status there is": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "an empty line before": b"\r\n" + OK,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK,
    "crumbs": CHUNKED + b"1\r\na\r\n" * (MAX_CHUNKS + 1) + b"0\r\n\r\n",
    "a long extension": CHUNKED + b"2;" + b"x" * 300 + b"\r\nok\r\n0\r\n\r\n",
    "a long trailer": CHUNKED + b"2\r\nok\r\n0\r\n" + b"X: aaaaaa\r\n" * 1000 + b"\r\n",
    "a head that never ends": HEAD + b"X: aaaa\r\n" * (MAX_HEAD_BYTES // 9 + 1),
    "codings in two fields": HEAD
    + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
}


async def refuses(transport: NodeTransport, raw: bytes) -> None:
    progress = Progress()

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(raw if line.number == 1 else NEXT)
        await line.request()

    async with speaking(talk) as server:
        with pytest.raises(NodeGarbageError):
            await ask(transport, server.url, progress=progress)
        after = await ask(transport, server.url)
    assert progress.may_have_acted
    assert after.body == b"next"
    assert server.connections == 2


@pytest.mark.parametrize("name", REFUSED_BY_ALL)
async def test_what_leaves_room_for_two_readings_is_refused(
    transport: NodeTransport, name: str
) -> None:
    await refuses(transport, REFUSED_BY_ALL[name])


@pytest.mark.parametrize("name", REFUSED_BY_LEAN)
async def test_the_lean_transport_refuses_what_others_put_up_with(
    lean: NodeTransport, name: str
) -> None:
    await refuses(lean, REFUSED_BY_LEAN[name])


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_REPLY_BYTES + 1),
        CHUNKED
        + b"%x\r\n" % (MAX_REPLY_BYTES + 1)
        + b"x" * (MAX_REPLY_BYTES + 1)
        + b"\r\n0\r\n\r\n",
        HEAD + b"\r\n" + b"x" * (MAX_REPLY_BYTES + 1),
    ],
    ids=["length", "chunks", "until the end"],
)
async def test_an_answer_over_the_limit_is_not_read(transport: NodeTransport, raw: bytes) -> None:
    async with speaking(answering(raw)) as server:
        with pytest.raises(NodeTooLargeError):
            await ask(transport, server.url)


async def test_an_answer_of_the_limit_is_read(transport: NodeTransport) -> None:
    body = bytes(range(256)) * (MAX_REPLY_BYTES // 256)
    chunk = b"%x\r\n%b\r\n" % (MAX_REPLY_BYTES // 4, body[: MAX_REPLY_BYTES // 4])
    forms = [
        HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        CHUNKED + chunk * 4 + b"0\r\n\r\n",
        HEAD + b"\r\n" + body,
    ]
    async with speaking(answering(*forms)) as server:
        replies = [await ask(transport, server.url) for _ in forms]
    assert all(reply.body == body for reply in replies)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1",
        HEAD,
        HEAD + b"Content-Length: 3\r\n\r\nok",
        CHUNKED + b"2\r\nok\r\n",
        CHUNKED,
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half the chunks", "no chunk"],
)
async def test_an_answer_cut_short_is_lost(transport: NodeTransport, raw: bytes) -> None:
    async with speaking(answering(raw)) as server:
        with pytest.raises(NodeLostError) as caught:
            await ask(transport, server.url)
    assert not isinstance(caught.value, NodeGarbageError)
    assert server.connections == 1


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nY: b"}, {"X": "a\n"}, {"X": "a\r"}, {"X": "a\x00"}, {"X\r\nY": "a"}],
)
async def test_no_header_can_begin_another(
    transport: NodeTransport, headers: dict[str, str]
) -> None:
    until = asyncio.get_running_loop().time() + 1
    async with speaking(answering(OK)) as server:
        with pytest.raises(ValueError, match=r"header|control"):
            await transport.exchange("GET", server.url, headers, timeouts=Timeouts(until, 1.0))
    assert server.requests == []


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "X "])
async def test_the_lean_transport_alone_says_where_a_request_ends(
    lean: NodeTransport, name: str
) -> None:
    until = asyncio.get_running_loop().time() + 1
    with pytest.raises(ValueError, match="cannot be named"):
        await lean.exchange("GET", "http://x", {name: "5"}, timeouts=Timeouts(until, 1.0))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a b", b"/a%20b"),
        ("/a\r\nX: y", b"/aX:%20y"),
        ("/ü?x=ü%20y#part", b"/%C3%BC?x=%C3%BC%20y"),
        ("", b"/"),
        ("?x=1", b"/?x=1"),
    ],
)
async def test_a_url_is_one_line(transport: NodeTransport, path: str, target: bytes) -> None:
    until = asyncio.get_running_loop().time() + 1
    async with speaking(answering(OK)) as server:
        await transport.exchange("GET", server.url + path, {}, timeouts=Timeouts(until, 1.0))
    line, host, *_ = server.requests[0].split(b"\r\n")
    assert line == b"GET " + target + b" HTTP/1.1"
    assert host == b"Host: " + server.url.removeprefix("http://").encode()


@pytest.mark.parametrize("url", ["ftp://x/", "http:///x", "http://h:99999/", "/x", "http://[::1"])
async def test_what_is_no_url_of_http_is_a_failure_of_the_node(
    transport: NodeTransport, url: str
) -> None:
    until = asyncio.get_running_loop().time() + 1
    with pytest.raises(NodeError):
        await transport.exchange("GET", url, {}, timeouts=Timeouts(until, 1.0))


async def test_a_request_without_a_body_says_so(transport: NodeTransport) -> None:
    until = asyncio.get_running_loop().time() + 1
    async with speaking(answering(OK, OK)) as server:
        for method in ("POST", "GET"):
            await transport.exchange(method, server.url, {}, timeouts=Timeouts(until, 1.0))
    posted, got = (request.lower() for request in server.requests)
    assert b"\r\ncontent-length: 0\r\n" in posted
    assert b"content-length" not in got
    assert b"transfer-encoding" not in posted + got
