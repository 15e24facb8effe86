"""Reading answers, however they are cut up and damaged: never two readings, and never a hang."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clients.exchange import (
    NodeError,
    NodeGarbageError,
    NodeLostError,
    NodeTransport,
    Reply,
)
from gateway.clients.lean.reading import AnswerReader
from gateway.clients.transports import transport_of
from gateway.settings import TransportSettings, TransportType
from tests.support.raw_server import Line, RawServer, speaking
from tests.support.transports import MAX_REPLY_BYTES, ask

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
HANGS_S = 0.02
"""An answer that promises more than comes is waited for so long."""

BODIES = st.binary(max_size=40)
FIELD = st.tuples(
    st.sampled_from(["X-One", "x-two", "Date", "Connection", "Content-Type", "Content-Encoding"]),
    st.sampled_from(["", "a", "close", "keep-alive", "identity", " \t b ", "a, b", "\xe9"]),
).map(lambda field: f"{field[0]}:{field[1]}\r\n".encode("latin-1"))


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A body in chunks, with its field."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
    mark = draw(st.sampled_from([b"", b";a", b';a="b"']))
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), mark, piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer as a server may give it."""
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    status = draw(st.sampled_from([b"200 OK", b"303 See Other", b"204 No", b"500 ", b"304 Same"]))
    fields = b"".join(draw(st.lists(FIELD, max_size=3)))
    end = draw(
        st.one_of(
            BODIES.map(lambda body: b"Content-Length: %d\r\n\r\n%b" % (len(body), body)),
            BODIES.map(lambda body: b"\r\n" + body),
            chunked(),
        )
    )
    return interim + b"HTTP/" + version + b" " + status + b"\r\n" + fields + end


DAMAGE = st.sampled_from(
    [
        *(bytes((byte,)) for byte in b"\r\n \t:;\x00\xff05a,"),
        *(b"", b"\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"),
        b"HTTP/1.1 200 OK\r\n\r\n",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer with up to three places changed."""
    raw = draw(answers())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(DAMAGE) + raw[at + draw(st.integers(0, 3)) :]
    return raw


@st.composite
def in_pieces(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> list[bytes]:
    """Bytes as the network may hand them over."""
    raw = draw(source)
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return [raw[i:j] for i, j in zip([0, *cuts], [*cuts, len(raw)], strict=True) if i < j]


def read(pieces: list[bytes], method: str = "POST") -> tuple[object, ...]:
    """What the reader makes of it: the answer, or the kind of failure."""
    reader = AnswerReader(method, MAX_REPLY_BYTES)
    try:
        for number, piece in enumerate(pieces):
            reply = reader.feed(piece)
            if reply is not None:
                surplus = any(pieces[number + 1 :]) or not reader.keeps_connection
                return reply.status, dict(reply.headers), reply.body, surplus
        reply = reader.end()
    except NodeError as error:
        return (type(error),)
    return (
        (NodeLostError,) if reply is None else (reply.status, dict(reply.headers), reply.body, True)
    )


@given(in_pieces(damaged()), st.sampled_from(["POST", "HEAD"]))
def test_how_an_answer_is_cut_up_changes_nothing(pieces: list[bytes], method: str) -> None:
    whole = b"".join(pieces)
    single = [bytes((byte,)) for byte in whole]
    assert read(pieces, method) == read([whole] if whole else [], method) == read(single, method)


@given(in_pieces(st.binary(max_size=200)))
def test_what_is_no_http_is_never_an_answer(pieces: list[bytes]) -> None:
    assert read(pieces) in {(NodeGarbageError,), (NodeLostError,)}


@dataclass(slots=True, repr=False)
class Laboratory:
    """Both transports and a server that says to each new request what is in ``said``, once."""

    runner: asyncio.Runner
    transports: dict[TransportType, NodeTransport]
    server: RawServer
    said: list[tuple[list[bytes], bool]]

    def outcomes(
        self, kind: TransportType, pieces: list[bytes], *, closes: bool
    ) -> tuple[Reply | NodeError, Reply]:
        """What an answer, and the proper one after it, are to a transport."""

        async def both() -> tuple[Reply | NodeError, Reply]:
            transport = self.transports[kind]
            self.said.append((pieces, closes))
            first: Reply | NodeError
            try:
                first = await ask(transport, self.server.url, wait_s=2.0 if closes else HANGS_S)
            except NodeError as error:
                first = error
            self.said.clear()
            return first, await ask(transport, self.server.url)

        return self.runner.run(both())


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    said: list[tuple[list[bytes], bool]] = []

    async def talk(line: Line) -> None:
        while True:
            await line.request()
            pieces, closes = said.pop() if said else ([NEXT], False)
            await line.say(*pieces)
            if closes:
                return

    async def opened() -> tuple[RawServer, dict[TransportType, NodeTransport]]:
        server = await stack.enter_async_context(speaking(talk))
        settings = [
            TransportSettings(kind, max_reply_bytes=MAX_REPLY_BYTES) for kind in TransportType
        ]
        return server, {
            each.type: await stack.enter_async_context(transport_of(each)) for each in settings
        }

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server, transports = runner.run(opened())
        try:
            yield Laboratory(runner, transports, server, said)
        finally:
            runner.run(stack.aclose())


@given(in_pieces(damaged()))
def test_the_lean_transport_reads_what_the_reference_reads_or_nothing(
    laboratory: Laboratory, pieces: list[bytes]
) -> None:
    lean, after = laboratory.outcomes(TransportType.LEAN, pieces, closes=True)
    reference, _ = laboratory.outcomes(TransportType.AIOHTTP, pieces, closes=True)
    assert after.body == b"next"
    if isinstance(lean, Reply) and isinstance(reference, Reply):
        assert (lean.status, lean.body) == (reference.status, reference.body)
    elif isinstance(lean, Reply):
        assert isinstance(reference, NodeGarbageError)


@pytest.mark.parametrize("kind", list(TransportType))
@settings(max_examples=30)
@given(pieces=in_pieces(damaged()))
def test_no_answer_damages_the_next_exchange(
    laboratory: Laboratory, kind: TransportType, pieces: list[bytes]
) -> None:
    _, after = laboratory.outcomes(kind, pieces, closes=False)
    assert (after.status, after.body) == (200, b"next")
