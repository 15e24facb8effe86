"""Sessions with something to read: logs that grow as a test likes, files that came out."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import aiohttp

from gateway.cli.events import Event, EventReader
from gateway.wire.documents import Document
from gateway.wire.outputs import from_piece
from node_stub.archive import Archive, Output, Report
from node_stub.clock import SystemClock
from node_stub.platforms.base import EndReason, LogChunk, Stream, Usage
from node_stub.platforms.simulated import SimulatedPlatform, SimulatedSettings
from tests.support.node import NodeClient
from tests.support.requests import minimal_request

LASTING: Final = SimulatedSettings(prepare_s=0, run_s=600, release_s=0)
"""Runs until it is cancelled."""


class WritingPlatform(SimulatedPlatform):
    """Its jobs write what a test puts into ``written``; nothing is archived."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(LASTING, data_dir / "writing.db", SystemClock(), Random(1))
        self.written = bytearray()

    async def read_log(
        self, session: UUID, stream: Stream, offset: int, limit: int
    ) -> LogChunk | None:
        del session
        written = self.written if stream is Stream.STDOUT else bytearray()
        data = bytes(written[offset : offset + limit])
        return LogChunk(data, offset + len(data), is_complete=False)


async def running(node: NodeClient, **environment: str) -> str:
    """The UUID of a session that runs there."""
    request = minimal_request()
    request["executable"]["environment"] = environment
    answer = await node.direct(request)
    assert answer.status == 303, answer
    uuid: str = answer.uuid
    await node.reaches(uuid, "RUNNING", "RELEASING", "COMPLETED", "FAILED")
    return uuid


async def archived(
    data_dir: Path, session: str, home: Path, log: bytes = b"a log\n", **report: Any
) -> Report:
    """Put what lies in a directory into a node's archive, as if the session had left it."""
    given: dict[str, Any] = {
        "exit_code": 0,
        "reason": EndReason.OK,
        "text": "",
        "started": None,
        "ended": datetime.now(UTC),
        "usage": Usage(cpu_s=1.0),
    }
    out = data_dir / "stdout-of-job"
    out.write_bytes(log)
    return await Archive(data_dir / "results").keep(
        UUID(session),
        Report(**given | report),
        {Stream.STDOUT: out},
        [Output(home, "", frozenset())],
    )


class Followed:
    """A log that is being followed."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._reader = EventReader()
        self._waiting: list[Event] = []
        self.offset = 0

    async def next(self) -> Event:
        """The next event, however it is cut into pieces."""
        while not self._waiting:
            piece = await self._answer.content.readany()
            assert piece, "the stream ended"
            self._waiting = self._reader.feed(piece)
        return self._waiting.pop(0)

    async def piece(self) -> bytes:
        """The bytes of the next event, which must be a piece of the log, in its place."""
        event = await self.next()
        assert event.name == "chunk", event
        offset, data = from_piece(_document(event))
        assert offset == self.offset
        self.offset += len(data)
        assert event.id == str(self.offset)
        return data

    async def bytes(self, count: int) -> bytes:
        """So many bytes of the log, or a few more."""
        data = b""
        while len(data) < count:
            data += await self.piece()
        return data

    async def end(self) -> Document:
        """What the last event says."""
        event = await self.next()
        assert event.name == "end", event
        assert await self._answer.content.read() == b""
        return _document(event)


@asynccontextmanager
async def following(
    http: aiohttp.ClientSession, url: str, **headers: str
) -> AsyncIterator[Followed]:
    """Follow a log; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.get(f"{url}?follow=true", headers=named) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        followed = Followed(answer)
        followed.offset = int(named.get("Last-Event-ID", "0"))
        yield followed


def _document(event: Event) -> Document:
    document: Document = json.loads(event.data)
    return document
