"""What a node runs sessions on: the interface of every platform, and what one can say of a job.

A job is what a platform makes of one session. Its name or label carries the session's UUID, so that
it is found again when nothing was noted down of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.rules import Estimate


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


class PlatformError(Exception):
    """The platform could not do what it was asked; asking again may help."""


class JobRefusedError(PlatformError):
    """The platform will never do this for this job: asking again cannot help."""

    def __init__(self, reason: EndReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


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
class Observation:
    """One look at a job.

    ``look_again`` is when the platform expects the next change; None if it cannot tell.
    """

    phase: JobPhase
    seen: datetime
    reason: EndReason | None = None
    exit_code: int | None = None
    text: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    look_again: datetime | None = None


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
    def estimates(self) -> Mapping[str, Estimate]:
        """How long components take to get ready and to clear away, by kind."""
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

        A job that does not exist is removed already.
        """
        ...

    async def recover(self) -> Sequence[Checkpoint]:
        """Every job that carries our mark, known to the broker or not."""
        ...
