"""SRCNet's site capabilities API: which sites there are, where, and with which storage areas.

Source: github.com/ska-telescope/src-site-directory, v0.3.95. Everything is asked for with
``include_inactive=true``: without it, what is down is left out and so is every member whose value
is 0, false or empty. What is down is judged here.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.errors import LakeInvalidAnswerError, LakeStatusError
from gateway.clients.lakes.rows import decode
from gateway.clients.topology import Downtime, MappedArea, SiteMap
from gateway.domain.holdings import Area, Site
from gateway.wire.documents import Document

_PATH: Final = "/nodes?include_inactive=true"
_RSE: Final = "rse"
_ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


class SiteCapabilities:
    """One site capabilities API."""

    name = "site capabilities"

    def __init__(self, caller: AuthorizedCaller, clock: Callable[[], datetime]) -> None:
        self._caller = caller
        self._clock = clock

    async def fetch(self, *, deadline: float) -> SiteMap:
        """The map as it is now.

        Raises
        ------
        LakeError
            There is no usable answer.
        """
        reply = await self._caller.ask("GET", _PATH, deadline=deadline)
        if reply.status != 200:
            raise LakeStatusError(reply.status)
        return to_site_map(await decode(reply.body, _ANY), self._clock())


def to_site_map(nodes: Any, taken: datetime) -> SiteMap:
    """The map in an answer. A bad entry costs itself alone.

    Raises
    ------
    LakeInvalidAnswerError
        It is no list of nodes, or there is no site in it: an empty map is not believed.
    """
    if not isinstance(nodes, list):
        detail = "it is no list of nodes"
        raise LakeInvalidAnswerError(detail)
    places = [place for node in _documents(nodes) for place in _places_of(node)]
    if not places:
        detail = "there is no site in it"
        raise LakeInvalidAnswerError(detail)
    names = [site.name for site, _ in places]
    sites: list[Site] = []
    areas: list[MappedArea] = []
    for site, below in places:
        # Site names are unique within a node only.
        is_unique = names.count(site.name) == 1
        name = site.name if is_unique else f"{site.group}:{site.name}"
        sites.append(Site(name, site.group, site.latitude, site.longitude))
        areas.extend(_areas_of(below, name))
    return SiteMap(taken, tuple(sites), tuple(areas))


def _places_of(node: Document) -> Iterator[tuple[Site, list[Document]]]:
    """Every site of a node with the chain of what it is part of."""
    for site in _documents(node.get("sites")):
        name = _name(site)
        if name is not None:
            latitude, longitude = _position(site)
            yield Site(name, _name(node), latitude, longitude), [node, site]


def _areas_of(chain: list[Document], site: str) -> Iterator[MappedArea]:
    for storage in _documents(chain[-1].get("storages")):
        for area in _documents(storage.get("areas")):
            rse = _name(area)
            if area.get("type") == _RSE and rse is not None:
                identifier = area.get("id")
                above = [*chain, storage, area]
                yield MappedArea(
                    Area(
                        rse,
                        site,
                        identifier if isinstance(identifier, str) and identifier else None,
                        is_active=not any(_is_disabled(one) for one in above),
                    ),
                    tuple(downtime for one in above for downtime in _downtimes(one)),
                )


def _position(site: Document) -> tuple[float | None, float | None]:
    """Latitude and longitude in degrees, of the site or, before 0.3.56, of its storage.

    Of a pair with one missing, that one is 0: members of that value are lost on the way.
    """
    for place in (site, *_documents(site.get("storages")), *_documents(site.get("compute"))):
        latitude, longitude = _degrees(place, "latitude", 90), _degrees(place, "longitude", 180)
        if latitude is not None or longitude is not None:
            return latitude or 0.0, longitude or 0.0
    return None, None


def _degrees(place: Document, name: str, limit: float) -> float | None:
    value = place.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -limit <= value <= limit else None


def _name(document: Document) -> str | None:
    """``name``, called ``identifier`` before 0.3.56."""
    for member in ("name", "identifier"):
        value = document.get(member)
        if isinstance(value, str) and value:
            return value
    return None


def _is_disabled(document: Document) -> bool:
    """``is_force_disabled``, called ``disabled`` before 0.3.57."""
    return document.get("is_force_disabled", document.get("disabled", False)) is True


def _downtimes(document: Document) -> Iterator[Downtime]:
    """Times as ``ISO to ISO``. One that cannot be read is not taken for one."""
    for entry in _documents(document.get("downtime")):
        start, separator, end = str(entry.get("date_range", "")).partition(" to ")
        if separator:
            try:
                yield Downtime(_instant(start), _instant(end))
            except ValueError:
                continue


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _documents(value: Any) -> Iterable[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()
