"""The three ways the body of an answer ends (RFC 9112 section 6.3). Pure: bytes in, bytes out."""

import re
from typing import Final, Protocol

from gateway.clients.exchange import NodeGarbageError, NodeTooLargeError

MAX_CHUNKS: Final = 16_384
"""Servers flush by the kilobyte: the largest answer in pieces of 256 bytes. Crumbs cost us more
than they cost the node."""

_MAX_CHUNK_LINE_BYTES: Final = 256
"""A size has eight digits at most; extensions are not understood and seldom used."""

_MAX_TRAILER_BYTES: Final = 4096
"""Trailers are read over; nothing that a node broker sends is in them."""

_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


class Body(Protocol):
    """A body that is coming. ``ends_with_connection``: only its end tells the end of the body."""

    ends_with_connection: bool

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; gives what came after the end, or None while there is more to come.

        Raises
        ------
        NodeGarbageError, NodeTooLargeError
            It is not a body, or not one that is read.
        """
        ...

    def whole(self) -> bytes:
        """All of it."""
        ...


class CountedBody:
    """A body of a length said before."""

    __slots__ = ("_left", "_pieces")

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._left = length
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; gives what came after the end, or None while there is more to come."""
        surplus = len(data) - self._left
        if surplus < 0:
            self._left = -surplus
            self._pieces.append(data)
            return None
        end = self._left
        self._left = 0
        self._pieces.append(data[:end])
        return data[end:]

    def whole(self) -> bytes:
        """All of it."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class LastingBody:
    """A body that lasts until the connection ends."""

    __slots__ = ("_limit_bytes", "_received")

    ends_with_connection = True

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises
        ------
        NodeTooLargeError
            It is more than is read.
        """
        self._received += data
        if len(self._received) > self._limit_bytes:
            raise NodeTooLargeError(self._limit_bytes)

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._received)


class ChunkedBody:
    """A body in chunks, each with its size before it; extensions and trailers are read over."""

    __slots__ = (
        "_body",
        "_chunks",
        "_in_trailer",
        "_left",
        "_limit_bytes",
        "_trailer_bytes",
        "_wire",
    )

    ends_with_connection = False

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._body = bytearray()
        self._wire = b""
        self._left = 0
        """Bytes of the current chunk that are missing, its line end among them; 0 between two."""
        self._chunks = 0
        self._in_trailer = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; gives what came after the end, or None while there is more to come.

        Raises
        ------
        NodeGarbageError, NodeTooLargeError
            It is not in chunks, or more than is read.
        """
        wire = self._wire + data if self._wire else data
        at = 0
        while True:
            if self._left:
                at = self._take_chunk(wire, at)
                if self._left:
                    break
            line, end = self._line(wire, at)
            if line is None:
                break
            at = end
            if not self._in_trailer:
                self._start_chunk(line)
            elif not line:
                return wire[at:]
            else:
                self._pass_trailer(line)
        self._wire = wire[at:]
        return None

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._body)

    def _take_chunk(self, wire: bytes, at: int) -> int:
        """Move what is there of the current chunk; gives where it stopped."""
        data_left = self._left - 2
        if data_left > 0:
            taken = wire[at : at + data_left]
            self._body += taken
            self._left -= len(taken)
            at += len(taken)
        if self._left <= 2 and len(wire) - at >= 2:
            if wire[at : at + 2] != b"\r\n":
                raise _not_in_chunks()
            self._left = 0
            at += 2
        return at

    def _line(self, wire: bytes, at: int) -> tuple[bytes | None, int]:
        """The next line and where it ends; None while it is not whole."""
        end = wire.find(b"\n", at, at + _MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if len(wire) - at >= _MAX_CHUNK_LINE_BYTES:
                raise _not_in_chunks()
            return None, at
        if wire[end - 1 : end] != b"\r" or end == at:
            raise _not_in_chunks()
        return wire[at : end - 1], end + 1

    def _start_chunk(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        self._chunks += 1
        if found is None or self._chunks > MAX_CHUNKS:
            raise _not_in_chunks()
        size = int(found[1], 16)
        if len(self._body) + size > self._limit_bytes:
            raise NodeTooLargeError(self._limit_bytes)
        if size:
            self._left = size + 2
        else:
            self._in_trailer = True

    def _pass_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if _TRAILER_LINE.fullmatch(line) is None or self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise _not_in_chunks()


def _not_in_chunks() -> NodeGarbageError:
    return NodeGarbageError("the answer is not in the chunks it promises")
