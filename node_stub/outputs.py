"""What came out of sessions, for those who may read them: logs as they grow, results when kept.

The archive is looked at before the platform, so that nothing that is written at the very end is
missed.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.wire.outputs import whole_characters
from gateway.wire.phases import SessionPhase, is_terminal
from gateway.wire.problem import ProblemError
from node_stub.archive import Archive, Report, ResultFile
from node_stub.errors import UnknownDocumentError
from node_stub.platforms.base import LogChunk, Platform, PlatformError, Stream
from node_stub.records import SessionRecord
from node_stub.sessions import Caller, Sessions

PIECE_BYTES: Final = 64 << 10
"""Read of a live log at once: what a terminal scrolls by, and little to hold for each reader."""

LOOK_FIRST_S: Final = 0.1
"""A log that has just grown is looked at again so soon."""

LOOK_LONGEST_S: Final = 1.0
"""One that does not grow, at least so often."""

READ_LOG_S: Final = 5.0
"""Longest wait for a platform to give a piece of a log."""

_log = structlog.get_logger(__name__)


class UnknownOutputError(ProblemError):
    """The session has no such log or file, or has not been accepted."""

    slug = "unknown-output"
    title = "Not found"
    status = 404

    def __init__(self, what: str, session: UUID) -> None:
        super().__init__(f"Session {session} has no {what}.")


class OutputsGoneError(ProblemError):
    """Nothing is kept of the session any more, or nothing ever was."""

    slug = "outputs-gone"
    title = "Not kept any more"
    status = 410

    def __init__(self, session: UUID) -> None:
        super().__init__(f"Nothing that came out of session {session} is kept here any more.")


@dataclass(frozen=True, slots=True)
class Results:
    """What came out of a session so far; without a report nothing has.

    ``log_sizes`` are in bytes, by name; ``expires`` is until when all is kept at least.
    """

    record: SessionRecord
    report: Report | None
    log_sizes: Mapping[str, int]
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class LogPart:
    """A piece of a log, from an offset on."""

    offset: int
    data: bytes

    @property
    def next(self) -> int:
        """Where the next piece begins."""
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Nothing more will be written; how the session ended, as far as that is known."""

    phase: SessionPhase
    report: Report | None


