"""How many files and connections this process may have open."""

import resource
from typing import Final

WANTED: Final = 65_536
"""Connections of some thousand readers and nodes, many times over; systemd's usual hard limit is
half a million."""


def raise_descriptor_limit() -> None:
    """Use what the system allows: the soft limit is 1024 for the sake of programs with select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
