"""The copies of a request's data, sorted by what matters for bringing them to a node.

Parts that lie whole in the same places go together, since whatever is counted of them adds up. So a
node costs as many steps as there are such groups, however many files there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.domain.holdings import Copy, Holding, Located, Part
from gateway.domain.network import Network


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a part lies whole, by endpoint: on disk, and on tape only."""

    disk: frozenset[str]
    tape: frozenset[str]


@dataclass(slots=True)
class Lot:
    """Parts that lie whole in the same places.

    ``bytes`` and ``files`` are sums over what is known; ``unsized`` parts have no known size.
    """

    sources: Sources
    bytes: int = 0
    files: int = 0
    unsized: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What of a part lies at one endpoint where it is not whole, on disk.

    ``lot`` says which of the inventory's lots the part belongs to.
    """

    part: int
    lot: int
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part that lies whole nowhere: its size, and the bytes and files of it by endpoint."""

    bytes: int | None
    files: int
    at: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is known of a request's data, whichever node asks.

    Of ``resources`` in the request, ``located`` are known at least in part to be somewhere, and of
    ``unlocated`` at least a part lies nobody knows where. ``bytes_total`` is that of the located
    parts, None where a size is not known or nothing is located. ``on_disk`` and ``on_tape`` say by
    endpoint which lots lie there.
    """

    resources: int
    located: int
    unlocated: int
    bytes_total: int | None
    lots: tuple[Lot, ...]
    on_disk: Mapping[str, tuple[int, ...]]
    on_tape: Mapping[str, tuple[int, ...]]
    shares: Mapping[str, tuple[Share, ...]]
    fragments: tuple[Fragment, ...]
    is_approximate: bool
    age_s: int


def inventory_of(located: Located, network: Network) -> Inventory:
    """Sort what was found. The order in which things were found plays no part."""
    sorter = _Sorter(network)
    for _, holding in sorted(located.holdings.items()):
        sorter.take(holding)
    lots = tuple(sorter.lots.values())
    is_sized = sorter.located > 0 and sorter.unsized == 0
    return Inventory(
        resources=len(located.holdings) + len(located.missing),
        located=sorter.located,
        unlocated=sorter.unlocated + len(located.missing),
        bytes_total=sorter.bytes if is_sized else None,
        lots=lots,
        on_disk=_by_endpoint([lot.sources.disk for lot in lots]),
        on_tape=_by_endpoint([lot.sources.tape for lot in lots]),
        shares={endpoint: tuple(shares) for endpoint, shares in sorter.shares.items()},
        fragments=tuple(sorter.fragments),
        is_approximate=sorter.is_approximate,
        age_s=sorter.age_s,
    )


def _by_endpoint(endpoints: Iterable[frozenset[str]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for lot, ends in enumerate(endpoints):
        for end in ends:
            found.setdefault(end, []).append(lot)
    return {end: tuple(lots) for end, lots in found.items()}


@dataclass(slots=True)
class _Sorter:
    """An inventory in the making."""

    network: Network
    located: int = 0
    unlocated: int = 0
    bytes: int = 0
    unsized: int = 0
    parts: int = 0
    lots: dict[Sources, Lot] = field(default_factory=dict)
    places: dict[Sources, int] = field(default_factory=dict)
    shares: dict[str, list[Share]] = field(default_factory=dict)
    fragments: list[Fragment] = field(default_factory=list)
    is_approximate: bool = False
    age_s: int = 0

    def take(self, holding: Holding) -> None:
        self.is_approximate |= holding.is_approximate
        self.age_s = max(self.age_s, round(holding.age_s))
        found = [self._take_part(part) for part in holding.parts]
        self.located += any(found)
        self.unlocated += not (found and all(found))

    def _take_part(self, part: Part) -> bool:
        """Whether anybody knows where the part lies."""
        where = _where(part, self.network)
        if not where.disk and not where.tape and not where.some:
            return False
        self.parts += 1
        self.is_approximate |= where.is_vague
        self.bytes += part.bytes or 0
        self.unsized += part.bytes is None
        files = 1 if part.files is None else part.files
        if not where.disk and not where.tape:
            self.fragments.append(Fragment(part.bytes, files, where.some))
            return True
        sources = Sources(frozenset(where.disk), frozenset(where.tape - where.disk))
        lot = self.lots.setdefault(sources, Lot(sources))
        place = self.places.setdefault(sources, len(self.places))
        if part.bytes is None:
            lot.unsized += 1
            return True
        lot.bytes += part.bytes
        lot.files += files
        for endpoint, (size, count) in where.some.items():
            share = Share(self.parts, place, size, min(count, files))
            self.shares.setdefault(endpoint, []).append(share)
        return True


@dataclass(slots=True)
class _Where:
    """The endpoints of one part's readable copies; ``some`` has bytes and files of incomplete ones.

    ``is_vague``: an RSE name stands for several places, or it is not known how much of the part
    lies somewhere, which then counts as nothing: waiting is rather overstated than understated.
    """

    disk: set[str] = field(default_factory=set)
    tape: set[str] = field(default_factory=set)
    some: dict[str, tuple[int, int]] = field(default_factory=dict)
    is_vague: bool = False

    def add(self, part: Part, copy: Copy, endpoints: Iterable[str], *, is_tape: bool) -> None:
        if copy.is_complete:
            (self.tape if is_tape else self.disk).update(endpoints)
        elif not is_tape:  # what a tape has of it cannot be told from what disks have
            size, files = _amount_of(part, copy)
            self.is_vague |= size is None
            for endpoint in endpoints:
                before = self.some.get(endpoint, (0, 0))
                self.some[endpoint] = max(before, (size or 0, files))


def _where(part: Part, network: Network) -> _Where:
    where = _Where()
    for copy in part.copies:
        if copy.is_readable:
            endpoints = network.endpoints_of(copy.place)
            where.is_vague |= len(endpoints) > 1
            is_tape = copy.is_tape or network.is_tape(copy.place)
            where.add(part, copy, endpoints, is_tape=is_tape)
    return where


def _amount_of(part: Part, copy: Copy) -> tuple[int | None, int]:
    """Bytes and files of an incomplete copy, never more than the part has."""
    files = copy.files or 0
    if copy.bytes is not None:
        return (copy.bytes if part.bytes is None else min(copy.bytes, part.bytes)), files
    if part.bytes is not None and part.files and copy.files is not None:
        return part.bytes * min(files, part.files) // part.files, files
    return None, files
