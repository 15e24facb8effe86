"""Whether a file has been written or replaced since it was looked at."""

import os
from pathlib import Path


def state_of(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file is written or replaced; None where there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116  # a tenth of the time, and often
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
