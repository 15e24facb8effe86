"""Judging offers: whether one keeps to what the request asks for. Nodes are not trusted to check.

What an offer does not say is unknown: it is noted, and drops the offer only where the request is
about nothing else (the start). A cost below a limit's minimum is no fault.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from gateway.domain.placement import NodePlacement
from gateway.domain.quotes import costs_of, is_known, least, metrics_of, most
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.phases import SessionPhase
from gateway.wire.times import DailyWindow, Interval, format_duration, format_instant
from gateway.wire.views import UNBOUNDED, Bounds, Quote, RequestView, SessionView

TOLERANCE: Final = timedelta(seconds=1)
"""Services that count in whole seconds may be this far off."""


# One for every offer; msgspec's structs are made five times as fast.
class Judgement(msgspec.Struct, frozen=True, gc=False):
    """Why an offer is dropped, if at all, and what could not be made sure of."""

    drops: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether nothing speaks against the offer."""
        return not self.drops


_FAULTLESS: Final = Judgement()


class _Findings:
    """Drops and notes as they are found."""

    def __init__(self) -> None:
        self.drops: list[Reason] = []
        self.notes: list[Reason] = []

    def drop(self, code: ReasonCode, **values: object) -> None:
        self.drops.append(reason(code, **values))

    def note(self, code: ReasonCode, **values: object) -> None:
        self.notes.append(reason(code, **values))


def judge(
    offer: SessionView,
    request: RequestView,
    now: datetime,
    *,
    placement: NodePlacement | None = None,
    reports_memory: bool = True,
    min_life: timedelta = timedelta(0),
) -> Judgement:
    """Hold the offer against every limit of the request.

    ``placement`` is what is known of the request's data at its node. ``reports_memory`` is false
    for a node whose memory figures are known to be wrong: they are then unknown. ``min_life`` is
    how long an offer must still be held to be worth passing on.
    """
    found = _Findings()
    _check_hold(found, offer, now, min_life)
    _check_amounts(found, offer, request, reports_memory=reports_memory)
    _check_times(found, offer, request, now)
    if request.cost_limits:
        _check_costs(found, offer, request.cost_limits)
    if request.metric_limits:
        _check_metrics(found, offer, request.metric_limits, placement)
    if not found.drops and not found.notes:
        return _FAULTLESS
    return Judgement(tuple(found.drops), tuple(found.notes))


def unchecked_limits(
    request: RequestView, offers: Sequence[SessionView], known: Iterable[str] = ()
) -> tuple[Reason, ...]:
    """Limits of the request that nobody could check: to be said once for the whole set.

    ``known`` are types that the gateway itself knows of some offer. Empty where there are no
    offers, as there is nothing that could have reported them.
    """
    if not offers:
        return ()
    limits = (*request.cost_limits, *request.metric_limits)
    silent = {limit.type for limit in limits} - set(known)
    for offer in offers if silent else ():
        for quotes in (costs_of(offer), metrics_of(offer)):
            silent -= {type_ for type_, quote in quotes.items() if is_known(quote)}
    return (
        *(reason(ReasonCode.LIMIT_REPORTED_BY_NOBODY, type=type_) for type_ in sorted(silent)),
        *(
            reason(ReasonCode.LIMIT_NOT_UNDERSTOOD, type=type_)
            for type_ in sorted(set(request.unknown_limits))
        ),
    )


def _check_hold(found: _Findings, offer: SessionView, now: datetime, min_life: timedelta) -> None:
    if offer.phase is not SessionPhase.OFFERED:
        found.drop(ReasonCode.NOT_OFFERED, phase=offer.phase.value)
    if offer.expires is None:
        found.note(ReasonCode.EXPIRY_UNKNOWN)
    elif offer.expires <= now:
        ago_s = round((now - offer.expires).total_seconds())
        found.drop(ReasonCode.EXPIRED, ago_s=ago_s, expires=format_instant(offer.expires))
    elif offer.expires - now < min_life:
        found.drop(ReasonCode.EXPIRES_TOO_SOON, expires=format_instant(offer.expires))


def _check_amounts(
    found: _Findings, offer: SessionView, request: RequestView, *, reports_memory: bool
) -> None:
    if request.cores != UNBOUNDED:
        codes = ReasonCode.BELOW_MINIMUM_CORES, ReasonCode.ABOVE_MAXIMUM_CORES
        _check_amount(found, "cores", offer.cores, request.cores, codes)
    if request.memory_gib != UNBOUNDED:
        codes = ReasonCode.BELOW_MINIMUM_MEMORY, ReasonCode.ABOVE_MAXIMUM_MEMORY
        said = offer.memory_gib if reports_memory else None
        _check_amount(found, "memory", said, request.memory_gib, codes)
    if request.storage_gib != UNBOUNDED:
        codes = ReasonCode.BELOW_MINIMUM_STORAGE, ReasonCode.ABOVE_MAXIMUM_STORAGE
        _check_amount(found, "storage", offer.storage_gib, request.storage_gib, codes)


