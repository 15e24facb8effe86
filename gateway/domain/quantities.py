"""What offers are compared by: quantities as integers, each with its unit and its direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from gateway.domain.quotes import joined_costs, joined_metrics, least
from gateway.domain.reasons import Reason
from gateway.wire import kinds
from gateway.wire.views import Bounds, Quote, RequestView, SessionView

MICRO: Final = 1_000_000
"""Utilities, scores and amounts of cost are counted in millionths."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_LARGEST: Final = 1e12
"""Beyond this, amounts are all the same: a trillion of any unit here is out of this world."""


class Quantity(StrEnum):
    """What is compared. Values are stable: settings and saved rankings name them."""

    BEGIN = "begin"
    """When the work can really begin: the later of the start and the end of staging."""
    STAGING = "staging"
    """How long it takes until the data are at the node."""
    MONETARY = "monetary"
    CARBON = "carbon"
    ENERGY = "energy"
    PERFORMANCE = "performance"
    CORES = "cores"
    """Cores beyond the requested minimum."""
    MEMORY = "memory"
    """Memory beyond the requested minimum."""
    TRACK_RECORD = "track_record"
    """How often the node kept its word."""


class Direction(StrEnum):
    """How a quantity turns into a utility."""

    LESS_IS_BETTER = "less_is_better"
    """Utility ``reference / (reference + value)``."""
    MORE_IS_BETTER = "more_is_better"
    """Utility ``value / (reference + value)``."""
    SHARE = "share"
    """The value is a utility already."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A quantity's direction and unit; values are counted in ``parts`` of the unit."""

    direction: Direction
    unit: str
    parts: int


SCALES: Final[Mapping[Quantity, Scale]] = {
    Quantity.BEGIN: Scale(Direction.LESS_IS_BETTER, "s", 1000),
    Quantity.STAGING: Scale(Direction.LESS_IS_BETTER, "s", 1000),
    Quantity.MONETARY: Scale(Direction.LESS_IS_BETTER, "of money", MICRO),
    Quantity.CARBON: Scale(Direction.LESS_IS_BETTER, "g CO2", MICRO),
    Quantity.ENERGY: Scale(Direction.LESS_IS_BETTER, "kWh", MICRO),
    Quantity.PERFORMANCE: Scale(Direction.MORE_IS_BETTER, "points", MICRO),
    Quantity.CORES: Scale(Direction.MORE_IS_BETTER, "cores", 1),
    Quantity.MEMORY: Scale(Direction.MORE_IS_BETTER, "GiB", 1),
    Quantity.TRACK_RECORD: Scale(Direction.SHARE, "of 1", MICRO),
}
"""How each quantity is counted. Money has no currency on the wire."""

COST_TYPES: Final[Mapping[Quantity, str]] = {
    Quantity.MONETARY: kinds.MONETARY_COST,
    Quantity.CARBON: kinds.CARBON_COST,
    Quantity.ENERGY: kinds.ENERGY_COST,
}
"""The cost type that each of these quantities is read from."""

_COUNTED_COSTS: Final = frozenset(COST_TYPES.values())
_COUNTED_METRICS: Final = frozenset({kinds.COMPUTE_PERFORMANCE})

_REMEMBERED: Final = 1024
"""Different sets of prices that are kept worked out: a node's offers mostly cost the same."""

_MOST_REMEMBERED: Final = 16
"""An offer with more quotes is worked out each time: a node may not fill the memory."""

_Quotes: TypeAlias = tuple[Quote, ...]


# Amounts and candidates come by the hundred; msgspec's structs are made five times as fast.
class Amount(msgspec.Struct, frozen=True, gc=False):
    """A measured value in parts of its unit.

    ``is_bound``: the value itself is not known, only that it is no better than this.
    """

    value: int
    is_bound: bool = False


