"""What is known of sites, storage and links: from the settings, and from catalogues in passing.

Catalogues are asked in the background only. What they said last is used until it is too old, and
said to be old once it has not been renewed for some time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import structlog

from gateway.clients.lakes.errors import LakeError
from gateway.clients.topology import LinkSource, MapFile, MapSource, SiteMap
from gateway.clock import Clock
from gateway.domain.holdings import Area, DeclaredLink, LakeLink, Site, Topology
from gateway.domain.reasons import Reason, ReasonCode, reason

RETRY_S: Final = 30.0
"""A catalogue that failed is asked again this soon."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyLimits:
    """Seconds: how often catalogues are asked, and how long what they said is used.

    ``fetch_s`` is the most that asking takes. ``step_s``: areas whose downtime begins or ends are
    noticed this soon.
    """

    map_s: float = 600.0
    map_stale_s: float = 7 * 86_400.0
    links_s: float = 900.0
    links_stale_s: float = 86_400.0
    fetch_s: float = 20.0
    step_s: float = 60.0


@dataclass(frozen=True, slots=True)
class DeclaredTopology:
    """What the settings say. It goes before whatever a catalogue says of the same site."""

    sites: tuple[Site, ...] = ()
    areas: tuple[Area, ...] = ()
    links: tuple[DeclaredLink, ...] = ()


@dataclass(slots=True)
class _Links:
    """What one catalogue said of links, and when."""

    rows: tuple[LakeLink, ...]
    taken_s: float


class TopologyService:
    """The topology in use. ``refresh_map`` and ``refresh_links`` are duties of the background."""

    def __init__(
        self,
        declared: DeclaredTopology,
        clock: Clock,
        *,
        map_source: MapSource | None = None,
        map_file: MapFile | None = None,
        link_sources: Sequence[LinkSource] = (),
        limits: TopologyLimits | None = None,
    ) -> None:
        self._declared = declared
        self._clock = clock
        self._source = map_source
        self._file = map_file
        self._link_sources = tuple(link_sources)
        self._limits = limits or TopologyLimits()
        self._map: SiteMap | None = None
        self._is_loaded = False
        self._next_map_s = float("-inf")
        self._links: dict[str, _Links] = {}
        self._current = _topology(declared, None, (), 0.0, clock)

    def current(self) -> Topology:
        """What is known now: the same object until something changes."""
        return self._current

    def notes(self) -> tuple[Reason, ...]:
        """That the map is older than it should be by far, if so."""
        age_s = self._map_age_s()
        if self._map is None or age_s < 2 * self._limits.map_s:
            return ()
        return (reason(ReasonCode.TOPOLOGY_STALE, age_s=round(age_s)),)

    async def refresh_map(self) -> float:
        """Ask for the map if that is due; gives the seconds until this should run again."""
        if self._source is None:
            return self._limits.map_s
        if not self._is_loaded and self._file is not None:
            self._map = await self._file.load()
        self._is_loaded = True
        if self._clock.monotonic() >= self._next_map_s:
            await self._fetch_map(self._source)
        if self._map is not None and self._map_age_s() > self._limits.map_stale_s:
            self._map = None
        self._rebuild()
        return min(self._limits.step_s, max(0.0, self._next_map_s - self._clock.monotonic()))

    async def refresh_links(self) -> float:
        """Ask for the links; gives the seconds until this should run again."""
        wait_s = self._limits.links_s
        for source in self._link_sources:
            try:
                rows = await source.links(deadline=self._clock.monotonic() + self._limits.fetch_s)
            except LakeError as error:
                _log.warning("links_not_renewed", source=source.name, error=str(error))
                wait_s = RETRY_S
            else:
                self._links[source.name] = _Links(rows, self._clock.monotonic())
        self._rebuild()
        return wait_s

    async def _fetch_map(self, source: MapSource) -> None:
        try:
            site_map = await source.fetch(deadline=self._clock.monotonic() + self._limits.fetch_s)
        except LakeError as error:
            _log.warning("map_not_renewed", source=source.name, error=str(error))
            self._next_map_s = self._clock.monotonic() + RETRY_S
            return
        self._next_map_s = self._clock.monotonic() + self._limits.map_s
        is_new = self._map is None or replace(site_map, taken=self._map.taken) != self._map
        self._map = site_map
        _log.info("map_renewed", sites=len(site_map.sites), areas=len(site_map.areas), new=is_new)
        if self._file is not None:
            await self._file.save(site_map)

    def _map_age_s(self) -> float:
        if self._map is None:
            return 0.0
        return max(0.0, (self._clock.now() - self._map.taken).total_seconds())

    def _rebuild(self) -> None:
        now_s = self._clock.monotonic()
        links = [
            replace(row, age_s=round(now_s - known.taken_s))
            for known in self._links.values()
            if now_s - known.taken_s <= self._limits.links_stale_s
            for row in known.rows
        ]
        fresh = _topology(self._declared, self._map, links, self._map_age_s(), self._clock)
        # Ages alone are no reason for others to work everything out anew: they move on by minutes.
        if _without_ages(fresh) != _without_ages(self._current) or _is_older(fresh, self._current):
            self._current = fresh


def _topology(
    declared: DeclaredTopology,
    site_map: SiteMap | None,
    links: Iterable[LakeLink],
    age_s: float,
    clock: Clock,
) -> Topology:
    sites: dict[str, Site] = {}
    areas: list[Area] = []
    if site_map is not None:
        now = clock.now()
        sites = {site.name: site for site in site_map.sites}
        areas = [area.at(now) for area in site_map.areas]
    for site in declared.sites:
        sites[site.name] = _overlaid(sites.get(site.name), site)
    return Topology(
        sites=sites,
        areas=_merged(declared.areas, areas),
        declared_links=declared.links,
        lake_links=tuple(links),
        age_s=age_s,
    )


def _merged(declared: Sequence[Area], mapped: Sequence[Area]) -> tuple[Area, ...]:
    """An RSE that the settings place is nowhere else; whether it is down, the catalogue knows."""
    places = {(area.rse, area.site) for area in declared}
    names = {area.rse for area in declared}
    kept = [a for a in mapped if a.rse not in names or (a.rse, a.site) in places]
    known = {(area.rse, area.site) for area in kept}
    return (*(area for area in declared if (area.rse, area.site) not in known), *kept)


def _overlaid(known: Site | None, declared: Site) -> Site:
    """What the settings say of a site, and what they leave open from the catalogue."""
    if known is None:
        return declared
    said: Mapping[str, object] = {
        item.name: value
        for item in fields(declared)
        if (value := getattr(declared, item.name)) is not None
    }
    return replace(known, **said)  # type: ignore[arg-type]  # its own members


_AGES_MATTER_S: Final = 300.0


def _without_ages(topology: Topology) -> Topology:
    links = tuple(replace(link, age_s=0.0) for link in topology.lake_links)
    return replace(topology, lake_links=links, age_s=0.0)


def _is_older(fresh: Topology, current: Topology) -> bool:
    """Whether the ages have moved so far that they should be shown anew."""
    return abs(fresh.age_s - current.age_s) >= _AGES_MATTER_S or any(
        abs(new.age_s - old.age_s) >= _AGES_MATTER_S
        for new, old in zip(fresh.lake_links, current.lake_links, strict=True)
    )
