"""What of a job's directories is kept, and under which name: looked at and decided, nothing moved.

The job may have left anything: endless trees, names that are no text, links to elsewhere. Only
regular files are kept, and every limit is said, never silent. The job has ended by now.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

MAX_PATH_BYTES: Final = 1024
"""Longest path of a kept file: with our own directories before it well below PATH_MAX (4096)."""

MAX_DEPTH: Final = 64
"""Deepest directory that is looked into; deeper trees are made to be in the way."""

MAX_NAMES_BYTES: Final = 1 << 20
"""All paths of one session together: its list of files stays a document of a few megabytes."""

ENTRIES_PER_FILE: Final = 20
"""So many times the files that may be kept are looked at in all, whatever they turn out to be."""

MAX_NOTES: Final = 20
"""So many notes of one sort; the others are counted."""

_MAX_SHOWN: Final = 200
_NO_NAMES: Final = frozenset({"", ".", ".."})
_SORTS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass(frozen=True, slots=True)
class Move:
    """One file to keep: ``source`` is a path of the machine, ``target`` the name it is kept by.

    ``source`` may hold surrogates for bytes that are no UTF-8; ``target`` is clean text.
    """

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every file to keep, and what is to be said of the others."""

    moves: tuple[Move, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept of one session: files, and their bytes in all, holes included."""

    files: int
    bytes: int


class Notes:
    """Collects notes; of one sort only the first few, and how many more there were."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, sort: str, path: str) -> None:
        """Note a path; ``sort`` is a sentence that it is the subject of."""
        self._counts[sort] += 1
        if self._counts[sort] <= MAX_NOTES:
            self._said.setdefault(sort, []).append(f"{shown(path)!r} {sort}")

    def lines(self) -> tuple[str, ...]:
        """All that was noted, a sentence each."""
        lines: list[str] = []
        for sort, said in self._said.items():
            lines += said
            if (more := self._counts[sort] - len(said)) > 0:
                lines.append(f"{more} more {sort}")
        return tuple(lines)


def shown(path: str) -> str:
    """A path as it can be shown: clean text, and its end where it is long."""
    clean = "/".join(clean_name(name) for name in path.split("/"))
    return clean if len(clean) <= _MAX_SHOWN else f"...{clean[-_MAX_SHOWN:]}"


def clean_name(name: str) -> str:
    """A name of the machine as text that any client can take.

    What is no UTF-8 and what is not printable becomes an underscore each.
    """
    return "".join(char if char.isprintable() else "_" for char in name)


class Planner:
    """Plans what is kept of one session; ``take`` each of its directories, then `plan`."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._bytes = 0
        self._names_bytes = 0
        self._entries = bounds.files * ENTRIES_PER_FILE
        self._moves: list[Move] = []
        self._files: set[str] = set()
        self._directories: set[str] = set()
        self._notes = Notes()

    def plan(self) -> Plan:
        """The plan so far."""
        return Plan(tuple(self._moves), self._notes.lines())

    def take(self, source: Path, prefix: str, skip: frozenset[str]) -> None:
        """Plan to keep a directory's files under a prefix; one that does not exist has none.

        ``skip`` holds paths within it, of files or whole directories, that are left alone.
        """
        top = ""
        for part in prefix.split("/"):
            if part not in _NO_NAMES:
                top = self._directory(top, part)
        waiting = [(os.fspath(source), "", top)]
        while waiting:
            directory, relative, target = waiting.pop()
            deeper: list[tuple[str, str, str]] = []
            for entry in self._entries_of(directory, relative or prefix):
                path = f"{relative}/{entry.name}" if relative else entry.name
                if path in skip:
                    continue
                if len(os.fsencode(path)) + len(prefix.encode()) >= MAX_PATH_BYTES:
                    self._notes.add("is not kept: its path is too long", path)
                elif path.count("/") >= MAX_DEPTH:
                    self._notes.add("is not kept: it is too deep", path)
                elif entry.is_dir(follow_symlinks=False):
                    deeper.append((entry.path, path, self._directory(target, entry.name)))
                else:
                    self._take_entry(entry, path, target)
            waiting += reversed(deeper)

    def _take_entry(self, entry: "os.DirEntry[str]", path: str, target: str) -> None:
        """Plan for anything but a directory."""
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._notes.add(f"is not kept: {error.strerror}", path)
            return
        if stat.S_ISREG(found.st_mode):
            self._file(entry.path, path, target, entry.name, found.st_size)
        else:
            self._notes.add(f"is not kept: it is {_sort(found.st_mode)}", path)

    def _entries_of(self, directory: str, relative: str) -> Sequence["os.DirEntry[str]"]:
        """What is in a directory, by name, as far as there may still be looked."""
        try:
            found = list(islice(_scan(directory), self._entries + 1))
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._notes.add(f"cannot be looked into: {error.strerror}", relative)
            return ()
        if len(found) > self._entries:
            del found[self._entries :]
            self._notes.add("is not kept as a whole: there is too much in all", relative)
        self._entries -= len(found)
        return sorted(found, key=lambda entry: entry.name)

    def _file(self, source: str, path: str, directory: str, name: str, size: int) -> None:
        target = self._free(directory, name)
        names_bytes = len(target.encode())
        if len(self._moves) >= self._bounds.files:
            limit = f"{self._bounds.files} files"
        elif self._bytes + size > self._bounds.bytes:
            limit = f"{self._bounds.bytes} bytes"
        elif self._names_bytes + names_bytes > MAX_NAMES_BYTES:
            limit = f"{MAX_NAMES_BYTES} bytes of names"
        else:
            self._bytes += size
            self._names_bytes += names_bytes
            self._files.add(target)
            self._moves.append(Move(source, target))
            if target.rpartition("/")[2] != name:
                self._notes.add("is kept under another name, with ~ or _", path)
            return
        self._notes.add(f"is not kept: at most {limit} are", path)

    def _directory(self, parent: str, name: str) -> str:
        """The kept name of a directory; one that is there already is shared."""
        target = _joined(parent, clean_name(name))
        while target in self._files:
            target += "~"
        self._directories.add(target)
        return target

    def _free(self, parent: str, name: str) -> str:
        target = _joined(parent, clean_name(name))
        while target in self._files or target in self._directories:
            target += "~"
        return target


def _scan(directory: str) -> "Iterator[os.DirEntry[str]]":
    """The entries of a directory, made readable first where the job has forbidden it to us."""
    if not stat.S_ISDIR(os.lstat(directory).st_mode):
        return
    try:
        entries = os.scandir(directory)
    except PermissionError:
        Path(directory).chmod(stat.S_IRWXU)
        entries = os.scandir(directory)
    with entries:
        yield from entries


def _joined(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def _sort(mode: int) -> str:
    return next((name for is_it, name in _SORTS if is_it(mode)), "no file")