def _check_amount(
    found: _Findings,
    resource: str,
    offered: Bounds | None,
    limit: Bounds,
    codes: tuple[ReasonCode, ReasonCode],
) -> None:
    """What is sure to be there reaches the minimum, what may be there stays within the maximum."""
    low, high = (offered.min, offered.max) if offered else (None, None)
    sure, possible = (high if low is None else low), (low if high is None else high)
    if sure is None or possible is None:
        found.note(ReasonCode.AMOUNT_UNKNOWN, resource=resource)
        return
    below, above = codes
    if limit.min is not None and sure < limit.min:
        found.drop(below, offered=sure, limit=limit.min)
    if limit.max is not None and possible > limit.max:
        found.drop(above, offered=possible, limit=limit.max)


def _check_times(found: _Findings, offer: SessionView, request: RequestView, now: datetime) -> None:
    if offer.duration is None:
        found.note(ReasonCode.DURATION_UNKNOWN)
    elif request.duration is not None and offer.duration < request.duration - TOLERANCE:
        found.drop(
            ReasonCode.TOO_SHORT,
            offered=format_duration(offer.duration),
            limit=format_duration(request.duration),
        )
    if offer.start is None:
        is_asked = bool(request.starts) or request.daily is not None
        if is_asked:
            found.drop(ReasonCode.NO_START)
        else:
            found.note(ReasonCode.START_UNKNOWN)
        return
    if not request.starts and request.daily is None:
        return
    start = _earliest_start(offer.start, now)
    if request.starts and not _is_in_any(start, request.starts):
        found.drop(ReasonCode.START_OUTSIDE_WINDOW, start=format_instant(start))
    run = request.duration or offer.duration or timedelta(0)
    if request.daily is not None and not _is_in_daily(start, run, request.daily):
        found.drop(
            ReasonCode.OUTSIDE_DAILY_WINDOW,
            start=format_instant(start),
            end=format_instant(_later(start, run)),
        )


def _earliest_start(offered: Interval, now: datetime) -> datetime:
    """When the work may start at the soonest: not before now, where the offer leaves the choice."""
    return max(offered.start, min(now, offered.end))


def _later(instant: datetime, by: timedelta) -> datetime:
    """The instant that much later, or the end of the calendar: nodes may say anything."""
    try:
        return instant + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _is_in_any(start: datetime, wanted: Iterable[Interval]) -> bool:
    return any(w.start - TOLERANCE <= start <= w.end + TOLERANCE for w in wanted)


def _is_in_daily(start: datetime, run: timedelta, daily: DailyWindow) -> bool:
    """Whether the whole of what was asked for fits into one day's window."""
    around = timedelta(days=2)
    end = _later(start, run)
    windows = daily.occurrences(Interval(start - around, _later(end, around)))
    return any(w.start - TOLERANCE <= start and end <= w.end + TOLERANCE for w in windows)


def _check_costs(found: _Findings, offer: SessionView, limits: Sequence[Quote]) -> None:
    """Over the limit for sure drops the offer; over it perhaps is noted."""
    if not limits:
        return
    costs = costs_of(offer)
    for limit in limits:
        if limit.max is None:
            continue
        quote = costs.get(limit.type, Quote(limit.type))
        low, high = least(quote), most(quote)
        if low is None or high is None:
            found.note(ReasonCode.COST_NOT_REPORTED, type=limit.type, limit=limit.max)
        elif low > limit.max:
            found.drop(ReasonCode.OVER_COST_LIMIT, type=limit.type, offered=low, limit=limit.max)
        elif high > limit.max:
            found.note(
                ReasonCode.MAY_EXCEED_COST_LIMIT, type=limit.type, offered=high, limit=limit.max
            )


def _check_metrics(
    found: _Findings,
    offer: SessionView,
    limits: Sequence[Quote],
    placement: NodePlacement | None,
) -> None:
    """Outside the limits for sure drops the offer; outside them perhaps is noted."""
    if not limits:
        return
    metrics = dict(metrics_of(offer))
    for known in placement.ranges() if placement else ():
        metrics[known.type] = known
    for limit in limits:
        if limit.min is None and limit.max is None:
            continue
        quote = metrics.get(limit.type, Quote(limit.type))
        low, high = least(quote), most(quote)
        if low is None or high is None:
            bound = limit.max if limit.min is None else limit.min
            found.note(ReasonCode.METRIC_NOT_REPORTED, type=limit.type, limit=bound)
            continue
        _check_metric(found, limit, low, high)


def _check_metric(found: _Findings, limit: Quote, low: float, high: float) -> None:
    if limit.min is not None and low < limit.min:
        if high < limit.min:
            found.drop(
                ReasonCode.BELOW_METRIC_LIMIT, type=limit.type, offered=high, limit=limit.min
            )
        else:
            found.note(
                ReasonCode.MAY_MISS_METRIC_LIMIT, type=limit.type, offered=low, limit=limit.min
            )
    if limit.max is not None and high > limit.max:
        if low > limit.max:
            found.drop(ReasonCode.ABOVE_METRIC_LIMIT, type=limit.type, offered=low, limit=limit.max)
        else:
            offered = high if math.isfinite(high) else "anything"
            found.note(
                ReasonCode.MAY_MISS_METRIC_LIMIT, type=limit.type, offered=offered, limit=limit.max
            )
