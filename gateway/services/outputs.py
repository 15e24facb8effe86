"""What came out of sessions, from the nodes that have it: passed on as it comes, never whole."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn
from uuid import UUID

from gateway.clients.broker import BrokerClient, CallContext
from gateway.clients.exchange import (
    NodeError,
    NodeGarbageError,
    NodeStatusError,
    NodeTimeoutError,
    ReplyStream,
    StreamTimeouts,
    collected,
)
from gateway.services.caller import Caller
from gateway.services.node_calls import NodeCalls
from gateway.services.output_errors import (
    NodeAwayError,
    NodeBusyError,
    NodeSlowError,
    OutputsGoneError,
    UnknownOutputError,
)
from gateway.services.sessions import SessionService
from gateway.stores.sessions import SessionRow
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.json import decode
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.outputs import HEARTBEAT_S, results_url
from gateway.wire.schemas.results import ResultsSchema

FIRST_S: Final = 15.0
"""Longest wait for the head of an answer: a node may have to look into a large archive."""

IDLE_S: Final = 2.5 * HEARTBEAT_S
"""Longest wait for the next piece: a followed log is never silent for longer than a heartbeat."""

CONNECT_S: Final = 5.0
"""Longest wait for a connection; a person waits, not a request for offers."""

MAX_RESULTS_BYTES: Final = 16 << 20
"""Longest list of results that is read: ten thousand files with long names have 8 MiB."""

MAX_READERS_OF_NODE: Final = 64
"""Streams read from one node at the same time, beside its calls: a hanging node ties up no more."""

_NOT_THERE: Final = frozenset({404, 405, 501})
_RESULTS: Final = ResultsSchema()


class OutputBrokenError(Exception):
    """The node broke off in the middle."""


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """What to ask a node for: a path below its URL, and headers of the reader's.

    ``media_type`` is what the answer must be, where that matters.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """An answer of a node: 200, 206, 304 or 416. ``pieces`` is its body, to be taken once.

    They raise `OutputBrokenError` where the node breaks off.
    """

    status: int
    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes]


class OutputsService:
    """Logs and results as their readers get them."""

    def __init__(self, sessions: SessionService, nodes: NodeCalls) -> None:
        self._sessions = sessions
        self._nodes = nodes
        self._readers: Counter[str] = Counter()

    async def results(self, uuid: UUID, caller: Caller) -> Document:
        """The list of what came out, as the node has it.

        Raises
        ------
        UnknownSessionError, UnknownOutputError, OutputsGoneError, NodeAwayError, NodeSlowError,
        NodeBusyError
        """
        row = await self._row(uuid, caller)
        wanted = WantedOutput(results_url("", uuid))
        with _problems_of(row):
            async with self._reply(row, caller, wanted) as reply:
                text = await collected(reply, MAX_RESULTS_BYTES)
            return await asyncio.to_thread(_read_results, text, uuid)

    @asynccontextmanager
    async def opened(
        self, uuid: UUID, caller: Caller, wanted: WantedOutput
    ) -> AsyncIterator[NodeOutput]:
        """A log or a file, as it comes. The connection to the node ends with the context.

        Raises
        ------
        UnknownSessionError, UnknownOutputError, OutputsGoneError, NodeAwayError, NodeSlowError,
        NodeBusyError
        """
        row = await self._row(uuid, caller)
        with _problems_of(row):
            async with self._reply(row, caller, wanted) as reply:
                given = reply.headers.get("Content-Type", "").partition(";")[0]
                if wanted.media_type not in {None, given}:
                    raise NodeGarbageError(f"it gives no {wanted.media_type}")
                yield NodeOutput(reply.status, reply.headers, _whole(reply.pieces()))

    async def _row(self, uuid: UUID, caller: Caller) -> SessionRow:
        return (await self._sessions.read_saved(uuid, caller)).row

    @asynccontextmanager
    async def _reply(
        self, row: SessionRow, caller: Caller, wanted: WantedOutput
    ) -> AsyncIterator[ReplyStream]:
        client = self._client(row.node)
        call = CallContext(
            request_id=caller.request_id,
            authorization=caller.authorization or self._nodes.remembered_authorization(row.owner),
        )
        timeouts = StreamTimeouts(CONNECT_S, FIRST_S, IDLE_S)
        with self._reader_of(row.node):
            async with client.open_output(
                wanted.method, wanted.path, wanted.headers, call, timeouts=timeouts
            ) as reply:
                yield reply

    def _client(self, node: str) -> BrokerClient:
        client = self._nodes.client(node)
        if client is None:
            raise NodeAwayError(node, "it is not registered here any more")
        return client

    @contextmanager
    def _reader_of(self, node: str) -> Iterator[None]:
        if self._readers[node] >= MAX_READERS_OF_NODE:
            raise NodeBusyError(node)
        self._readers[node] += 1
        try:
            yield
        finally:
            self._readers[node] -= 1


async def _whole(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    except NodeError as error:
        raise OutputBrokenError(str(error)) from error


@contextmanager
def _problems_of(row: SessionRow) -> Iterator[None]:
    """A node's failure as the problem that the reader is told of."""
    try:
        yield
    except NodeStatusError as error:
        _refuse(row, error)
    except NodeTimeoutError as error:
        raise NodeSlowError(row.node, str(error)) from error
    except NodeError as error:
        raise NodeAwayError(row.node, str(error)) from error


def _refuse(row: SessionRow, error: NodeStatusError) -> NoReturn:
    """What a failure status of a node means to the reader."""
    if error.status in _NOT_THERE:
        raise UnknownOutputError(row.uuid, row.node, error.problem) from error
    if error.status == 410:
        raise OutputsGoneError(row.uuid, row.node, error.problem) from error
    if error.status == 503:
        raise NodeBusyError(row.node, error.problem) from error
    raise NodeAwayError(row.node, str(error), error.problem) from error


def _read_results(text: bytes, uuid: UUID) -> Document:
    """The node's list, if it is one of this session.

    Raises
    ------
    NodeGarbageError
    """
    try:
        document = decode(text)
    except CodecError as error:
        raise NodeGarbageError(str(error)) from error
    faults = validate(_RESULTS, document)
    if faults:
        raise NodeGarbageError(f"{faults[0].pointer}: {faults[0].detail}")
    if UUID(document["session"]) != uuid:
        raise NodeGarbageError("the answer is of another session than the one asked for")
    result: Document = document
    return result
