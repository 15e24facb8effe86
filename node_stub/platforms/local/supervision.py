"""Shims from outside: started, found again, asked to stop, and cleared up after.

All of it blocks, though never for long, and belongs into a thread.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from node_stub.platforms.base import PlatformError
from node_stub.platforms.local import shim
from node_stub.platforms.local.jobs import open_shim, read_exit, read_run
from node_stub.platforms.local.process_tree import kill_groups, members, remove_groups, send
from node_stub.platforms.local.shim_files import (
    CLAIMED,
    SESSION_VARIABLE,
    STOP_FILE,
    Launch,
    put,
    write_new,
)

CLAIM_WITHIN_S: Final = 10.0
"""A shim has its job 50 ms after its start; a machine that needs 200 times that is stuck."""

END_WITHIN_S: Final = 5.0
"""How long a release waits for a tree that is being killed; then it is to be asked again."""

LOG_FILE: Final = "shim.log"
"""Where a shim that breaks says why."""

_PACKAGE_FOLDER: Final = str(Path(shim.__file__).resolve().parents[3])
_MOST_SAID: Final = 2000


@dataclass(frozen=True, slots=True)
class Shim:
    """A process that has a job: ``descriptor`` is for the caller to close. ``pid`` if our child."""

    descriptor: int
    pid: int | None = None


def start(run: Path, launch: Launch) -> Shim | None:
    """Start a shim, and wait until it has the job. None if another has it already.

    Raises
    ------
    PlatformError
        It has not begun.
    """
    # Of its own: another attempt may be under way. It holds the job's environment, so the shim
    # removes it once it is read.
    orders = run / f"launch-{os.urandom(8).hex()}.json"
    try:
        write_new(str(orders), launch)
        reader, writer = os.pipe()
        try:
            pid = _spawn(orders, writer)
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as said:
            ready = select.select([said], [], [], CLAIM_WITHIN_S)[0]
            word = said.read(len(CLAIMED)) if ready else b""
        if word == CLAIMED:
            return Shim(os.pidfd_open(pid), pid)
    except OSError as error:
        raise PlatformError(f"no process can be started: {error}") from error
    os.kill(pid, signal.SIGKILL)  # still our child: nobody else has this number
    os.waitpid(pid, 0)
    if read_run(run) is not None:
        return None
    raise PlatformError(f"the job's supervisor did not begin: {_tail(run / LOG_FILE)}")


def _spawn(orders: Path, writer: int) -> int:
    argv = [sys.executable, "-I", "-S", "-c", shim.BOOT, _PACKAGE_FOLDER, str(orders)]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writer, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(orders.with_name(LOG_FILE)), flags, 0o600),
    ]
    return os.posix_spawn(sys.executable, argv, {}, file_actions=actions)


def _tail(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")[-_MOST_SAID:].strip()
    except OSError:
        return ""


def find(run: Path) -> Shim | None:
    """The process that has a job and has not ended."""
    record = read_run(run)
    descriptor = None if record is None else open_shim(record)
    return None if descriptor is None else Shim(descriptor)


def collect(pid: int | None) -> None:
    """Let go of a child that has ended."""
    if pid is not None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def ask_to_stop(run: Path, grace_s: float) -> None:
    """Note that a job is to end, then tell its shim; one that begins later finds the note.

    Raises
    ------
    PlatformError
        The note cannot be written.
    """
    try:
        put(str(run), STOP_FILE, {"grace_s": grace_s})
    except FileNotFoundError:
        return  # nothing was prepared
    except OSError as error:
        raise PlatformError(f"{run} cannot be written to: {error}") from error
    found = find(run)
    if found is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(found.descriptor, signal.SIGTERM)
        os.close(found.descriptor)


def end(run: Path) -> None:
    """End a job that runs, by force, and wait for it.

    Raises
    ------
    PlatformError
        It has not ended yet.
    """
    found = find(run)
    if found is None:
        return
    try:
        ask_to_stop(run, 0.0)
        if not select.select([found.descriptor], [], [], END_WITHIN_S)[0]:
            raise PlatformError("some process of the job has not ended yet")
    finally:
        os.close(found.descriptor)


def clear(session: UUID, run: Path, groups: Sequence[str]) -> None:
    """End what a shim that was killed has left behind, and remove its groups.

    Raises
    ------
    PlatformError
        Something is left.
    """
    record = read_run(run)
    paths = sorted({*groups, *(record["groups"] if record else ())})
    is_orphaned = record is not None and read_exit(run) is None
    deadline = time.monotonic() + END_WITHIN_S
    while left := _left(session, paths, is_orphaned=is_orphaned):
        if time.monotonic() >= deadline:
            raise PlatformError(f"processes of the job have not ended yet: {sorted(left)}")
        kill_groups(paths)
        send(left, signal.SIGKILL)
        time.sleep(0.005)
    if stuck := remove_groups(paths):
        raise PlatformError(f"control groups cannot be removed: {stuck}")


def remove(run: Path) -> None:
    """Remove the run directory; a shim that has not begun yet finds nothing to begin with.

    Raises
    ------
    PlatformError
        Something is left.
    """
    try:
        shutil.rmtree(run)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PlatformError(f"{run} cannot be removed: {error}") from error


def _left(session: UUID, groups: Sequence[str], *, is_orphaned: bool) -> set[int]:
    found = set[int]().union(*(members(group) for group in groups))
    return found | marked(session) if is_orphaned else found


def marked(session: UUID) -> set[int]:
    """The processes that were started with a session in their environment, as far as we may see."""
    mark = f"{SESSION_VARIABLE}={session}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_marked = mark in path.read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        if is_marked:
            found.add(int(path.parent.name))
    return found
