"""What may be said of nodes before they are asked: which kinds they know, and how quick they are.

Nothing is guessed. What a node neither says nor has shown is unknown, which is never yes. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.domain.capabilities import Capabilities
from gateway.domain.placeholders import open_places
from gateway.domain.templates import short_kind
from gateway.wire.documents import Document
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA
from gateway.wire.views import DataView

QUICK_S: Final = 0.25
"""Until here people take an answer for immediate, with the way to the gateway and back on top."""

SLOW_S: Final = 1.0
"""A fifth of the default deadline; whoever takes longer is felt in every request."""


class Known(StrEnum):
    """What is known of a node and a kind."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Speed(StrEnum):
    """How quickly a node usually answers a request for offers, by its median."""

    QUICK = "quick"
    MODERATE = "moderate"
    SLOW = "slow"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a node has said and shown of kinds.

    ``capabilities`` is its own word, None if it gave none; it has made offers for the kinds in
    ``offered``, and of those in ``refused`` it said lately that it does not know them.
    """

    capabilities: Capabilities | None = None
    offered: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def knows(self, kind: str) -> Known:
        """Whether the node knows the kind. The latest refusal counts before its general word."""
        if kind in self.refused:
            return Known.NO
        if self.capabilities is not None:
            if kind in self.capabilities.kinds:
                return Known.YES
            if self.capabilities.lacks(frozenset({kind})):
                return Known.NO
        return Known.YES if kind in self.offered else Known.UNKNOWN

    def mentioned(self) -> frozenset[str]:
        """Every kind of which something is known."""
        listed = self.capabilities.kinds if self.capabilities is not None else frozenset()
        return listed | self.offered | self.refused


def kinds_of(facts: Iterable[KindFacts], also: frozenset[str]) -> list[Document]:
    """How many nodes know each kind that any of them speaks of, or that is in ``also``."""
    nodes = tuple(facts)
    mentioned = also.union(*(node.mentioned() for node in nodes))
    return [_kind(kind, Counter(node.knows(kind) for node in nodes)) for kind in sorted(mentioned)]


def _kind(kind: str, counted: Mapping[Known, int]) -> Document:
    return {
        "kind": kind,
        "name": short_kind(kind),
        "nodes": counted[Known.YES],
        "refusing": counted[Known.NO],
        "unknown": counted[Known.UNKNOWN],
    }


def speed_of(median_s: float | None) -> Speed:
    """The class of a node with that median, None for one that has not answered yet."""
    if median_s is None:
        return Speed.UNKNOWN
    if median_s <= QUICK_S:
        return Speed.QUICK
    return Speed.MODERATE if median_s <= SLOW_S else Speed.SLOW


def data_of(dids: Iterable[tuple[str, str]], ivoids: Iterable[str]) -> tuple[DataView, ...]:
    """Identifiers as resources of a request; a Rucio one is its scope and its name."""
    resources: list[tuple[str, Document]] = [
        (f"{scope}:{name}", {"kind": RUCIO_DATA, "rucio": {"scope": scope, "object": name}})
        for scope, name in dids
    ]
    resources += [(ivoid, {"kind": IVOA_DATA, "ivoa": {"ivoid": ivoid}}) for ivoid in ivoids]
    return tuple(
        DataView(index, document["kind"], name, document)
        for index, (name, document) in enumerate(resources)
    )


def without_open_places(document: Document) -> Document:
    """The request without its placeholders: what is certain of it already."""
    taken = {place.steps for place in open_places(document)}
    kept: Document = {}
    for name, member in document.items():
        if (name,) in taken:
            continue
        kept[name] = _without(taken, (name,), member)
    return kept


def _without(taken: set[tuple[str | int, ...]], at: tuple[str | int, ...], value: object) -> object:
    """The value without what is taken anywhere below it."""
    if not any(steps[: len(at)] == at for steps in taken):
        return value
    if isinstance(value, list):
        return [item for index, item in enumerate(value) if (*at, index) not in taken]
    if isinstance(value, dict):
        return {name: _without(taken, (*at, name), member) for name, member in value.items()}
    return value
