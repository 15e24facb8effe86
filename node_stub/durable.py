"""Files that are there whole or not at all, also after a crash."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place, or replace it: for the broker alone, and on the disk. Blocks.

    Raises
    ------
    OSError
        What was there is still there.
    """
    unfinished = path.with_name(f"{path.name}.new")
    with open(unfinished, "wb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
