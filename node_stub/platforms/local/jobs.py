"""A job by the files of its run directory: where it stands, whoever started it."""

import json
import os
import select
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from node_stub.platforms.base import EndReason, JobPhase, Observation, PlatformError, Usage
from node_stub.platforms.local.process_tree import boot_id, start_time
from node_stub.platforms.local.shim_files import EXIT_FILE, RUN_FILE, STOP_FILE, Exit, Run

PREPARED_FILE: Final = "prepared.json"
"""Written when the executable was found ready: from then on there is a job."""


def read_run(run: Path) -> Run | None:
    """Who has the job; None if nobody has."""
    return cast("Run | None", _read(run / RUN_FILE))


def read_exit(run: Path) -> Exit | None:
    """How the job ended; None if it has not."""
    return cast("Exit | None", _read(run / EXIT_FILE))


def _read(path: Path) -> object:
    try:
        return cast("object", json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PlatformError(f"{path} cannot be read: {error}") from error


def open_shim(record: Run) -> int | None:
    """A descriptor of the process that has a job, for the caller to close; None if it is gone.

    It becomes readable when the process ends.
    """
    if record["boot"] != boot_id():
        return None
    try:
        descriptor = os.pidfd_open(record["pid"])
    except ProcessLookupError:
        return None
    # The process is held by now: if it is the right one, it stays so.
    try:
        is_it = start_time(record["pid"]) == record["start"]
    except OSError:
        is_it = False
    if is_it:
        return descriptor
    os.close(descriptor)
    return None


def is_running(descriptor: int) -> bool:
    """Whether the process behind a descriptor has not ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def observe_files(run: Path, now: datetime, *, is_alive: bool) -> Observation:
    """What the files say of a job; ``is_alive`` was found out before they are read."""
    ended = read_exit(run)
    if ended is not None:
        return _ended(ended, now)
    is_stopped = (run / STOP_FILE).exists()
    record = read_run(run)
    if record is None:
        if is_stopped:
            return Observation(JobPhase.ENDED, now, EndReason.CANCELLED, ended=now)
        is_prepared = (run / PREPARED_FILE).exists()
        return Observation(JobPhase.READY if is_prepared else JobPhase.GONE, now)
    started = instant(record["started"])
    if is_alive:
        phase = JobPhase.STOPPING if is_stopped else JobPhase.RUNNING
        return Observation(phase, now, started=started)
    text = "its supervisor has ended without a word"
    return Observation(JobPhase.LOST, now, EndReason.LOST, text=text, started=started)


def _ended(ended: Exit, now: datetime) -> Observation:
    return Observation(
        JobPhase.ENDED,
        now,
        EndReason(ended["reason"]),
        ended["code"],
        ended["text"],
        started=None if ended["started"] is None else instant(ended["started"]),
        ended=instant(ended["ended"]),
        usage=Usage(cpu_s=ended["cpu_s"], peak_memory_bytes=ended["peak_bytes"]),
    )


def instant(seconds: float) -> datetime:
    """Seconds since 1970 as an instant in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
