"""One exchange with a node: what is sent, how far it got, and every way it can fail.

Knows no HTTP library. A transport makes exchanges, the broker client gives them a meaning.
"""

import errno
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

import msgspec

from gateway.domain.coverage import Outcome
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.documents import Document

STALE_WITHIN_S: Final = 0.5
"""A reused connection that ends this soon was dead before; one that ends later was at work."""

USER_AGENT: Final = "execbroker-gateway"
"""Who speaks, for the logs of nodes."""

_OWN_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""No descriptor, buffer or local port: nothing was sent to anybody."""


class Stage(StrEnum):
    """How far an exchange got. From HEADERS on the node may have acted on it."""

    QUEUED = "queued"
    CONNECT = "connect"
    HEADERS = "headers"
    BODY = "body"


TIMEOUT_REASONS: Mapping[Stage, ReasonCode] = {
    Stage.QUEUED: ReasonCode.NODE_BUSY,
    Stage.CONNECT: ReasonCode.CONNECT_TIMEOUT,
    Stage.HEADERS: ReasonCode.HEADERS_TIMEOUT,
    Stage.BODY: ReasonCode.BODY_TIMEOUT,
}
"""Why there was no answer in time, by the stage at which the time ran out."""


class Progress:
    """How far one exchange is, for whoever stops waiting for it. Written by the transport alone.

    ``may_have_acted``: the node may have read the request, and hold something because of it.
    ``is_fresh``: the connection was opened for this exchange.
    """

    __slots__ = ("is_fresh", "may_have_acted", "stage")

    def __init__(self) -> None:
        self.stage = Stage.QUEUED
        self.is_fresh = False
        self.may_have_acted = False


class Timeouts(msgspec.Struct, frozen=True):
    """``until`` is the event loop time at which the whole exchange ends, ``connect_s`` seconds."""

    until: float
    connect_s: float


@dataclass(frozen=True, slots=True)
class StreamTimeouts:
    """Seconds for a connection, from the call to the head of the answer, and between two pieces.

    The whole may take as long as it likes.
    """

    connect_s: float
    first_s: float
    idle_s: float


class Reply(msgspec.Struct, frozen=True):
    """What came back, whole. Names in ``headers`` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ReplyStream(Protocol):
    """An answer whose body comes piece by piece, and no faster than it is taken."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names are found in any case."""
        ...

    def pieces(self) -> AsyncGenerator[bytes]:
        """The body, once; each piece is at most some 128 KiB.

        Raises
        ------
        NodeTimeoutError, NodeLostError
            The next piece does not come; the body is not whole.
        """
        ...


class NodeError(Exception):
    """A node gave no usable answer. The message may be shown to clients."""

    outcome: Outcome
    reason: Reason
    is_second_try = False
    """It befell the second of two tries, and what became of the first is not known."""


class NodeUnreachableError(NodeError):
    """No connection: refused, name unknown, no route, or its certificate is not trusted."""

    outcome = Outcome.REFUSED

    def __init__(self, code: ReasonCode) -> None:
        self.reason = reason(code)
        super().__init__(self.reason.text())
        self.is_ours = code is ReasonCode.NO_DESCRIPTORS
        """Nothing was tried: it says nothing of the node."""

    @classmethod
    def from_system(cls, error: OSError) -> Self:
        """What the system said when a connection was to be made."""
        if error.errno in _OWN_SHORTAGES:
            return cls(ReasonCode.NO_DESCRIPTORS)
        refused = isinstance(error, ConnectionRefusedError)
        return cls(ReasonCode.CONNECTION_REFUSED if refused else ReasonCode.UNREACHABLE)


class NodeTimeoutError(NodeError):
    """The time was over before the answer was whole."""

    outcome = Outcome.TIMEOUT

    def __init__(self, stage: Stage) -> None:
        self.reason = reason(TIMEOUT_REASONS[stage])
        super().__init__(self.reason.text())
        self.stage = stage


