"""A disk that really has no room left: a small file system of its own, for root to mount."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.required import required

MIB: Final = 1 << 20
CALL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """It is mounted at ``at``."""

    at: Path

    def fill(self, leaving: int = 0) -> None:
        """Leave so many bytes of room; what is there already stays, and may be overwritten."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(self._filler, flags, 0o600)
        try:
            for size in (MIB, 4096, 1):
                self._fill_by(file, size)
            os.truncate(file, os.fstat(file).st_size - leaving)
        finally:
            os.close(file)

    def clear(self) -> None:
        """Give all of it back."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self.at / "filler"

    @staticmethod
    def _fill_by(file: int, size: int) -> None:
        while True:
            try:
                os.write(file, bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


@contextmanager
def small_disk(at: Path, *, mib: int) -> Iterator[SmallDisk]:
    """A new directory that is a disk of this size, until the block ends."""
    required("root", os.geteuid() == 0, "only root can mount a disk that fills up")
    at.mkdir()
    options = f"size={mib}m,mode=0700"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at))
    try:
        yield SmallDisk(at)
    finally:
        # Whatever still has a file there keeps it until it ends.
        _run("umount", "--lazy", str(at))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_S, check=False)
    assert done.returncode == 0, done.stderr
