"""What is known of a job, and what of it is written down for the broker that comes after this one.

Each record is a file of its own that is written once, whole: what is there has happened. Methods
of `JobFiles` block; `Job` calls them in a thread and remembers.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog

from node_stub.durable import write_whole
from node_stub.platforms.base import EndReason, Reachable
from node_stub.platforms.runner import Workspace


class Preparation(msgspec.Struct, frozen=True):
    """The image that was asked for; the job exists."""

    locations: tuple[str, ...]
    digest: str | None
    architecture: str
    system: str
    begun: datetime


class Provided(msgspec.Struct, frozen=True):
    """The image that is used."""

    id: str
    location: str
    working_directory: str


class Port(msgspec.Struct, frozen=True):
    """A port that is published. ``index`` is its place among the executable's."""

    index: int
    number: int
    protocol: str
    path: str

    @property
    def key(self) -> str:
        """How the engine names it."""
        return f"{self.number}/{'udp' if self.protocol == 'UDP' else 'tcp'}"


class Launch(msgspec.Struct, frozen=True):
    """What was about to be started. ``cgroup`` holds it, if we could have one made."""

    asked: datetime
    memory_bytes: int
    log_bytes: int
    ports: tuple[Port, ...]
    cgroup: str | None


class Start(msgspec.Struct, frozen=True):
    """The container that was started."""

    container: str
    at: datetime


class Stop(msgspec.Struct, frozen=True):
    """That the job was asked to end, written down before it was, and how long it may take."""

    asked: datetime
    grace_s: int


class End(msgspec.Struct, frozen=True):
    """How the job ended; its logs are complete."""

    reason: EndReason
    text: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


_log = structlog.get_logger(__name__)

Record = Preparation | Provided | Launch | Start | Stop | End
R = TypeVar("R", Preparation, Provided, Launch, Start, Stop, End)

_NAMES: Final[dict[type[Record], str]] = {
    Preparation: "preparation.json",
    Provided: "image.json",
    Launch: "launch.json",
    Start: "start.json",
    Stop: "stop.json",
    End: "end.json",
}


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The records of one job."""

    folder: Path

    def read(self, kind: type[R]) -> R | None:
        """One record; None if it was not written, or not wholly."""
        try:
            return msgspec.json.decode((self.folder / _NAMES[kind]).read_bytes(), type=kind)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write(self, record: Record) -> None:
        """Write one, in whole or not at all."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.folder / _NAMES[type(record)], msgspec.json.encode(record))

    def remove(self) -> None:
        """Forget the job. The preparation goes last: with it, the job is gone."""
        for name in reversed(_NAMES.values()):
            (self.folder / name).unlink(missing_ok=True)


@dataclass(slots=True, eq=False)
class Job:
    """What is known of a job: its records, and what is seen of it as it runs.

    ``stopping_s`` is the grace that it is being stopped with.
    """

    workspace: Workspace
    preparation: Preparation | None = None
    provided: Provided | None = None
    launch: Launch | None = None
    start: Start | None = None
    stop: Stop | None = None
    end: End | None = None
    reachable: tuple[Reachable, ...] = ()
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    stopping_s: int | None = None
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def session(self) -> UUID:
        """Whose job it is."""
        return self.workspace.session

    @property
    def files(self) -> JobFiles:
        """Its records."""
        return JobFiles(self.workspace.run)

    async def load(self) -> None:
        """Read what former brokers have written."""
        await asyncio.to_thread(self._load)

    def _load(self) -> None:
        files = self.files
        self.preparation = files.read(Preparation)
        self.provided = files.read(Provided)
        self.launch = files.read(Launch)
        self.start = files.read(Start)
        self.stop = files.read(Stop)
        self.end = files.read(End)

    async def save(self, record: Record) -> None:
        """Write a record, then know it."""
        await asyncio.to_thread(self.files.write, record)
        match record:
            case Preparation():
                self.preparation = record
            case Provided():
                self.provided = record
            case Launch():
                self.launch = record
            case Start():
                self.start = record
            case Stop():
                self.stop = record
            case End():
                self.end = record

    def begin(self, name: str, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something beside; nothing if it is being done already."""
        task = self.tasks.get(name)
        if task is None or task.done():
            self.tasks[name] = task = asyncio.create_task(body(), name=name)
            task.add_done_callback(self._report)

    async def cancel(self, *names: str) -> None:
        """Leave off what is being done beside, all of it without names, and wait until it is."""
        found = [task for name, task in self.tasks.items() if not names or name in names]
        for task in found:
            task.cancel()
        if found:
            await asyncio.wait(found)

    def _report(self, task: asyncio.Task[None]) -> None:
        """A defect of ours; what may go wrong with an engine is seen to in the tasks."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("job_task_failed", session=str(self.session), exc_info=error)
