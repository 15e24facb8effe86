"""What runs jobs on a machine that shares our files: the interface below `WorkspacePlatform`.

Directories, data, notebooks, logs and results are the same whatever runs the job; a runner only
gets the executable ready, starts it with its mounts and limits, watches it and ends it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal
from node_stub.platforms.base import Health, Observation, Stream

SESSION_HOME = "/session"
"""Where a job finds its home, wherever it has files of its own; relative volumes lie below."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directories of one session, below ``root``, which is ours alone (mode 0700).

    ``root`` bears the session's UUID. ``home`` is what the job writes to, as anybody: mode 0777.
    """

    session: UUID
    root: Path

    @property
    def home(self) -> Path:
        """The job's home and, unless its image says otherwise, its working directory."""
        return self.root / "home"

    @property
    def storage(self) -> Path:
        """One directory for each storage resource, under its UUID."""
        return self.root / "storage"

    @property
    def run(self) -> Path:
        """The runner's own files, which no job can see."""
        return self.root / "run"

    def log(self, stream: Stream) -> Path:
        """What the job has written so far; the runner fills it while the job runs."""
        return self.root / "logs" / stream.value

    @property
    def notebook(self) -> Path:
        """The notebook to run, once it has been fetched."""
        return self.root / "notebook.ipynb"


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume: a directory of ours at a place in the job.

    ``target`` is absolute, or relative to the job's home.
    """

    source: Path
    target: str
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a runner is to run, with everything it promised.

    ``executable`` is the document's. The job must have ended by ``end_at``: the broker sees to it,
    a runner makes sure a little later in case there is no broker then. ``log_bytes`` bounds each
    log: what comes after is dropped, and the log says so at its end.
    """

    workspace: Workspace
    executable: Document
    cores: int
    memory_gib: int
    storage_gib: int
    end_at: datetime
    mounts: tuple[Mount, ...]
    log_bytes: int

    @property
    def session(self) -> UUID:
        """Whose job it is."""
        return self.workspace.session


class Runner(Protocol):
    """Runs jobs whose files are there.

    Every call may be repeated, also after a crash: what has been begun is found again by the
    session, from files in ``workspace.run`` and from names or labels. Calls only begin something
    and come back within seconds; `observe` says how it went. A workspace without anything of the
    runner's in it is one whose job does not exist: GONE.
    """

    @property
    def name(self) -> str:
        """The platform's ``type`` in the settings."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of executable that can be run here."""
        ...

    @property
    def poll_s(self) -> float:
        """Seconds between two looks at a job where there is no hint."""
        ...

    @property
    def can_mount_read_only(self) -> bool:
        """Whether a job cannot change what is mounted READONLY; then files may be shared."""
        ...

    async def open(self, hint: Callable[[UUID], None]) -> None:
        """Connect; ``hint`` may be called with a session that is worth a look."""
        ...

    async def close(self) -> None:
        """Let go of connections; jobs go on."""
        ...

    async def probe(self) -> Health:
        """Whether anything can be run now; never raises for trouble of the platform."""
        ...

    async def estimate(self, document: Document) -> Appraisal:
        """As `Platform.estimate`, of executable, compute and volumes; data is not its affair."""
        ...

    async def prepare(self, run: RunSpec) -> None:
        """Begin to get the executable ready (look for a program, pull an image).

        Raises
        ------
        PlatformError
        """
        ...

    async def launch(self, run: RunSpec) -> None:
        """Start the job; one that was started is left alone.

        Raises
        ------
        PlatformError
            It does not run; `release` removes what was made.
        """
        ...

    async def observe(self, workspaces: Sequence[Workspace]) -> Mapping[UUID, Observation]:
        """Look at many jobs in one call: STARTING, READY, RUNNING, STOPPING, ENDED, LOST or GONE.

        An ended job carries exit code, reason and usage. Nothing of it is running then, and its
        logs are complete.

        Raises
        ------
        PlatformError
            The platform cannot be seen; that says nothing about its jobs.
        """
        ...

    async def stop(self, workspace: Workspace, grace_s: float) -> None:
        """Ask the job to end, and end it with all its processes after ``grace_s`` seconds.

        Returns at once. What it says then is an end by CANCELLED, whatever its exit code.
        """
        ...

    async def release(self, workspace: Workspace) -> None:
        """Remove what was made outside the workspace; gone is success.

        Ends a job that still runs. The workspace itself is removed by others, afterwards.

        Raises
        ------
        PlatformError
            Something is left; ask again.
        """
        ...

    async def recover(self) -> Sequence[UUID]:
        """Every job that carries our mark, known to the broker or not."""
        ...
