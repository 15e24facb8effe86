"""Falling through: which other offer of a set may be accepted in place of the one asked for.

Only one that is no dearer, no later and no farther than the client allows. What the client gives no
number for is held against the offer asked for, where that says anything of it: its client chose it
without knowing the rest. What another offer does not say is never taken to be good enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.domain.quantities import COST_TYPES, MICRO, Amount, Candidate, Quantity
from gateway.domain.record import RankingRecord

START_TOLERANCE: Final = timedelta(seconds=1)
"""Nodes that count in whole seconds may be this far apart and mean the same start."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class FallThrough:
    """How far a client lets its acceptance fall: to ``offers`` others at most.

    ``max_cost`` is of money, in the unit of the offers; ``max_staging_s`` is how long it may take
    until the data are there. None: no worse than the offer asked for.
    """

    offers: int
    max_cost: float | None = None
    start_before: datetime | None = None
    max_staging_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an offer must keep to; None is not compared.

    ``costs`` in millionths, ``start_ms`` from the request, ``staging_ms``.
    """

    costs: Mapping[Quantity, int]
    start_ms: int | None
    staging_ms: int | None

    def allow(self, offer: Candidate, *, has_data: bool) -> bool:
        """Whether the offer is sure to keep to all of them; ``has_data`` if the request has any."""
        return (
            all(_is_within(offer.amounts.get(q), most) for q, most in self.costs.items())
            and _is_no_more(offer.start_delay_ms, self.start_ms)
            and _is_no_more(_staging_ms(offer, has_data=has_data), self.staging_ms)
        )


def limits_of(asked: Candidate, wish: FallThrough, request_time: datetime) -> Limits:
    """What others must keep to; ``request_time`` is what start delays are counted from."""
    costs = {
        quantity: amount.value
        for quantity in COST_TYPES
        if (amount := asked.amounts.get(quantity)) is not None and not amount.is_bound
    }
    if wish.max_cost is not None:
        costs[Quantity.MONETARY] = round(wish.max_cost * MICRO)
    if wish.start_before is not None:
        start_ms: int | None = (wish.start_before - request_time) // _MILLISECOND
    elif asked.start_delay_ms is not None:
        start_ms = asked.start_delay_ms + START_TOLERANCE // _MILLISECOND
    else:
        start_ms = None
    if wish.max_staging_s is not None:
        staging_ms: int | None = round(wish.max_staging_s * 1000)
    else:
        staging_ms = asked.placement.staging_ms if asked.placement else None
    return Limits(costs, start_ms, staging_ms)


def allowed(
    record: RankingRecord, asked: UUID, wish: FallThrough, *, has_data: bool
) -> frozenset[UUID]:
    """The offers of the set that may be accepted in place of ``asked``."""
    by_uuid = {candidate.uuid: candidate for candidate in record.candidates}
    first = by_uuid.get(asked)
    if first is None:
        return frozenset()
    limits = limits_of(first, wish, record.now)
    return frozenset(
        uuid
        for uuid, candidate in by_uuid.items()
        if uuid != asked and limits.allow(candidate, has_data=has_data)
    )


def _is_within(amount: Amount | None, most: int) -> bool:
    # Of a cost of which only a bound is known, that bound is its least.
    return amount is not None and not amount.is_bound and amount.value <= most


def _is_no_more(value: int | None, most: int | None) -> bool:
    return most is None or (value is not None and value <= most)


def _staging_ms(offer: Candidate, *, has_data: bool) -> int | None:
    if offer.placement is None:
        return None if has_data else 0
    return offer.placement.staging_ms
