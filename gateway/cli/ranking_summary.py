"""What a person wants to know of a ranking: who passed what, what counted, what moved an offer.

Read as leniently as everything that a broker wrote.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.cli.summary import (
    CoverageSummary,
    PlacementSummary,
    at,
    items,
    number,
    summarise_coverage,
    summarise_placement,
    text,
    texts_of,
)
from gateway.wire.documents import Document

_PER_NODE: Final = "over_per_node"
_LIMIT: Final = "over_limit"
"""The codes of offers that were good, and one too many."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many offers pass a clause, fail it, or may do either."""

    passed: int
    unsure: int
    failed: int


@dataclass(frozen=True, slots=True)
class ClauseSummary:
    """One thing that every offer has to meet, with the count of all offers and of each node's."""

    name: str
    wanted: str
    offers: Tally
    nodes: Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class WorthSummary:
    """One quantity of one offer; ``value`` None is not known, ``counted`` is what it counts as."""

    quantity: str
    unit: str
    basis: str
    value: float | None
    counted: float | None
    utility: float
    weight: float


@dataclass(frozen=True, slots=True)
class CandidateSummary:
    """An offer that was ranked; without ``rank`` it was not handed out, as ``dropped`` says."""

    node: str
    offer: str
    rank: int | None
    score: float
    worths: tuple[WorthSummary, ...]
    placement: PlacementSummary | None
    dropped: str | None

    def parts(self, weights: Mapping[str, float]) -> dict[str, float]:
        """What each quantity adds to the score under these weights."""
        total = sum(weights.get(worth.quantity, 0.0) for worth in self.worths)
        return {
            worth.quantity: weights.get(worth.quantity, 0.0) * worth.utility / total if total else 0
            for worth in self.worths
        }


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """How a policy counts a quantity: a value of ``reference`` is worth one half."""

    quantity: str
    unit: str
    direction: str
    weight: float
    reference: float | None
    prior: float | None


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """A policy by its name, and how it counts each quantity."""

    name: str
    rules: tuple[RuleSummary, ...]

    @property
    def weights(self) -> dict[str, float]:
        """How much each quantity counts."""
        return {rule.quantity: rule.weight for rule in self.rules}


@dataclass(frozen=True, slots=True)
class RejectedSummary:
    """An offer that does not meet the request."""

    node: str
    offer: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """One node's placement; ``sources`` (bytes by place) is only shown to who may see replicas."""

    node: str
    placement: PlacementSummary
    bytes_total: float | None
    bytes_local: float | None
    age_s: float | None
    sources: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ExplanationSummary:
    """Everything that decided an offer set."""

    offerset: str
    policy: PolicySummary
    coverage: tuple[CoverageSummary, ...]
    clauses: tuple[ClauseSummary, ...]
    candidates: tuple[CandidateSummary, ...]
    rejected: tuple[RejectedSummary, ...]
    placements: tuple[PlacedNode, ...]


