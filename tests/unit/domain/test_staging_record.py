"""What nodes report corrects the next estimates: bounded, and not for ever."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.staging_record import (
    AS_ESTIMATED,
    FASTEST,
    HALF_LIFE,
    MIN_BYTES,
    SLOWEST,
    Report,
    StagingRecord,
)
from tests.unit.domain.builders import NOW

FRESH = StagingRecord(AS_ESTIMATED, 0, NOW)

reports = st.builds(
    Report,
    st.integers(0, 10**15),
    st.integers(0, 10**10),
    st.integers(SLOWEST, FASTEST),
    st.integers(0, 10**15),
    st.integers(0, 10**10),
)


def report(seen_ms: int, per_mille: int = AS_ESTIMATED, size: int = MIN_BYTES) -> Report:
    """So long for what was estimated at 100 s."""
    return Report(size, 100_000, per_mille, size, seen_ms)


def test_twice_as_slow_moves_the_correction_towards_one_half() -> None:
    record = FRESH
    for _ in range(20):
        record = record.with_report(report(200_000), NOW)
    assert record.as_of(NOW) in range(500, 520)
    assert record.reports == 20


def test_a_correction_that_was_in_the_estimate_is_not_made_twice() -> None:
    corrected = StagingRecord(500, 5, NOW)
    assert corrected.with_report(report(100_000, per_mille=500), NOW).as_of(NOW) == 500


@given(st.lists(reports, max_size=30))
def test_no_reports_move_an_estimate_beyond_its_bounds(some: list[Report]) -> None:
    record = FRESH
    for one in some:
        record = record.with_report(one, NOW)
    assert SLOWEST <= record.as_of(NOW) <= FASTEST


def test_little_data_and_no_time_say_nothing() -> None:
    assert FRESH.with_report(report(900_000, size=MIN_BYTES - 1), NOW) is FRESH
    assert FRESH.with_report(report(0), NOW) is FRESH


def test_the_correction_fades_by_half_in_a_week() -> None:
    slow, quick = StagingRecord(500, 1, NOW), StagingRecord(3000, 1, NOW)
    assert slow.as_of(NOW + HALF_LIFE) == 750
    assert quick.as_of(NOW + HALF_LIFE) == 2000
    assert slow.as_of(NOW + 20 * HALF_LIFE) == AS_ESTIMATED


@given(st.integers(SLOWEST, FASTEST), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_fading_goes_one_way_and_never_past_the_estimate(per_mille: int, age: timedelta) -> None:
    record = StagingRecord(per_mille, 1, NOW)
    then, later = record.as_of(NOW + age), record.as_of(NOW + age + timedelta(hours=5))
    assert abs(then - AS_ESTIMATED) >= abs(later - AS_ESTIMATED)
    assert (then - AS_ESTIMATED) * (per_mille - AS_ESTIMATED) >= 0


def test_a_clock_that_went_back_changes_nothing() -> None:
    assert StagingRecord(500, 1, NOW).as_of(NOW - HALF_LIFE) == 500


def test_people_are_shown_what_it_rests_on() -> None:
    shown = StagingRecord(500, 3, NOW).to_document(NOW + timedelta(minutes=1))
    assert shown["reports"] == 3
    assert shown["age_s"] == 60
    assert 0.49 < shown["rate_factor"] < 0.51
    assert FRESH.to_document(NOW)["age_s"] is None
