"""Files that any session may need again: read-only, by checksum, in bounded space.

Only what states a checksum is kept, and only once it has been verified. A checksum that others
cannot make other data to (md5, sha256) names the data wherever it comes from; under a weak one
(adler32) it is found only by who names the same locations, so that nobody can put something else
in its place.
"""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_stub.staging.checksums import Checksum
from node_stub.staging.errors import StorageError
from node_stub.staging.files import copy_whole, disk_trouble, remove
from node_stub.staging.parts import PartFile

OBJECT_MODE: Final = 0o444
"""Of what is shared: nobody writes to it."""

ABANDONED_S: Final = 86_400.0
"""How long a file that was begun, and that no session wants any more, is kept to go on with."""

_OBJECTS: Final = "objects"
_INCOMING: Final = "incoming"


def cache_key(checksum: Checksum, locations: tuple[str, ...]) -> str:
    """What data with this checksum, from these URLs, is kept under."""
    key = f"{checksum.type}-{checksum.value}"
    if checksum.is_strong:
        return key
    origin = hashlib.sha256("\n".join(sorted(locations)).encode(errors="surrogatepass"))
    return f"{key}-{origin.hexdigest()}"


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock
    users: int = 0


class Cache:
    """The cache in one directory, which one broker at a time may use.

    ``limit_bytes`` 0 keeps nothing. `open`, `give`, `admit` and `close` block: call them in a
    thread. They are called under the key's `turn`.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.limit_bytes: Final = limit_bytes
        self._objects = folder / _OBJECTS
        self._incoming = folder / _INCOMING
        self._sizes: dict[str, int] = {}
        self._locks: dict[str, _Lock] = {}
        self._guard = -1

    def open(self) -> None:
        """Make the directory, see what is in it, and drop what is too much.

        Raises
        ------
        StorageError
            Another broker uses it, or it cannot be used at all.
        """
        with disk_trouble():
            for folder in (self._objects, self._incoming):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._guard = os.open(self._objects.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.close()
                raise StorageError("another broker uses the cache directory") from error
            self._sizes = {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in os.scandir(self._objects)
            }
            self._evict()
            self._drop_abandoned()

    def close(self) -> None:
        """Let another broker use the directory."""
        if self._guard >= 0:
            os.close(self._guard)
            self._guard = -1

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """One at a time for each key: the others find what the first has fetched."""
        entry = self._locks.setdefault(key, _Lock(asyncio.Lock()))
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[key]

    def has(self, key: str) -> bool:
        """Whether it seems to be there."""
        return key in self._sizes

    def size_of(self, key: str) -> int | None:
        """How large it is, if it is there."""
        return self._sizes.get(key)

    def part(self, key: str, checksum: Checksum) -> PartFile:
        """The file to fetch it into."""
        return PartFile(self._incoming / f"{key}.part", checksum)

    def can_hold(self, size: int) -> bool:
        """Whether a file of this size would be kept at all."""
        return size <= self.limit_bytes

    def admit(self, key: str, part: PartFile) -> None:
        """Keep what has been fetched and verified, and drop what was not used for longest."""
        size = part.size
        part.finish(self._objects / key, OBJECT_MODE, is_durable=True)
        self._sizes[key] = size
        with disk_trouble():
            _touch(self._objects / key)
            self._evict(spared=key)

    def give(self, key: str, target: Path, mode: int, *, is_shared: bool) -> int | None:
        """Put it at its place, the file itself or a copy with this mode; its size.

        None: it is not there any more.
        """
        kept = self._objects / key
        with disk_trouble():
            try:
                status = kept.stat()
                _touch(kept)
                if not (is_shared and _is_linked(kept, target)):
                    copy_whole(kept, target, mode)
            except FileNotFoundError:
                self._sizes.pop(key, None)
                return None
        return status.st_size

    def _drop_abandoned(self) -> None:
        """Remove what nobody has gone on fetching for long."""
        oldest = time.time() - ABANDONED_S
        for path in self._incoming.iterdir():
            if path.stat().st_mtime < oldest:
                remove(path)

    def _evict(self, spared: str | None = None) -> None:
        """Drop files until the rest fits: unused ones first, those used longest ago before others.

        To drop one that a session still has frees no space yet, and takes nothing from it.
        """
        surplus = sum(self._sizes.values()) - self.limit_bytes
        if surplus <= 0:
            return
        entries = []
        for key in list(self._sizes):
            try:
                status = (self._objects / key).stat()
            except FileNotFoundError:
                surplus -= self._sizes.pop(key)
                continue
            entries.append((key == spared, status.st_nlink > 1, status.st_atime, key))
        for _, _, _, key in sorted(entries):
            if surplus <= 0:
                break
            remove(self._objects / key)
            surplus -= self._sizes.pop(key)


def _touch(path: Path) -> None:
    """Used now: the time of access says so, which the file system may not keep by itself."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _is_linked(kept: Path, target: Path) -> bool:
    """Whether the target could be made a second name of the file."""
    temporary = target.with_name(f".{target.name}.new")
    remove(temporary)
    try:
        temporary.hardlink_to(kept)
    except FileNotFoundError:
        raise
    except OSError:
        return False  # another file system, or one without links
    temporary.replace(target)
    return True
