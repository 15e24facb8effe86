"""Ranking: the order of the offers under a policy, and what speaks for each.

Utilities are absolute: an offer's score depends on the offer and the policy alone, never on which
other offers came in or when. Everything is counted in integers, so the order is the same anywhere.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from operator import ge
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from gateway.domain.policies import Policy
from gateway.domain.quantities import MICRO, SCALES, Candidate, Direction, Quantity, shown
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.domain.worth import Basis, Worth, rules_of, score_of, worths_of

BEST_CODES: Final[Mapping[Quantity, ReasonCode]] = {
    Quantity.BEGIN: ReasonCode.STARTS_SOONEST,
    Quantity.STAGING: ReasonCode.NEAREST_DATA,
    Quantity.MONETARY: ReasonCode.CHEAPEST,
    Quantity.CARBON: ReasonCode.LOWEST_CARBON,
    Quantity.ENERGY: ReasonCode.LOWEST_ENERGY,
    Quantity.PERFORMANCE: ReasonCode.FASTEST,
    Quantity.CORES: ReasonCode.MOST_CORES,
    Quantity.MEMORY: ReasonCode.MOST_MEMORY,
    Quantity.TRACK_RECORD: ReasonCode.MOST_RELIABLE,
}
"""What is said of the offers that are best in a quantity."""

TOP_REASONS: Final = 2
"""How many of the quantities that count most are named for each offer."""

_COMPARED: Final = 64
"""The best offers, with which the others are compared: bounds the cost of a large set."""

_Merits: TypeAlias = tuple[tuple[Basis, ...], tuple[int, ...]]
"""How each quantity of an offer is known, and its merit."""


class Scored(msgspec.Struct, frozen=True, gc=False):
    """An offer with its worths and its score in millionths."""

    candidate: Candidate
    worths: tuple[Worth, ...]
    score: int

    @property
    def node(self) -> str:
        """The name of the node that offers."""
        return self.candidate.node

    @property
    def uuid(self) -> UUID:
        """The offer's UUID."""
        return self.candidate.uuid


def _order(scored: Scored) -> tuple[int, bool, int, str, UUID]:
    """Best score first, then the sooner start (an unknown one last), node name, UUID."""
    candidate = scored.candidate
    start = candidate.start_delay_ms
    return (-scored.score, start is None, start or 0, candidate.node, candidate.uuid)


class Ranking:
    """Offers in the order of a policy, best first."""

    def __init__(self, candidates: Iterable[Candidate], policy: Policy) -> None:
        self.policy = policy
        self._merits: list[_Merits] = []
        rules = rules_of(policy)
        scored = []
        for candidate in candidates:
            worths = worths_of(candidate, rules)
            scored.append(Scored(candidate, worths, score_of(worths)))
        self.ordered = tuple(sorted(scored, key=_order))

    def reasons_of(self, scored: Scored) -> tuple[Reason, ...]:
        """What speaks for the offer and what qualifies it; the judging's notes come last."""
        dominator = self.dominator_of(scored)
        return (
            *self._best_in(scored),
            *_top(scored),
            *_doubts(scored),
            *([_dominated(dominator)] if dominator else []),
            *scored.candidate.notes,
        )

    def dominator_of(self, scored: Scored) -> Scored | None:
        """A better ranked offer that is as good in everything and better in something.

        An offer with something unknown is compared only with those that lack the same, and all are
        compared only with the best 64.
        """
        merits = _merits(scored)
        for rank, better in enumerate(self.ordered[:_COMPARED]):
            if better is scored:
                return None
            if rank == len(self._merits):
                self._merits.append(_merits(better))
            if _dominates(self._merits[rank], merits):
                return better
        return None

    @cached_property
    def _best(self) -> Mapping[Quantity, int]:
        """The best measured value of each quantity in which the offers differ."""
        values: dict[Quantity, set[int]] = {}
        alike: dict[int, list[tuple[Worth, ...]]] = {}
        for scored in self.ordered:
            alike.setdefault(len(scored.worths), []).append(scored.worths)
        for rows in alike.values():
            for column in zip(*rows, strict=True):
                found = {worth.counted for worth in column if worth.basis is Basis.MEASURED}
                values.setdefault(column[0].quantity, set()).update(found)
        return {
            quantity: min(found) if _is_less_better(quantity) else max(found)
            for quantity, found in values.items()
            if len(found) > 1
        }

    def _best_in(self, scored: Scored) -> list[Reason]:
        return [
            reason(BEST_CODES[worth.quantity], value=shown(worth.quantity, worth.counted))
            for worth in scored.worths
            if worth.basis is Basis.MEASURED and self._best.get(worth.quantity) == worth.counted
        ]


def _is_less_better(quantity: Quantity) -> bool:
    return SCALES[quantity].direction is Direction.LESS_IS_BETTER


def _merits(scored: Scored) -> _Merits:
    return (
        tuple([worth.basis for worth in scored.worths]),
        tuple([worth.merit for worth in scored.worths]),
    )


def _dominates(one: _Merits, other: _Merits) -> bool:
    """Whether all is known alike of both, and one is as good in all and better in something."""
    (known, merits), (other_known, others) = one, other
    return known == other_known and merits != others and all(map(ge, merits, others))


def _dominated(by: Scored) -> Reason:
    return reason(ReasonCode.DOMINATED, offer=by.uuid, node=by.node)


def _top(scored: Scored) -> list[Reason]:
    """The quantities that add most to the score."""
    weights = sum(worth.weight for worth in scored.worths)
    counting = [worth for worth in scored.worths if worth.weight * worth.utility]
    # sorted() is stable, so equal ones stay in the order of Quantity.
    counting = sorted(counting, key=lambda worth: -worth.weight * worth.utility)
    return [
        reason(
            ReasonCode.COUNTS_MOST,
            quantity=worth.quantity.value,
            value=shown(worth.quantity, worth.counted),
            unit=SCALES[worth.quantity].unit,
            utility=share_shown(worth.utility),
            weight=worth.weight,
            weights=weights,
        )
        for worth in counting[:TOP_REASONS]
    ]


def _doubts(scored: Scored) -> list[Reason]:
    """What counts and is not known."""
    return [
        _doubt(worth)
        for worth in scored.worths
        if worth.weight and worth.basis is not Basis.MEASURED
    ]


def _doubt(worth: Worth) -> Reason:
    quantity, unit = worth.quantity.value, SCALES[worth.quantity].unit
    counted = shown(worth.quantity, worth.counted)
    if worth.value is None:
        return reason(ReasonCode.UNKNOWN_QUANTITY, quantity=quantity, prior=counted, unit=unit)
    return reason(
        ReasonCode.ONLY_A_BOUND,
        quantity=quantity,
        value=shown(worth.quantity, worth.value),
        counted=counted,
        unit=unit,
    )


def share_shown(micro: int) -> str:
    """A utility or score as a decimal of three digits, rounded down."""
    return f"{micro // MICRO}.{micro % MICRO // 1000:03}"
