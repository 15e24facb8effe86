"""Control groups: which there are, what to write to them for a job, and which are ours.

Version 2 where it has the controllers, else version 1, each controller wherever it is; what is
nowhere is left to resource limits. A group's name carries the workspaces that it belongs to and the
session, so that ours are found again and nobody else's are touched.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from node_stub.platforms.local.shim_files import Group, Meters

CONTROLLERS: Final = ("memory", "cpu", "pids")
"""Those that limit what a request asks for, and how many processes there are."""

NO_METERS: Final[Meters] = {"oom": "", "cpu": "", "cpu_key": "", "cpu_per_s": 1, "peak": ""}
"""Nothing is measured."""

_CPU_PERIOD_US: Final = 100_000  # the kernel's default
_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One tree of groups: where ours are made in it, its version, and its controllers.

    ``files`` are those that a group there has.
    """

    base: Path
    version: int
    controllers: frozenset[str]
    files: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Amounts:
    """The limits of one job."""

    cores: int
    memory_gib: int
    processes: int


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of the jobs of one set of workspaces."""

    prefix: str
    hierarchies: tuple[Hierarchy, ...] = ()
    where: Mapping[str, Hierarchy] = field(default_factory=dict)

    def plan(self, session: UUID, amounts: Amounts) -> tuple[list[Group], Meters]:
        """The groups to make for a job, and where to read what it used."""
        groups: list[Group] = []
        for hierarchy in self.hierarchies:
            path = hierarchy.base / f"{self.prefix}{session}"
            writes: list[tuple[str, str]] = []
            for name in CONTROLLERS:
                if self.where.get(name) is hierarchy:
                    writes += _writes(hierarchy, name, amounts)
            groups.append({"path": str(path), "writes": writes})
        return groups, self._meters(session)

    def paths(self, session: UUID) -> list[str]:
        """The groups of a session that exist."""
        paths = [hierarchy.base / f"{self.prefix}{session}" for hierarchy in self.hierarchies]
        return [str(path) for path in paths if path.is_dir()]

    def sessions(self) -> set[UUID]:
        """Every session that has a group."""
        found = set()
        for hierarchy in self.hierarchies:
            for path in hierarchy.base.glob(f"{self.prefix}*"):
                session = _uuid(path.name.removeprefix(self.prefix))
                if session is not None:
                    found.add(session)
        return found

    def enforcer(self, controller: str, otherwise: str) -> str:
        """What keeps a limit, for people to read."""
        hierarchy = self.where.get(controller)
        return otherwise if hierarchy is None else f"cgroup v{hierarchy.version}"

    def _meters(self, session: UUID) -> Meters:
        meters = NO_METERS.copy()
        name = f"{self.prefix}{session}"
        if (memory := self.where.get("memory")) is not None:
            is_new = memory.version == 2
            group = memory.base / name
            meters["oom"] = str(group / ("memory.events" if is_new else "memory.oom_control"))
            peak = "memory.peak" if is_new else "memory.max_usage_in_bytes"
            meters["peak"] = str(group / peak)
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:  # whatever its controllers
                meters["cpu"] = str(hierarchy.base / name / "cpu.stat")
                meters["cpu_key"], meters["cpu_per_s"] = "usage_usec", 1_000_000
                break
            if "cpuacct" in hierarchy.controllers:
                meters["cpu"] = str(hierarchy.base / name / "cpuacct.usage")
                meters["cpu_key"], meters["cpu_per_s"] = "", 1_000_000_000
        return meters


def prefix_of(root: Path) -> str:
    """What the names of all groups of one set of workspaces begin with."""
    return f"eb-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]}-"


def find_groups(root: Path, place: str | None) -> Groups:
    """The groups that can be made here, by really making some.

    Parameters
    ----------
    root
        The directory of the workspaces.
    place
        Where groups are made, as a path in each hierarchy; None for the broker's own group.
    """
    prefix = prefix_of(root)
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
        membership = Path("/proc/self/cgroup").read_text("utf-8", "replace")
    except FileNotFoundError:  # a kernel without them
        return Groups(prefix)
    found = parse_hierarchies(mounts, membership, place)
    usable = []
    for hierarchy in found:
        ready = _delegated(hierarchy, place is not None) if hierarchy.version == 2 else hierarchy
        files = _files_of_trial(ready, prefix)
        if files:
            usable.append(replace(ready, files=files))
    return arranged(prefix, usable)


def arranged(prefix: str, hierarchies: Sequence[Hierarchy]) -> Groups:
    """Each controller where it is, version 2 first; hierarchies of no use are left out."""
    newest_first = sorted(hierarchies, key=lambda hierarchy: -hierarchy.version)
    where: dict[str, Hierarchy] = {
        name: hierarchy
        for name in CONTROLLERS
        for hierarchy in reversed(newest_first)
        if name in hierarchy.controllers
    }
    used = tuple(
        hierarchy
        for hierarchy in newest_first
        if hierarchy.version == 2
        or hierarchy in where.values()
        or "cpuacct" in hierarchy.controllers
    )
    return Groups(prefix, used, where)


def parse_hierarchies(mounts: str, membership: str, place: str | None) -> list[Hierarchy]:
    """The hierarchies of ``/proc/self/mountinfo`` with our own groups of ``/proc/self/cgroup``."""
    own = {}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        own[frozenset(names.split(",")) - {""}] = path
    found = []
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            controllers: frozenset[str] = frozenset()
            path = own.get(controllers, "/")
        elif kind == "cgroup":
            named = {name for name in own if name and name <= set(options.split(","))}
            if not named:
                continue
            controllers = max(named, key=len)
            path = own[controllers]
        else:
            continue
        base = _below(Path(point), root, path if place is None else place, place is not None)
        found.append(Hierarchy(base, 2 if kind == "cgroup2" else 1, controllers))
    return found


def _below(point: Path, root: str, path: str, is_given: bool) -> Path:
    """A group's directory; ``root`` is the part of the hierarchy that is mounted."""
    if not is_given and root != "/" and path.startswith(root):
        path = path.removeprefix(root)
    base = point / path.lstrip("/")
    return base if base.is_dir() or is_given else point


