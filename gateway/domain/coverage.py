"""Coverage: the statement of which nodes were asked for offers and what became of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.domain.reasons import Reason, ReasonCode, reason_from_document
from gateway.wire.documents import Document


class Outcome(StrEnum):
    """What became of asking one node."""

    ANSWERED = "answered"
    """Offers came in time."""
    NO = "no"
    """The node answered in time that it cannot, or offers nothing."""
    LATE = "late"
    """Not waited for to the end; its offers are still taken in, and counted once they are."""
    TIMEOUT = "timeout"
    """Nothing whole came before the deadline."""
    REFUSED = "refused"
    """No connection to the node could be made."""
    ERROR = "error"
    """The node answered with a failure, or broke off."""
    INVALID = "invalid"
    """An answer came and nothing of it can be used."""
    SKIPPED = "skipped"
    """The node was not asked."""


GOOD_CAUSES: Final = frozenset(
    {
        ReasonCode.KIND_REFUSED_BEFORE,
        ReasonCode.NODE_NOT_PERMITTED,
        ReasonCode.NODE_RESERVED,
        ReasonCode.PATH_LOOP,
        ReasonCode.HOP_LIMIT,
        ReasonCode.ASKED_ALREADY,
    }
)
"""Skipped for one of these says as much as an answer: asking again changes nothing."""

HAD_NO_TURN: Final = frozenset(
    {ReasonCode.NOT_NEEDED, ReasonCode.HOLD_LIMIT, ReasonCode.NO_TIME_LEFT}
)
"""Skipped for one of these says nothing of the node: it is one of many that were not asked."""


class CoverageError(ValueError):
    """The entries are no statement about every registered node: a defect of whoever made them."""


@dataclass(frozen=True, slots=True)
class CoverageEntry:
    """One node's outcome.

    ``reason`` may be missing only where offers came in time. ``took_ms`` is None for a node that
    was not asked. ``offers`` counts those that can be used, also the ones that were not kept.
    ``below`` is what a node that is a gateway says of its own nodes (``Below.to_document``).
    """

    node: str
    outcome: Outcome
    reason: Reason | None = None
    took_ms: int | None = None
    offers: int = 0
    below: Document | None = None

    def __post_init__(self) -> None:
        if self.reason is None and self.outcome is not Outcome.ANSWERED:
            raise CoverageError(f"node {self.node}: outcome {self.outcome} without a reason")
        if self.offers and self.outcome not in {Outcome.ANSWERED, Outcome.LATE}:
            raise CoverageError(f"node {self.node}: outcome {self.outcome} with offers")

    def to_document(self) -> Document:
        """The entry as it stands in ``federation.coverage``."""
        document = {
            "node": self.node,
            "outcome": self.outcome.value,
            "reason": self.reason.to_document() if self.reason else None,
            "took_ms": self.took_ms,
            "offers": self.offers,
        }
        return document if self.below is None else document | {"below": self.below}


def entry_from_document(document: Mapping[str, Any]) -> CoverageEntry:
    """The entry that ``CoverageEntry.to_document`` wrote.

    Raises
    ------
    ValueError
        An outcome or a reason code that is not known.
    """
    why = document["reason"]
    return CoverageEntry(
        node=document["node"],
        outcome=Outcome(document["outcome"]),
        reason=reason_from_document(why) if why else None,
        took_ms=document["took_ms"],
        offers=document["offers"],
        below=document.get("below"),
    )


def coverage_of(
    entries: Iterable[CoverageEntry], registered: Iterable[str]
) -> tuple[CoverageEntry, ...]:
    """The entries by node name, each registered node exactly once.

    Raises
    ------
    CoverageError
        A node is missing, there twice, or not registered.
    """
    by_node: dict[str, CoverageEntry] = {}
    for entry in entries:
        if entry.node in by_node:
            raise CoverageError(f"node {entry.node} is covered twice")
        by_node[entry.node] = entry
    names = set(registered)
    if missing := names - by_node.keys():
        raise CoverageError(f"nodes without an outcome: {', '.join(sorted(missing))}")
    if strange := by_node.keys() - names:
        raise CoverageError(f"nodes that are not registered: {', '.join(sorted(strange))}")
    return tuple(by_node[name] for name in sorted(by_node))


def with_entry(
    coverage: Iterable[CoverageEntry], entry: CoverageEntry
) -> tuple[CoverageEntry, ...]:
    """The coverage with this node's outcome replaced, as when a late answer comes in.

    Raises
    ------
    CoverageError
        The node is not in the coverage.
    """
    before = tuple(coverage)
    others = [known for known in before if known.node != entry.node]
    return coverage_of([*others, entry], [known.node for known in before])


def is_unavailable(coverage: Iterable[CoverageEntry]) -> bool:
    """Whether nothing can be said yet: no node answered, and none was skipped for good cause.

    The client is then told to come back, rather than NO.
    """
    return not any(_says_something(entry) for entry in coverage)


def is_final(entry: CoverageEntry) -> bool:
    """Whether asking the node again would change nothing: it answered in time, or need not."""
    if entry.outcome is Outcome.SKIPPED:
        return entry.reason is not None and entry.reason.code in GOOD_CAUSES
    return entry.outcome in {Outcome.ANSWERED, Outcome.NO}


def _says_something(entry: CoverageEntry) -> bool:
    return is_final(entry) or entry.offers > 0
