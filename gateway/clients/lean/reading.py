"""One answer out of bytes as they come. Pure: no connection, no clock."""

import re
from typing import Final

from gateway.clients.exchange import NodeGarbageError, NodeTooLargeError, Reply
from gateway.clients.lean.bodies import Body, ChunkedBody, CountedBody, LastingBody
from gateway.clients.lean.fields import START, Fields, read_head

MAX_HEAD_BYTES: Final = 16 << 10
"""Twice what Tomcat writes at most (``maxHttpResponseHeaderSize``) and nginx passes on."""

_MAX_INTERIM: Final = 8
"""Answers before the answer (1xx); one or two are usual."""

_HEAD_END: Final = b"\r\n\r\n"
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_IDENTITY_CODINGS: Final = frozenset({"", "identity"})


class AnswerReader:
    """Reads the final answer to one request; interim answers (1xx) are passed over.

    Whatever leaves room for two readings is refused: both a length and chunks, two lengths,
    transfer codings besides chunks, folded lines, bare line feeds (RFC 9112 sections 2.2, 5.2, 6.3,
    11.2). ``has_begun``: a byte has come. ``has_head``: the final head is whole.
    ``keeps_connection``, of a whole answer: both sides agree where it ended, and on staying.
    """

    __slots__ = (
        "_body",
        "_fields",
        "_held",
        "_interim",
        "_is_head",
        "_max_body_bytes",
        "_status",
        "has_begun",
        "has_head",
        "keeps_connection",
    )

    def __init__(self, method: str, max_body_bytes: int) -> None:
        self._is_head = method == "HEAD"
        self._max_body_bytes = max_body_bytes
        self._held = b""
        self._interim = 0
        self._status = 0
        self._fields: dict[str, str] = {}
        self._body: Body
        self.has_begun = False
        self.has_head = False
        self.keeps_connection = False

    def feed(self, data: bytes) -> Reply | None:
        """Take what came; gives the answer once it is whole.

        Raises
        ------
        NodeGarbageError, NodeTooLargeError
            It is not HTTP/1, not unambiguous, or larger than is read.
        """
        self.has_begun = True
        if not self.has_head:
            rest = self._read_heads(data)
            if rest is None:
                return None
            data = rest
        surplus = self._body.feed(data)
        if surplus is None:
            return None
        if surplus:
            self.keeps_connection = False
        return Reply(self._status, Fields(self._fields), self._body.whole())

    def end(self) -> Reply | None:
        """The connection has properly ended; gives the answer if that makes it whole."""
        if self.has_head and self._body.ends_with_connection:
            return Reply(self._status, Fields(self._fields), self._body.whole())
        return None

    def _read_heads(self, data: bytes) -> bytes | None:
        """Read up to the end of the final head; gives what came after it, None before that."""
        known = len(self._held)
        held = self._held + data if known else data
        while True:
            end = held.find(_HEAD_END, max(0, known - 3), MAX_HEAD_BYTES)
            if end < 0:
                self._held = held
                _check_partial_head(held, known)
                return None
            head, held, known = held[: end + 2], held[end + 4 :], 0
            found = read_head(head)
            if found is None:
                raise _not_http()
            minor, status, fields = found
            if status >= 200:
                break
            self._interim += 1
            if status == 101 or self._interim > _MAX_INTERIM:
                raise _not_http()
            if not held:
                self._held = held
                return None
        self._held = b""
        self._take_head(minor, status, fields)
        return held

    def _take_head(self, minor: int, status: int, fields: dict[str, str]) -> None:
        self._status = status
        self._fields = fields
        coding = fields.get("transfer-encoding")
        length = fields.get("content-length")
        connection = fields.get("connection")
        self.keeps_connection = minor == 1 and not (connection and _says_close(connection))
        self._body = self._body_of(minor, coding, length)
        if fields.get("content-encoding", "").lower() not in _IDENTITY_CODINGS:
            raise NodeGarbageError("the answer is in a content coding that was not asked for")
        self.has_head = True

    def _body_of(self, minor: int, coding: str | None, length: str | None) -> Body:
        if coding is not None and (coding.lower() != "chunked" or length is not None or minor == 0):
            raise _not_http()
        if length is not None and _LENGTH.fullmatch(length) is None:
            raise _not_http()
        if self._status == 204 and (coding is not None or int(length or 0)):
            raise _not_http()
        if self._is_head or self._status in {204, 304}:
            return CountedBody(0)
        if coding is not None:
            return ChunkedBody(self._max_body_bytes)
        if length is None:
            return LastingBody(self._max_body_bytes)
        if int(length) > self._max_body_bytes:
            raise NodeTooLargeError(self._max_body_bytes)
        return CountedBody(int(length))


def _says_close(connection: str) -> bool:
    return "close" in (option.strip(" \t") for option in connection.lower().split(","))


def _check_partial_head(held: bytes, known: int) -> None:
    """Say early that no end of this head is worth waiting for."""
    is_http = held.startswith(START) if len(held) >= len(START) else START.startswith(held)
    if not is_http or len(held) >= MAX_HEAD_BYTES or _BARE_LF.search(held, known):
        raise _not_http()


def _not_http() -> NodeGarbageError:
    return NodeGarbageError("the answer is not HTTP")
