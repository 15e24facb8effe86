"""How long it takes to bring a request's data to one node: exact bytes, estimated time.

Every part comes from the fastest place that has it whole, one after the other at the full rate of
its link, since what one request moves shares the way into the site. So an estimate never gets worse
by a nearer copy, and never better by more bytes. All sums are whole numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.domain.inventory import Fragment, Inventory, Lot, Share
from gateway.domain.network import (
    ATTOSECONDS,
    UNKNOWN_LINK,
    Link,
    LinkBasis,
    Network,
    least_sure,
)

_MS_AS: Final = ATTOSECONDS // 1000


@dataclass(frozen=True, slots=True)
class Staging:
    """What has to be brought and how long that takes. None is not known, which is never zero.

    ``bytes_local`` may lie on disk or on tape. ``at_least_ms`` is what is sure of the time where
    ``ms`` is None, else the same. ``sources`` has the bytes that come from each endpoint.
    ``is_rough``: there is nothing better than a guess of which place has what.
    """

    bytes_local: int | None
    bytes_to_move: int | None
    files_to_move: int | None
    ms: int | None
    at_least_ms: int
    basis: LinkBasis
    age_s: int
    is_rough: bool
    sources: Mapping[str, int]


NOTHING_KNOWN: Final = Staging(None, None, None, None, 0, LinkBasis.UNKNOWN, 0, False, {})
"""Where nobody can say where any of the data lie."""


def staging_of(
    inventory: Inventory, network: Network, home: frozenset[str], rate_per_mille: int = 1000
) -> Staging:
    """Bring the data to a node for which nothing at the endpoints of ``home`` has to be moved.

    ``rate_per_mille`` is the share of the estimated rates that its transfers have reached.
    """
    if not inventory.located:
        return NOTHING_KNOWN
    estimate = _Estimate(inventory, _Links(network, home, rate_per_mille))
    estimate.take_lots()
    for fragment in inventory.fragments:
        estimate.take_fragment(fragment)
    return estimate.made()


class _Reach(NamedTuple):
    """What a byte and a file take from an endpoint, in attoseconds."""

    byte_as: int
    file_as: int
    source: str


class _Links:
    """The ways to one home, each looked up once."""

    def __init__(self, network: Network, home: frozenset[str], rate_per_mille: int) -> None:
        self.model = network.model
        self.home = home
        self._network = network
        self._targets = sorted(home)
        self._rate_per_mille = rate_per_mille
        self._found: dict[str, Link] = {}

    def link(self, source: str) -> Link:
        """The fastest link from there to any of the home's endpoints."""
        found = self._found.get(source)
        if found is None:
            found = self._found[source] = self._fastest(source)
        return found

    def _fastest(self, source: str) -> Link:
        links = [self._network.link(source, target) for target in self._targets]
        known = [link for link in links if link.byte_as is not None]
        if not known:
            return UNKNOWN_LINK
        fastest = known[0] if len(known) == 1 else min(known, key=_byte_as)
        return fastest.scaled(self._rate_per_mille)

    def reaches(self, sources: Iterable[str]) -> list[_Reach]:
        """The ways from those of these endpoints from which one is known."""
        return [
            _Reach(link.byte_as, link.file_as, source)
            for source in sources
            if (link := self.link(source)).byte_as is not None
        ]

    def best(self, sources: Iterable[str]) -> _Reach | None:
        """The least that a byte, and that a file takes from any of these; where bytes come from."""
        reaches = self.reaches(sources)
        if not reaches:
            return None
        byte_as, _, source = min(reaches, key=_by_byte)
        return _Reach(byte_as, min([reach.file_as for reach in reaches]), source)


@dataclass(slots=True)
class _Way:
    """Bringing everything in one manner: from disks alone, or from tapes too where that is quicker.

    ``is_possible``: everything can come like this. ``is_known``: every time is known.
    """

    cost_as: int = 0
    is_possible: bool = True
    is_known: bool = True
    sources: dict[str, int] = field(default_factory=dict)

    def add(self, reach: _Reach, size: int, files: int) -> None:
        byte_as, file_as, source = reach
        self.cost_as += size * byte_as + files * file_as
        self.sources[source] = self.sources.get(source, 0) + size

    def ms(self, overhead_ms: int) -> int | None:
        if not self.is_possible or not self.is_known:
            return None
        return overhead_ms + _to_ms(self.cost_as)

    def bring(
        self,
        lots: tuple[Lot, ...],
        at: Mapping[str, tuple[int, ...]],
        reaches: list[_Reach],
        done: bytearray,
    ) -> bytearray:
        """Bring every lot that is not ``done`` from the fastest place; which are done then.

        The places take their turn, the fastest first, so that a lot costs as many steps as it has
        copies. A file costs what it does from the place with the shortest way.
        """
        rest = bytearray(done)
        for byte_as, _, source in sorted(reaches, key=_by_byte):
            size, count = 0, 0
            for lot in at[source]:
                if not done[lot]:
                    done[lot] = 1
                    size += lots[lot].bytes
                    count += 1
            if count:
                self.add(_Reach(byte_as, 0, source), size, 0)
        for file_as, source in sorted([(reach.file_as, reach.source) for reach in reaches]):
            for lot in at[source]:
                if not rest[lot]:
                    rest[lot] = 1
                    self.cost_as += lots[lot].files * file_as
        return done


