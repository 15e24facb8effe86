"""Checks of the requested schedule: how long, and when it may start."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.wire.documents import Document
from gateway.wire.times import (
    DailyWindow,
    Interval,
    TimeSyntaxError,
    format_duration,
    format_instant,
    parse_daily,
    parse_duration,
    parse_interval,
)
from node_stub import reasons
from node_stub.checks.findings import Findings, block, pointer
from node_stub.reasons import Reason
from node_stub.rules import SiteRules

PATH: Final = "/schedule/requested"


MAX_STARTS: Final = 100
"""Most starts in one request: each may cost a walk through the bookings."""


@dataclass(frozen=True, slots=True)
class Wish:
    """When the client wants its session; instants are seconds since 1970.

    ``windows`` are the starts allowed, in order, apart from each other, none before now; both ends
    are included. One of the ``daily`` spans must contain the run; None is any time of day.
    """

    duration_s: int
    windows: tuple[tuple[int, int], ...] = ()
    daily: tuple[tuple[int, int], ...] | None = None


def check_schedule(findings: Findings, rules: SiteRules, request: Document, prepare_s: int) -> Wish:
    """What the client asks for, or the site's defaults; ``prepare_s`` is what has to come first."""
    requested = block(block(request, "schedule"), "requested")
    duration_s = _checked_duration(findings, rules, requested)
    daily = _checked_daily(findings, requested)
    asked = requested.get("start")
    starts = tuple(_parsed_starts(findings, asked))
    if len(starts) > MAX_STARTS:
        place = pointer(PATH, "start")
        findings.add(reasons.TOO_MANY_STARTS, place, count=len(starts), limit=MAX_STARTS)
    if findings.is_refused():
        return Wish(duration_s)
    now = findings.now.astimezone(UTC)
    if asked is None or asked == []:
        reachable: tuple[Interval, ...] = (Interval(now, now + timedelta(seconds=rules.window_s)),)
    else:
        reachable = _reachable(findings, rules, starts)
        if findings.is_refused():
            return Wish(duration_s)
    windows = _united(_whole_seconds(reachable))
    _check_windows(findings, windows, now, prepare_s)
    if findings.is_refused() or daily is None:
        return Wish(duration_s, windows)
    span = Interval(now, _instant(windows[-1][1] + max(duration_s, rules.max_duration_s)))
    hours = tuple(_whole_seconds(daily.occurrences(span)))
    if not any(end - start >= duration_s for start, end in hours):
        findings.add(
            reasons.DAILY_TOO_SHORT, pointer(PATH, "daily"), duration=_duration(duration_s)
        )
    return Wish(duration_s, windows, hours)


def _checked_duration(findings: Findings, rules: SiteRules, requested: Document) -> int:
    """The duration in whole seconds, rounded up."""
    place = pointer(PATH, "duration")
    asked = requested.get("duration")
    default = min(rules.default_duration_s, rules.max_duration_s)
    if asked is None:
        return default
    try:
        duration = parse_duration(str(asked), allow_negative=True)
    except TimeSyntaxError as error:
        findings.add(reasons.DURATION_SYNTAX, place, string=asked, message=error)
        return default
    if duration <= timedelta(0):
        findings.add(reasons.DURATION_NOT_POSITIVE, place, value=asked)
        return default
    seconds = math.ceil(duration / timedelta(seconds=1))
    if seconds > rules.max_duration_s:
        findings.add(
            reasons.DURATION_LIMIT,
            place,
            resource="duration",
            duration=asked,
            limit=_duration(rules.max_duration_s),
        )
    return seconds


def _checked_daily(findings: Findings, requested: Document) -> DailyWindow | None:
    asked = requested.get("daily")
    if asked is None:
        return None
    try:
        return parse_daily(asked if isinstance(asked, dict) else {})
    except TimeSyntaxError as error:
        findings.add(reasons.DAILY_SYNTAX, pointer(PATH, "daily"), string=asked, message=error)
        return None


def _texts(asked: object) -> Iterator[tuple[str, str]]:
    """Each requested start with its place."""
    place = pointer(PATH, "start")
    if isinstance(asked, list):
        yield from ((pointer(place, i), str(item)) for i, item in enumerate(asked))
    elif asked is not None:
        yield place, str(asked)


def _parsed_starts(findings: Findings, asked: object) -> Iterator[Interval]:
    for place, asked_text in _texts(asked):
        try:
            yield parse_interval(asked_text)
        except TimeSyntaxError as error:
            findings.add(reasons.INTERVAL_SYNTAX, place, string=asked_text, message=error)


def _reachable(
    findings: Findings, rules: SiteRules, starts: tuple[Interval, ...]
) -> tuple[Interval, ...]:
    """What of the requested starts lies between now and as far ahead as bookings go."""
    now = findings.now.astimezone(UTC)
    horizon = Interval(now, now + timedelta(seconds=rules.horizon_s))
    parts = [start.intersect(horizon) for start in starts]
    is_any = any(parts)
    for i, (start, part) in enumerate(zip(starts, parts, strict=True)):
        if part is None:
            _say_unreachable(findings, start, i if len(starts) > 1 else None, horizon, is_any)
    return tuple(part for part in parts if part is not None)


def _say_unreachable(
    findings: Findings, start: Interval, index: int | None, horizon: Interval, is_any: bool
) -> None:
    place = pointer(PATH, "start") if index is None else pointer(PATH, "start", index)
    value = f"{format_instant(start.start)}/{format_instant(start.end)}"
    reason: Reason
    if start.end < horizon.start:
        reason = reasons.START_PAST_SKIPPED if is_any else reasons.START_PAST
        findings.add(reason, place, value=value, now=format_instant(horizon.start))
    else:
        reason = reasons.START_TOO_LATE_SKIPPED if is_any else reasons.START_TOO_LATE
        findings.add(reason, place, value=value, limit=format_instant(horizon.end))


def _whole_seconds(intervals: Iterable[Interval]) -> list[tuple[int, int]]:
    spans = [
        (math.ceil(interval.start.timestamp()), math.floor(interval.end.timestamp()))
        for interval in intervals
    ]
    return [span for span in spans if span[0] <= span[1]]


def _united(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    united: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if united and low <= united[-1][1] + 1:
            united[-1] = (united[-1][0], max(united[-1][1], high))
        else:
            united.append((low, high))
    return tuple(united)


def _duration(seconds: int) -> str:
    return format_duration(timedelta(seconds=seconds))


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _check_windows(
    findings: Findings,
    windows: tuple[tuple[int, int], ...],
    now: datetime,
    prepare_s: int,
) -> None:
    """Something must be left, and reach past the end of preparing."""
    place = pointer(PATH, "start")
    if not windows:
        findings.add(reasons.NO_START, place)
        return
    earliest, latest = math.ceil(now.timestamp()) + prepare_s, windows[-1][1]
    if latest < earliest:
        findings.add(
            reasons.START_TOO_SOON,
            place,
            earliest=format_instant(_instant(earliest)),
            latest=format_instant(_instant(latest)),
        )
