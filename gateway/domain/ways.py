"""The ways by which offers of one node come here: directly, or through gateways below.

A node that two gateways know is asked once, if it can tell (``Federation-Request``); one that
cannot makes offers twice, of which those that came the longer way are let go.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from gateway.wire.documents import from_json

MAX_ORIGIN: Final = 128
"""Characters of an origin that is believed: a UUID or a digest, with room."""

_MEMBER: Final = b'"federation"'


@dataclass(frozen=True, slots=True)
class Way:
    """How an offer came here: from ``origin`` to ``node``, which is a node of this gateway.

    ``origin`` stands for the node that made the offer and is the same whoever passes it on;
    ``path`` are the nodes below ``node`` that it came through, where that is a gateway.
    """

    origin: str
    path: tuple[str, ...]
    node: str


@lru_cache(4096)
def origin_of(url: str, identity: str | None = None) -> str:
    """What stands for the node at this URL, which itself is nobody's business further up.

    ``identity`` is what the node calls itself, if it does.
    """
    if identity is not None:
        return identity
    return f"sha256:{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:32]}"


def way_of(offer: bytes, node: str, own_origin: str) -> Way:
    """The way of an offer that ``node`` gave; ``own_origin`` is that of the node itself."""
    below = _stated(offer)
    path, origin = below.get("path"), below.get("origin")
    is_path = isinstance(path, list) and all(isinstance(name, str) for name in path)
    is_origin = isinstance(origin, str) and 0 < len(origin) <= MAX_ORIGIN
    return Way(
        origin if is_origin and isinstance(origin, str) else own_origin,
        tuple(path) if is_path and isinstance(path, list) else (),
        node,
    )


def longer_ways(ways: Mapping[UUID, Way], taken: Mapping[str, str]) -> frozenset[UUID]:
    """The offers whose origin is reached by a better way too.

    Better is the one that is ``taken`` (a node by its origin), then the one through fewer gateways,
    then the first by name.
    """
    best = dict(taken)
    for way in sorted(ways.values(), key=_rank):
        best.setdefault(way.origin, way.node)
    return frozenset(uuid for uuid, way in ways.items() if best[way.origin] != way.node)


def taken_ways(statements: Iterable[bytes | None]) -> dict[str, str]:
    """The node by which each origin is reached, from what was said of offers (``federation``)."""
    found: dict[str, str] = {}
    for statement in statements:
        said: dict[str, Any] = from_json(statement) if statement else {}
        if isinstance(said.get("origin"), str):
            found.setdefault(said["origin"], said["node"])
    return found


def _rank(way: Way) -> tuple[int, str]:
    return (len(way.path), way.node)


def _stated(offer: bytes) -> dict[str, Any]:
    # Most nodes are no gateways, and then there is nothing to read.
    if _MEMBER not in offer:
        return {}
    below = from_json(offer).get("federation")
    return below if isinstance(below, dict) else {}
