"""Times from anybody: the syntax error or a time; written out and read again the same."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from marshmallow import ValidationError

from gateway.wire.schemas.fields import Duration, Instant, IntervalText
from gateway.wire.times import (
    Interval,
    TimeSyntaxError,
    format_duration,
    format_instant,
    format_interval,
    format_start,
    parse_daily,
    parse_duration,
    parse_instant,
    parse_interval,
)

_INSTANT: Final = Instant()
_DURATION: Final = Duration()
_INTERVAL: Final = IntervalText()
_SOME_DAYS: Final = Interval(
    datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 27, tzinfo=UTC) + timedelta(days=5)
)
"""In Europe clocks are put forward within."""


def run(data: bytes) -> None:
    """Every way a text can be a time; ``|`` parts the members of a daily window."""
    text = data.decode("utf-8", "replace")
    _check_instant(text)
    _check_duration(text)
    _check_interval(text)
    _check_daily(text)


def _check_instant(text: str) -> None:
    try:
        instant = parse_instant(text)
    except TimeSyntaxError:
        return
    again = format_instant(instant)
    assert parse_instant(again) == instant
    # What is written passes as an answer.
    _INSTANT.deserialize(again)


def _check_duration(text: str) -> None:
    try:
        duration = parse_duration(text, allow_negative=True)
    except TimeSyntaxError:
        return
    again = format_duration(duration)
    assert parse_duration(again, allow_negative=True) == duration
    _DURATION.deserialize(again)
    try:
        _DURATION.deserialize(text)
    except ValidationError as error:
        raise AssertionError("a duration is read that the client would not be let write") from error


def _check_interval(text: str) -> None:
    try:
        interval = parse_interval(text)
    except TimeSyntaxError:
        return
    assert interval.start <= interval.end
    for again in (format_interval(interval), format_start(interval)):
        assert parse_interval(again) == interval
        _INTERVAL.deserialize(again)


def _check_daily(text: str) -> None:
    members = dict(zip(("start", "end", "timezone"), text.split("|"), strict=False))
    try:
        window = parse_daily(members)
    except TimeSyntaxError:
        return
    before = None
    for part in islice(window.occurrences(_SOME_DAYS), 10):
        assert _SOME_DAYS.start <= part.start <= part.end <= _SOME_DAYS.end
        assert before is None or before <= part.start
        before = part.end


def seeds() -> Iterator[bytes]:
    """One of each form."""
    for text in (
        *("2026-08-03T09:00:00Z", "2026-08-03T11:00:00.123456789+02:00", "2026-08-03"),
        *("PT1H30M", "-P1DT2H3M4.5S", "P2W", "P1Y2M", "PT0S"),
        *("2026-08-03T09:00:00Z/PT5M", "P1M/2026-03-31T09:00:00Z", "2026-08-03/2026-08-04"),
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z/P1D", "2026-08-03T09:00Z/P1Y2M3DT4H"),
        *("09:00|17:00|Europe/London", "22:00|05:30:15|UTC", "00:30|02:30|Europe/Berlin"),
        *("01:00|24:00", "09:00|09:00|Pacific/Apia", "09:00|10:00|../UTC"),
    ):
        yield text.encode()
