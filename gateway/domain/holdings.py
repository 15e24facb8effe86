"""What the data lake says: which data there are, where their copies lie, and how places connect.

These are facts as they were found, without judgement: what they come to for a node is worked out in
``gateway.domain.placement``. Locations may come from a privileged account: nothing here is shown to
a client as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.reasons import Reason


@dataclass(frozen=True, slots=True, order=True)
class Did:
    """A Rucio data identifier. SKAO's ``namespace`` and ``objectname`` are the same two names."""

    scope: str
    name: str

    def __str__(self) -> str:
        """As people write it: ``scope:name``."""
        return f"{self.scope}:{self.name}"


class DidKind(StrEnum):
    """What is behind an identifier; the values are Rucio's and SKAO's."""

    FILE = "FILE"
    DATASET = "DATASET"
    CONTAINER = "CONTAINER"
    UNKNOWN = "UNKNOWN"
    """It exists, and the lake does not say what it is."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of a file; ``type`` is the algorithm in lower case: ``adler32``, ``md5``."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a copy lies, in as many names as are known; at least one is given.

    ``area`` is the UUID of a storage area and unique; ``rse`` is a name and is not; ``site`` is
    given where the settings map a host to a site.
    """

    rse: str | None = None
    area: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """The share of one part that lies at one place.

    ``bytes`` and ``files`` are what is there; None is not known, though something is. A copy that
    is not ``is_readable`` (blocked for reading) is no source and of no use where it is. ``urls``
    are those of the file, best first; empty for collections.
    """

    place: Place
    bytes: int | None = None
    files: int | None = None
    is_complete: bool = True
    is_tape: bool = False
    is_readable: bool = True
    urls: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a dataset that is counted as one: all that is known is how much is where.

    A container has a part for each of its datasets and files, since sums over the container could
    not say which place has which. ``files`` is 1 for a file.
    """

    name: str
    bytes: int | None = None
    files: int | None = None
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """One data resource that was found.

    ``did`` is None for data outside the lake (a URL, an object store) whose place is known from the
    settings. ``bytes`` is the exact size of the whole; None is not known. ``parts`` is empty
    where the locations are not known (a collection too large to look into). ``is_approximate``:
    the lake's own answer is a guess (completeness inferred from counts). ``checksums`` are those of
    a single file. ``age_s`` counts from when the lake was asked; ``is_stale`` is older than allowed
    and used for want of better.
    """

    did: Did | None
    kind: DidKind = DidKind.UNKNOWN
    bytes: int | None = None
    files: int | None = None
    parts: tuple[Part, ...] = ()
    checksums: tuple[Checksum, ...] = ()
    is_approximate: bool = False
    age_s: float = 0.0
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class LocateResult:
    """What one data lake answers: each identifier that was asked for is in exactly one of both.

    ``missing`` says why there is no holding: not found, no answer in time, the lake is down.
    ``notes`` are about the lake as a whole.
    """

    holdings: Mapping[Did, Holding] = field(default_factory=dict)
    missing: Mapping[Did, Reason] = field(default_factory=dict)
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """A place with storage, compute or both.

    ``group`` is the SRCNet node it belongs to, by which the settings may name it as well. Degrees;
    rates in bytes per second, None where not known.
    """

    name: str
    group: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    inbound_bytes_per_s: float | None = None
    outbound_bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """A storage area: what one RSE name stands for at one site. Names may occur at several sites.

    ``site`` is None where only the name is known. An area that is not ``is_active`` is in downtime
    or switched off.
    """

    rse: str
    site: str | None = None
    id: str | None = None
    is_active: bool = True
    is_tape: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredLink:
    """What the settings say of the way from one site to another; overrides everything found out."""

    source: str
    target: str
    rate_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class LakeLink:
    """What the lake knows of transfers from one RSE to another.

    ``distance`` is the operators' number without unit, less being nearer. The counts are those of
    the last 6 hours (Rucio ``/requests/metrics``: ``done-total-6h``, ``failed-total-6h``) and those
    waiting now (``queued-total``); all None where only the distance is known.
    """

    source_rse: str
    target_rse: str
    distance: int | None = None
    done_bytes: int | None = None
    done_files: int | None = None
    failed_files: int | None = None
    queued_files: int | None = None
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Topology:
    """Sites, storage areas and links, as the settings and the catalogues have them.

    ``age_s`` is that of the oldest catalogue in it; 0 where all comes from the settings.
    """

    sites: Mapping[str, Site] = field(default_factory=dict)
    areas: tuple[Area, ...] = ()
    declared_links: tuple[DeclaredLink, ...] = ()
    lake_links: tuple[LakeLink, ...] = ()
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Located:
    """What was found out about the data of one request, by each resource's place in its list.

    Every data resource is in exactly one of ``holdings`` and ``missing``. ``topology`` is the one
    to read the places with. ``notes`` are about the lake as a whole (down, slow, stale).
    """

    holdings: Mapping[int, Holding] = field(default_factory=dict)
    missing: Mapping[int, Reason] = field(default_factory=dict)
    topology: Topology = field(default_factory=Topology)
    notes: tuple[Reason, ...] = ()
    took_ms: int = 0
