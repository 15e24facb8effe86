"""What a data resource means: files, and where each can be had. Pure.

Read of every data resource, beside what its kind has: ``size`` (bytes) and ``checksum`` (``type``,
``value``), which are verified; the public schema has them only in the ``skao`` block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote
from uuid import UUID

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.staging import reasons
from node_stub.staging.allowlist import shown
from node_stub.staging.checksums import Checksum
from node_stub.staging.errors import RefusedError
from node_stub.staging.names import safe_name
from node_stub.staging.reading import block, components, text, whole
from node_stub.staging.s3 import Bucket, read_bucket

MAX_LOCATIONS: Final = 16
"""Replicas of one file that are tried, nearest first."""

_WEBDAV: Final = {"davs": "https", "dav": "http"}
"""Schemes of data lakes that mean HTTP. Source: gfal2 and Rucio's protocol names."""

_MOST_INT32: Final = 2**31 - 1
"""A ``content_length`` of this says only that the file is not smaller."""


@dataclass(frozen=True, slots=True)
class Location:
    """A URL that gives a file. ``pointer`` is where it stands in the resource.

    ``credentials`` is the name of the site's S3 keys to use. ``size`` is that of what this very
    location gives, in bytes.
    """

    url: str
    pointer: str
    credentials: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file: any of its locations gives it. ``size`` and ``checksum`` are verified.

    ``likely_size`` is only a hint. Bytes.
    """

    name: str
    locations: tuple[Location, ...]
    size: int | None = None
    checksum: Checksum | None = None
    likely_size: int | None = None


@dataclass(frozen=True, slots=True)
class WantedBucket:
    """Every object of an S3 bucket; ``size`` is of all together and only a hint."""

    bucket: Bucket
    credentials: str | None = None
    likely_size: int | None = None


Wanted: TypeAlias = WantedFile | WantedBucket


@dataclass(frozen=True, slots=True)
class DataPlan:
    """One data resource: ``pointer`` is its place in the request, ``storage`` where it is put."""

    uuid: UUID
    title: str
    pointer: str
    storage: UUID
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a resource states of its file."""

    name: str | None = None
    size: int | None = None
    checksum: Checksum | None = None
    likely_size: int | None = None
    locations: Sequence[Location] = field(default_factory=tuple)
    identifier: str = ""


def plan_data(data: Document, pointer: str) -> DataPlan:
    """What one data resource of a completed request means.

    Raises
    ------
    RefusedError
        Nothing says where its files are, or what is stated of them cannot be verified.
    """
    meta = block(data, "meta")
    return DataPlan(
        uuid=UUID(meta["uuid"]),
        title=text(meta, "name") or pointer,
        pointer=pointer,
        storage=UUID(data["storage"]),
        wanted=_wanted(data),
    )


def _wanted(data: Document) -> Wanted:
    size = _size(data, "size")
    checksum = _checksum(data)
    if data["kind"] == kinds.S3_DATA:
        return _s3(data, size, checksum)
    facts = _simple(data) if data["kind"] == kinds.SIMPLE_DATA else _identified(data)
    if not facts.locations:
        raise RefusedError(reasons.NOT_LOCATED, identifier=facts.identifier)
    name = facts.name or last_segment(facts.locations[0].url)
    return WantedFile(
        name=safe_name(name or text(block(data, "meta"), "name") or ""),
        locations=tuple(facts.locations[:MAX_LOCATIONS]),
        size=facts.size if size is None else size,
        checksum=checksum or facts.checksum,
        likely_size=facts.likely_size,
    )


def last_segment(url: str) -> str:
    """The end of a URL's path, without percent-encoding."""
    path = url.partition("#")[0].partition("?")[0].partition("://")[2]
    return unquote(path.partition("/")[2].rstrip("/").rpartition("/")[2])


def _simple(data: Document) -> _Facts:
    url = text(data, "location") or ""
    return _Facts(locations=[Location(url, "/location")], identifier=shown(url))


