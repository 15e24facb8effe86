"""The rows of Rucio's REST answers, as far as they are read, and what they say of holdings.

Seen on Rucio 41.5.1 and 35.9.2. Every member that a version or a schema may leave out has a
default.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.clients.lakes.rows import Number, to_count
from gateway.domain.holdings import Checksum, Copy, Did, DidKind, Holding, Part, Place

LINE_AVAILABLE: Final = "AVAILABLE"
"""The state of a replica that can be read."""

_TAPE: Final = "TAPE"
_KINDS: Final = {kind.value: kind for kind in DidKind}


class MetaRow(msgspec.Struct):
    """One identifier in ``POST /dids/bulkmeta``; sizes of open collections are null."""

    scope: str
    name: str
    did_type: str
    bytes: Number = None
    length: Number = None
    md5: str | None = None
    adler32: str | None = None
    is_open: bool | None = None

    @property
    def did(self) -> Did:
        """Which it is about."""
        return Did(self.scope, self.name)

    @property
    def kind(self) -> DidKind:
        """What it is; archives and what Rucio may yet invent are unknown."""
        return _KINDS.get(self.did_type, DidKind.UNKNOWN)


class PfnRow(msgspec.Struct):
    """One URL of a replica; 1 is the best ``priority``."""

    rse: str
    type: str | None = None
    priority: Number = None


class ReplicaRow(msgspec.Struct):
    """One file in ``POST /replicas/list``."""

    scope: str
    name: str
    bytes: Number = None
    md5: str | None = None
    adler32: str | None = None
    pfns: dict[str, PfnRow] = {}
    rses: dict[str, list[str]] = {}
    states: dict[str, str] = {}

    @property
    def did(self) -> Did:
        """Which it is about."""
        return Did(self.scope, self.name)


class DatasetRow(msgspec.Struct):
    """How much of a dataset one RSE has, in ``GET /replicas/{scope}/{name}/datasets?deep=True``."""

    rse: str
    bytes: Number = None
    length: Number = None
    available_bytes: Number = None
    available_length: Number = None


class ChildRow(msgspec.Struct):
    """One child of a container in ``GET /dids/{scope}/{name}/dids``."""

    scope: str
    name: str
    type: str

    @property
    def did(self) -> Did:
        """Which it is."""
        return Did(self.scope, self.name)


class SizeRow(msgspec.Struct):
    """``GET /dids/{scope}/{name}?dynamic_depth=FILE``: the sum over all files below."""

    bytes: Number = None
    length: Number = None


class RseRow(msgspec.Struct):
    """One storage element in ``GET /rses/``."""

    rse: str
    availability_read: bool | None = None
    rse_type: str | None = None


class CountsRow(
    msgspec.Struct,
    rename={"done": "done-total-6h", "failed": "failed-total-6h", "queued": "queued-total"},
):
    """Transfers over one link in the last six hours, and those waiting now."""

    done: Number = None
    failed: Number = None
    queued: Number = None


class LinkRow(msgspec.Struct):
    """One link in ``GET /requests/metrics``; without transfers only its distance is said."""

    src_rse: str
    dst_rse: str
    distance: Number = None
    files: CountsRow | None = None
    bytes: CountsRow | None = None


class DistanceRow(msgspec.Struct):
    """``GET /rses/{source}/distances/{target}``, a list of one or none."""

    distance: Number = None


def file_holding(meta: MetaRow, row: ReplicaRow) -> Holding:
    """A file, with every copy that can be read. None may be left."""
    size = to_count(row.bytes)
    if size is None:
        size = to_count(meta.bytes)
    copies = tuple(_copies(row, size))
    part = Part(str(row.did), size, 1, copies)
    sums = (("md5", row.md5 or meta.md5), ("adler32", row.adler32 or meta.adler32))
    checksums = tuple(Checksum(name, value) for name, value in sums if value)
    return Holding(row.did, DidKind.FILE, bytes=size, files=1, parts=(part,), checksums=checksums)


def _copies(row: ReplicaRow, size: int | None) -> Iterable[Copy]:
    for rse in sorted(row.rses):
        if row.states.get(rse, LINE_AVAILABLE) != LINE_AVAILABLE:
            continue
        urls = sorted(row.rses[rse], key=lambda url: _priority(row.pfns.get(url)))
        kinds = {pfn.type for pfn in row.pfns.values() if pfn.rse == rse}
        yield Copy(Place(rse=rse), size, 1, is_tape=_TAPE in kinds, urls=tuple(urls))


def _priority(pfn: PfnRow | None) -> float:
    return float("inf") if pfn is None or pfn.priority is None else pfn.priority


def dataset_part(
    did: Did, rows: Iterable[DatasetRow], rses: Mapping[str, RseRow], size: SizeRow
) -> Part:
    """A dataset counted as one; ``size`` is what is known of it without its rows.

    The rows count copies at RSEs that nothing may be read from: only ``rses`` tells.
    """
    rows = sorted(rows, key=lambda row: row.rse)
    total, files = to_count(size.bytes), to_count(size.length)
    for row in rows:
        total = to_count(row.bytes) if row.bytes is not None else total
        files = to_count(row.length) if row.length is not None else files
    copies = (_share(row, total, files, rses.get(row.rse)) for row in rows)
    return Part(str(did), total, files, tuple(copy for copy in copies if copy.files != 0))


def _share(row: DatasetRow, total: int | None, files: int | None, rse: RseRow | None) -> Copy:
    there, count = to_count(row.available_bytes), to_count(row.available_length)
    if there is not None and total is not None:
        there = min(there, total)  # more than all there is cannot be there
    is_complete = count is not None and files is not None and count >= files
    return Copy(
        Place(rse=row.rse),
        total if is_complete else there,
        files if is_complete else count,
        is_complete=is_complete,
        is_tape=rse is not None and rse.rse_type == _TAPE,
        is_readable=rse is None or rse.availability_read is not False,
    )


def is_somewhere_whole(part: Part) -> bool:
    """Whether there is a place from which all of it can be read; so it is of nothing at all."""
    return not part.files or any(copy.is_complete and copy.is_readable for copy in part.copies)


def exact_parts(part: Part, rows: Iterable[ReplicaRow]) -> tuple[Part, ...]:
    """A dataset that is nowhere whole, in parts that are: files with the same places together.

    Files without a copy that can be read are not in Rucio's answer: what is missing of the size
    is a part without copies.
    """
    groups: dict[tuple[tuple[str, bool], ...], list[int | None]] = {}
    for row in rows:
        size = to_count(row.bytes)
        places = tuple((copy.place.rse or "", copy.is_tape) for copy in _copies(row, size))
        groups.setdefault(places, []).append(size)
    parts = [
        _group(f"{part.name}#{index}", places, groups[places])
        for index, places in enumerate(sorted(groups), 1)
    ]
    return (*parts, *_rest(part, parts))


def _group(name: str, places: tuple[tuple[str, bool], ...], sizes: list[int | None]) -> Part:
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    copies = (Copy(Place(rse=rse), total, len(sizes), is_tape=is_tape) for rse, is_tape in places)
    return Part(name, total, len(sizes), tuple(copies))


def _rest(whole: Part, parts: Iterable[Part]) -> Iterable[Part]:
    if whole.files is None:
        return
    files = whole.files - sum(part.files or 0 for part in parts)
    if files <= 0:
        return
    sizes = [part.bytes for part in parts]
    known = [size for size in sizes if size is not None]
    size = None
    if whole.bytes is not None and len(known) == len(sizes):
        size = max(0, whole.bytes - sum(known))
    yield Part(f"{whole.name}#0", size, files)


def collection_holding(
    did: Did, kind: DidKind, parts: tuple[Part, ...], *, is_approximate: bool
) -> Holding:
    """A dataset or container of these parts; its size is known if that of every part is."""
    sizes = [part.bytes for part in parts]
    files = [part.files for part in parts]
    return Holding(
        did,
        kind,
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        files=None if None in files else sum(count or 0 for count in files),
        parts=parts,
        is_approximate=is_approximate,
    )
