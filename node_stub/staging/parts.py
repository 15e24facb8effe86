"""A file that is being fetched: its bytes so far, their checksum, and where they come from.

Beside ``NAME.part`` lies ``NAME.json``, which says what its bytes are a part of: so it is gone on
with after the broker has been started again, too. Every method blocks: call it in a thread.
"""

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from node_stub.durable import write_whole
from node_stub.staging.checksums import Checksum, Hasher
from node_stub.staging.files import disk_trouble, move_whole

HASH_BYTES: Final = 1 << 20
"""How much is read at once of what was there before."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Mark(msgspec.Struct, frozen=True):
    """What the bytes are a part of.

    ``source`` stands for the URL without showing it; ``validator`` is the server's name for this
    version of it; ``total`` is the size of the whole. ``boot`` is when the machine was started: a
    crash of the whole machine may have lost what was written last.
    """

    source: str
    validator: str | None
    total: int | None
    boot: str


@dataclass(frozen=True, slots=True)
class Resumption:
    """Bytes that are there already, and what the server must confirm them with."""

    offset: int = 0
    validator: str | None = None
    total: int | None = None


class PartFile:
    """One file on its way. Close it; a second one for the same path must not be open."""

    def __init__(self, path: Path, checksum: Checksum | None) -> None:
        self._path = path
        self._note = path.with_suffix(".json")
        self._checksum = checksum
        self._boot = _boot_id()
        self._file: FileIO | None = None
        self._hasher: Hasher | None = None
        self._mark: Mark | None = None
        self.size = 0
        self.is_glued = False

    def resume(self, source: str) -> Resumption:
        """What can be gone on with from this source; the rest is thrown away.

        Where a checksum is stated, the bytes of any source will do: it is proved in the end.
        """
        with disk_trouble():
            if self._file is None:
                self._open()
        mark = self._mark
        is_same = mark is not None and mark.source == source
        validator = mark.validator if mark is not None and is_same else None
        is_sure = validator is not None and mark is not None and mark.boot == self._boot
        if not self.size or mark is None or not (self._checksum or is_sure):
            self.restart()
            return Resumption()
        return Resumption(self.size, validator, mark.total if is_same else None)

    def _open(self) -> None:
        self._mark = self._noted()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = FileIO(os.open(self._path, flags, 0o600), "r+")
        self._hasher = None if self._checksum is None else self._checksum.hasher()
        self.size = 0
        while data := self._file.read(HASH_BYTES):
            self.size += len(data)
            if self._hasher is not None:
                self._hasher.update(data)
        self.is_glued = self.size > 0

    def _noted(self) -> Mark | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Mark)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def restart(self) -> None:
        """Throw away what is there."""
        with disk_trouble():
            if self._file is None:
                self._open()
            assert self._file is not None
            self._file.seek(0)
            self._file.truncate()
        self._hasher = None if self._checksum is None else self._checksum.hasher()
        self._mark = None
        self.size = 0
        self.is_glued = False

    def note(self, source: str, validator: str | None, total: int | None) -> None:
        """Write down what the bytes that follow are a part of, before they come."""
        mark = Mark(source=source, validator=validator, total=total, boot=self._boot)
        self.is_glued = self.size > 0
        if mark != self._mark:
            with disk_trouble():
                write_whole(self._note, msgspec.json.encode(mark))
            self._mark = mark

    def append(self, data: bytes) -> None:
        """Write the next bytes.

        Raises
        ------
        StorageError
            They could not be written; nothing of them counts.
        """
        assert self._file is not None  # resumed first
        with disk_trouble():
            view = memoryview(data)
            try:
                while view:
                    view = view[self._file.write(view) :]
            except OSError:
                self._file.truncate(self.size)
                self._file.seek(self.size)
                raise
        self.size += len(data)
        if self._hasher is not None:
            self._hasher.update(data)

    def digest(self) -> str | None:
        """The checksum of all bytes so far; None where none is stated."""
        return None if self._hasher is None else self._hasher.hexdigest()

    def finish(self, target: Path, mode: int, *, is_durable: bool = False) -> None:
        """Give the complete file its place, ``is_durable`` whatever happens to the machine."""
        with disk_trouble():
            assert self._file is not None  # it is complete
            if is_durable:
                os.fsync(self._file.fileno())
            self.close()
            move_whole(self._path, target, mode)
            self._note.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it; what is there can be gone on with."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
