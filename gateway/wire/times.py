"""ISO 8601 instants, durations, intervals and daily windows.

Sources: ISO 8601-1:2019; the patterns of the public OpenAPI document; RFC 9557 for time zone names.
Precision is the microsecond: further digits are cut off.
"""

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MAX_TIME_TEXT: Final = 128
"""Longest text that is looked at: twice the longest sensible interval."""

_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_ZONE = r"(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
_HOURS = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_ANY_INSTANT = rf"{_DATE}(?:T{_HOURS}(?::[0-5][0-9](?:\.[0-9]+)?)?{_ZONE}?)?"
_CLOCK_SPAN = r"(?:T(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+(?:\.[0-9]+)?S)?)?"
_SPAN = rf"P(?=[0-9]|T[0-9])(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+[DW])?{_CLOCK_SPAN}"
_LOOSE_INTERVAL = rf"{_ANY_INSTANT}/(?:{_ANY_INSTANT}|{_SPAN})|{_SPAN}/{_ANY_INSTANT}"

_END = r"$(?!\n)"  # in Python alone, $ is also before a newline at the end

# What the public client takes within an interval is narrower than what it takes alone.
_POINT = (
    rf"{_DATE}(?:T{_HOURS}(?::[0-5][0-9](?:\.[0-9]+)?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
_POINT_SPAN = rf"(?:P[0-9]+W|P(?=[0-9]|T)(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?{_CLOCK_SPAN})"
_INTERVAL = rf"{_POINT}/(?:{_POINT}|{_POINT_SPAN})|{_POINT_SPAN}/{_POINT}"

INSTANT_PATTERN: Final = (
    rf"^{_DATE}T{_HOURS}:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9]){_END}"
)
"""Text of an instant to the second, with zone (RFC 3339 §5.6)."""

LOOSE_INSTANT_PATTERN: Final = rf"^{_DATE}T{_HOURS}:[0-5][0-9](?:\.[0-9]+{_ZONE}?|{_ZONE}){_END}"
"""The same, where a fraction may stand without zone."""

DURATION_PATTERN: Final = rf"^-?{_SPAN}{_END}"
"""Text of a duration, years and months included."""

INTERVAL_PATTERN: Final = rf"^(?:{_INTERVAL}){_END}"
"""Text of an interval, as the public client takes it in answers."""

REQUESTED_START_PATTERN: Final = rf"^(?:{_LOOSE_INTERVAL}|{_INTERVAL}|{_ANY_INSTANT}){_END}"
"""Text of an interval or a lone instant."""

_INSTANT: Final = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:T(?P<clock>\d{2}:\d{2}(?::\d{2})?)(?:\.(?P<fraction>\d+))?"
    r"(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_DURATION: Final = re.compile(
    r"(?P<sign>-?)P(?=\d|T\d)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?"
    r"(?:(?P<weeks>\d+)W|(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d+))?S)?)?",
    re.ASCII,
)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)


class TimeSyntaxError(ValueError):
    """A text that is not the time it should be; the message says why, for the client to read."""


def _fitting(text: str, what: str) -> str:
    if len(text) > MAX_TIME_TEXT:
        raise TimeSyntaxError(f"{what} of {len(text)} characters: at most {MAX_TIME_TEXT}")
    return text


