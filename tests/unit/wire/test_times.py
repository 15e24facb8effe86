"""Instants, durations, intervals and daily windows."""

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.times import (
    DailyWindow,
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

NINE = datetime(2026, 8, 3, 9, tzinfo=UTC)
ANY_INSTANT = st.integers(-(10**16), 10**16).map(lambda us: NINE + timedelta(microseconds=us))
ANY_DURATION = st.timedeltas(timedelta(0), timedelta(days=10_000))
ANY_CLOCK = st.builds(time, st.integers(0, 23), st.integers(0, 59))
ZONES = st.sampled_from(
    ["UTC", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York"]
).map(ZoneInfo)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-08-03T09:00:00Z", NINE),
        ("2026-08-03T09:00Z", NINE),
        ("2026-08-03T11:00:00+02:00", NINE),
        ("2026-08-03T04:30:00-0430", NINE),
        ("2026-08-03T11:00+02", NINE),
        ("2026-08-03T09:00:00.5Z", NINE + timedelta(milliseconds=500)),
        ("2026-08-03T09:00:00.123456789Z", NINE + timedelta(microseconds=123456)),
        ("2026-08-03", NINE.replace(hour=0)),
    ],
)
def test_an_instant_is_read(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-08-03T09:00:00", "2026-08-03T09:00", "2026-02-30", "2026-13-01T00:00:00Z",
        "2026-08-03 09:00:00Z", "2026-08-03T24:00:01Z", "2026-08-03T09:00:60Z", "2026-08-03T09Z",
        "2026-08-03T09:00:00z", "2026-08-03T09:00:00+24:00", "2026-08-03T09:00:00+01:60",
        "2026-08-03T09:00.5Z", "2026-08-03Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-01:00", "2026-08-03T09:00:00Z\n", "٢026-08-03T09:00:00Z", "9" * 4000,
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(TimeSyntaxError):
        parse_instant(text)


@given(ANY_INSTANT)
def test_an_instant_is_written_as_it_is_read(instant: datetime) -> None:
    assert parse_instant(format_instant(instant)) == instant


def test_an_instant_is_written_in_utc_without_needless_fraction() -> None:
    assert format_instant(NINE.astimezone(timezone(timedelta(hours=2)))) == "2026-08-03T09:00:00Z"
    later = NINE + timedelta(microseconds=40)
    assert format_instant(later) == "2026-08-03T09:00:00.000040Z"
    with pytest.raises(ValueError, match="time zone"):
        format_instant(NINE.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0S", 0), ("PT20M", 1200), ("P1D", 86400), ("P1DT2H", 93600), ("P2W", 1209600),
        ("PT1.5S", 1.5), ("PT0.0000001S", 0), ("-PT0S", 0), ("PT36H", 129600),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P1Y", "years or months"), ("P1M", "years or months"), ("P1Y2DT3H", "years or months"),
        ("-PT5S", "negative"), ("P9999999999D", "longer"), ("P" + "9" * 100 + "D", "longer"),
        ("PT" + "9" * 400 + "S", "characters"), ("", "ISO 8601"), ("P", "ISO 8601"),
        ("PT", "ISO 8601"), ("P1DT", "ISO 8601"), ("pt5s", "ISO 8601"), ("PT1.5H", "ISO 8601"),
        ("+PT5S", "ISO 8601"), ("PT5S ", "ISO 8601"), ("5", "ISO 8601"), ("PT1S1M", "ISO 8601"),
        ("P1W1D", "ISO 8601"),
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(TimeSyntaxError, match=why):
        parse_duration(text)


def test_a_negative_duration_may_be_allowed() -> None:
    assert parse_duration("-PT1H", allow_negative=True) == timedelta(hours=-1)


@pytest.mark.parametrize("text", ["PT0S", "PT24H", "PT1M30S", "PT1H0.5S", "PT26H3M", "-PT1H"])
def test_a_duration_is_written_as_java_does(text: str) -> None:
    assert format_duration(parse_duration(text, allow_negative=True)) == text


@given(ANY_DURATION)
def test_a_duration_is_written_as_it_is_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-08-03T09:00:00Z/PT5M", "2026-08-03T09:00:00Z/2026-08-03T09:05:00Z"),
        ("PT5M/2026-08-03T09:00:00Z", "2026-08-03T08:55:00Z/2026-08-03T09:00:00Z"),
        ("2026-08-03T09:00+02:00/2026-08-03T10:00", "2026-08-03T07:00:00Z/2026-08-03T08:00:00Z"),
        ("2023-08-09/PT2H", "2023-08-09T00:00:00Z/2023-08-09T02:00:00Z"),
        ("PT2H/2023-08-09", "2023-08-08T22:00:00Z/2023-08-09T00:00:00Z"),
        ("2023-08-09/2023-08-10", "2023-08-09T00:00:00Z/2023-08-10T00:00:00Z"),
        ("2026-08-03T09:00:00Z", "2026-08-03T09:00:00Z/2026-08-03T09:00:00Z"),
        ("2026-08-03", "2026-08-03T00:00:00Z/2026-08-03T00:00:00Z"),
        ("2024-01-31/P1M", "2024-01-31T00:00:00Z/2024-02-29T00:00:00Z"),
        ("2024-12-31/P1M1D", "2024-12-31T00:00:00Z/2025-02-01T00:00:00Z"),
        ("P1Y/2024-02-29", "2023-02-28T00:00:00Z/2024-02-29T00:00:00Z"),
        ("2026-08-03T09:00:00Z/-PT0S", "2026-08-03T09:00:00Z/2026-08-03T09:00:00Z"),
    ],
)
def test_an_interval_is_read(text: str, same: str) -> None:
    assert format_interval(parse_interval(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "PT5M", "PT5M/PT5M", "2026-08-03/", "/2026-08-03", "2026-08-03/2026-08-02",
        "2026-08-03T09:00/PT5M", "2026-08-03/-PT5S", "2026-08-03/PT5M/PT5M", "9999-12-01/P1Y",
        "P3000Y/2026-08-03", "2026-08-03/P99999999D", "2026-08-03/P999999999999999M", "x/PT5M",
        "2026-08-03/T12:00Z",
    ],
)  # fmt: skip
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(TimeSyntaxError):
        parse_interval(text)


