"""What the shim is told, and what it tells: files beside each other in the job's run directory.

The shim imports this: the standard library only.
"""

import json
import os
from typing import Any, Final, TypedDict

RUN_FILE: Final = "run.json"
"""Which process has the job. Linked into place, so that only one shim can make it."""

STOP_FILE: Final = "stop.json"
"""Written by the broker: end the job; ``grace_s`` says how soon by force."""

EXIT_FILE: Final = "exit.json"
"""How the job ended. Renamed into place when nothing of it is left."""

CLAIMED: Final = b"claimed"
"""What the shim says on its standard output once the job is its own."""

INPUT_FD: Final = 3
"""Where a sandbox reads what it is to do: there, and not in its arguments, which anybody sees."""

STATUS_FD: Final = 4
"""Where a sandbox says that the program ran, as bubblewrap does: a JSON line with ``exit-code``."""

SESSION_VARIABLE: Final = "EXECBROKER_SESSION"
"""In the environment of every job: its session, by which its processes are told from others."""


class Group(TypedDict):
    """A control group to make: its directory, and its files with what to write to them."""

    path: str
    writes: list[tuple[str, str]]


class Meters(TypedDict):
    """Files that tell what a job used; empty is not measured.

    ``oom`` counts processes killed for want of memory, in a line ``oom_kill``. ``cpu`` is in units
    of 1/``cpu_per_s`` seconds, in the line ``cpu_key``, or the only number there is.
    """

    oom: str
    cpu: str
    cpu_key: str
    cpu_per_s: int
    peak: str


class Launch(TypedDict):
    """All that the shim is told.

    ``argv``, ``environment`` and ``directory`` are of the first process: the job itself or, if
    ``is_boxed``, a sandbox that reads ``input``. ``limits`` are names and values of resource
    limits, ``cpus`` where it may run, none for anywhere. ``end_at`` is in seconds since 1970;
    ``reasons`` tell what exit codes mean that the program has chosen itself.
    """

    session: str
    argv: list[str]
    environment: dict[str, str]
    directory: str
    is_boxed: bool
    input: str
    limits: list[tuple[str, int]]
    cpus: list[int]
    groups: list[Group]
    meters: Meters
    end_at: float
    grace_s: float
    log_bytes: int
    stdout: str
    stderr: str
    reasons: dict[str, str]


class Run(TypedDict):
    """Who has the job, as `RUN_FILE` says: a process, found by start time and boot, and since when.

    ``groups`` are the control groups that it made.
    """

    pid: int
    start: int
    boot: str
    started: float
    groups: list[str]


class Exit(TypedDict):
    """How a job ended, as `EXIT_FILE` has it; times are seconds since 1970."""

    reason: str
    code: int | None
    text: str
    started: float | None
    ended: float
    cpu_s: float | None
    peak_bytes: int | None


def asked_to_stop(run: str) -> float | None:
    """The grace in seconds with which the broker wants the job ended; None if it does not."""
    try:
        with open(f"{run}/{STOP_FILE}", encoding="utf-8") as file:  # noqa: PTH123
            return float(json.load(file)["grace_s"])
    except FileNotFoundError:
        return None


def put(run: str, name: str, content: Any) -> None:
    """Write a file so that it is there whole or not at all, also after a crash of the machine."""
    passing = f"{run}/{name}.{os.urandom(8).hex()}"
    write_new(passing, content)
    os.replace(passing, f"{run}/{name}")  # noqa: PTH105


def write_new(path: str, content: Any) -> None:
    """Write a JSON file, for nobody else to read, through to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(descriptor)
