"""A control group of our own around each container, where the broker may remove one.

The engine makes it, as the parent of the container's own. It outlives the container, so that it
knows at the end what all its processes took: engines forget that when the last of them ends. All
functions block.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node_stub.platforms.docker.client import EngineInfo

ROOT: Final = Path("/sys/fs/cgroup")
"""Where both versions of control groups are mounted by custom."""

_FOLDER_PREFIX: Final = "/execbroker-"
_CPU_FILES: Final = ("cpuacct/{}/cpuacct.usage", "cpu,cpuacct/{}/cpuacct.usage")
_PEAK_FILES: Final = ("{}/memory.peak", "memory/{}/memory.max_usage_in_bytes")


def can_be_made(info: EngineInfo) -> bool:
    """Whether an engine makes groups by their path, and we may remove them again."""
    return (
        info.cgroup_driver == "cgroupfs"
        and not info.is_rootless
        and os.geteuid() == 0
        and os.access(ROOT, os.W_OK)
    )


def path_for(broker: str, session: str) -> str:
    """The group of a session's container, as engines want it: from the root of the hierarchy."""
    return f"{_FOLDER_PREFIX}{broker}/{session}"


def cpu_s(path: str) -> float | None:
    """Seconds of processor time that all its processes took; None if that cannot be read."""
    for name in _CPU_FILES:
        text = _read(ROOT / name.format(path.lstrip("/")))
        if text is not None:
            return int(text) / 1e9
    text = _read(ROOT / path.lstrip("/") / "cpu.stat")
    for line in (text or "").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    return None


def peak_memory_bytes(path: str) -> int | None:
    """The most that its processes held at once; None if that cannot be read."""
    for name in _PEAK_FILES:
        text = _read(ROOT / name.format(path.lstrip("/")))
        if text is not None:
            return int(text)
    return None


def remove(path: str) -> bool:
    """Remove it in all hierarchies; whether nothing is left of it."""
    relative = Path(path.lstrip("/"))
    for hierarchy in _hierarchies():
        group = hierarchy / relative
        if group.is_dir():
            # The innermost first; only what is empty can be removed.
            for folder in sorted((f for f in group.rglob("*") if f.is_dir()), reverse=True):
                _remove(folder)
            if not _remove(group):
                return False
        # Shared by the sessions of one broker: it goes with the last.
        _remove(hierarchy / relative.parent)
    return True


def _hierarchies() -> Iterator[Path]:
    yield ROOT
    yield from (entry for entry in ROOT.iterdir() if entry.is_dir() and not entry.is_symlink())


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