@dataclass(frozen=True, slots=True)
class MoveSummary:
    """An offer's place under another policy; None is not handed out."""

    node: str
    offer: str
    rank: int | None
    was_rank: int | None
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """How another policy ranks the same offers."""

    offerset: str
    policy: PolicySummary
    was: str
    is_same: bool
    moves: tuple[MoveSummary, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a quantity adds to a score more than it does elsewhere, or less where negative."""

    quantity: str
    change: float


def summarise_explanation(document: Document) -> ExplanationSummary:
    """The explanation's summary."""
    candidates = tuple(_candidate(one) for one in items(document, "candidates"))
    clauses = [_clause(one) for one in items(document, "clauses")]
    return ExplanationSummary(
        offerset=text(document.get("offerset")) or "?",
        policy=_policy(document.get("policy")),
        coverage=tuple(summarise_coverage({"federation": document})),
        clauses=(*clauses, *_selection(document, candidates)),
        candidates=candidates,
        rejected=tuple(_rejected(one) for one in items(document, "rejected")),
        placements=tuple(_placed(one) for one in items(document, "placements")),
    )


def summarise_replay(document: Document) -> ReplaySummary:
    """The replay's summary."""
    return ReplaySummary(
        offerset=text(document.get("offerset")) or "?",
        policy=_policy(document.get("policy")),
        was=text(document.get("was")) or "?",
        is_same=document.get("is_same") is True,
        moves=tuple(
            MoveSummary(
                node=text(one.get("node")) or "?",
                offer=text(one.get("offer")) or "",
                rank=_whole(one.get("rank")),
                was_rank=_whole(one.get("was_rank")),
                score=number(one.get("score")) or 0.0,
                reasons=texts_of(one.get("reasons")),
            )
            for one in items(document, "candidates")
        ),
    )


def advantages(
    weights: Mapping[str, float], one: CandidateSummary, other: CandidateSummary
) -> tuple[float, list[Difference]]:
    """By how much ``one`` scores more than ``other``, and what makes it, the largest part first."""
    ours, theirs = one.parts(weights), other.parts(weights)
    differences = {name: ours[name] - theirs.get(name, 0.0) for name in ours}
    return one.score - other.score, _largest_first(differences)


def moved_by(explanation: ExplanationSummary, replay: ReplaySummary) -> dict[str, list[Difference]]:
    """What moves each offer, by its UUID: the change of its score beyond that of the average offer.

    A change that all offers share moves none of them. Quantities that `incomparable` names are left
    out.
    """
    skipped = incomparable(explanation.policy, replay.policy)
    changes: dict[str, dict[str, float]] = {}
    for one in explanation.candidates:
        before, after = one.parts(explanation.policy.weights), one.parts(replay.policy.weights)
        changes[one.offer] = {
            name: after[name] - before[name] for name in after if name not in skipped
        }
    means = _means(changes.values())
    return {
        offer: _largest_first({name: value - means[name] for name, value in change.items()})
        for offer, change in changes.items()
    }


def incomparable(one: PolicySummary, other: PolicySummary) -> list[str]:
    """Quantities that count in both or either, held against other values: worth something else."""
    others = {rule.quantity: rule for rule in other.rules}
    return [
        rule.quantity
        for rule in one.rules
        if (its := others.get(rule.quantity)) is not None
        and (rule.weight or its.weight)
        and (rule.reference, rule.prior) != (its.reference, its.prior)
    ]


def nearest_of(candidates: Iterable[CandidateSummary]) -> CandidateSummary | None:
    """The best ranked of those whose data are there soonest; None where none is known to be."""
    known = [
        (one.placement.staging_s, one)
        for one in candidates
        if one.placement and one.placement.staging_s is not None and not one.placement.is_partial
    ]
    times = {staging_s for staging_s, _ in known}
    if len(times) < 2:
        return None
    return next(one for staging_s, one in known if staging_s == min(times))


def _means(changes: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for change in changes:
        for name, value in change.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _largest_first(changes: Mapping[str, float]) -> list[Difference]:
    found = [Difference(name, change) for name, change in changes.items()]
    return sorted(found, key=lambda one: -abs(one.change))


def _clause(document: Document) -> ClauseSummary:
    return ClauseSummary(
        name=text(document.get("clause")) or "?",
        wanted=text(document.get("wanted")) or "",
        offers=_tally(document),
        nodes={text(one.get("node")) or "?": _tally(one) for one in items(document, "nodes")},
    )


def _selection(
    document: Document, candidates: Sequence[CandidateSummary]
) -> Iterable[ClauseSummary]:
    """The clauses of the answer's size, which good offers fail as well."""
    left = list(candidates)
    for code, name, what, member in (
        (_PER_NODE, "per node", "at most {} of a node", "per_node"),
        (_LIMIT, "limit", "at most {} in all", "limit"),
    ):
        most = _whole(document.get(member))
        if most is None:
            continue
        nodes = {
            node: _counted([one.dropped == code for one in left if one.node == node])
            for node in sorted({one.node for one in left})
        }
        total = _counted([one.dropped == code for one in left])
        yield ClauseSummary(name, what.format(most), total, nodes)
        left = [one for one in left if one.dropped != code]


def _counted(failures: Sequence[bool]) -> Tally:
    return Tally(len(failures) - sum(failures), 0, sum(failures))


def _tally(document: Document) -> Tally:
    passed, unsure, failed = (
        _whole(document.get(member)) or 0 for member in ("passed", "unsure", "failed")
    )
    return Tally(passed, unsure, failed)


def _candidate(document: Document) -> CandidateSummary:
    return CandidateSummary(
        node=text(document.get("node")) or "?",
        offer=text(document.get("offer")) or "",
        rank=_whole(document.get("rank")),
        score=number(document.get("score")) or 0.0,
        worths=tuple(_worth(one) for one in items(document, "quantities")),
        placement=summarise_placement(document.get("placement")),
        dropped=text(at(document, "dropped", "code")),
    )


def _worth(document: Document) -> WorthSummary:
    return WorthSummary(
        quantity=text(document.get("quantity")) or "?",
        unit=text(document.get("unit")) or "",
        basis=text(document.get("basis")) or "unknown",
        value=number(document.get("value")),
        counted=number(document.get("counted")),
        utility=number(document.get("utility")) or 0.0,
        weight=number(document.get("weight")) or 0.0,
    )


def _policy(document: Any) -> PolicySummary:
    return PolicySummary(
        name=text(at(document, "name")) or "?",
        rules=tuple(
            RuleSummary(
                quantity=text(one.get("quantity")) or "?",
                unit=text(one.get("unit")) or "",
                direction=text(one.get("direction")) or "",
                weight=number(one.get("weight")) or 0.0,
                reference=number(one.get("reference")),
                prior=number(one.get("prior")),
            )
            for one in items(document, "quantities")
        ),
    )


def _rejected(document: Document) -> RejectedSummary:
    return RejectedSummary(
        node=text(document.get("node")) or "?",
        offer=text(document.get("offer")),
        reasons=texts_of(document.get("reasons")),
    )


def _placed(document: Document) -> PlacedNode:
    placement = summarise_placement(document)
    assert placement is not None
    sources = {
        text(one.get("place")) or "?": number(one.get("bytes")) or 0.0
        for one in items(document, "sources")
    }
    return PlacedNode(
        node=text(document.get("node")) or "?",
        placement=placement,
        bytes_total=number(document.get("bytes_total")),
        bytes_local=number(document.get("bytes_local")),
        age_s=number(document.get("age_s")),
        sources=sources,
    )


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
