"""The directories of sessions on this machine: made, found again, removed.

Below one root, one directory for each session, under its UUID. ``job.json`` in it is written last:
with it, everything that `prepare` does has been begun.
"""

import errno
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from node_stub.durable import write_whole
from node_stub.platforms.base import EndReason, JobSpec, Stream
from node_stub.platforms.runner import Mount, Workspace

OWN_MODE: Final = 0o700
"""Nobody else gets below the root, whatever the modes of what lies there."""

SHARED_MODE: Final = 0o777
"""A job may run as anybody, and without the right to pass over modes."""

REMOVE_WITHIN_S: Final = 300.0
"""How long one attempt at removing a directory may take: a million files take about ten seconds."""

_MAX_SAID: Final = 300
_JOB_FILE: Final = "job.json"
_REMOVED: Final = ".removed"
_VERDICT_FILE: Final = "verdict.json"


class Verdict(msgspec.Struct, frozen=True):
    """Why the broker ended a job, whatever its exit code says."""

    reason: EndReason
    text: str


class _SavedJob(msgspec.Struct, frozen=True):
    """A job as it is written down."""

    document: dict[str, Any]
    cores: int
    memory_gib: int
    storage_gib: int
    end_at: datetime


class Workspaces:
    """All directories of sessions below one root. Every method blocks: call it in a thread."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def of(self, session: UUID) -> Workspace:
        """The directories of a session, there or not."""
        return Workspace(session, self.root / str(session))

    def open(self) -> None:
        """Make the root."""
        self.root.mkdir(mode=OWN_MODE, parents=True, exist_ok=True)
        self.root.chmod(OWN_MODE)
        for aside in self.root.glob(f"*{_REMOVED}"):
            _remove_tree(aside)

    def make(self, session: UUID) -> Workspace:
        """The directories of a session, made where they are missing."""
        workspace = self.of(session)
        for path in (workspace.root, workspace.run, workspace.log(Stream.STDOUT).parent):
            path.mkdir(mode=OWN_MODE, exist_ok=True)
        for path in (workspace.home, workspace.storage):
            path.mkdir(exist_ok=True)
            path.chmod(SHARED_MODE)  # mkdir's mode is cut by the umask
        return workspace

    def save(self, spec: JobSpec) -> None:
        """Write down what is to run: from now on the job exists."""
        saved = _SavedJob(
            document=spec.document,
            cores=spec.cores,
            memory_gib=spec.memory_gib,
            storage_gib=spec.storage_gib,
            end_at=spec.end_at,
        )
        write_whole(self.of(spec.session).root / _JOB_FILE, msgspec.json.encode(saved))

    def has_job(self, session: UUID) -> bool:
        """Whether the job of a session exists."""
        return (self.of(session).root / _JOB_FILE).exists()

    def job(self, session: UUID) -> JobSpec | None:
        """What was written down; None if nothing was."""
        try:
            raw = (self.of(session).root / _JOB_FILE).read_bytes()
        except FileNotFoundError:
            return None
        saved = msgspec.json.decode(raw, type=_SavedJob)
        return JobSpec(
            session=session,
            document=saved.document,
            cores=saved.cores,
            memory_gib=saved.memory_gib,
            storage_gib=saved.storage_gib,
            end_at=saved.end_at,
        )

    def condemn(self, session: UUID, verdict: Verdict) -> None:
        """Write down why its job is being ended; the first reason stands."""
        path = self.of(session).root / _VERDICT_FILE
        if not path.exists():
            write_whole(path, msgspec.json.encode(verdict))

    def verdict(self, session: UUID) -> Verdict | None:
        """Why its job was ended by the broker, if it was."""
        try:
            raw = (self.of(session).root / _VERDICT_FILE).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(raw, type=Verdict)

    def sessions(self) -> list[UUID]:
        """Whose directories there are, whole or in part."""
        found = []
        for entry in self.root.iterdir():
            try:
                found.append(UUID(entry.name))
            except ValueError:
                continue  # not ours
        return found

    def remove(self, session: UUID) -> None:
        """Remove the directories of a session; none is success.

        Raises
        ------
        OSError
            Something is left.
        subprocess.TimeoutExpired
            It takes too long.
        """
        root = self.of(session).root
        # Put aside first: what is half removed is no job any more, and is found again by its name.
        aside = root.with_name(root.name + _REMOVED)
        _remove_tree(aside)
        try:
            root.rename(aside)
        except FileNotFoundError:
            return
        _remove_tree(aside)


def make_mount_points(workspace: Workspace, mounts: tuple[Mount, ...]) -> None:
    """Make the directories on which volumes within volumes, or within the home, are mounted.

    Outer volumes may be read-only in the job; here they are ours.
    """
    places = {_normal(mount.target): mount.source for mount in mounts}
    for target in places:
        outer = _outer(target, places)
        if outer is not None:
            base, inner = places[outer], target[len(outer) :]
        elif target.startswith("/"):
            continue
        else:
            base, inner = workspace.home, target
        _make_below(base, inner.strip("/").split("/"))


def _normal(target: str) -> str:
    steps = [step for step in target.split("/") if step not in ("", ".")]
    return ("/" if target.startswith("/") else "") + "/".join(steps)


def _outer(target: str, places: dict[str, Path]) -> str | None:
    """The innermost other volume that contains this place."""
    around = [place for place in places if target.startswith(place + "/")]
    return max(around, key=len, default=None)


def _make_below(base: Path, steps: list[str]) -> None:
    for step in steps:
        base /= step
        base.mkdir(exist_ok=True)
        base.chmod(SHARED_MODE)


def _remove_tree(root: Path) -> None:
    """Remove a directory that a job wrote to: however deep, and closed to its owner or not.

    Python's own way recurses, so a job could make a tree that it cannot remove.
    """
    if not root.exists():
        return
    said = b""
    for command in (("rm", "-rf"), ("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        said = subprocess.run(  # noqa: S603 - an argument list, of a path that we made
            [*command, "--", root], capture_output=True, timeout=REMOVE_WITHIN_S, check=False
        ).stderr
        if not root.exists():
            return
    text = said.decode(errors="replace").strip()[:_MAX_SAID]
    raise OSError(errno.ENOTEMPTY, f"something is left: {text}")
