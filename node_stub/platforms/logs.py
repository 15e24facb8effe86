"""Pieces of a log file."""

from pathlib import Path

from node_stub.platforms.base import LogChunk


def read_chunk(path: Path, offset: int, limit: int, *, is_complete: bool) -> LogChunk | None:
    """At most ``limit`` bytes from an offset on; None if there is no such file. Blocks.

    ``is_complete``: nobody writes to the file any more.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            size = file.seek(0, 2)
    except FileNotFoundError:
        return None
    end = offset + len(data)
    return LogChunk(data, end, is_complete and end >= size)
