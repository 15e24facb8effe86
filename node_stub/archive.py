"""What came out of sessions, kept for a time: logs, files, exit and usage.

A directory for each session: ``report.json``, ``stdout``, ``stderr``, ``files/``. It is made beside
its place, from a plan that is saved before anything is moved, and appears as a whole: after a crash
at any step the same is made again. All work on files is done in threads.
"""

import asyncio
import os
import shutil
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
import structlog

from gateway.wire.outputs import is_file_path
from node_stub.archive_moves import Mover
from node_stub.archive_plan import Bounds, Move, Notes, Plan, Planner
from node_stub.durable import write_whole
from node_stub.platforms.base import EndReason, Stream, Usage

MAX_FILES: Final = 10_000
"""Files kept of one session: a list of them is still a document."""

AT_ONCE: Final = 2
"""Sessions archived at the same time: hashing keeps a core busy, and other work needs threads."""

_REPORT: Final = "report.json"
_PLAN: Final = "plan.json"
_FILES: Final = "files"
_PARTIAL: Final = ".partial"
_REMOVED: Final = ".removed"

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that came out. ``path`` is relative, with slashes; ``size`` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Report:
    """How a session ended and what came out of it.

    ``notes`` say, a sentence each, what was not kept or not as it was; ``unsent`` what could not be
    sent where the request wanted it.
    """

    exit_code: int | None
    reason: EndReason | None
    text: str
    started: datetime | None
    ended: datetime | None
    usage: Usage
    files: tuple[ResultFile, ...] = ()
    notes: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A directory whose files are kept, under ``prefix``; an empty one is the top.

    ``skip`` are paths within it, of files or of whole directories, that are not kept: what was
    there before the job, such as staged data.
    """

    source: Path
    prefix: str
    skip: frozenset[str]


class Archive:
    """Keeps what came out of sessions below ``root``, which nobody else writes to.

    Parameters
    ----------
    max_files
        Files kept of one session.
    max_bytes
        Bytes kept of one session, holes included; without it, as many as the disk has in all.
    """

    def __init__(
        self, root: Path, *, max_files: int = MAX_FILES, max_bytes: int | None = None
    ) -> None:
        self._root = root
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def keep(
        self,
        session: UUID,
        report: Report,
        logs: Mapping[Stream, Path],
        outputs: Sequence[Output],
    ) -> Report:
        """Move logs and files into the archive, and give the report with them in it.

        What is kept already stays as it is, report and all. Takes as long as it takes to read
        every byte. Cancelled, it stops between two reads and can be called again.

        Raises
        ------
        OSError
            There is no room, or the disk fails. Nothing is lost: call again.
        """
        lock = self._locks.setdefault(session, asyncio.Lock())
        async with lock, self._at_once:
            stop = threading.Event()
            return await _in_thread(stop, lambda: self._keep(session, report, logs, outputs, stop))

    async def report(self, session: UUID) -> Report | None:
        """What is known of a session that has ended; None before, and once it is forgotten."""
        return await asyncio.to_thread(self._report, session)

    async def has(self, session: UUID) -> bool:
        """Whether anything is kept of a session that has ended."""
        return await asyncio.to_thread(_is_file, self._place(session) / _REPORT)

    async def log(self, session: UUID, stream: Stream) -> Path | None:
        """The whole of what a job wrote; None if it is not here (yet, or any more)."""

        def look() -> Path | None:
            for directory in (self._place(session), self._place(session, _PARTIAL)):
                if _is_file(directory / stream.value):
                    return directory / stream.value
            return None

        return await asyncio.to_thread(look)

    async def file(self, session: UUID, path: str) -> Path | None:
        """Where a kept file is; None for every path that is not that of a kept file."""
        return await asyncio.to_thread(self._file, session, path)

    async def remove(self, session: UUID) -> None:
        """Forget a session now; one that is not here is forgotten already."""
        await asyncio.to_thread(self._remove, session)

    async def forget(self, before: datetime) -> int:
        """Forget what was archived before an instant; how many sessions."""
        return await asyncio.to_thread(self._forget, before.timestamp())

    def _place(self, session: UUID, suffix: str = "") -> Path:
        return self._root / f"{session}{suffix}"

    def _keep(
        self,
        session: UUID,
        report: Report,
        logs: Mapping[Stream, Path],
        outputs: Sequence[Output],
        stop: threading.Event,
    ) -> Report:
        if (kept := self._report(session)) is not None:
            return kept
        partial = self._place(session, _PARTIAL)
        partial.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        plan, notes = self._plan(partial, outputs), Notes()
        mover = Mover(partial, stop)
        for stream, log in logs.items():
            mover.move(log, partial / stream.value)
        mover.move_all(plan.moves, partial / _FILES, notes)
        files: list[ResultFile] = []
        for move in plan.moves:
            path = partial / _FILES / move.target
            if _is_file(path):
                found = mover.digest(path)
                files.append(ResultFile(move.target, found.size, found.sha256))
        files.sort(key=lambda file: file.path)
        report = replace(
            report, files=tuple(files), notes=(*report.notes, *plan.notes, *notes.lines())
        )
        write_whole(partial / _REPORT, msgspec.json.encode(report))
        _sync(partial)
        partial.rename(self._place(session))
        _sync(self._root)
        (self._place(session) / _PLAN).unlink()
        _log.info("results_kept", session=str(session), files=len(files), notes=len(report.notes))
        return report

    def _plan(self, partial: Path, outputs: Sequence[Output]) -> Plan:
        """The plan that was saved, or a new one once it is saved."""
        path = partial / _PLAN
        if path.exists():
            return _from_json(path.read_bytes())
        planner = Planner(Bounds(self._max_files, self._bytes_allowed()))
        for output in outputs:
            planner.take(output.source, output.prefix, output.skip)
        plan = planner.plan()
        write_whole(path, _to_json(plan))
        _sync(partial)
        return plan

    def _bytes_allowed(self) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        disk = os.statvfs(self._root)
        return disk.f_blocks * disk.f_frsize

    def _report(self, session: UUID) -> Report | None:
        try:
            text = (self._place(session) / _REPORT).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(text, type=Report)
        except msgspec.MsgspecError as error:
            _log.error("report_unreadable", session=str(session), reason=str(error))
            return None

    def _file(self, session: UUID, path: str) -> Path | None:
        if not is_file_path(path):
            return None
        parts = path.split("/")
        place = self._place(session) / _FILES
        for part in parts[:-1]:
            place /= part
            if not _is_directory(place):
                return None
        place /= parts[-1]
        return place if _is_file(place) else None

    def _remove(self, session: UUID) -> None:
        # Put aside first, so that nobody finds half of it.
        removed = self._place(session, _REMOVED)
        for place in (self._place(session), self._place(session, _PARTIAL)):
            _delete(removed)
            try:
                place.rename(removed)
            except FileNotFoundError:
                continue
            _delete(removed)

    def _forget(self, before: float) -> int:
        count = 0
        for place in list(self._root.iterdir()) if self._root.is_dir() else ():
            if place.suffix == _REMOVED:
                _delete(place)
                continue
            session = _session_of(place.name.removesuffix(_PARTIAL))
            if session is not None and _kept_at(place) < before:
                self._remove(session)
                count += 1
        return count


async def _in_thread(stop: threading.Event, work: Callable[[], _T]) -> _T:
    """Work in a thread, which has ended whenever this ends."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
        raise


def _to_json(plan: Plan) -> bytes:
    """The plan as text: sources are bytes, which JSON has not."""
    moves = [(quote_from_bytes(os.fsencode(move.source)), move.target) for move in plan.moves]
    return msgspec.json.encode({"moves": moves, "notes": plan.notes})


def _from_json(text: bytes) -> Plan:
    found = msgspec.json.decode(text)
    moves = (
        Move(os.fsdecode(unquote_to_bytes(source)), target) for source, target in found["moves"]
    )
    return Plan(tuple(moves), tuple(found["notes"]))


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path))


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """What stands at a path itself, not where it may point; 0 for nothing."""
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        return 0


def _kept_at(place: Path) -> float:
    """When it was archived, in seconds since 1970; of what is not complete, when it was begun."""
    for path in (place / _REPORT, place / _PLAN, place):
        try:
            return path.lstat().st_mtime
        except FileNotFoundError:
            continue
    return datetime.now(UTC).timestamp()


def _session_of(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _delete(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