def _micros(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0


def _offset(zone: str) -> timedelta:
    """How far a clock with this zone is ahead of UTC."""
    if zone == "Z":
        return timedelta(0)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise TimeSyntaxError(f"{zone!r} is no time zone offset")
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def _instant(text: str, default_zone: str | None) -> tuple[datetime, str]:
    """The instant in UTC and the zone it was given in."""
    found = _INSTANT.fullmatch(_fitting(text, "instant"))
    if found is None:
        raise TimeSyntaxError(f"{text!r} is no ISO 8601 instant such as 2026-08-03T09:00:00Z")
    clock = found["clock"]
    zone = found["zone"] or (default_zone if clock else "Z")
    if zone is None:
        raise TimeSyntaxError(
            f"{text!r} has no time zone: end it with Z or an offset such as +01:00"
        )
    if found["fraction"] and len(clock) < 8:
        raise TimeSyntaxError(f"{text!r} has a fraction of a minute: give whole seconds")
    try:
        local = datetime.fromisoformat(f"{found['date']}T{clock or '00:00'}")
        local = local.replace(microsecond=_micros(found["fraction"]), tzinfo=UTC)
        return local - _offset(zone), zone
    except (ValueError, OverflowError) as error:
        raise TimeSyntaxError(f"{text!r} is not on the calendar or the clock") from error


def parse_instant(text: str) -> datetime:
    """The instant, in UTC. Seconds may be left out; a bare date is its midnight in UTC.

    Raises
    ------
    TimeSyntaxError
        Not an instant, or one without time zone.
    """
    return _instant(text, None)[0]


def format_instant(instant: datetime) -> str:
    """The instant as ``2026-08-03T09:00:00Z``, with six digits of fraction where it has one."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _matched_duration(text: str) -> re.Match[str]:
    found = _DURATION.fullmatch(_fitting(text, "duration"))
    if found is None:
        raise TimeSyntaxError(f"{text!r} is no ISO 8601 duration such as PT90M or P1DT12H")
    return found


def _exact_part(found: re.Match[str]) -> timedelta:
    """Weeks down to seconds, without the sign."""
    try:
        return timedelta(
            weeks=int(found["weeks"] or 0),
            days=int(found["days"] or 0),
            hours=int(found["hours"] or 0),
            minutes=int(found["minutes"] or 0),
            seconds=int(found["seconds"] or 0),
            microseconds=_micros(found["fraction"]),
        )
    except OverflowError as error:
        raise TimeSyntaxError(f"{found[0]!r} is longer than can be counted") from error


def parse_duration(text: str, *, allow_negative: bool = False) -> timedelta:
    """The duration. Weeks, days, hours, minutes and seconds with fraction.

    Raises
    ------
    TimeSyntaxError
        Not a duration; one in years or months, which have no fixed length; a negative one, unless
        allowed; one that is too long to count.
    """
    found = _matched_duration(text)
    if found["years"] or found["months"]:
        raise TimeSyntaxError(
            f"{text!r} is in years or months, which have no fixed length: give weeks, days or less"
        )
    duration = _exact_part(found)
    if found["sign"] and duration and not allow_negative:
        raise TimeSyntaxError(f"{text!r} is negative")
    return -duration if found["sign"] else duration


def format_duration(duration: timedelta) -> str:
    """The duration as java.time prints it, in hours and less (``PT24H``, ``PT0S``)."""
    micros = abs(duration) // timedelta(microseconds=1)
    if not micros:
        return "PT0S"
    sign = "-" if duration < timedelta(0) else ""
    seconds, micros = divmod(micros, 1_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    text = f"{sign}PT"
    if hours:
        text += f"{hours}H"
    if minutes:
        text += f"{minutes}M"
    if micros:
        text += f"{seconds}." + f"{micros:06}".rstrip("0") + "S"
    elif seconds:
        text += f"{seconds}S"
    return text


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """From ``start`` to ``end``, both included; a single instant where they are the same."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError("an interval cannot end before it starts")

    @property
    def duration(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def contains(self, instant: datetime) -> bool:
        """Whether the instant lies in it."""
        return self.start <= instant <= self.end

    def intersect(self, other: "Interval") -> "Interval | None":
        """What both have in common; a single instant where they only touch."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Interval(start, end) if start <= end else None


def _months_later(instant: datetime, months: int) -> datetime:
    """The same day and time of another month, or that month's last day."""
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def _shifted(instant: datetime, text: str, sign: int) -> datetime:
    """An instant a duration away; years and months are counted on the calendar from there."""
    found = _matched_duration(text)
    months = int(found["years"] or 0) * 12 + int(found["months"] or 0)
    span = _exact_part(found)
    if found["sign"] and (months or span):
        raise TimeSyntaxError(f"{text!r} is negative")
    try:
        return _months_later(instant, sign * months) + sign * span
    except (OverflowError, ValueError) as error:
        raise TimeSyntaxError(f"{text!r} leads out of the calendar") from error


def parse_interval(text: str) -> Interval:
    """The interval that ``start/end``, ``start/duration`` or ``duration/end`` says.

    A lone instant is an interval of no length. The end may leave out its zone and then has the
    start's; bare dates are midnight in UTC.

    Raises
    ------
    TimeSyntaxError
        None of these forms, or one that ends before it starts.
    """
    first, slash, second = _fitting(text, "interval").partition("/")
    if not slash:
        instant = parse_instant(first)
        return Interval(instant, instant)
    if first.startswith(("P", "-P")):
        end = parse_instant(second)
        return Interval(_shifted(end, first, -1), end)
    start, zone = _instant(first, None)
    if second.startswith(("P", "-P")):
        return Interval(start, _shifted(start, second, 1))
    end, _ = _instant(second, zone)
    if end < start:
        raise TimeSyntaxError(f"{text!r} ends before it starts")
    return Interval(start, end)


def format_interval(interval: Interval) -> str:
    """The interval as ``start/end``."""
    return f"{format_instant(interval.start)}/{format_instant(interval.end)}"


def format_start(interval: Interval) -> str:
    """The interval as offers show theirs: first instant and how much later it may be."""
    return f"{format_instant(interval.start)}/{format_duration(interval.duration)}"


def _utc(local: datetime, *, is_end: bool) -> datetime:
    """The instant at which a wall clock shows ``local``.

    Shown twice (clocks put back), a window opens at the first and closes at the second. Never shown
    (clocks put forward), it is the instant of the change.
    """
    earlier, later = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if earlier <= later:
        return later if is_end else earlier
    # In a gap fold 0 is the later instant; the change lies in between.
    low, high = later, earlier
    zone = local.tzinfo
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """The hours of each day, by a wall clock, in which something may start.

    ``end`` before ``start`` runs past midnight; the same is the whole day.
    """

    start: time
    end: time
    zone: ZoneInfo

    def occurrences(self, interval: Interval) -> Iterator[Interval]:
        """What the window leaves of ``interval``, in order."""
        if self.start == self.end:
            yield interval
            return
        first, last = max(interval.start, _FIRST), min(interval.end, _LAST)
        if first > last:
            return
        day = first.astimezone(self.zone).date() - timedelta(days=1)
        final = last.astimezone(self.zone).date()
        span = timedelta(days=1 if self.end < self.start else 0)
        while day <= final:
            opening = _utc(datetime.combine(day, self.start, self.zone), is_end=False)
            closing = _utc(datetime.combine(day + span, self.end, self.zone), is_end=True)
            # Both inside a gap of the clock: no window that day.
            if opening < closing:
                part = Interval(opening, closing).intersect(interval)
                # Nothing starts in the very instant of closing.
                if part is not None and part.start < closing:
                    yield part
            day += timedelta(days=1)


def _clock(text: str, member: str) -> time:
    if text == "24:00" and member == "end":
        return time(0)
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise TimeSyntaxError(f"daily {member} {text!r} is no time of day such as 09:00")
    return time(int(found[1]), int(found[2]), int(found[3] or 0))


def parse_zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name.

    Raises
    ------
    TimeSyntaxError
        There is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimeSyntaxError(f"{name!r} is no time zone such as Europe/London") from error


def parse_daily(document: Mapping[str, Any]) -> DailyWindow:
    """The window of ``{start: "09:00", end: "17:00", timezone: "Europe/London"}``.

    Without ``timezone`` it is in UTC; ``end`` may be ``24:00``.

    Raises
    ------
    TimeSyntaxError
        A member is missing or not what it should be.
    """
    texts = {"timezone": "UTC", **{k: v for k, v in document.items() if v is not None}}
    for member in ("start", "end", "timezone"):
        if not isinstance(texts.get(member), str):
            raise TimeSyntaxError(f"a daily window needs its {member} as a string")
    return DailyWindow(
        _clock(texts["start"], "start"), _clock(texts["end"], "end"), parse_zone(texts["timezone"])
    )
