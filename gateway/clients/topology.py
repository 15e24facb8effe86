"""The map of sites and storage as a catalogue gives it, and who can give one. Knows no HTTP."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from gateway.domain.holdings import Area, LakeLink, Site


@dataclass(frozen=True, slots=True)
class Downtime:
    """A time in which something is not to be used."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class MappedArea:
    """A storage area; ``downtimes`` are its own and those of all that it is part of."""

    area: Area
    downtimes: tuple[Downtime, ...] = ()

    def at(self, now: datetime) -> Area:
        """The area as it is at this time."""
        if any(downtime.start <= now < downtime.end for downtime in self.downtimes):
            return replace(self.area, is_active=False)
        return self.area


@dataclass(frozen=True, slots=True)
class SiteMap:
    """Sites and storage areas, and when this was true."""

    taken: datetime
    sites: tuple[Site, ...] = ()
    areas: tuple[MappedArea, ...] = ()


class MapSource(Protocol):
    """A catalogue of sites."""

    name: str

    async def fetch(self, *, deadline: float) -> SiteMap:
        """The map as it is now.

        Raises
        ------
        LakeError
            There is no usable answer.
        """
        ...


class LinkSource(Protocol):
    """A catalogue of transfers and distances between storage elements."""

    name: str

    async def links(self, *, deadline: float) -> tuple[LakeLink, ...]:
        """What is known of every link.

        Raises
        ------
        LakeError
            There is no usable answer.
        """
        ...


class MapFile(Protocol):
    """Keeps the last map over a restart."""

    async def load(self) -> SiteMap | None:
        """The map that was saved, if there is one that can be read."""
        ...

    async def save(self, site_map: SiteMap) -> None:
        """Keep it. Failing to is no harm and not told."""
        ...