@dataclass(slots=True)
class _Estimate:
    """The staging to one home, in the making."""

    inventory: Inventory
    links: _Links
    local: int = 0
    moved: int = 0
    files: int = 0
    are_bytes_known: bool = True
    is_here: bool = True
    is_rough: bool = False
    disks: _Way = field(default_factory=_Way)
    any_way: _Way = field(default_factory=_Way)

    def take_lots(self) -> None:
        """Count all lots."""
        inventory, lots = self.inventory, self.inventory.lots
        on_disk = self._at_home(inventory.on_disk)
        here = bytearray(on_disk)
        for number in self._lots_at_home(inventory.on_tape):
            here[number] = 1
        self.is_here = all(on_disk)
        for lot, is_local in zip(lots, here, strict=True):
            if is_local:
                self.local += lot.bytes
            else:
                self.moved += lot.bytes
                self.files += lot.files
                self.are_bytes_known &= not lot.unsized
        if self.is_here:
            return
        disk_reaches = self.links.reaches(inventory.on_disk)
        self._bring(self.disks, inventory.on_disk, disk_reaches, on_disk)
        if inventory.on_tape:
            at = _together(inventory.on_disk, inventory.on_tape)
            self._bring(self.any_way, at, self.links.reaches(at), here)
        else:
            self.any_way = _copied(self.disks)
        self._take_shares(on_disk, here)

    def _at_home(self, at: Mapping[str, tuple[int, ...]]) -> bytearray:
        """For each lot whether it lies at home, among those that lie somewhere."""
        found = bytearray(len(self.inventory.lots))
        for lot in self._lots_at_home(at):
            found[lot] = 1
        return found

    def _lots_at_home(self, at: Mapping[str, tuple[int, ...]]) -> list[int]:
        return [lot for endpoint in self.links.home for lot in at.get(endpoint, ())]

    def _bring(
        self,
        way: _Way,
        at: Mapping[str, tuple[int, ...]],
        reaches: list[_Reach],
        here: bytearray,
    ) -> None:
        lots = self.inventory.lots
        done = way.bring(lots, at, reaches, bytearray(here))
        if not all(done):
            left = [lot for lot, is_done in zip(lots, done, strict=True) if not is_done]
            has_source = [bool(lot.sources.disk) or way is self.any_way for lot in left]
            way.is_possible = all(has_source)
            way.is_known = not any(has_source)
        if any(lot.unsized and not is_here for lot, is_here in zip(lots, here, strict=True)):
            way.is_known = False

    def _take_shares(self, on_disk: bytearray, here: bytearray) -> None:
        """What is at home of parts that are not whole here need not be brought."""
        best: dict[int, Share] = {}
        for endpoint in sorted(self.links.home):
            for share in self.inventory.shares.get(endpoint, ()):
                before = best.get(share.part)
                if before is None or share.bytes > before.bytes:
                    best[share.part] = share
        for share in best.values():
            sources = self.inventory.lots[share.lot].sources
            if not on_disk[share.lot] and (reach := self.links.best(sources.disk)):
                self.disks.add(reach, -share.bytes, -share.files)
            if here[share.lot]:
                continue
            self.local += share.bytes
            self.moved -= share.bytes
            self.files -= share.files
            if reach := self.links.best(sources.disk | sources.tape):
                self.any_way.add(reach, -share.bytes, -share.files)

    def take_fragment(self, fragment: Fragment) -> None:
        """Count a part that is whole nowhere: it comes from where enough of it lies, at a guess."""
        self.is_here = False
        self.is_rough = True
        if fragment.bytes is None:
            self.are_bytes_known = False
            self.disks.is_known = self.any_way.is_known = False
            return
        here, files_here = max(
            (amount for end, amount in fragment.at.items() if end in self.links.home),
            default=(0, 0),
        )
        size, files = fragment.bytes - here, max(fragment.files - files_here, 0)
        self.local += here
        self.moved += size
        self.files += files
        away = {e: amount for e, (amount, _) in fragment.at.items() if e not in self.links.home}
        enough = self.links.best([end for end, amount in away.items() if amount >= size])
        reach = enough or self.links.best(away)
        for way in (self.disks, self.any_way):
            way.is_known &= enough is not None
            if reach is not None:
                way.add(reach, size, files)

    def made(self) -> Staging:
        """The result, when everything is counted."""
        model = self.links.model
        manners = [
            (ms, way)
            for way, overhead_ms in (
                (self.disks, model.setup_ms),
                (self.any_way, model.setup_ms + model.tape_ms),
            )
            if (ms := way.ms(overhead_ms)) is not None
        ]
        ms, way = min(manners, key=lambda manner: manner[0], default=(None, self.any_way))
        if self.is_here:
            ms = 0
        sure_as = self.any_way.cost_as
        sure_ms = model.setup_ms + _to_ms(sure_as) if sure_as else 0
        used = [self.links.link(source) for source in way.sources]
        return Staging(
            bytes_local=self.local if self.are_bytes_known else None,
            bytes_to_move=self.moved if self.are_bytes_known else None,
            files_to_move=self.files if self.are_bytes_known else None,
            ms=ms,
            at_least_ms=sure_ms if ms is None else ms,
            basis=LinkBasis.UNKNOWN if ms is None else least_sure(link.basis for link in used),
            age_s=max((link.age_s for link in used), default=0),
            is_rough=self.is_rough,
            sources={source: size for source, size in sorted(way.sources.items()) if size},
        )


def _together(
    one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    return {end: one.get(end, ()) + other.get(end, ()) for end in {**one, **other}}


def _copied(way: _Way) -> _Way:
    return _Way(way.cost_as, way.is_possible, way.is_known, dict(way.sources))


def _byte_as(link: Link) -> int:
    return link.byte_as or 0


def _by_byte(reach: _Reach) -> tuple[int, str]:
    return reach.byte_as, reach.source


def _to_ms(attoseconds: int) -> int:
    """Whole milliseconds, rounded up."""
    return -(-attoseconds // _MS_AS)
