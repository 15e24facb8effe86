"""What a job has left on this machine, seen without asking the platform that ran it."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

RESULTS_DIR: Final = "results"
"""Where a node keeps what came out, in its data directory."""

MARK: Final = "EB_CONFORMANCE_MARK"
"""The environment variable that every process of a job inherits; its value is the job's own."""

_CGROUPS: Final = Path("/sys/fs/cgroup")


def left_of(sessions: Collection[UUID], mark: str, *data_dirs: Path) -> list[str]:
    """Processes, control groups, mounts, files and directories of jobs, a line each.

    What is in the archive is meant to be left.
    """
    names = [str(session) for session in sessions]
    return [
        *(f"process {line}" for line in _processes(mark, *names)),
        *(f"cgroup {path}" for path in _cgroups(names)),
        *(f"mount {line}" for line in _mounts(names)),
        *(f"file {path}" for folder in data_dirs for path in _files(folder, names)),
    ]


def processes_of(mark: str) -> list[str]:
    """Processes that bear a mark in their environment."""
    return list(_processes(mark))


def _processes(*marks: str) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
        if any(mark.encode() in command + environment for mark in marks):
            yield f"{entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')[:200]}"


def _cgroups(names: Collection[str]) -> Iterator[Path]:
    for place, directories, _ in os.walk(_CGROUPS):
        yield from (Path(place, inner) for inner in directories if _bears(inner, names))


def _mounts(names: Collection[str]) -> Iterator[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    yield from (line for line in lines if _bears(line, names))


def _files(data_dir: Path, names: Collection[str]) -> Iterator[Path]:
    for place, directories, files in os.walk(data_dir):
        if Path(place) == data_dir / RESULTS_DIR:
            directories.clear()
        else:
            found = (*directories, *files)
            yield from (Path(place, inner) for inner in found if _bears(inner, names))


def _bears(text: str, names: Collection[str]) -> bool:
    return any(name in text for name in names)
