"""What an offer says about a cost or metric: its quotes, put together by type."""

import math
from collections.abc import Callable, Iterable, Mapping

from gateway.wire.views import Quote, SessionView


def costs_of(offer: SessionView) -> Mapping[str, Quote]:
    """The costs by type.

    The session's own say what the whole costs, so the compute resource's count only for types that
    the session leaves out. Several of one type add up; one without an upper bound leaves the sum
    without. Negative and infinite amounts are not believed: they are unknown.
    """
    return _first_of(_sums(offer.compute_costs), _sums(offer.costs))


def metrics_of(offer: SessionView) -> Mapping[str, Quote]:
    """The metrics by type, the session's own before the compute resource's.

    Of several of one type the range that covers all of them. Infinite amounts are unknown.
    """
    return _first_of(_ranges(offer.compute_metrics), _ranges(offer.metrics))


def _first_of(compute: Mapping[str, Quote], session: Mapping[str, Quote]) -> dict[str, Quote]:
    said = {type_: quote for type_, quote in session.items() if is_known(quote)}
    return {**session, **compute, **said}


def is_known(quote: Quote) -> bool:
    """Whether the quote says any amount."""
    return quote.min is not None or quote.max is not None


def least(quote: Quote) -> float | None:
    """The lower bound; a lone upper bound is taken for the amount itself."""
    return quote.max if quote.min is None else quote.min


def most(quote: Quote) -> float | None:
    """The upper bound; a lone lower bound is taken for the amount itself."""
    return quote.min if quote.max is None else quote.max


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _amount(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _by_type(quotes: Iterable[Quote]) -> dict[str, list[Quote]]:
    grouped: dict[str, list[Quote]] = {}
    for quote in quotes:
        grouped.setdefault(quote.type, []).append(quote)
    return grouped


def _sums(quotes: Iterable[Quote]) -> dict[str, Quote]:
    return {
        type_: Quote(
            type_, _sum(_amount(q.min) for q in group), _sum(_amount(q.max) for q in group)
        )
        for type_, group in _by_type(quotes).items()
    }


def _sum(values: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    # fsum does not depend on the order of its terms.
    return _amount(math.fsum(known))


def _ranges(quotes: Iterable[Quote]) -> dict[str, Quote]:
    return {
        type_: Quote(
            type_,
            _over(min, (_finite(q.min) for q in group)),
            _over(max, (_finite(q.max) for q in group)),
        )
        for type_, group in _by_type(quotes).items()
    }


def _over(pick: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """The outermost bound; none as soon as one is not known."""
    known = list(values)
    bounds = [value for value in known if value is not None]
    return pick(bounds) if len(bounds) == len(known) else None