def _s3(data: Document, size: int | None, checksum: Checksum | None) -> Wanted:
    bucket = read_bucket(data)
    credentials = text(data, "credentials")
    key = text(data, "object")
    if key is None:
        if checksum is not None:
            raise RefusedError(reasons.BUCKET_CHECKSUM, bucket=bucket.name)
        return WantedBucket(bucket, credentials, size)
    location = Location(bucket.object_url(key), "/template", credentials)
    return WantedFile(safe_name(key.rstrip("/").rpartition("/")[2]), (location,), size, checksum)


def _identified(data: Document) -> _Facts:
    """Rucio, SKAO and IVOA: the replicas that were found for it, then its access URLs."""
    skao, rucio, ivoa = block(data, "skao"), block(data, "rucio"), block(data, "ivoa")
    replicas = [
        *_replicas(skao, "/skao/replicas"),
        *_replicas(rucio, "/rucio/replicas"),
    ]
    name = text(skao, "objectname") or text(rucio, "object")
    identifier = name or text(ivoa, "ivoid") or ""
    known = skao or rucio
    kind = text(skao, "objecttype") or text(rucio, "type") or "FILE"
    checksum = _checksum(skao) or _checksum(rucio)
    size = _size(known, "datasize")
    if kind != "FILE" and not _is_one_file(replicas, has_facts=bool(size or checksum)):
        raise RefusedError(reasons.NOT_ONE_FILE, type=kind, identifier=identifier)
    return _Facts(
        name=None if name is None else name.rstrip("/").rpartition("/")[2],
        size=size,
        checksum=checksum,
        likely_size=_likely_size(ivoa),
        locations=[*replicas, *_access_urls(ivoa)],
        identifier=identifier,
    )


def _replicas(found: Document, pointer: str) -> list[Location]:
    """The copies in their order: whoever found them put the nearest first."""
    return [
        Location(_over_http(url), f"{pointer}/{i}/dataurl")
        for i, replica in enumerate(components(found, "replicas"))
        if (url := text(replica, "dataurl"))
    ]


def _over_http(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{_WEBDAV.get(scheme.lower(), scheme)}{separator}{rest}"


def _is_one_file(replicas: Sequence[Location], *, has_facts: bool) -> bool:
    """Whether what is called a collection is one file all the same.

    The replicas of a collection may be directories, whose URLs give a page and no data: that is
    noticed only where a size or a checksum is stated.
    """
    return has_facts and len({last_segment(location.url) for location in replicas}) == 1


def _access_urls(ivoa: Document) -> list[Location]:
    datalink, obscore = block(ivoa, "datalink"), block(ivoa, "obscore")
    found = []
    url = text(datalink, "access_url")
    if url and not text(datalink, "error_message") and not text(datalink, "service_def"):
        length = _size(datalink, "content_length")
        size = None if length == _MOST_INT32 else length
        found.append(Location(url, "/ivoa/datalink/access_url", size=size))
    url = text(obscore, "access_url")
    # Such an access URL gives a list of links, not the data. Source: IVOA DataLink 1.1, section 4.
    if url and "content=datalink" not in (text(obscore, "access_format") or ""):
        found.append(Location(url, "/ivoa/obscore/access_url"))
    return found


def _likely_size(ivoa: Document) -> int | None:
    """``access_estsize`` of ObsCore, which is in kilobytes."""
    estimate = whole(block(ivoa, "obscore"), "access_estsize")
    return estimate * 1000 if estimate is not None and estimate > 0 else None


def _size(document: Document, member: str) -> int | None:
    value = document.get(member)
    if value is None:
        return None
    size = whole(document, member)
    if size is None or size < 0:
        raise RefusedError(reasons.SIZE_INVALID, value=str(value)[:100])
    return size


def _checksum(document: Document) -> Checksum | None:
    found = block(document, "checksum")
    kind, value = text(found, "type"), text(found, "value")
    if kind is None and value is None:
        return None
    checksum = Checksum.parse(kind or "", value or "")
    if checksum is None:
        raise RefusedError(
            reasons.CHECKSUM_UNUSABLE, type=(kind or "")[:100], value=(value or "")[:100]
        )
    return checksum
