"""The saved inputs of a ranking: enough to explain it later, and to make it again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from gateway.domain.placement import NodePlacement, placement_from_document
from gateway.domain.policies import Policy
from gateway.domain.quantities import MICRO, Candidate
from gateway.domain.ranking import Ranking, Scored
from gateway.domain.reasons import Reason
from gateway.domain.selection import Selection, select
from gateway.wire.documents import Document
from gateway.wire.times import format_instant, parse_instant

RECORD_VERSION: Final = 2
"""Of the document's form and of the arithmetic: a record of another version is not replayed."""


class RecordVersionError(ValueError):
    """The record was written by another version, which counted differently."""

    def __init__(self, version: object) -> None:
        super().__init__(f"ranking record of version {version}, this is {RECORD_VERSION}")


class Rejected(msgspec.Struct, frozen=True, gc=False):
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

    def to_json(self) -> bytes:
        """The record as it is saved, offers in an order that does not depend on when they came."""
        return _ENCODER.encode(
            _Saved(
                version=RECORD_VERSION,
                now=format_instant(self.now),
                policy=self.policy,
                per_node=self.per_node,
                limit=self.limit,
                candidates=sorted(self.candidates, key=lambda one: (one.node, one.uuid.int)),
                rejected=sorted(self.rejected, key=lambda one: (one.node, str(one.uuid or ""))),
                handed_out=sorted(self.handed_out),
                placements={
                    node: placement.to_document() for node, placement in self.placements.items()
                },
                declared={
                    uuid: placement.to_document() for uuid, placement in self.declared.items()
                },
            )
        )


class _Version(msgspec.Struct):
    version: int


class _Saved(_Version, kw_only=True):
    """The saved form of a record."""

    now: str
    policy: Policy
    per_node: int
    limit: int
    candidates: list[Candidate]
    rejected: list[Rejected]
    handed_out: list[UUID]
    placements: dict[str, Document]
    declared: dict[UUID, Document]


# Deterministic, so that equal records are equal bytes.
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_VERSION_DECODER: Final = msgspec.json.Decoder(_Version)
_DECODER: Final = msgspec.json.Decoder(_Saved)


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


def record_from_json(text: bytes) -> RankingRecord:
    """The record that ``RankingRecord.to_json`` wrote.

    Raises
    ------
    RecordVersionError
        It is of another version.
    ValueError
        It names a quantity, a basis or a reason code that is not known.
    """
    version = _VERSION_DECODER.decode(text).version
    if version != RECORD_VERSION:
        raise RecordVersionError(version)
    saved = _DECODER.decode(text)
    return RankingRecord(
        now=parse_instant(saved.now),
        policy=saved.policy,
        per_node=saved.per_node,
        limit=saved.limit,
        candidates=tuple(saved.candidates),
        rejected=tuple(saved.rejected),
        handed_out=frozenset(saved.handed_out),
        placements={node: placement_from_document(one) for node, one in saved.placements.items()},
        declared={uuid: placement_from_document(one) for uuid, one in saved.declared.items()},
    )
