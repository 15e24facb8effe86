"""Judging: an offer that breaks the request is dropped with its reason; the unknown is noted."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.judging import Judgement, judge, unchecked_limits
from gateway.domain.reasons import ReasonCode
from gateway.wire.phases import SessionPhase
from gateway.wire.times import DailyWindow, Interval
from gateway.wire.views import Bounds, Quote, RequestView, SessionView
from tests.unit.domain.builders import NOW, OFFER, at, interval

MONEY = "urn:ivoa:calycopis:cost:monetary"
SPEED = "urn:ivoa:calycopis:metric:compute-performance"


def drops(offer: SessionView, request: RequestView, now: datetime = NOW) -> list[ReasonCode]:
    """The codes of what speaks against the offer."""
    return [why.code for why in judge(offer, request, now).drops]


def notes(offer: SessionView, request: RequestView) -> list[ReasonCode]:
    """The codes of what was noted about an offer that is kept."""
    judgement = judge(offer, request, NOW)
    assert judgement.is_kept
    return [why.code for why in judgement.notes]


def test_an_offer_that_keeps_to_everything_is_kept_without_a_word() -> None:
    request = RequestView(
        cores=Bounds(4, 8),
        memory_gib=Bounds(8, 8),
        storage_gib=Bounds(10, 20),
        duration=timedelta(minutes=30),
        starts=(interval(0, 600),),
    )
    assert judge(OFFER, request, NOW) == Judgement()
    assert judge(OFFER, RequestView(), NOW) == Judgement()


@pytest.mark.parametrize("phase", sorted(set(SessionPhase) - {SessionPhase.OFFERED}))
def test_a_session_in_any_other_phase_is_no_offer(phase: SessionPhase) -> None:
    assert drops(replace(OFFER, phase=phase), RequestView()) == [ReasonCode.NOT_OFFERED]


def test_an_offer_must_still_be_held_for_a_while() -> None:
    assert drops(replace(OFFER, expires=NOW), RequestView()) == [ReasonCode.EXPIRED]
    short = judge(replace(OFFER, expires=at(5)), RequestView(), NOW, min_life=timedelta(seconds=10))
    assert [why.code for why in short.drops] == [ReasonCode.EXPIRES_TOO_SOON]
    assert judge(OFFER, RequestView(), NOW, min_life=timedelta(seconds=300)).is_kept
    assert notes(replace(OFFER, expires=None), RequestView()) == [ReasonCode.EXPIRY_UNKNOWN]


def test_an_offer_that_had_expired_when_it_came_says_since_when() -> None:
    (why,) = judge(replace(OFFER, expires=at(-3300)), RequestView(), NOW).drops
    assert why.text() == (
        "The offer had expired 3300 s before it came, at 2026-08-03T08:05:00Z: "
        "its node's clock may be wrong."
    )


def with_amounts(member: str, offered: Bounds, limit: Bounds) -> tuple[SessionView, RequestView]:
    """An offer of so much, and a request that limits it."""
    match member:
        case "cores":
            return replace(OFFER, cores=offered), RequestView(cores=limit)
        case "memory_gib":
            return replace(OFFER, memory_gib=offered), RequestView(memory_gib=limit)
        case _:
            return replace(OFFER, storage_gib=offered), RequestView(storage_gib=limit)


CODES = {
    "cores": (ReasonCode.BELOW_MINIMUM_CORES, ReasonCode.ABOVE_MAXIMUM_CORES),
    "memory_gib": (ReasonCode.BELOW_MINIMUM_MEMORY, ReasonCode.ABOVE_MAXIMUM_MEMORY),
    "storage_gib": (ReasonCode.BELOW_MINIMUM_STORAGE, ReasonCode.ABOVE_MAXIMUM_STORAGE),
}

bounds = st.builds(Bounds, st.none() | st.integers(0, 50), st.none() | st.integers(0, 50))


@given(st.sampled_from(list(CODES)), bounds, bounds)
def test_every_amount_is_held_against_minimum_and_maximum(
    member: str, offered: Bounds, limit: Bounds
) -> None:
    judgement = judge(*with_amounts(member, offered, limit), NOW)
    known = [value for value in (offered.min, offered.max) if value is not None]
    found = {why.code for why in judgement.drops}
    below, above = CODES[member]
    if not known:
        assert not found
        is_asked = limit != Bounds()
        assert [why.code for why in judgement.notes] == [ReasonCode.AMOUNT_UNKNOWN] * is_asked
        return
    # What is sure is the lower bound, what is possible the upper one.
    assert (below in found) == (limit.min is not None and known[0] < limit.min)
    assert (above in found) == (limit.max is not None and known[-1] > limit.max)


def test_memory_that_a_node_is_known_to_misreport_is_unknown() -> None:
    request = RequestView(memory_gib=Bounds(16))
    offer = replace(OFFER, memory_gib=Bounds(4, 4))
    assert drops(offer, request) == [ReasonCode.BELOW_MINIMUM_MEMORY]
    judgement = judge(offer, request, NOW, reports_memory=False)
    assert judgement.is_kept
    assert [why.code for why in judgement.notes] == [ReasonCode.AMOUNT_UNKNOWN]


def test_an_offer_shorter_than_asked_is_dropped_to_the_second() -> None:
    request = RequestView(duration=timedelta(minutes=30))
    short = replace(OFFER, duration=timedelta(minutes=29, seconds=58))
    nearly = replace(OFFER, duration=timedelta(minutes=29, seconds=59))
    assert drops(short, request) == [ReasonCode.TOO_SHORT]
    assert drops(nearly, request) == []
    assert notes(replace(OFFER, duration=None), request) == [ReasonCode.DURATION_UNKNOWN]


def test_the_earliest_start_lies_in_one_of_the_requested_intervals() -> None:
    request = RequestView(starts=(interval(0, 30), interval(100, 200)))
    outside = [ReasonCode.START_OUTSIDE_WINDOW]
    assert drops(replace(OFFER, start=interval(60, 70)), request) == outside
    assert drops(replace(OFFER, start=interval(60, 150)), request) == outside
    assert drops(replace(OFFER, start=interval(150, 900)), request) == []
    assert drops(replace(OFFER, start=interval(201, 201)), request) == []
    assert drops(replace(OFFER, start=interval(202, 202)), request) == outside


def test_an_offer_that_may_begin_at_once_is_judged_by_now() -> None:
    """Its interval opened while the answer was on its way, and is open still."""
    offer = replace(OFFER, start=interval(-120, 300))
    assert drops(offer, RequestView(starts=(interval(-5, 60),))) == []
    past = replace(OFFER, start=interval(-120, -60))
    assert drops(past, RequestView(starts=(interval(-5, 60),))) == [ReasonCode.START_OUTSIDE_WINDOW]


def test_an_offer_without_a_start_is_dropped_only_where_one_was_asked() -> None:
    offer = replace(OFFER, start=None)
    assert drops(offer, RequestView(starts=(interval(0, 600),))) == [ReasonCode.NO_START]
    assert drops(offer, RequestView(daily=office())) == [ReasonCode.NO_START]
    assert notes(offer, RequestView()) == [ReasonCode.START_UNKNOWN]


def office() -> DailyWindow:
    """Nine to five in London, which is 08:00 to 16:00 UTC on the day of the tests."""
    return DailyWindow(time(9), time(17), ZoneInfo("Europe/London"))


@pytest.mark.parametrize(
    ("hour", "is_kept"),
    [("07:59:58", False), ("08:00:00", True), ("15:30:00", True), ("15:30:02", False)],
)
def test_the_whole_run_lies_within_the_daily_window(hour: str, is_kept: bool) -> None:
    start = datetime.fromisoformat(f"2026-08-04T{hour}+00:00")
    offer = replace(OFFER, start=Interval(start, start), duration=timedelta(hours=2))
    request = RequestView(daily=office(), duration=timedelta(minutes=30))
    assert drops(offer, request) == ([] if is_kept else [ReasonCode.OUTSIDE_DAILY_WINDOW])


def test_a_start_at_the_end_of_the_calendar_is_merely_outside() -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    offer = replace(OFFER, start=Interval(last, last), duration=timedelta(days=900))
    request = RequestView(starts=(interval(0, 600),), daily=office())
    assert drops(offer, request) == [
        ReasonCode.START_OUTSIDE_WINDOW,
        ReasonCode.OUTSIDE_DAILY_WINDOW,
    ]


def priced(*costs: Quote) -> SessionView:
    """The offer at these costs."""
    return replace(OFFER, costs=costs)


COST_LIMIT = RequestView(cost_limits=(Quote(MONEY, max=1.0),))


def test_a_cost_over_the_limit_for_sure_drops_the_offer() -> None:
    assert drops(priced(Quote(MONEY, 1.1, 2.0)), COST_LIMIT) == [ReasonCode.OVER_COST_LIMIT]
    assert drops(priced(Quote(MONEY, None, 1.1)), COST_LIMIT) == [ReasonCode.OVER_COST_LIMIT]
    assert drops(priced(Quote(MONEY, 0.6, 0.6), Quote(MONEY, 0.6, 0.6)), COST_LIMIT) == [
        ReasonCode.OVER_COST_LIMIT
    ]


def test_a_cost_perhaps_over_the_limit_is_noted() -> None:
    assert notes(priced(Quote(MONEY, 0.5, 1.5)), COST_LIMIT) == [ReasonCode.MAY_EXCEED_COST_LIMIT]
    assert notes(priced(Quote(MONEY, 0.5, 1.0)), COST_LIMIT) == []


@pytest.mark.parametrize(
    "costs",
    [
        (),
        (Quote("urn:other", 9.0, 9.0),),
        (Quote(MONEY),),
        (Quote(MONEY, float("inf"), float("inf")),),
        (Quote(MONEY, -5.0, -1.0),),
    ],
)
def test_a_cost_that_is_not_reported_does_not_drop_the_offer(costs: tuple[Quote, ...]) -> None:
    assert notes(priced(*costs), COST_LIMIT) == [ReasonCode.COST_NOT_REPORTED]


def test_a_cost_of_the_compute_resource_counts_where_the_session_has_none() -> None:
    dear = (Quote(MONEY, 5.0, 5.0),)
    assert drops(replace(OFFER, compute_costs=dear), COST_LIMIT) == [ReasonCode.OVER_COST_LIMIT]
    whole = replace(OFFER, compute_costs=dear, costs=(Quote(MONEY, 0.1, 0.2),))
    assert drops(whole, COST_LIMIT) == []


def test_cheaper_than_asked_is_no_fault() -> None:
    request = RequestView(cost_limits=(Quote(MONEY, min=0.5),))
    assert judge(priced(Quote(MONEY, 0.1, 0.1)), request, NOW) == Judgement()


@pytest.mark.parametrize(
    ("limit", "quote", "dropped", "noted"),
    [
        (Quote(SPEED, 100, None), Quote(SPEED, 50, 80), [ReasonCode.BELOW_METRIC_LIMIT], []),
        (Quote(SPEED, 100, None), Quote(SPEED, 50, None), [ReasonCode.BELOW_METRIC_LIMIT], []),
        (Quote(SPEED, 100, None), Quote(SPEED, 50, 150), [], [ReasonCode.MAY_MISS_METRIC_LIMIT]),
        (Quote(SPEED, 100, None), Quote(SPEED, 100, 150), [], []),
        (Quote(SPEED, None, 100), Quote(SPEED, 120, 150), [ReasonCode.ABOVE_METRIC_LIMIT], []),
        (Quote(SPEED, None, 100), Quote(SPEED, 80, 150), [], [ReasonCode.MAY_MISS_METRIC_LIMIT]),
        (Quote(SPEED, 90, 100), Quote(SPEED, 90, 100), [], []),
        (Quote(SPEED, 100, None), Quote("urn:other", 1, 1), [], [ReasonCode.METRIC_NOT_REPORTED]),
        (Quote(SPEED, None, None), Quote("urn:other", 1, 1), [], []),
    ],
)
def test_metrics_are_held_against_both_limits(
    limit: Quote, quote: Quote, dropped: list[ReasonCode], noted: list[ReasonCode]
) -> None:
    offer = replace(OFFER, metrics=(quote,))
    judgement = judge(offer, RequestView(metric_limits=(limit,)), NOW)
    assert [why.code for why in judgement.drops] == dropped
    assert [why.code for why in judgement.notes] == noted


def test_a_limit_that_nobody_reports_is_said_once_for_the_set() -> None:
    request = RequestView(
        cost_limits=(Quote(MONEY, max=1), Quote("urn:stars", max=5)), unknown_limits=("urn:odd",)
    )
    said = unchecked_limits(request, [OFFER, priced(Quote(MONEY, 1, 1))])
    assert [(why.code, why.values["type"]) for why in said] == [
        (ReasonCode.LIMIT_REPORTED_BY_NOBODY, "urn:stars"),
        (ReasonCode.LIMIT_NOT_UNDERSTOOD, "urn:odd"),
    ]
    assert unchecked_limits(request, []) == ()


quotes = st.lists(
    st.builds(
        Quote,
        st.sampled_from([MONEY, SPEED]),
        st.none() | st.floats(),
        st.none() | st.floats(),
    ),
    max_size=3,
).map(tuple)


@given(quotes, quotes, quotes, quotes)
def test_no_quote_however_odd_stops_the_judging(
    costs: Sequence[Quote],
    metrics: Sequence[Quote],
    cost_limits: Sequence[Quote],
    metric_limits: Sequence[Quote],
) -> None:
    offer = replace(
        OFFER,
        costs=tuple(costs),
        metrics=tuple(metrics),
        compute_costs=tuple(metrics),
        compute_metrics=tuple(costs),
    )
    request = RequestView(cost_limits=tuple(cost_limits), metric_limits=tuple(metric_limits))
    first, second = judge(offer, request, NOW), judge(offer, request, NOW)
    assert first == second
    shuffled = replace(offer, costs=tuple(reversed(offer.costs)))
    assert judge(shuffled, request, NOW) == first