class Outputs:
    """Reads what sessions write and leave behind.

    Parameters
    ----------
    keep_for
        How long the archive keeps a session.
    """

    def __init__(
        self, sessions: Sessions, archive: Archive, platform: Platform, keep_for: timedelta
    ) -> None:
        self._sessions = sessions
        self._archive = archive
        self._platform = platform
        self._keep_for = keep_for

    async def kept(self, records: Iterable[SessionRecord]) -> frozenset[UUID]:
        """Those sessions that have ended and of which something is kept."""
        ended = [r.uuid for r in records if r.start_at is not None and is_terminal(r.phase)]
        return frozenset([uuid for uuid in ended if await self._archive.has(uuid)])

    async def results(self, uuid: UUID, caller: Caller) -> Results:
        """Everything that came out so far: nothing of an offer.

        Raises
        ------
        UnknownDocumentError, OutputsGoneError
        """
        record, report = await self._found(uuid, caller)
        if report is None:
            return Results(record, None, {}, None)
        sizes: dict[str, int] = {}
        for stream in Stream:
            log = await self._archive.log(uuid, stream)
            if log is not None:
                sizes[stream.value] = (await asyncio.to_thread(log.stat)).st_size
        return Results(record, report, sizes, (report.ended or record.modified) + self._keep_for)

    async def file(self, uuid: UUID, path: str, caller: Caller) -> tuple[Path, ResultFile]:
        """One file that came out: where it is, and what it should be.

        Raises
        ------
        UnknownDocumentError, UnknownOutputError, OutputsGoneError
        """
        _, report = await self._accepted(uuid, caller)
        known = () if report is None else report.files
        found = next((file for file in known if file.path == path), None)
        place = None if found is None else await self._archive.file(uuid, path)
        if found is None or place is None:
            raise UnknownOutputError("such file", uuid)
        return place, found

    async def log(self, uuid: UUID, stream: Stream, caller: Caller) -> Path | None:
        """The whole log of a session that has ended; None while it may still grow.

        Raises
        ------
        UnknownDocumentError, UnknownOutputError, OutputsGoneError
        """
        _, report = await self._accepted(uuid, caller)
        if report is None:
            return None
        log = await self._archive.log(uuid, stream)
        if log is None:
            raise UnknownOutputError(f"{stream.value}: it never ran", uuid)
        return log

    async def piece(self, uuid: UUID, stream: Stream, offset: int, limit: int) -> LogChunk | None:
        """Bytes of a log that may still grow; None if there is nothing to be had now."""
        try:
            async with asyncio.timeout(READ_LOG_S):
                return await self._platform.read_log(uuid, stream, offset, limit)
        except (PlatformError, TimeoutError) as error:
            _log.warning("log_unreadable", session=str(uuid), reason=repr(error))
            return None

    async def so_far(self, uuid: UUID, stream: Stream, offset: int = 0) -> AsyncGenerator[bytes]:
        """What has been written of a log, from an offset to where it ends now."""
        while True:
            chunk = await self.piece(uuid, stream, offset, PIECE_BYTES)
            if chunk is None or not chunk.data:
                return
            yield chunk.data
            offset = chunk.next

    async def follow(
        self, uuid: UUID, stream: Stream, caller: Caller, offset: int
    ) -> AsyncGenerator[LogPart | LogEnd | None]:
        """A log as it grows, until the session has ended; None each time that nothing is new.

        A piece ends where a character ends, as far as that can be.

        Raises
        ------
        UnknownDocumentError, UnknownOutputError, OutputsGoneError
        """
        record, report = await self._accepted(uuid, caller)
        phase, pause = record.phase, LOOK_FIRST_S
        while True:
            if report is None:
                phase, report = await self._standing(uuid, caller)
            has_ended = report is not None or is_terminal(phase)
            data = await self._read(uuid, stream, offset, is_kept=report is not None)
            count = whole_characters(data)
            if count == 0 and has_ended:
                yield LogEnd(phase, report)
                return
            if count == 0:
                yield None
                await asyncio.sleep(pause)
                pause = min(pause * 2, LOOK_LONGEST_S)
                continue
            yield LogPart(offset, data[:count])
            offset += count
            pause = LOOK_FIRST_S

    async def _read(self, uuid: UUID, stream: Stream, offset: int, *, is_kept: bool) -> bytes:
        kept = await self._archive.log(uuid, stream) if is_kept else None
        if kept is not None:
            return await asyncio.to_thread(_bytes_of, kept, offset)
        chunk = None if is_kept else await self.piece(uuid, stream, offset, PIECE_BYTES)
        return b"" if chunk is None else chunk.data

    async def _standing(self, uuid: UUID, caller: Caller) -> tuple[SessionPhase, Report | None]:
        """Where a session stands; one that was forgotten meanwhile has ended."""
        try:
            record = await self._sessions.session(uuid, caller)
        except UnknownDocumentError:
            return SessionPhase.COMPLETED, None
        return record.phase, await self._archive.report(uuid)

    async def _accepted(self, uuid: UUID, caller: Caller) -> tuple[SessionRecord, Report | None]:
        """A session of which something may come out, or be kept; no report while it goes on."""
        record, report = await self._found(uuid, caller)
        if record.start_at is None:
            raise UnknownOutputError(f"outputs: it is {record.phase.value}", uuid)
        return record, report

    async def _found(self, uuid: UUID, caller: Caller) -> tuple[SessionRecord, Report | None]:
        record = await self._sessions.session(uuid, caller)
        if record.start_at is None:
            return record, None
        report = await self._archive.report(uuid)
        if report is None and is_terminal(record.phase):
            raise OutputsGoneError(uuid)
        return record, report


def _bytes_of(path: Path, offset: int) -> bytes:
    """A piece of a kept log; nothing where it has gone meanwhile. Blocks."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""
