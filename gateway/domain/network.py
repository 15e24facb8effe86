"""How fast data come from one place to another: every rate with how it is known and how old.

What the settings declare goes before what transfers have shown, that before the operators'
distances, those before the great circle. Nothing of these: the rate is unknown, and stays so.

Times per byte are whole attoseconds, so that sums are exact and in any order the same.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from gateway.domain.holdings import Area, LakeLink, Place, Site, Topology

ATTOSECONDS: Final = 10**18
"""In a second. A link of 1 GB/s takes 10^9 of them for a byte: rounding is one in a billion."""

MIN_FILES: Final = 20
"""So many transfers in 6 hours make an observed rate; fewer say more of the file than the link."""

_MAX_LINKS: Final = 100_000
"""Links that are kept, some 20 MB: all those between 300 sites."""

_OBSERVED_S: Final = 6 * 3600
_EARTH_KM: Final = 6371.0
_RTT_US_PER_KM: Final = 19
"""There and back: light takes 5 us for a kilometre of fibre, and cables are longer than great
circles; 1.9 times fits round trips seen between research networks."""

_BASE_RTT_US: Final = 2000
_WHOLE: Final = 1000

_Position: TypeAlias = tuple[float, float, float]
"""Latitude and longitude in radians, and the cosine of the latitude."""


class LinkBasis(StrEnum):
    """How the rate of a link is known, the surest first."""

    MEASURED = "measured"
    """From transfers that were made, or nothing has to be moved."""
    DECLARED = "declared"
    """Said by the settings, or by the node itself."""
    DISTANCE = "distance"
    """From the operators' distances, scaled by the fastest link."""
    GEOGRAPHY = "geography"
    """From where the sites lie."""
    UNKNOWN = "unknown"


_SURENESS: Final = {basis: place for place, basis in enumerate(LinkBasis)}


def least_sure(bases: Iterable[LinkBasis]) -> LinkBasis:
    """The basis of what rests on all of these; of nothing, MEASURED."""
    return max(bases, key=_SURENESS.__getitem__, default=LinkBasis.MEASURED)


@dataclass(frozen=True, slots=True)
class TransferModel:
    """The assumptions behind estimates, for operators to replace by what they know.

    ``usual_bytes_per_s`` is taken for a site that does not say what it can take in or give out
    (10 Gbit/s). ``window_bytes`` is what is on the way at once over all streams of a transfer (8
    streams of 16 MiB). ``per_file_ms`` is what a file costs beside its bytes when
    ``files_at_once`` are moved together. ``setup_ms`` passes before anything moves, ``tape_ms``
    before a tape robot gives anything.
    """

    usual_bytes_per_s: int = 1_250_000_000
    window_bytes: int = 8 * (16 << 20)
    per_file_ms: int = 500
    files_at_once: int = 20
    setup_ms: int = 30_000
    tape_ms: int = 600_000


