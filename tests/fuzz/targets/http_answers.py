"""Answers as bytes from a node: one reading, however they come, and the library's own."""

import http.client
import io
from collections.abc import Iterator
from typing import Final

from gateway.clients.exchange import NodeGarbageError, NodeTooLargeError, Reply
from gateway.clients.lean.reading import AnswerReader

MAX_BODY_BYTES: Final = 4096
"""Of the answers here; so small that inputs get beyond it."""


def run(data: bytes) -> None:
    """The first byte says how many bytes come at once."""
    step, wire = (data[0] if data else 0) + 1, data[1:]
    reply = _read(wire, len(wire) + 1)
    assert _read(wire, step) == reply
    if reply is None:
        return
    assert len(reply.body) <= MAX_BODY_BYTES
    theirs = _library(wire)
    # The standard library passes over no interim answer but 100, and it counts header fields.
    if theirs is not None and theirs[0] >= 200:
        assert theirs == (reply.status, reply.body)


def _read(wire: bytes, step: int) -> "Reply | None":
    """The answer; None if there is none, or it is refused."""
    reader = AnswerReader("GET", MAX_BODY_BYTES)
    try:
        for at in range(0, len(wire), step):
            reply = reader.feed(wire[at : at + step])
            if reply is not None:
                return _plain(reply)
        last = reader.end()
    except (NodeGarbageError, NodeTooLargeError):
        return None
    return None if last is None else _plain(last)


def _plain(reply: Reply) -> Reply:
    """The same with headers that can be compared."""
    return Reply(reply.status, dict(reply.headers), reply.body)


class _Wire:
    """As much of a socket as the standard library asks for."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._wire)


def _library(wire: bytes) -> tuple[int, bytes] | None:
    response = http.client.HTTPResponse(_Wire(wire), method="GET")  # type: ignore[arg-type]  # enough of one
    try:
        response.begin()
        return response.status, response.read()
    except http.client.HTTPException:
        return None
    finally:
        response.close()


def seeds() -> Iterator[bytes]:
    """Every way that a body ends."""
    for step, wire in (
        (
            7,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}HTTP",
        ),
        (
            1,
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
        ),
        (3, b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nto the end"),
        (5, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        (
            200,
            b"HTTP/1.1 303 See Other\r\nLocation: /a\r\nA: b\r\na: c\r\nContent-Length: 0\r\n\r\n",
        ),
    ):
        yield bytes([step]) + wire
