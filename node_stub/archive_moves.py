"""Carries out what the archive has planned: files moved or copied, then hashed. Blocking: threads.

Every step may be repeated after a crash: what has come already is left alone.
"""

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from node_stub.archive_plan import Move, Notes

CHUNK_BYTES: Final = 1 << 20
"""Read at once; between two it is seen whether to go on."""

_COPYABLE: Final = frozenset({errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS})
_UNKEPT: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP})
_ZEROS: Final = bytes(CHUNK_BYTES)


class StoppedError(Exception):
    """The work was given up half-way, as it was asked to be; it can be taken up again."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Size in bytes, and SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


class Mover:
    """Moves files to where they are kept, until ``stop`` is set.

    Parameters
    ----------
    workbench
        A directory on the file system of all targets, for copies that are not whole yet.
    """

    def __init__(self, workbench: Path, stop: threading.Event) -> None:
        self._workbench = workbench
        self._stop = stop

    def move_all(self, moves: tuple[Move, ...], files: Path, notes: Notes) -> None:
        """Bring every file below ``files``; one that cannot be had is noted.

        Raises
        ------
        OSError
            There is no room, or the disk fails: another try may help.
        StoppedError
        """
        for move in moves:
            target = files / move.target
            try:
                is_there = self.move(Path(move.source), target)
            except OSError as error:
                if error.errno not in _UNKEPT:
                    raise
                notes.add(f"is not kept: {error.strerror}", move.target)
            else:
                if not is_there:
                    notes.add("is not kept: it is no file any more", move.target)

    def move(self, source: Path, target: Path) -> bool:
        """Move a regular file, never what a link points to; whether it has come.

        One with several names is copied: the others, perhaps in a shared cache, stay as they are.

        Raises
        ------
        OSError, StoppedError
        """
        self._check()
        if os.path.lexists(target):
            return True
        try:
            found = source.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            return False
        target.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        is_ours = os.geteuid() in (0, found.st_uid)
        if found.st_nlink == 1 and is_ours:
            try:
                # Before it can be seen among what is kept: a file of ours, and no program.
                source.chmod(stat.S_IRUSR | stat.S_IWUSR)
                source.rename(target)
            except OSError as error:
                if error.errno not in _COPYABLE:
                    raise
            else:
                return True
        self._copy(source, target)
        return True

    def digest(self, path: Path) -> Digest:
        """Size and checksum.

        Raises
        ------
        OSError, StoppedError
        """
        sha256, size = hashlib.sha256(), 0
        with _opened(path) as file:
            for chunk in self._chunks(file):
                sha256.update(chunk)
                size += len(chunk)
        return Digest(size, sha256.hexdigest())

    def _copy(self, source: Path, target: Path) -> None:
        """Copy, leaving holes where there are zeros, and show it only when it is whole."""
        unfinished = self._workbench / "copy"
        try:
            with _opened(source) as file, unfinished.open("wb") as made:
                for chunk in self._chunks(file):
                    if chunk == _ZEROS[: len(chunk)]:
                        made.seek(len(chunk), os.SEEK_CUR)
                    else:
                        made.write(chunk)
                made.truncate(made.tell())
            unfinished.rename(target)
        except OSError:
            # On a disk that is full it would take the room that others may have enough of.
            unfinished.unlink(missing_ok=True)
            raise

    def _chunks(self, file: BinaryIO) -> Iterator[bytes]:
        while chunk := file.read(CHUNK_BYTES):
            self._check()
            yield chunk

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError


def _opened(path: Path) -> BinaryIO:
    """A file, opened without following links or waiting for the other end of a pipe."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return open(number, "rb", buffering=0)  # noqa: PTH123 - of a descriptor
