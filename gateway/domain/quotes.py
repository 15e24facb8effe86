"""What an offer says about a cost or metric: its quotes, put together by type."""

import math
from collections.abc import Callable, Iterable, Mapping

from gateway.wire.views import Quote, SessionView


def costs_of(offer: SessionView) -> Mapping[str, Quote]:
    """The costs of an offer by type; see ``joined_costs``."""
    return joined_costs(offer.compute_costs, offer.costs)


def joined_costs(compute: Iterable[Quote], session: Iterable[Quote]) -> Mapping[str, Quote]:
    """The costs by type.

    The session's own say what the whole costs, so the compute resource's count only for types that
    the session leaves out. Several of one type add up; one without an upper bound leaves the sum
    without. Negative and infinite amounts are not believed: they are unknown.
    """
    return _first_of(_put_together(compute, _sum), _put_together(session, _sum))


def metrics_of(offer: SessionView) -> Mapping[str, Quote]:
    """The metrics of an offer by type; see ``joined_metrics``."""
    return joined_metrics(offer.compute_metrics, offer.metrics)


def joined_metrics(compute: Iterable[Quote], session: Iterable[Quote]) -> Mapping[str, Quote]:
    """The metrics by type, the session's own before the compute resource's.

    Of several of one type the range that covers all of them. Infinite amounts are unknown.
    """
    return _first_of(_put_together(compute, _range), _put_together(session, _range))


def _first_of(compute: Mapping[str, Quote], session: Mapping[str, Quote]) -> Mapping[str, Quote]:
    if not compute:
        return session
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


def _put_together(
    quotes: Iterable[Quote], join: Callable[[list[Quote]], Quote]
) -> dict[str, Quote]:
    """The quotes by type; ``join`` gets those of one type."""
    grouped: dict[str, list[Quote]] = {}
    for quote in quotes:
        grouped.setdefault(quote.type, []).append(quote)
    return {type_: join(group) for type_, group in grouped.items()}


def _sum(group: list[Quote]) -> Quote:
    if len(group) == 1:
        (one,) = group
        return Quote(one.type, _amount(one.min), _amount(one.max))
    return Quote(
        group[0].type,
        _total([_amount(quote.min) for quote in group]),
        _total([_amount(quote.max) for quote in group]),
    )


def _total(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # fsum does not depend on the order of its terms.
    return _amount(math.fsum(known)) if len(known) == len(values) else None


def _range(group: list[Quote]) -> Quote:
    return Quote(
        group[0].type,
        _over(min, [_finite(quote.min) for quote in group]),
        _over(max, [_finite(quote.max) for quote in group]),
    )


def _over(pick: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """The outermost bound; none as soon as one is not known."""
    bounds = [value for value in values if value is not None]
    return pick(bounds) if len(bounds) == len(values) else None
