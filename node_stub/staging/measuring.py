"""How much lies in a directory that a job writes to."""

import os
from pathlib import Path
from typing import Final

from node_stub.staging.threads import settled

MEASURELESS: Final = 1 << 62
"""What a tree counts that cannot be measured: more than any storage has."""

MAX_DEPTH: Final = 400
"""Deepest directory that is looked into; a job that goes deeper may be hiding something."""

_BLOCK_BYTES: Final = 512
"""Unit of ``st_blocks``. Source: stat(2)."""


async def measure(path: Path) -> int:
    """The bytes on disk of all below a directory: holes count nothing, a file with two names once.

    Links are not followed. What vanishes meanwhile is not counted; a directory that cannot be
    looked into is not either: it is another user's. One that is too deep counts `MEASURELESS`.
    """
    return await settled(_measured, path)


def _measured(path: Path) -> int:
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, int]] = [(os.fspath(path), 0)]
    while waiting:
        folder, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return MEASURELESS
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError:
            return MEASURELESS
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if is_folder:
                waiting.append((entry.path, depth + 1))
            elif status.st_nlink > 1:
                file = (status.st_dev, status.st_ino)
                if file in seen:
                    continue
                seen.add(file)
            total += status.st_blocks * _BLOCK_BYTES
    return total
