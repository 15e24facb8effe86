"""Logs followed and files fetched, taken up where they left off when a connection breaks."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

from gateway.cli.errors import (
    BrokerProblemError,
    BrokerUnavailableError,
    ChecksumError,
    UnreadableAnswerError,
    UnsafePathError,
)
from gateway.cli.events import Event, EventReader
from gateway.wire.documents import from_json
from gateway.wire.outputs import CHUNK_EVENT, END_EVENT, from_piece

PART_SUFFIX: Final = ".part"
"""What the name of a file ends with that has not come whole."""

_SHA256: Final = re.compile(r'"?([0-9a-f]{64})"?')
_PASSING: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Download:
    """An answer in pieces, which raise `BrokerUnavailableError` where it breaks off."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes]


Opener = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Download]]
"""Asks for one path with these headers; raises as every method of the client does."""


class Patience:
    """How long a broken connection is tried again, and how soon; each success starts it anew."""

    def __init__(self, patience_s: float, pause_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._heard = self._clock()

    def heard(self) -> None:
        """Something came."""
        self._heard = self._clock()

    async def wait(self, error: BrokerUnavailableError | BrokerProblemError) -> None:
        """Wait before the next try, or give up with this error.

        Raises
        ------
        BrokerUnavailableError, BrokerProblemError
        """
        if isinstance(error, BrokerProblemError) and error.status not in _PASSING:
            raise error
        if self._clock() - self._heard > self._patience_s:
            raise error
        await asyncio.sleep(self._pause_s)


async def follow_log(open_: Opener, url: str, patience: Patience) -> AsyncGenerator[bytes]:
    """A log as it grows, each byte once, until its session has ended.

    Raises
    ------
    BrokerError
    """
    offset = 0
    while True:
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(offset)}
            async with open_(headers) as download, aclosing(download.pieces) as pieces:
                reader = EventReader()
                async for piece in pieces:
                    patience.heard()
                    for event in _events_of(reader, piece, url):
                        if event.name == END_EVENT:
                            return
                        at, data = _chunk_of(event, url)
                        # After a broken connection a piece may begin with what came before.
                        new = data[max(0, offset - at) :]
                        offset = max(offset, at + len(data))
                        if new:
                            yield new
            error: BrokerUnavailableError | BrokerProblemError
            error = BrokerUnavailableError(url, "the log broke off")
        except (BrokerUnavailableError, BrokerProblemError) as failure:
            error = failure
        await patience.wait(error)


async def fetch_file(
    open_: Opener, url: str, target: Path, sha256: str | None, patience: Patience
) -> int:
    """Fetch one file whole and right, going on where an earlier try left off; its size in bytes.

    It bears another name until its checksum is verified. Without ``sha256`` the broker's entity tag
    is believed, and nothing of an earlier try is used.

    Raises
    ------
    ChecksumError
        What came is not what the broker said; it is removed.
    OSError, BrokerError
    """
    path = target.with_name(target.name + PART_SUFFIX)
    part = await asyncio.to_thread(_Part, path)
    expected: str | None = None
    try:
        if sha256 is None:
            part.restart()
        while expected is None:
            before = part.size
            try:
                expected = await _fetch_rest(open_, url, part, sha256)
            except (BrokerUnavailableError, BrokerProblemError) as error:
                if part.size > before:
                    patience.heard()
                await patience.wait(error)
    finally:
        part.close()
    found = part.sha256
    if found != expected:
        path.unlink()
        raise ChecksumError(target.name, expected, found)
    path.replace(target)
    return part.size


def sha256_of(path: Path) -> str | None:
    """The checksum of a regular file; None if there is none. Blocks."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None


def safe_target(directory: Path, path: str) -> Path:
    """Where to save a file that the broker calls ``path``; its directories are made. Blocks.

    Raises
    ------
    UnsafePathError
        It would not be below ``directory``: the broker, or a link in there, leads elsewhere.
    """
    parts = path.split("/")
    if any(part in {"", ".", ".."} or not _is_name(part) for part in parts):
        raise UnsafePathError(path)
    place = directory
    place.mkdir(parents=True, exist_ok=True)
    for part in parts[:-1]:
        place /= part
        if place.is_symlink():
            raise UnsafePathError(path)
        place.mkdir(exist_ok=True)
    place /= parts[-1]
    if place.is_symlink() or place.is_dir():
        raise UnsafePathError(path)
    return place


class _Part:
    """A file that is not whole yet, and the checksum of what is there."""

    def __init__(self, path: Path) -> None:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._file: BinaryIO = open(number, "r+b", buffering=0)  # noqa: PTH123, SIM115
        self._digest = hashlib.sha256()
        self.size = 0
        while piece := self._file.read(_READ_BYTES):
            self._take(piece)

    @property
    def sha256(self) -> str:
        """Of all that is there."""
        return self._digest.hexdigest()

    def restart(self) -> None:
        """Drop all that is there."""
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """Add a piece. Blocks."""
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        self._take(piece)

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._file.close()

    def _take(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.size += len(piece)


async def _fetch_rest(open_: Opener, url: str, part: _Part, sha256: str | None) -> str:
    """Fetch what is missing, or all of it; the checksum that the whole should have."""
    headers: dict[str, str] = {}
    if part.size and sha256 is not None:
        headers = {"Range": f"bytes={part.size}-", "If-Range": f'"{sha256}"'}
    try:
        async with open_(headers) as download, aclosing(download.pieces) as pieces:
            said = _SHA256.fullmatch(download.headers.get("ETag", ""))
            expected = sha256 or (said[1] if said else None)
            if expected is None:
                raise UnreadableAnswerError(url, "a file without checksum")
            if not _goes_on(download, part):
                part.restart()
            async for piece in pieces:
                await asyncio.to_thread(part.write, piece)
            return expected
    except BrokerProblemError as error:
        if error.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not headers:
            raise
    # There is as much as there should be, or more than that.
    if part.sha256 != sha256:
        part.restart()
        return await _fetch_rest(open_, url, part, sha256)
    return part.sha256


def _goes_on(download: Download, part: _Part) -> bool:
    """Whether the answer begins where we left off."""
    begins = f"bytes {part.size}-"
    is_partial = download.status == HTTPStatus.PARTIAL_CONTENT
    return is_partial and download.headers.get("Content-Range", "").startswith(begins)


def _events_of(reader: EventReader, piece: bytes, url: str) -> list[Event]:
    try:
        events = reader.feed(piece)
    except ValueError as error:
        raise UnreadableAnswerError(url, str(error)) from error
    return [event for event in events if event.name in {CHUNK_EVENT, END_EVENT}]


def _chunk_of(event: Event, url: str) -> tuple[int, bytes]:
    try:
        return from_piece(from_json(event.data))
    except ValueError as error:
        raise UnreadableAnswerError(url, str(error)) from error


def _is_name(part: str) -> bool:
    """Whether it is one name here, and one that can be shown."""
    return part.isprintable() and os.sep not in part and (os.altsep or os.sep) not in part