# Links come by the hundred thousand where there are a thousand sites.
class Link(msgspec.Struct, frozen=True):
    """The way from one place to another.

    ``byte_as`` and ``file_as`` are the attoseconds that each byte and each file takes; None is not
    known. ``age_s`` is that of the observation behind it.
    """

    basis: LinkBasis
    byte_as: int | None = None
    file_as: int = 0
    age_s: int = 0

    def scaled(self, per_mille: int) -> "Link":
        """The link at that share of its rate, as staging at the node has shown.

        What the settings declare is not corrected.
        """
        if self.byte_as is None or self.basis is LinkBasis.DECLARED or per_mille == _WHOLE:
            return self
        return Link(
            self.basis, max(self.byte_as * _WHOLE // per_mille, 1), self.file_as, self.age_s
        )


UNKNOWN_LINK: Final = Link(LinkBasis.UNKNOWN)
"""Nothing is known of the way."""


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a node stands: its site (or group of sites) and the storage near it, by RSE name.

    ``rate_per_mille`` is how its transfers went compared with their estimates; 1000 as estimated.
    """

    node: str
    site: str | None = None
    rses: frozenset[str] = frozenset()
    rate_per_mille: int = _WHOLE


class Network:
    """Links between endpoints: sites by name, and storage that belongs to no known site by RSE.

    The endpoints of RSEs are written ``rse:NAME``; sites cannot have such names.
    """

    def __init__(
        self,
        topology: Topology,
        nodes: Iterable[NodePlace] = (),
        model: TransferModel | None = None,
    ) -> None:
        self.topology = topology
        self.model = model or TransferModel()
        self._usual = self.model.usual_bytes_per_s
        self._file_us = self.model.per_file_ms * 1000
        self._us_as = ATTOSECONDS // 10**6 // self.model.files_at_once
        sites = topology.sites.values()
        self._positions = {site.name: at for site in sites if (at := _position(site))}
        self._inbound = {
            site.name: round(rate) for site in sites if (rate := site.inbound_bytes_per_s)
        }
        self._outbound = {
            site.name: round(rate) for site in sites if (rate := site.outbound_bytes_per_s)
        }
        self._by_id: dict[str, tuple[str, ...]] = {}
        self._by_rse: dict[str, tuple[str, ...]] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._declared = {
            (link.source, link.target): link.rate_bytes_per_s for link in topology.declared_links
        }
        self._groups: dict[str, tuple[str, ...]] = {}
        for site in sorted(topology.sites.values(), key=lambda one: one.name):
            if site.group is not None:
                self._groups[site.group] = (*self._groups.get(site.group, ()), site.name)
        for area in (*topology.areas, *_areas_of(nodes, topology)):
            self._take_area(area)
        self._tapes = frozenset(area.id or area.rse for area in topology.areas if area.is_tape)
        self._observed: dict[tuple[str, str], list[LakeLink]] = {}
        for link in topology.lake_links:
            for source in self._by_rse.get(link.source_rse) or (_rse(link.source_rse),):
                for target in self._by_rse.get(link.target_rse) or (_rse(link.target_rse),):
                    self._observed.setdefault((source, target), []).append(link)
        self._nearest = min(
            (link.distance for link in topology.lake_links if link.distance), default=None
        )

    def endpoints_of(self, place: Place) -> tuple[str, ...]:
        """Where a copy lies: several if the name is not unique, none if the storage is off."""
        if place.area is not None and place.area in self._by_id:
            return self._by_id[place.area]
        if place.rse is not None:
            return self._by_rse.get(place.rse, (_rse(place.rse),))
        return () if place.site is None else (place.site,)

    def is_tape(self, place: Place) -> bool:
        """Whether what lies there has to be fetched from tape first, by the map of storage."""
        return place.area in self._tapes or place.rse in self._tapes

    def home_of(self, node: NodePlace) -> frozenset[str]:
        """The endpoints from which the node needs no transfer."""
        home = {endpoint for rse in node.rses for endpoint in self.endpoints_of(Place(rse=rse))}
        if node.site is not None:
            home |= {node.site, *self._groups.get(node.site, ())}
        return frozenset(home)

    def link(self, source: str, target: str) -> Link:
        """The way between two endpoints."""
        found = self._links.get((source, target))
        if found is None:
            if len(self._links) >= _MAX_LINKS:
                self._links.clear()
            found = self._links[source, target] = self._estimate(source, target)
        return found

    def _take_area(self, area: Area) -> None:
        endpoints = () if not area.is_active else (area.site or _rse(area.rse),)
        if area.id is not None:
            self._by_id[area.id] = endpoints
        known = self._by_rse.get(area.rse, ())
        self._by_rse[area.rse] = tuple(sorted({*known, *endpoints}))

    def _estimate(self, source: str, target: str) -> Link:
        rtt_us = self._rtt_us(source, target)
        file_as = (self._file_us + 2 * (rtt_us or 0)) * self._us_as
        declared = self._declared.get((source, target))
        if declared:
            return Link(LinkBasis.DECLARED, _byte_as(round(declared)), file_as)
        cap = min(self._outbound.get(source, self._usual), self._inbound.get(target, self._usual))
        by_map = None if rtt_us is None else min(cap, self.model.window_bytes * 10**6 // rtt_us)
        lake = self._observed.get((source, target))
        if lake and (seen := self._seen(lake, cap, by_map, file_as)):
            return seen
        if by_map is not None:
            return Link(LinkBasis.GEOGRAPHY, _byte_as(by_map), file_as)
        return UNKNOWN_LINK

    def _seen(
        self, lake: list[LakeLink], cap: int, by_map: int | None, file_as: int
    ) -> Link | None:
        """What the lake knows of the way: how fast transfers were, or else how far it is."""
        age_s = round(max(link.age_s for link in lake))
        if (observed := _observed_rate(lake, by_map)) is not None:
            return Link(LinkBasis.MEASURED, _byte_as(min(observed, cap)), file_as, age_s)
        distances = [link.distance for link in lake if link.distance]
        if not distances or not self._nearest:
            return None
        rate = cap * self._nearest // min(distances)
        return Link(LinkBasis.DISTANCE, _byte_as(rate), file_as, age_s)

    def _rtt_us(self, source: str, target: str) -> int | None:
        """The round trip in microseconds, by the great circle between two sites."""
        here, there = self._positions.get(source), self._positions.get(target)
        if here is None or there is None:
            return None
        return _distance_km(here, there) * _RTT_US_PER_KM + _BASE_RTT_US


def _areas_of(nodes: Iterable[NodePlace], topology: Topology) -> list[Area]:
    """Storage that only a node's settings place: near a node with a site is at that site."""
    known = {area.rse for area in topology.areas}
    return [
        Area(rse, node.site)
        for node in sorted(nodes, key=lambda one: one.node)
        for rse in sorted(node.rses - known)
    ]


def _rse(name: str) -> str:
    return f"rse:{name}"


def _byte_as(rate_bytes_per_s: int) -> int:
    return max(ATTOSECONDS // max(rate_bytes_per_s, 1), 1)


def _observed_rate(links: list[LakeLink], by_map: int | None) -> int | None:
    """Bytes per second that transfers have shown, in whole numbers.

    Without a queue the links were not full: what was seen is then the least they can.
    """
    done = sum(link.done_files or 0 for link in links)
    moved = sum(link.done_bytes or 0 for link in links)
    if done < MIN_FILES or not moved:
        return None
    failed = sum(link.failed_files or 0 for link in links)
    seen = moved // _OBSERVED_S
    if not any(link.queued_files for link in links):
        seen = max(seen, by_map or 0)
    return max(seen * done // (done + failed), 1)


def _position(site: Site) -> _Position | None:
    if site.latitude is None or site.longitude is None:
        return None
    latitude, longitude = math.radians(site.latitude), math.radians(site.longitude)
    return latitude, longitude, math.cos(latitude)


def _distance_km(here: _Position, there: _Position) -> int:
    """Great circle, in whole kilometres: the same whatever the last bit of a sine."""
    south, west, narrow = here
    north, east, wide = there
    half = math.sin((north - south) / 2) ** 2 + narrow * wide * math.sin((east - west) / 2) ** 2
    return round(2 * _EARTH_KM * math.asin(math.sqrt(min(half, 1.0))))
