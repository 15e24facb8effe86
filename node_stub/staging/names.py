"""File names and paths out of what a URL, an object key or a client says. Pure.

Names come from strangers and end in directories that programs and shells read: what comes out here
has no separator, no control character and nothing that a shell or an option parser would act on.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

MAX_NAME_BYTES: Final = 200
"""Room below the 255 bytes of Linux file systems for what others append."""

MAX_DEPTH: Final = 32
"""Directories that one object key may open; deeper ones are written into the last name."""

_KEPT: Final = frozenset(" ._+=@,:#%~()[]-")
_DIGEST_CHARACTERS: Final = 10


def safe_name(text: str, default: str = "data") -> str:
    """A file name as near to the text as is safe; ``default`` where nothing is left of it."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if c in _KEPT or c.isalnum() else "_" for c in composed).strip(" ")
    if not kept.strip("._ "):
        # Dots alone would name the directory itself or the one above.
        kept = default if not kept else kept.replace(".", "_")
    if kept[0] in "-~#":
        kept = f"_{kept[1:]}"
    return _shortened(kept)


def _shortened(name: str) -> str:
    """At most so many bytes; the ending stays, and different names stay different."""
    raw = name.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:_DIGEST_CHARACTERS]
    suffix = PurePosixPath(name).suffix
    ending = f"-{digest}{suffix if len(suffix.encode()) <= 16 else ''}"
    head = raw[: MAX_NAME_BYTES - len(ending.encode())].decode(errors="ignore")
    return head + ending


def safe_path(key: str) -> PurePosixPath:
    """A relative path out of an object key, a safe name for each of its segments."""
    segments = [segment for segment in key.split("/") if segment]
    if len(segments) > MAX_DEPTH:
        segments = [*segments[: MAX_DEPTH - 1], "_".join(segments[MAX_DEPTH - 1 :])]
    return PurePosixPath(*(safe_name(segment) for segment in segments or [""]))


def distinct_name(name: str, origin: str) -> str:
    """Another name for what came from ``origin`` and shares its name with something else."""
    digest = hashlib.sha256(origin.encode(errors="surrogatepass")).hexdigest()
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    return _shortened(f"{stem}-{digest[:_DIGEST_CHARACTERS]}{suffix}")


def distinct_paths(keys: Iterable[str]) -> Mapping[str, PurePosixPath]:
    """A path for each key; no two are the same, and none is a directory of another."""
    found: dict[str, PurePosixPath] = {}
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for key in dict.fromkeys(keys):
        path = safe_path(key)
        if path in files or path in folders or not files.isdisjoint(path.parents):
            path = PurePosixPath(distinct_name(safe_name(key), key))
        files.add(path)
        folders.update(path.parents)
        found[key] = path
    return found
