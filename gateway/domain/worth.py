"""What an offer's quantities are worth: from measured, bounded or unknown values to utilities."""

from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from gateway.domain.policies import Policy
from gateway.domain.quantities import (
    MICRO,
    SCALES,
    Amount,
    Candidate,
    Direction,
    Placement,
    Quantity,
    Whereabouts,
)

_REMEMBERED: Final = 4096
"""Worths of amounts that are kept: most offers have theirs in common with others."""


class Basis(StrEnum):
    """How a value is known."""

    MEASURED = "measured"
    BOUND = "bound"
    """Only that it is no better than the value; what it counts as is worse."""
    UNKNOWN = "unknown"
    """Not at all; it counts as the policy's prior."""


class Worth(msgspec.Struct, frozen=True, gc=False):
    """One quantity of one offer under a policy.

    ``value`` is what is known, ``counted`` what it counts as, both in parts of the unit.
    ``utility`` is 0 to 1 in millionths. ``merit`` is what it counts as, more being better.
    ``weight`` is the policy's.
    """

    quantity: Quantity
    basis: Basis
    value: int | None
    counted: int
    utility: int
    merit: int
    weight: int


class Rule(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """How one quantity counts under a policy. Made once: looking it up for each offer is dear."""

    quantity: Quantity
    direction: Direction
    reference: int
    prior: int
    weight: int


def rules_of(policy: Policy) -> tuple[Rule, ...]:
    """The policy's rules, one for each quantity, in their order."""
    return tuple(
        Rule(
            quantity,
            SCALES[quantity].direction,
            policy.yardsticks[quantity].reference,
            policy.yardsticks[quantity].prior,
            policy.weight(quantity),
        )
        for quantity in Quantity
    )


def worths_of(candidate: Candidate, rules: tuple[Rule, ...]) -> tuple[Worth, ...]:
    """Every quantity that applies, in their order; staging only where data play a part."""
    begin, staging, *others = rules
    worths = [_begin(candidate, begin, staging)]
    if candidate.placement:
        worths.append(_staging(candidate.placement, staging))
    amounts = candidate.amounts
    worths += [_amount_remembered(amounts.get(rule.quantity), rule) for rule in others]
    return tuple(worths)


def score_of(worths: tuple[Worth, ...]) -> int:
    """The mean utility by weight, in millionths, rounded down."""
    weights = gained = 0
    for worth in worths:
        weights += worth.weight
        gained += worth.weight * worth.utility
    return gained // weights if weights else 0


def _worth(rule: Rule, basis: Basis, value: int | None, counted: int) -> Worth:
    is_less_better = rule.direction is Direction.LESS_IS_BETTER
    if is_less_better:
        utility = MICRO * rule.reference // (rule.reference + counted)
    elif rule.direction is Direction.MORE_IS_BETTER:
        utility = MICRO * counted // (rule.reference + counted)
    else:
        utility = min(counted, MICRO)
    merit = -counted if is_less_better else counted
    return Worth(rule.quantity, basis, value, counted, utility, merit, rule.weight)


def _begin(candidate: Candidate, rule: Rule, staging_rule: Rule) -> Worth:
    """The later of start and end of staging; staging of unknown length is added to the wait.

    Data that nobody can locate add nothing, as they keep all nodes waiting alike; but then the
    result is a bound, and never the best.
    """
    placement, start = candidate.placement, candidate.start_delay_ms
    staging = _sure_ms(placement) if placement else 0
    slack = staging_rule.prior if placement and _is_unknown_here(placement) else 0
    if start is None:
        return _worth(rule, Basis.UNKNOWN, None, max(rule.prior, staging) + slack)
    wait = max(start, staging)
    if slack or (placement and placement.whereabouts is not Whereabouts.KNOWN):
        return _worth(rule, Basis.BOUND, wait, wait + slack)
    return _worth(rule, Basis.MEASURED, wait, wait)


def _staging(placement: Placement, rule: Rule) -> Worth:
    """What is not known of the time is added to what is."""
    sure = _sure_ms(placement)
    if placement.staging_ms is not None and placement.whereabouts is Whereabouts.KNOWN:
        return _worth(rule, Basis.MEASURED, sure, sure)
    if not sure:
        return _worth(rule, Basis.UNKNOWN, None, rule.prior)
    return _worth(rule, Basis.BOUND, sure, sure + rule.prior)


def _sure_ms(placement: Placement) -> int:
    return placement.at_least_ms if placement.staging_ms is None else placement.staging_ms


def _is_unknown_here(placement: Placement) -> bool:
    """Whether what is known of the data does not say how long this node would wait for them."""
    return placement.staging_ms is None and placement.whereabouts is not Whereabouts.UNKNOWN


def _amount(amount: Amount | None, rule: Rule) -> Worth:
    """A mere bound counts as the prior, unless the bound alone is worse than that already."""
    if amount is None:
        return _worth(rule, Basis.UNKNOWN, None, rule.prior)
    if not amount.is_bound:
        return _worth(rule, Basis.MEASURED, amount.value, amount.value)
    worse = max if rule.direction is Direction.LESS_IS_BETTER else min
    return _worth(rule, Basis.BOUND, amount.value, worse(amount.value, rule.prior))


_amount_remembered: Final = lru_cache(_REMEMBERED)(_amount)
