"""The floor of limits that every process has, with or without control groups. Pure."""

from collections.abc import Collection, Sequence
from typing import Final

from node_stub.platforms.local.cgroups import Amounts

OPEN_FILES: Final = 65_536
"""More than any sensible job holds open; far below where the kernel's tables hurt."""

_GIB: Final = 1024**3


def resource_limits(
    amounts: Amounts, storage_gib: int, grouped: Collection[str], tasks: int
) -> list[tuple[str, int]]:
    """Resource limits by name, of what no group in ``grouped`` keeps, and of what none can.

    ``tasks`` are those that the job's user has already: the kernel counts them all.
    """
    limits = [
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", storage_gib * _GIB),
        ("RLIMIT_NOFILE", OPEN_FILES),
    ]
    if "memory" not in grouped:
        limits.append(("RLIMIT_AS", amounts.memory_gib * _GIB))
    if "pids" not in grouped:
        limits.append(("RLIMIT_NPROC", tasks + amounts.processes))
    return limits


def cpus_for(cores: int, allowed: Sequence[int], turn: int) -> list[int]:
    """So many of the allowed CPUs, others at every turn; none for all of them."""
    if cores >= len(allowed):
        return []
    first = turn % len(allowed)
    return sorted((*allowed[first:], *allowed[:first])[:cores])