@given(st.text("0123456789-:.TZP+DHMSYW/ ", max_size=44))
@example("0001-01-01T00:00:00+01:00")
def test_no_text_fails_in_another_way(text: str) -> None:
    for parse in (parse_instant, parse_duration, parse_interval):
        try:
            parse(text)
        except TimeSyntaxError:
            continue


@given(ANY_INSTANT, ANY_DURATION)
def test_a_start_is_written_as_it_is_read(start: datetime, span: timedelta) -> None:
    interval = Interval(start, start + span)
    assert parse_interval(format_start(interval)) == interval
    assert parse_interval(format_interval(interval)) == interval


def test_an_interval_holds_both_its_ends() -> None:
    interval = Interval(NINE, NINE + timedelta(hours=1))
    assert interval.contains(NINE)
    assert interval.contains(interval.end)
    assert not interval.contains(interval.end + timedelta.resolution)
    assert interval.duration == timedelta(hours=1)
    with pytest.raises(ValueError, match="before it starts"):
        Interval(interval.end, NINE)


@given(st.lists(ANY_INSTANT, min_size=4, max_size=4), ANY_INSTANT)
def test_an_intersection_holds_what_both_hold(ends: list[datetime], probe: datetime) -> None:
    one, other = Interval(*sorted(ends[:2])), Interval(*sorted(ends[2:]))
    both = one.intersect(other)
    held = both is not None and both.contains(probe)
    assert held == (one.contains(probe) and other.contains(probe))
    assert both == other.intersect(one)


def windows(start: str, end: str, zone: str, interval: str) -> list[str]:
    daily = parse_daily({"start": start, "end": end, "timezone": zone})
    return [format_interval(found) for found in daily.occurrences(parse_interval(interval))]


def test_a_daily_window_follows_the_local_clock() -> None:
    assert windows("09:00", "17:00", "Europe/London", "2026-03-28/2026-03-30") == [
        "2026-03-28T09:00:00Z/2026-03-28T17:00:00Z",
        "2026-03-29T08:00:00Z/2026-03-29T16:00:00Z",
    ]


def test_a_daily_window_is_clipped_to_the_interval() -> None:
    assert windows("09:00", "17:00", "UTC", "2026-08-03T10:00Z/PT1H") == [
        "2026-08-03T10:00:00Z/2026-08-03T11:00:00Z"
    ]
    assert windows("09:00", "17:00", "UTC", "2026-08-03T10:00Z") == [
        "2026-08-03T10:00:00Z/2026-08-03T10:00:00Z"
    ]
    assert windows("09:00", "17:00", "UTC", "2026-08-03T18:00Z/PT1H") == []


