"""What a node runs sessions on: the interface of every platform, and what one can say of a job.

A job is what a platform makes of one session. Its name or label carries the session's UUID, so that
it is found again when nothing was noted down of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.phases import ComponentPhase
from node_stub.appraisal import Appraisal
from node_stub.standing import Component


class JobPhase(StrEnum):
    """Where a job stands; a platform can say nothing more."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    READY = "READY"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    ENDED = "ENDED"
    LOST = "LOST"
    GONE = "GONE"


class EndReason(StrEnum):
    """Why a job ended."""

    OK = "OK"
    NONZERO = "NONZERO"
    OOM = "OOM"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    IMAGE = "IMAGE"
    UNSCHEDULABLE = "UNSCHEDULABLE"
    LAUNCH = "LAUNCH"
    NODE = "NODE"
    LOST = "LOST"
    DATA = "DATA"
    """Data could not be had, or is not what it should be."""
    STORAGE = "STORAGE"
    """More was written than the storage asked for."""
    RESULTS = "RESULTS"
    """What came out could not be kept, or not be sent where it should go."""


class Stream(StrEnum):
    """What a job writes as it runs."""

    STDOUT = "stdout"
    STDERR = "stderr"


class PlatformError(Exception):
    """The platform could not do what it was asked; asking again may help."""


class JobRefusedError(PlatformError):
    """The platform will never do this for this job: asking again cannot help."""

    def __init__(self, reason: EndReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Unarchived:
    """What came out of a job that has ended, as long as the archive cannot take it.

    ``reason`` and ``exit_code`` are those of the work itself. ``detail`` says why it is not taken,
    ``place`` where it lies meanwhile, seen from the node's data directory.
    """

    reason: EndReason | None
    exit_code: int | None
    detail: str
    place: str


class UnarchivedError(PlatformError):
    """The archive cannot take what came out of a job now. Nothing is lost: ask again."""

    def __init__(self, left: Unarchived) -> None:
        super().__init__(f"what came out cannot be archived: {left.detail}")
        self.left = left


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to run: the session document and the resources it was promised."""

    session: UUID
    document: Document
    cores: int
    memory_gib: int
    storage_gib: int
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a platform needs to find or undo a job again. Plain JSON, saved before the next step."""

    session: UUID
    platform: str
    native: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    def to_document(self) -> dict[str, Any]:
        """The JSON tree, without the session."""
        return {
            "platform": self.platform,
            "native": self.native,
            "extra": dict(self.extra),
            "version": self.version,
        }

    @classmethod
    def from_document(cls, session: UUID, document: Mapping[str, Any]) -> "Checkpoint":
        """The checkpoint that :meth:`to_document` wrote."""
        return cls(
            session=session,
            platform=document["platform"],
            native=document["native"],
            extra=document["extra"],
            version=document["version"],
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job took; None is not measured.

    ``cpu_s`` is user and system time of all its processes, ``peak_memory_bytes`` the most that they
    held at once. ``bytes_staged`` were fetched for it, in ``staging_s`` seconds.
    """

    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    bytes_staged: int | None = None
    staging_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reachable:
    """A port of a job that answers: which one (its place among the executable's), and where."""

    port: int
    location: str


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a job.

    ``look_again`` is when the platform expects the next change; None if it cannot tell.
    ``components`` are parts that stand elsewhere than the job as a whole: what is ready already
    while the rest is still STARTING. ``reachable`` are the ports that can be reached now.
    """

    phase: JobPhase
    seen: datetime
    reason: EndReason | None = None
    exit_code: int | None = None
    text: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    look_again: datetime | None = None
    usage: Usage | None = None
    components: Mapping[Component, ComponentPhase] = field(default_factory=dict)
    reachable: tuple[Reachable, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a platform can run anything now; ``detail`` says what it is, or why not."""

    is_up: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes of a log from an offset on; the next begin at ``next``.

    ``is_complete``: nothing will come after ``next``.
    """

    data: bytes
    next: int
    is_complete: bool


class Platform(Protocol):
    """Runs jobs.

    Every call may be repeated: after a crash the broker asks again for what it may have asked for
    already. No call decides anything about a session; that is done from what `observe` says.
    """

    @property
    def name(self) -> str:
        """The platform's ``type`` in the settings."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of component that can be had here."""
        ...

    @property
    def poll_s(self) -> float:
        """Seconds between two looks at a job when no observation says when to look again."""
        ...

    async def open(self) -> None:
        """Connect; called once, before anything else."""
        ...

    async def close(self) -> None:
        """Let go of connections; jobs go on."""
        ...

    async def probe(self) -> Health:
        """Whether anything can be run now: cheap, asked before each offer and by the health page.

        Never raises for trouble of the platform.
        """
        ...

    async def estimate(self, document: Document) -> Appraisal:
        """Whether a request can be run here, and how long it takes to get ready; nothing is begun.

        Whatever is asked for that the platform cannot do or cannot enforce is refused: nothing is
        silently left out.

        Parameters
        ----------
        document
            The completed request: executable, compute, storage and data with defaults, our UUIDs
            and resolved references.

        Raises
        ------
        PlatformError
            The platform cannot say now.
        """
        ...

    def events(self) -> AsyncIterator[UUID]:
        """Sessions that are worth a look now. Hints only: some are missed, others are mistaken."""
        ...

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        """Begin to get everything ready. A job of this session is adopted, not made twice.

        Raises
        ------
        PlatformError
            Nothing was begun, or something half-way that `release` can remove.
        """
        ...

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        """Begin to run a job that is READY; one that runs already is left alone.

        Raises
        ------
        PlatformError
            It does not run.
        """
        ...

    async def observe(self, checkpoints: Sequence[Checkpoint]) -> Mapping[UUID, Observation]:
        """Look at many jobs in one call. Bare checkpoints are found by their session.

        Raises
        ------
        PlatformError
            The platform cannot be seen; that says nothing about its jobs.
        """
        ...

    async def stop(self, checkpoint: Checkpoint) -> None:
        """Ask a job to end; it has when `observe` says ENDED or GONE."""
        ...

    async def release(self, checkpoint: Checkpoint) -> None:
        """Ask for the removal of all that was made; it is done when `observe` says GONE.

        What came out is kept in the archive first. A job that does not exist is removed already.

        Raises
        ------
        UnarchivedError
            It, or the last call, found no room for what came out: nothing was removed.
        PlatformError
            Something is left.
        """
        ...

    async def read_log(
        self, session: UUID, stream: Stream, offset: int, limit: int
    ) -> LogChunk | None:
        """At most ``limit`` bytes of what a job has written so far; None if there is no job.

        What is in the archive is read from there.
        """
        ...

    async def recover(self) -> Sequence[Checkpoint]:
        """Every job that carries our mark, known to the broker or not."""
        ...
