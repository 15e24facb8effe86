"""The saved inputs of a ranking: enough to explain it later, and to make it again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.domain.placement import NodePlacement, placement_from_document
from gateway.domain.policies import Policy, policy_from_document
from gateway.domain.quantities import (
    MICRO,
    Amount,
    Candidate,
    Placement,
    Quantity,
    Whereabouts,
)
from gateway.domain.ranking import Ranking, Scored
from gateway.domain.reasons import Reason, reason_from_document
from gateway.domain.selection import Selection, select
from gateway.wire.documents import Document
from gateway.wire.times import format_instant, parse_instant

RECORD_VERSION: Final = 2
"""Of the document's form and of the arithmetic: a record of another version is not replayed."""


class RecordVersionError(ValueError):
    """The record was written by another version, which counted differently."""

    def __init__(self, version: object) -> None:
        super().__init__(f"ranking record of version {version}, this is {RECORD_VERSION}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An offer that was dropped before ranking, for ``reasons``.

    ``uuid`` is None where it could not be read; ``notes`` is what could not be made sure of.
    """

    node: str
    uuid: UUID | None
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a record leads to: the order, and what of it is handed out."""

    record: "RankingRecord"
    ranking: Ranking
    selection: Selection

    def statements(self) -> tuple[tuple[Scored, Document], ...]:
        """The kept offers in order, each with what ``federation`` on the offer says of it."""
        return tuple(
            (scored, self._statement(rank, scored))
            for rank, scored in enumerate(self.selection.kept, start=1)
        )

    def _statement(self, rank: int, scored: Scored) -> Document:
        statement: Document = {
            "node": scored.node,
            "rank": rank,
            "score": scored.score / MICRO,
            "reasons": [why.to_document() for why in self.ranking.reasons_of(scored)],
        }
        placement = self.record.placement_of(scored.node, scored.uuid)
        return statement if placement is None else statement | {"placement": placement.to_public()}


@dataclass(frozen=True, slots=True)
class RankingRecord:
    """Everything that a ranking depends on.

    ``now`` is when the request came in; delays count from it, also for offers that came late.
    ``handed_out`` are offers that the client has seen already. ``placements`` are those of all
    nodes asked, empty where data play no part; ``declared`` are what single offers say themselves.
    """

    now: datetime
    policy: Policy
    per_node: int
    limit: int
    candidates: tuple[Candidate, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    handed_out: frozenset[UUID] = field(default=frozenset())
    placements: Mapping[str, NodePlacement] = field(default_factory=dict)
    declared: Mapping[UUID, NodePlacement] = field(default_factory=dict)

    def placement_of(self, node: str, offer: UUID) -> NodePlacement | None:
        """What is known of the request's data at that node, as far as that offer goes."""
        return self.declared.get(offer) or self.placements.get(node)

    def with_more(
        self,
        candidates: Iterable[Candidate],
        rejected: Iterable[Rejected] = (),
        declared: Mapping[UUID, NodePlacement] | None = None,
    ) -> "RankingRecord":
        """The record with late offers taken in; those kept so far count as handed out."""
        kept = frozenset(scored.uuid for scored in replay(self).selection.kept)
        return replace(
            self,
            candidates=(*self.candidates, *candidates),
            rejected=(*self.rejected, *rejected),
            handed_out=self.handed_out | kept,
            declared={**self.declared, **(declared or {})},
        )

    def to_document(self) -> Document:
        """The record as JSON, offers in an order that does not depend on when they came."""
        candidates = sorted(self.candidates, key=lambda one: (one.node, one.uuid))
        rejected = [_rejected_document(one) for one in self.rejected]
        return {
            "version": RECORD_VERSION,
            "now": format_instant(self.now),
            "policy": self.policy.to_document(),
            "per_node": self.per_node,
            "limit": self.limit,
            "candidates": [_candidate_document(one) for one in candidates],
            "rejected": sorted(rejected, key=lambda one: (one["node"], one["uuid"] or "")),
            "handed_out": sorted(str(uuid) for uuid in self.handed_out),
            "placements": {
                node: placement.to_document() for node, placement in sorted(self.placements.items())
            },
            "declared": {
                str(uuid): placement.to_document()
                for uuid, placement in sorted(self.declared.items())
            },
        }


def replay(record: RankingRecord, policy: Policy | None = None) -> Decision:
    """The ranking that the record leads to: the same again, or as another policy would have it.

    Under another policy the question is what would have been, so nothing counts as handed out.
    """
    is_same = policy is None or policy == record.policy
    ranking = Ranking(record.candidates, policy or record.policy)
    selection = select(
        ranking.ordered,
        per_node=record.per_node,
        limit=record.limit,
        handed_out=record.handed_out if is_same else frozenset(),
    )
    return Decision(record, ranking, selection)


def record_from_document(document: Mapping[str, Any]) -> RankingRecord:
    """The record that ``RankingRecord.to_document`` wrote.

    Raises
    ------
    RecordVersionError
        It is of another version.
    ValueError
        It names a quantity, a basis or a reason code that is not known.
    """
    if document.get("version") != RECORD_VERSION:
        raise RecordVersionError(document.get("version"))
    return RankingRecord(
        now=parse_instant(document["now"]),
        policy=policy_from_document(document["policy"]),
        per_node=document["per_node"],
        limit=document["limit"],
        candidates=tuple(_candidate(one) for one in document["candidates"]),
        rejected=tuple(_rejected(one) for one in document["rejected"]),
        handed_out=frozenset(UUID(uuid) for uuid in document["handed_out"]),
        placements={
            node: placement_from_document(one) for node, one in document["placements"].items()
        },
        declared={
            UUID(uuid): placement_from_document(one) for uuid, one in document["declared"].items()
        },
    )


def _candidate_document(candidate: Candidate) -> Document:
    document: Document = {
        "node": candidate.node,
        "uuid": str(candidate.uuid),
        "start_delay_ms": candidate.start_delay_ms,
        "amounts": {
            quantity.value: {"value": amount.value, "is_bound": amount.is_bound}
            for quantity, amount in sorted(candidate.amounts.items())
        },
        "notes": [note.to_document() for note in candidate.notes],
    }
    if candidate.placement is not None:
        document["placement"] = {
            "staging_ms": candidate.placement.staging_ms,
            "at_least_ms": candidate.placement.at_least_ms,
            "whereabouts": candidate.placement.whereabouts.value,
        }
    return document


def _candidate(document: Mapping[str, Any]) -> Candidate:
    return Candidate(
        node=document["node"],
        uuid=UUID(document["uuid"]),
        start_delay_ms=document["start_delay_ms"],
        placement=_ranking_placement(document.get("placement")),
        amounts={
            Quantity(name): Amount(amount["value"], amount["is_bound"])
            for name, amount in document["amounts"].items()
        },
        notes=tuple(reason_from_document(note) for note in document["notes"]),
    )


def _ranking_placement(document: Mapping[str, Any] | None) -> Placement | None:
    if document is None:
        return None
    return Placement(
        document["staging_ms"], document["at_least_ms"], Whereabouts(document["whereabouts"])
    )


def _rejected_document(rejected: Rejected) -> Document:
    return {
        "node": rejected.node,
        "uuid": str(rejected.uuid) if rejected.uuid else None,
        "reasons": [why.to_document() for why in rejected.reasons],
        "notes": [note.to_document() for note in rejected.notes],
    }


def _rejected(document: Mapping[str, Any]) -> Rejected:
    return Rejected(
        node=document["node"],
        uuid=UUID(document["uuid"]) if document["uuid"] else None,
        reasons=tuple(reason_from_document(why) for why in document["reasons"]),
        notes=tuple(reason_from_document(note) for note in document["notes"]),
    )