def _delegated(hierarchy: Hierarchy, is_given: bool) -> Hierarchy:
    """A version 2 hierarchy where our groups get controllers.

    A group that has processes cannot hand its controllers on: then it is the one above, which a
    service manager that delegates to a leaf leaves to us.
    """
    bases = [hierarchy.base] if is_given else [hierarchy.base, hierarchy.base.parent]
    for base in bases:
        enabled = _enable(base)
        if enabled:
            return Hierarchy(base, 2, enabled)
    return hierarchy


def _enable(base: Path) -> frozenset[str]:
    """Hand controllers on to the groups below; which are handed on."""
    control = base / "cgroup.subtree_control"
    try:
        base.mkdir(exist_ok=True)
        offered = set((base / "cgroup.controllers").read_text().split()) & set(CONTROLLERS)
        missing = offered - set(control.read_text().split())
        if missing:
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
        return frozenset(control.read_text().split()) & frozenset(CONTROLLERS)
    except OSError:
        return frozenset()


def _files_of_trial(hierarchy: Hierarchy, prefix: str) -> frozenset[str]:
    """What a group of ours has in it; nothing if none can be made."""
    trial = hierarchy.base / f"{prefix}{uuid4()}"  # found as an orphan of ours, if we die here
    try:
        hierarchy.base.mkdir(exist_ok=True)
        trial.mkdir()
        files = frozenset(path.name for path in trial.iterdir())
        trial.rmdir()
    except OSError:
        return frozenset()
    return files


def _writes(hierarchy: Hierarchy, name: str, amounts: Amounts) -> list[tuple[str, str]]:
    """A limit as files and what to write to them."""
    memory = str(amounts.memory_gib * _GIB)
    quota_us = amounts.cores * _CPU_PERIOD_US
    if name == "pids":
        return [("pids.max", str(amounts.processes))]
    if name == "cpu" and hierarchy.version == 2:
        return [("cpu.max", f"{quota_us} {_CPU_PERIOD_US}")]
    if name == "cpu":
        return [("cpu.cfs_period_us", str(_CPU_PERIOD_US)), ("cpu.cfs_quota_us", str(quota_us))]
    writes = [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
    if hierarchy.version == 2:
        # The whole job is ended, not some process of it that the rest would wait for.
        writes = [("memory.max", memory), ("memory.swap.max", "0"), ("memory.oom.group", "1")]
    # Kernels without swap, and old ones, lack the files after the first.
    return [writes[0], *(pair for pair in writes[1:] if pair[0] in hierarchy.files)]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
