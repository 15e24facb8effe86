"""The settings of platforms whose jobs run in directories of ours."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSettings:
    """What every job gets that runs in directories of ours.

    ``log_mib`` bounds each of its two logs. ``home_gib`` is what it may write to its home, beside
    its storage. ``disk_check_s`` is how often what it wrote is measured. ``stop_grace_s`` is how
    long it may take to end by itself when it is asked to.
    """

    log_mib: int = 64
    home_gib: int = 1
    disk_check_s: float = 5.0
    stop_grace_s: float = 10.0
