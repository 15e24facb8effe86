"""Logs of containers, copied into files as they are written.

An engine cannot be asked for a log from a byte on. So it is read from its beginning, and what the
file has already is passed over: the same bytes come in the same order, whoever reads them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_stub.platforms.base import Stream

_HEADER: Final = struct.Struct(">BxxxL")
"""Before each piece of a log: which stream, and how many bytes follow (Docker API, container
attach: "Stream format")."""

_STREAMS: Final = {1: Stream.STDOUT, 2: Stream.STDERR}

CUT_NOTE: Final = "\n[the log is cut here: at least {dropped} bytes more were written]\n"
"""What ends a log that became too long."""

GAP_NOTE: Final = "\n[something is missing here: the engine had dropped it before it was read]\n"
"""What stands where a log goes on elsewhere than it was left."""


class Frames:
    """Takes a log's bytes as they come, and gives them back by stream; holds nothing back."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self._stream: Stream | None = None

    def feed(self, data: bytes) -> dict[Stream, list[bytes]]:
        """What came for each stream, in order."""
        buffer = self._rest + data
        at = 0
        found: dict[Stream, list[bytes]] = {}
        while at < len(buffer):
            if self._left == 0:
                if len(buffer) - at < _HEADER.size:
                    break
                number, self._left = _HEADER.unpack_from(buffer, at)
                self._stream = _STREAMS.get(number)
                at += _HEADER.size
            piece = buffer[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if piece and self._stream is not None:
                found.setdefault(self._stream, []).append(piece)
        self._rest = buffer[at:]
        return found


@dataclass(slots=True)
class Spool:
    """Copies one stream into its file, up to ``limit`` bytes. All methods block.

    ``begin`` starts a reading from the log's beginning; ``feed`` takes its bytes in order.
    """

    path: Path
    limit: int
    _position: int = 0
    _size: int = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more is kept."""
        return self._size >= self.limit

    def begin(self) -> None:
        """The log will be read from its beginning."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch()
        self._size = self.path.stat().st_size
        self._position = 0

    def feed(self, pieces: Sequence[bytes]) -> None:
        """The next bytes; those that the file has already are passed over."""
        data = b"".join(pieces)
        start, self._position = self._position, self._position + len(data)
        if start < self._size:
            known = data[: self._size - start]
            data = data[len(known) :]
            if not self.is_full and not self._has(start, known):
                # The engine's own log was cut meanwhile: it begins later now.
                self._append(GAP_NOTE.encode())
                data = known + data
                self._position = self._size + len(data)
        if data and not self.is_full:
            self._append(data[: self.limit - self._size])

    def finish(self) -> None:
        """All has been read: say at the end how much was left out."""
        dropped = self._position - self.limit
        if self._size == self.limit and dropped > 0:
            self._append(CUT_NOTE.format(dropped=dropped).encode())

    def _has(self, start: int, known: bytes) -> bool:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(len(known)) == known

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)
