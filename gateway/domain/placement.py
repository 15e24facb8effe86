"""Placement: for each node, how much of a request's data is there, and how long the rest takes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.domain.holdings import Located
from gateway.domain.inventory import Inventory, inventory_of
from gateway.domain.network import LinkBasis, Network, NodePlace
from gateway.domain.quantities import MICRO, Placement, Whereabouts
from gateway.domain.quotes import metrics_of, most
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.domain.staging import Staging, staging_of
from gateway.domain.staging_record import AS_ESTIMATED
from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.views import Quote, SessionView

PROXIMITY_REFERENCE_MS: Final = 3_600_000
"""Data an hour away have proximity one half."""

_LONGEST_S: Final = 1e9
"""Thirty years: whoever says more does not mean it."""


@dataclass(frozen=True, slots=True)
class NodePlacement:
    """One request's data as seen from one node. None is not known, which is never zero.

    Bytes and files are those of the data that somebody can locate; of ``resources`` in the
    request, ``unlocated`` lie at least in part nobody knows where. ``at_least_ms`` is what is sure
    of the staging time. ``age_s`` is that of the oldest fact behind it. ``rate_per_mille`` is how
    much faster the node's own reports have made its links. ``sources`` (bytes by where they would
    come from) are not for clients: they tell where replicas are.
    """

    bytes_total: int | None
    bytes_local: int | None
    bytes_to_move: int | None
    files_to_move: int | None
    staging_ms: int | None
    at_least_ms: int
    basis: LinkBasis
    age_s: int
    is_approximate: bool
    resources: int
    unlocated: int
    whereabouts: Whereabouts
    rate_per_mille: int
    sources: Mapping[str, int]

    @property
    def exact_ms(self) -> int | None:
        """The staging time, where it is that of all the data."""
        return self.staging_ms if self.whereabouts is Whereabouts.KNOWN else None

    @property
    def proximity(self) -> int | None:
        """1 where all data are, one half an hour away, in millionths."""
        exact_ms = self.exact_ms
        return None if exact_ms is None else _proximity(exact_ms)

    def with_declared(self, offer: SessionView) -> "NodePlacement":
        """What the node itself says in its offer of data about which nothing is known here.

        A gateway below knows its own nodes; what is known here goes before anybody's word.
        """
        if self.exact_ms is not None:
            return self
        metrics = metrics_of(offer)
        staging_s = most(metrics.get(kinds.STAGING_TIME, Quote(kinds.STAGING_TIME)))
        if staging_s is None or not 0 <= staging_s <= _LONGEST_S:
            return self
        moved = most(metrics.get(kinds.BYTES_TO_MOVE, Quote(kinds.BYTES_TO_MOVE)))
        staging_ms = round(staging_s * 1000)
        return replace(
            self,
            bytes_to_move=round(moved) if moved is not None and moved >= 0 else self.bytes_to_move,
            staging_ms=staging_ms,
            at_least_ms=staging_ms,
            basis=LinkBasis.DECLARED,
            age_s=0,
            unlocated=0,
            whereabouts=Whereabouts.KNOWN,
        )

    def to_ranking(self) -> Placement:
        """What the ranking counts with."""
        return Placement(self.staging_ms, self.at_least_ms, self.whereabouts)

    def notes(self) -> tuple[Reason, ...]:
        """What has to be said of an offer about how its data are known."""
        found = []
        if self.staging_ms is None and self.whereabouts is not Whereabouts.UNKNOWN:
            what = "size of the data" if self.bytes_to_move is None else "speed of the way"
            found.append(reason(ReasonCode.PLACEMENT_UNKNOWN, why=f"the {what} is not known"))
        if self.is_approximate:
            why = "nobody says exactly which place has what"
            found.append(reason(ReasonCode.PLACEMENT_APPROXIMATE, why=why))
        return tuple(found)

    def ranges(self) -> tuple[Quote, ...]:
        """What is sure, to be held against the limits of a request; infinity is not known."""
        exact_ms, moved = self.exact_ms, float(self.bytes_to_move or 0)
        is_sure = self.bytes_to_move is not None and self.whereabouts is Whereabouts.KNOWN
        nearest = _proximity(self.at_least_ms) / MICRO
        return (
            Quote(kinds.DATA_PROXIMITY, 0.0 if exact_ms is None else nearest, nearest),
            Quote(
                kinds.STAGING_TIME,
                self.at_least_ms / 1000,
                math.inf if exact_ms is None else exact_ms / 1000,
            ),
            Quote(kinds.BYTES_TO_MOVE, moved, moved if is_sure else math.inf),
        )

    def to_public(self) -> Document:
        """What clients are shown in ``federation.placement``: numbers of this node, no places."""
        proximity = self.proximity
        return {
            "bytes_total": self.bytes_total,
            "bytes_local": self.bytes_local,
            "bytes_to_move": self.bytes_to_move,
            "files_to_move": self.files_to_move,
            "staging_s": None if self.staging_ms is None else self.staging_ms / 1000,
            "proximity": None if proximity is None else proximity / MICRO,
            "basis": self.basis.value,
            "age_s": self.age_s,
            "approximate": self.is_approximate,
            "resources": self.resources,
            "unlocated": self.unlocated,
            "correction": self.rate_per_mille / AS_ESTIMATED,
        }

    def to_document(self) -> Document:
        """Everything, for the record."""
        return {
            "bytes_total": self.bytes_total,
            "bytes_local": self.bytes_local,
            "bytes_to_move": self.bytes_to_move,
            "files_to_move": self.files_to_move,
            "staging_ms": self.staging_ms,
            "at_least_ms": self.at_least_ms,
            "basis": self.basis.value,
            "age_s": self.age_s,
            "is_approximate": self.is_approximate,
            "resources": self.resources,
            "unlocated": self.unlocated,
            "whereabouts": self.whereabouts.value,
            "rate_per_mille": self.rate_per_mille,
            "sources": dict(sorted(self.sources.items())),
        }


def placement_from_document(document: Mapping[str, Any]) -> NodePlacement:
    """The placement that ``NodePlacement.to_document`` wrote.

    Raises
    ------
    ValueError
        A basis or whereabouts that are not known.
    """
    known = {
        "basis": LinkBasis(document["basis"]),
        "whereabouts": Whereabouts(document["whereabouts"]),
    }
    return NodePlacement(**{**document, **known})


def place(
    located: Located, nodes: Iterable[NodePlace], network: Network
) -> dict[str, NodePlacement]:
    """What the data mean for every node, by its name.

    A node's placement depends on that node, the data and the map alone. Nodes in the same place
    have the same one.
    """
    inventory = inventory_of(located, network)
    made: dict[tuple[frozenset[str], int], NodePlacement] = {}
    placements: dict[str, NodePlacement] = {}
    for node in nodes:
        key = (network.home_of(node), node.rate_per_mille)
        if key not in made:
            staging = staging_of(inventory, network, *key)
            made[key] = _placement(inventory, staging, network, node.rate_per_mille)
        placements[node.node] = made[key]
    return placements


def _placement(
    inventory: Inventory, staging: Staging, network: Network, rate_per_mille: int
) -> NodePlacement:
    whereabouts = Whereabouts.KNOWN
    if inventory.unlocated:
        whereabouts = Whereabouts.PARTLY if inventory.located else Whereabouts.UNKNOWN
    return NodePlacement(
        bytes_total=inventory.bytes_total,
        bytes_local=staging.bytes_local if inventory.bytes_total is not None else None,
        bytes_to_move=staging.bytes_to_move,
        files_to_move=staging.files_to_move,
        staging_ms=staging.ms,
        at_least_ms=staging.at_least_ms,
        basis=staging.basis,
        age_s=max(inventory.age_s, staging.age_s, round(network.topology.age_s)),
        is_approximate=inventory.is_approximate or staging.is_rough,
        resources=inventory.resources,
        unlocated=inventory.unlocated,
        whereabouts=whereabouts,
        rate_per_mille=rate_per_mille,
        sources=staging.sources,
    )


def _proximity(staging_ms: int) -> int:
    return MICRO * PROXIMITY_REFERENCE_MS // (PROXIMITY_REFERENCE_MS + staging_ms)
