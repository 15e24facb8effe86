"""What a node is told of a request's data beyond what the client wrote: sizes, checksums, replicas.

Only what is missing is added, the replicas nearest to that node first. A node that knows neither
SKAO nor Rucio data can be sent a simple resource in their place, with the URL of the nearest
replica; ``gateway.domain.restoring`` turns its answers back.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.domain.holdings import Copy, DidKind, Holding
from gateway.domain.network import Network
from gateway.wire.documents import Document
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA, SIMPLE_DATA, SKAO_DATA

MAX_REPLICAS: Final = 20
"""Replicas that a node is told of for one resource: it needs one that works."""

_LAKE_KINDS: Final = frozenset({SKAO_DATA, RUCIO_DATA, IVOA_DATA})
REPLACEABLE: Final = frozenset({SKAO_DATA, RUCIO_DATA})
"""Kinds in whose place a simple resource can be sent."""

_BLOCKS: Final = ("ivoa", "skao", "rucio")
_PLAIN_SCHEMES: Final = {"https": "https", "http": "http", "davs": "https", "dav": "http"}
"""What can be fetched without a client of its own, by scheme; WebDAV is HTTP to who only reads."""


@dataclass(frozen=True, slots=True)
class Enriched:
    """A request as one node gets it.

    ``added`` says whether replicas were added that the client did not name. ``replaced`` has, by
    the URL that was sent in its place, the place in the list of each resource that was replaced.
    """

    document: Document
    added: bool = False
    replaced: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        """Whether the node's answers show something that the client did not write."""
        return self.added or bool(self.replaced)


def enrich(
    document: Document,
    holdings: Mapping[int, Holding],
    network: Network,
    home: frozenset[str],
    *,
    simple_data: bool = False,
) -> Enriched:
    """The request for a node at ``home``; the document that is given stays as it is."""
    data = document.get("data")
    if not holdings or not isinstance(data, list):
        return Enriched(document)
    added = False
    replaced: dict[str, int] = {}
    resources: list[Any] = []
    for index, resource in enumerate(data):
        holding = holdings.get(index)
        if holding is None or holding.did is None or resource.get("kind") not in _LAKE_KINDS:
            resources.append(resource)
            continue
        copies = _nearest(holding, network, home)
        url = _plain_url(copies) if simple_data and resource["kind"] in REPLACEABLE else None
        if url is not None and url not in replaced:
            replaced[url] = index
            resources.append(_simple(resource, url))
            continue
        known = _known(holding, copies)
        block = dict(resource.get("skao") or {})
        added |= "replicas" in known and not block.get("replicas")
        resources.append(_with_type(resource, holding) | {"skao": _filled(block, known)})
    return Enriched(document | {"data": resources}, added, replaced)


def _known(holding: Holding, copies: list[Copy]) -> Document:
    """The ``skao`` block as the lake would write it."""
    assert holding.did is not None
    known: Document = {"namespace": holding.did.scope, "objectname": holding.did.name}
    if holding.kind is not DidKind.UNKNOWN:
        known["objecttype"] = holding.kind.value
    if holding.bytes is not None:
        known["datasize"] = holding.bytes
    if holding.checksums:
        first = holding.checksums[0]
        known["checksum"] = {"type": first.type, "value": first.value}
    if replicas := list(_replicas(copies)):
        known["replicas"] = replicas[:MAX_REPLICAS]
    return known


def _replicas(copies: list[Copy]) -> Iterator[Document]:
    """Every copy with its first URL; of collections, which have none, the RSE alone."""
    for copy in copies:
        replica: Document = {}
        if copy.place.rse is not None:
            replica["rsename"] = copy.place.rse
        if copy.urls:
            replica["dataurl"] = copy.urls[0]
        if replica:
            yield replica


def _filled(block: Document, known: Document) -> Document:
    """The block with what is missing in it; an empty value of the client's is missing."""
    missing = {name: value for name, value in known.items() if block.get(name) in (None, [], "")}
    return block | missing


def _with_type(resource: Document, holding: Holding) -> Document:
    """A Rucio resource has a place of its own for what the object is."""
    block = resource.get("rucio")
    if resource["kind"] != RUCIO_DATA or not isinstance(block, dict):
        return resource
    if block.get("type") or holding.kind is DidKind.UNKNOWN:
        return resource
    return resource | {"rucio": block | {"type": holding.kind.value}}


def _simple(resource: Document, url: str) -> Document:
    others = {name: value for name, value in resource.items() if name not in _BLOCKS}
    return others | {"kind": SIMPLE_DATA, "location": url}


def _plain_url(copies: list[Copy]) -> str | None:
    """The nearest URL that needs nothing but HTTP."""
    for copy in copies:
        for url in copy.urls:
            parts = urlsplit(url)
            if parts.scheme in _PLAIN_SCHEMES and parts.hostname:
                return parts._replace(scheme=_PLAIN_SCHEMES[parts.scheme]).geturl()
    return None


def _nearest(holding: Holding, network: Network, home: frozenset[str]) -> list[Copy]:
    """The copies from which the whole can be had, nearest first; disks go before tapes."""
    if len(holding.parts) != 1:
        return []
    (part,) = holding.parts
    whole = [copy for copy in part.copies if copy.is_complete and copy.is_readable]
    keyed = [
        (_distance(copy, network, home), copy) for copy in whole if network.endpoints_of(copy.place)
    ]
    return [copy for _, copy in sorted(keyed, key=lambda one: one[0])]


def _distance(
    copy: Copy, network: Network, home: frozenset[str]
) -> tuple[bool, float, str, str, tuple[str, ...]]:
    """What copies are sorted by; the names make it the same order everywhere."""
    endpoints = network.endpoints_of(copy.place)
    times = [
        link.byte_as
        for source in endpoints
        for target in home
        if (link := network.link(source, target)).byte_as is not None
    ]
    away = 0.0 if not home.isdisjoint(endpoints) else float(min(times, default=math.inf))
    is_tape = copy.is_tape or network.is_tape(copy.place)
    return is_tape, away, copy.place.rse or "", copy.place.area or "", copy.urls