class Whereabouts(StrEnum):
    """Whether anybody knows where a request's data lie; the same for every node."""

    KNOWN = "known"
    PARTLY = "partly"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Placement:
    """What is known of a request's data as seen from one node; None is looked for and not known.

    ``staging_ms`` is that of the data whose ``whereabouts`` are known, ``at_least_ms`` what is sure
    of it where it is None.
    """

    staging_ms: int | None
    at_least_ms: int = 0
    whereabouts: Whereabouts = Whereabouts.KNOWN


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An offer being ranked: who made it and what was measured of it.

    ``start_delay_ms`` runs from the request to the earliest start offered. ``placement`` is None
    where data play no part: none are asked for, or nobody was asked where they are. ``amounts``
    lacks what is not known. ``notes`` are those of the judging.
    """

    node: str
    uuid: UUID
    start_delay_ms: int | None = None
    placement: Placement | None = None
    amounts: Mapping[Quantity, Amount] = msgspec.field(default_factory=dict)
    notes: tuple[Reason, ...] = ()


def measure(
    offer: SessionView,
    request: RequestView,
    now: datetime,
    *,
    node: str,
    placement: Placement | None = None,
    kept_share: int | None = None,
    reports_memory: bool = True,
    notes: tuple[Reason, ...] = (),
) -> Candidate:
    """Read off the offer what it is compared by. ``now`` is when the request came in.

    Costs count with what the client may have to pay, their upper bound; performance and sizes with
    what is promised, their lower bound. ``kept_share`` is how often the node kept its word, in
    millionths.
    """
    amounts = dict(_quoted(offer))
    if (cores := _beyond(offer.cores, request.cores)) is not None:
        amounts[Quantity.CORES] = cores
    if reports_memory and (memory := _beyond(offer.memory_gib, request.memory_gib)) is not None:
        amounts[Quantity.MEMORY] = memory
    if kept_share is not None:
        amounts[Quantity.TRACK_RECORD] = Amount(kept_share)
    return Candidate(
        node=node,
        uuid=offer.uuid,
        start_delay_ms=_delay_ms(offer.start.start, now) if offer.start else None,
        placement=placement,
        amounts=amounts,
        notes=notes,
    )


def _quoted(offer: SessionView) -> Mapping[Quantity, Amount]:
    """The amounts that costs and metrics say."""
    compute_costs, costs = offer.compute_costs, offer.costs
    compute_metrics, metrics = offer.compute_metrics, offer.metrics
    said = len(compute_costs) + len(costs) + len(compute_metrics) + len(metrics)
    return (_amounts_remembered if said <= _MOST_REMEMBERED else _amounts)(
        _only(compute_costs, _COUNTED_COSTS) if compute_costs else (),
        _only(costs, _COUNTED_COSTS) if costs else (),
        _only(compute_metrics, _COUNTED_METRICS) if compute_metrics else (),
        _only(metrics, _COUNTED_METRICS) if metrics else (),
    )


def _only(quotes: _Quotes, types: frozenset[str]) -> _Quotes:
    return tuple([quote for quote in quotes if quote.type in types])


def _amounts(
    compute_costs: _Quotes, costs: _Quotes, compute_metrics: _Quotes, metrics: _Quotes
) -> Mapping[Quantity, Amount]:
    by_type = joined_costs(compute_costs, costs)
    found = [(quantity, _cost(by_type.get(type_))) for quantity, type_ in COST_TYPES.items()]
    performance = joined_metrics(compute_metrics, metrics).get(kinds.COMPUTE_PERFORMANCE)
    found.append((Quantity.PERFORMANCE, _performance(performance)))
    return {quantity: amount for quantity, amount in found if amount is not None}


_amounts_remembered: Final = lru_cache(_REMEMBERED)(_amounts)


def _delay_ms(start: datetime, now: datetime) -> int:
    return max((start - now) // _MILLISECOND, 0)


def _cost(quote: Quote | None) -> Amount | None:
    if quote is None:
        return None
    if quote.max is not None:
        return Amount(_micro(quote.max))
    return None if quote.min is None else Amount(_micro(quote.min), is_bound=True)


def _performance(quote: Quote | None) -> Amount | None:
    value = least(quote) if quote else None
    if quote is None or value is None or value < 0:
        return None
    return Amount(_micro(value), is_bound=quote.min is None)


def _beyond(offered: Bounds | None, wanted: Bounds) -> Amount | None:
    if offered is None:
        return None
    sure = offered.max if offered.min is None else offered.min
    if sure is None:
        return None
    return Amount(max(sure - (wanted.min or 0), 0), is_bound=offered.min is None)


def _micro(value: float) -> int:
    return round(min(value, _LARGEST) * MICRO)


def shown(quantity: Quantity, value: int) -> str:
    """The value in its unit, as a decimal without needless digits."""
    parts = SCALES[quantity].parts
    whole, rest = divmod(value, parts)
    digits = len(str(parts)) - 1
    return f"{whole}.{rest:0{digits}}".rstrip("0").rstrip(".") if digits else str(whole)
