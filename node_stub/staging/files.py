"""Files of the broker's own, written so that a crash leaves the old or the new, never half.

Every call blocks: call it in a thread.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from node_stub.staging.errors import StorageError

COPY_BYTES: Final = 16 << 20
"""How much the kernel is asked to copy at once."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_trouble() -> Iterator[None]:
    """Turns what the file system raises into what can be told.

    Raises
    ------
    StorageError
        The disk is full, or cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageError("the disk of the site is full") from error
        raise StorageError(f"the disk of the site fails: {error.strerror}") from error


def copy_whole(source: Path, target: Path, mode: int) -> None:
    """A copy under its name only once it is complete."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        with source.open("rb") as old, temporary.open("wb") as new:
            _copy(old.fileno(), new.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(old: int, new: int) -> None:
    try:
        while os.copy_file_range(old, new, COPY_BYTES):
            pass
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        # Not between these file systems.
        os.lseek(old, 0, os.SEEK_SET)
        os.ftruncate(new, 0)
        os.lseek(new, 0, os.SEEK_SET)
        while data := os.read(old, 1 << 20):
            _write(new, data)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def move_whole(source: Path, target: Path, mode: int) -> None:
    """Give a file its last name and mode, on another file system too."""
    source.chmod(mode)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_whole(source, target, mode)
        source.unlink()


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
