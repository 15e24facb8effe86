"""Explanations: everything that decided an offer set, and how another policy would have decided."""

from uuid import UUID

from gateway.domain.clauses import clause_table
from gateway.domain.placement import NodePlacement
from gateway.domain.quantities import MICRO, SCALES, Quantity
from gateway.domain.ranking import Scored
from gateway.domain.reasons import REASONS_VERSION, Reason
from gateway.domain.record import RECORD_VERSION, Decision
from gateway.domain.worth import Worth
from gateway.wire.documents import Document
from gateway.wire.times import format_instant
from gateway.wire.views import RequestView


def explain(
    decision: Decision,
    request: RequestView,
    *,
    offerset: UUID,
    coverage: list[Document],
    shows_sources: bool,
) -> Document:
    """Every candidate with its quantities, utilities, weights and reasons, kept or not.

    ``shows_sources``: the reader may learn from where data would come, and so where replicas are.
    """
    record = decision.record
    return {
        "offerset": str(offerset),
        "asked": format_instant(record.now),
        "versions": {"record": RECORD_VERSION, "reasons": REASONS_VERSION},
        "policy": _policy(decision),
        "per_node": record.per_node,
        "limit": record.limit,
        "coverage": coverage,
        "clauses": clause_table(request, record),
        "placements": [
            {"node": node, **_placement(placement, shows_sources=shows_sources)}
            for node, placement in sorted(record.placements.items())
        ],
        "candidates": _candidates(decision),
        "rejected": [
            {
                "node": one.node,
                "offer": str(one.uuid) if one.uuid else None,
                "reasons": _reasons(one.reasons),
                "notes": _reasons(one.notes),
            }
            for one in sorted(record.rejected, key=lambda one: (one.node, str(one.uuid or "")))
        ],
    }


def compare(then: Decision, replayed: Decision, *, offerset: UUID) -> Document:
    """The order under another policy beside the order that was given out."""
    before = {scored.uuid: rank for rank, scored in enumerate(then.selection.kept, start=1)}
    after = {scored.uuid: rank for rank, scored in enumerate(replayed.selection.kept, start=1)}
    return {
        "offerset": str(offerset),
        "policy": _policy(replayed),
        "was": then.ranking.policy.name,
        "is_same": list(before) == list(after),
        "per_node": replayed.record.per_node,
        "limit": replayed.record.limit,
        "candidates": [
            {
                "node": scored.node,
                "offer": str(scored.uuid),
                "rank": after.get(scored.uuid),
                "was_rank": before.get(scored.uuid),
                "score": scored.score / MICRO,
                "reasons": _reasons(replayed.ranking.reasons_of(scored)),
            }
            for scored in replayed.ranking.ordered
        ],
    }


def _policy(decision: Decision) -> Document:
    """The policy with its references and priors in units."""
    policy = decision.ranking.policy
    return {
        "name": policy.name,
        "quantities": [
            {
                "quantity": quantity.value,
                "unit": SCALES[quantity].unit,
                "direction": SCALES[quantity].direction.value,
                "weight": policy.weight(quantity),
                "reference": _in_units(quantity, policy.yardsticks[quantity].reference),
                "prior": _in_units(quantity, policy.yardsticks[quantity].prior),
            }
            for quantity in Quantity
        ],
    }


def _candidates(decision: Decision) -> list[Document]:
    ranks = {scored.uuid: rank for rank, scored in enumerate(decision.selection.kept, start=1)}
    dropped = {scored.uuid: why for scored, why in decision.selection.dropped}
    return [
        {
            "node": scored.node,
            "offer": str(scored.uuid),
            "rank": ranks.get(scored.uuid),
            "score": scored.score / MICRO,
            "quantities": [_worth(worth) for worth in scored.worths],
            "placement": _placement_of(decision, scored),
            "reasons": _reasons(decision.ranking.reasons_of(scored)),
            "dropped": dropped[scored.uuid].to_document() if scored.uuid in dropped else None,
        }
        for scored in decision.ranking.ordered
    ]


def _placement_of(decision: Decision, scored: Scored) -> Document | None:
    placement = decision.record.placement_of(scored.node, scored.uuid)
    return placement.to_public() if placement else None


def _placement(placement: NodePlacement, *, shows_sources: bool) -> Document:
    shown = placement.to_public()
    if shows_sources:
        shown["sources"] = [
            {"place": place, "bytes": size} for place, size in sorted(placement.sources.items())
        ]
    return shown


def _worth(worth: Worth) -> Document:
    """One quantity in its unit: what is known, what it counts as, and what that is worth."""
    return {
        "quantity": worth.quantity.value,
        "unit": SCALES[worth.quantity].unit,
        "basis": worth.basis.value,
        "value": _in_units(worth.quantity, worth.value),
        "counted": _in_units(worth.quantity, worth.counted),
        "utility": worth.utility / MICRO,
        "weight": worth.weight,
    }


def _in_units(quantity: Quantity, value: int | None) -> float | None:
    return None if value is None else value / SCALES[quantity].parts


def _reasons(reasons: tuple[Reason, ...]) -> list[Document]:
    return [why.to_document() for why in reasons]