def test_a_daily_window_may_cross_midnight() -> None:
    assert windows("22:00", "06:00", "UTC", "2026-08-03/2026-08-04") == [
        "2026-08-03T00:00:00Z/2026-08-03T06:00:00Z",
        "2026-08-03T22:00:00Z/2026-08-04T00:00:00Z",
    ]


def test_a_daily_window_that_ends_as_it_starts_is_the_whole_day() -> None:
    for end in ("00:00", "24:00"):
        assert windows("00:00", end, "UTC", "2026-08-03/P9D") == [
            "2026-08-03T00:00:00Z/2026-08-12T00:00:00Z"
        ]
    assert windows("09:30", "09:30", "Europe/London", "2026-08-03/P1D") == [
        "2026-08-03T00:00:00Z/2026-08-04T00:00:00Z"
    ]


def test_clocks_put_forward_open_a_window_at_the_change() -> None:
    assert windows("01:30", "05:00", "Europe/London", "2026-03-29/P1D") == [
        "2026-03-29T01:00:00Z/2026-03-29T04:00:00Z"
    ]
    assert windows("00:30", "01:30", "Europe/London", "2026-03-29/P1D") == [
        "2026-03-29T00:30:00Z/2026-03-29T01:00:00Z",
        "2026-03-29T23:30:00Z/2026-03-30T00:00:00Z",
    ]
    assert windows("01:10", "01:50", "Europe/London", "2026-03-29/PT12H") == []


def test_clocks_put_back_make_a_window_longer() -> None:
    assert windows("01:30", "05:00", "Europe/London", "2026-10-25/P1D") == [
        "2026-10-25T00:30:00Z/2026-10-25T05:00:00Z"
    ]


@given(ANY_CLOCK, ANY_CLOCK, ZONES, st.integers(0, 1440 * 366), st.integers(0, 4 * 1440))
def test_daily_windows_hold_every_minute_that_a_clock_on_the_wall_does(
    start: time, end: time, zone: ZoneInfo, offset: int, probe: int
) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=offset)
    interval = Interval(first, first + timedelta(days=4))
    moment = first + timedelta(minutes=probe)
    clock = moment.astimezone(zone).time()
    found = list(DailyWindow(start, end, zone).occurrences(interval))
    assert found == sorted(found)
    assert all(interval.start <= part.start <= part.end <= interval.end for part in found)
    if start < end:
        is_inside = start <= clock < end
    else:
        is_inside = start == end or clock >= start or clock < end
    held = any(part.start <= moment < part.end or part.start == moment for part in found)
    # A clock put back shows the same hour twice: the window holds both and what is between.
    day = timedelta(days=1)
    near = {(moment + k * day).astimezone(zone).utcoffset() for k in (-1, 0, 1)}
    if len(near) == 1:
        assert held == is_inside or moment == interval.end
    elif is_inside and moment != interval.end:
        assert held


def test_windows_at_the_ends_of_the_calendar_come_to_an_end() -> None:
    daily = DailyWindow(time(9), time(17), ZoneInfo("Pacific/Kiritimati"))
    for edge in ("0001-01-01/P2D", "9999-12-30/P1D"):
        assert len(list(daily.occurrences(parse_interval(edge)))) <= 3


@pytest.mark.parametrize(
    "document",
    [
        {}, {"start": "09:00"}, {"end": "09:00"}, {"start": 9, "end": "17:00"},
        {"start": "9:00", "end": "17:00"}, {"start": "24:00", "end": "17:00"},
        {"start": "09:00", "end": "17:60"}, {"start": "09:00", "end": "17:00", "timezone": "Mars"},
        {"start": "09:00", "end": "17:00", "timezone": "../../etc/passwd"},
        {"start": "09:00", "end": "17:00", "timezone": ""},
        {"start": "09:00", "end": "17:00", "timezone": "Europe"},
        {"start": "09:00", "end": "17:00", "timezone": "a\x00b"},
        {"start": "09:00", "end": "17:00", "timezone": "x" * 5000},
        {"start": "09:00", "end": "17:00", "timezone": 1},
    ],
)  # fmt: skip
def test_what_is_no_daily_window_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(TimeSyntaxError):
        parse_daily(document)


def test_a_daily_window_without_zone_is_in_utc() -> None:
    daily = parse_daily({"start": "09:00", "end": "17:00:30", "timezone": None})
    assert daily == DailyWindow(time(9), time(17, 0, 30), ZoneInfo("UTC"))
