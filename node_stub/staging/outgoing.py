"""Which files of a storage directory are results. A job wrote there: nothing in it is trusted."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_stub.staging.errors import SourceError
from node_stub.staging.measuring import MAX_DEPTH

_ROOT: Final = b""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A regular file: its path below the directory, as the file system has it, and its size."""

    relative: bytes
    size: int

    @property
    def parts(self) -> list[str]:
        """The steps of the path."""
        return [os.fsdecode(part) for part in self.relative.split(b"/")]


def outgoing_files(folder: Path, left_out: Collection[Path], most: int) -> list[OutgoingFile]:
    """The regular files below a directory, by name. Blocks: call it in a thread.

    Links are neither followed nor listed, nor is anything in the directories that are left out.

    Raises
    ------
    SourceError
        There are more than ``most``, or the directories are too deep.
    """
    root = os.fsencode(folder)
    skipped = {os.fsencode(path) for path in left_out}
    found: list[OutgoingFile] = []
    waiting = [_ROOT]
    while waiting:
        inner = waiting.pop()
        if inner.count(b"/") > MAX_DEPTH:
            raise SourceError(f"the results are deeper than {MAX_DEPTH} directories")
        for entry in _entries(os.path.join(root, inner)):  # noqa: PTH118 - bytes
            relative = inner + b"/" + entry.name if inner else entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.path not in skipped:
                    waiting.append(relative)
            elif entry.is_file(follow_symlinks=False):
                found.append(OutgoingFile(relative, entry.stat(follow_symlinks=False).st_size))
                if len(found) > most:
                    raise SourceError(f"there are more than {most} results")
    return sorted(found, key=lambda file: file.relative)


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise SourceError(f"the results cannot be listed: {error.strerror}") from error