class NodeLostError(NodeError):
    """The connection ended before the answer was whole.

    ``is_stale``: an idle connection kept from before, gone as soon as it was used again; the node
    closed it without reading the request.
    """

    outcome = Outcome.ERROR
    reason = reason(ReasonCode.CONNECTION_LOST)

    def __init__(self, stage: Stage, *, is_stale: bool = False) -> None:
        super().__init__(f"connection lost: stage {stage.value}")
        self.stage = stage
        self.is_stale = is_stale


class NodeTooLargeError(NodeError):
    """The answer is larger than this gateway reads."""

    outcome = Outcome.INVALID
    reason = reason(ReasonCode.ANSWER_TOO_LARGE)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"answer larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class NodeGarbageError(NodeError):
    """The answer is not HTTP, not JSON, or not the document that was asked for."""

    outcome = Outcome.INVALID

    def __init__(self, detail: str) -> None:
        self.reason = reason(ReasonCode.INVALID_ANSWER, detail=detail)
        super().__init__(self.reason.text())


class NodeStatusError(NodeError):
    """The node answered with a failure. ``problem`` is its RFC 9457 body, if that is what came.

    ``has_acted``: the failure came only after the node had said that it did what was asked.
    ``retry_after_s`` is how long it wants to be left alone, if it says so.
    """

    outcome = Outcome.ERROR

    def __init__(
        self,
        status: int,
        problem: Document | None = None,
        *,
        has_acted: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        self.reason = (
            reason(ReasonCode.REFUSED_CREDENTIALS)
            if status in {401, 403}
            else reason(ReasonCode.ERROR_STATUS, status=status)
        )
        super().__init__(self.reason.text())
        self.status = status
        self.problem = problem
        self.has_acted = has_acted
        self.retry_after_s = retry_after_s


class NodeSessionUnknownError(NodeError):
    """The node does not know the session: it forgot, or never had it."""

    outcome = Outcome.ERROR
    reason = reason(ReasonCode.SESSION_UNKNOWN)


class NodeTransport(Protocol):
    """Carries exchanges to nodes. Safe for many at once."""

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeouts: Timeouts,
        progress: Progress | None = None,
    ) -> Reply:
        """Send one request and read its whole answer, whatever its status; follows no redirect.

        A stale connection is replaced once.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeTooLargeError, NodeGarbageError
            There is no whole answer.
        """

    def open_stream(
        self, method: str, url: str, headers: Mapping[str, str], *, timeouts: StreamTimeouts
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Send one request without a body and give its answer, whatever its status, as it comes.

        Whoever leaves the context before the end of the body closes the connection.

        Raises
        ------
        NodeUnreachableError, NodeTimeoutError, NodeLostError, NodeGarbageError
            There is no answer.
        """
        ...


async def collected(reply: ReplyStream, limit_bytes: int) -> bytes:
    """The whole body of an answer.

    Raises
    ------
    NodeTooLargeError
        It has more than ``limit_bytes``.
    NodeTimeoutError, NodeLostError
        It does not come.
    """
    body = bytearray()
    async with aclosing(reply.pieces()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > limit_bytes:
                raise NodeTooLargeError(limit_bytes)
    return bytes(body)


def is_stale(stage: Stage, *, is_fresh: bool, took_s: float) -> bool:
    """Whether a connection that was lost had been dead before it was used again."""
    return stage is Stage.HEADERS and not is_fresh and took_s < STALE_WITHIN_S


class Attempt(Protocol):
    """One try of an exchange."""

    async def __call__(self, *, is_second: bool) -> Reply:
        """The answer; ``is_second``: the first befell a stale connection."""
        ...


async def replacing_stale(attempt: Attempt) -> Reply:
    """What the attempt gives; it is made once more if it befell a stale connection.

    Raises
    ------
    NodeError
        There is no answer.
    """
    try:
        return await attempt(is_second=False)
    except NodeLostError as error:
        if not error.is_stale:
            raise
    try:
        return await attempt(is_second=True)
    except NodeError as error:
        # The node closed an idle connection, or it read the request and then died.
        error.is_second_try = True
        raise
