"""Measuring offers: what is read off one, and the track record of its node."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.quantities import (
    Amount,
    Placement,
    Quantity,
    measure,
    shown,
)
from gateway.domain.quotes import costs_of, metrics_of
from gateway.domain.track_record import HALF_LIFE, PRIOR_SHARE, WHOLE, TrackRecord
from gateway.wire import kinds
from gateway.wire.views import Bounds, Quote, RequestView, SessionView
from tests.unit.domain.builders import NOW, OFFER, at, interval


def amounts_of(offer: SessionView, request: RequestView | None = None) -> dict[Quantity, Amount]:
    """What is measured of the offer."""
    return dict(measure(offer, request or RequestView(), NOW, node="alpha").amounts)


def test_an_offer_is_measured_by_what_it_costs_at_most_and_gives_at_least() -> None:
    offer = replace(
        OFFER,
        costs=(
            Quote(kinds.MONETARY_COST, 0.1, 0.5),
            Quote(kinds.CARBON_COST, 5, 25),
            Quote(kinds.ENERGY_COST, 0.02, 0.1),
        ),
        metrics=(Quote(kinds.COMPUTE_PERFORMANCE, 150, 200),),
    )
    request = RequestView(cores=Bounds(2, 8), memory_gib=Bounds(8))
    assert amounts_of(offer, request) == {
        Quantity.MONETARY: Amount(500_000),
        Quantity.CARBON: Amount(25_000_000),
        Quantity.ENERGY: Amount(100_000),
        Quantity.PERFORMANCE: Amount(150_000_000),
        Quantity.CORES: Amount(2),
        Quantity.MEMORY: Amount(0),
    }


def test_the_delay_runs_from_the_request_and_is_never_negative() -> None:
    def delay(start_s: float) -> int | None:
        offer = replace(OFFER, start=interval(start_s, 600))
        return measure(offer, RequestView(), NOW, node="alpha").start_delay_ms

    assert delay(61.5) == 61_500
    assert delay(-30) == 0
    without = replace(OFFER, start=None)
    assert measure(without, RequestView(), NOW, node="alpha").start_delay_ms is None


def test_what_an_offer_does_not_say_is_missing_and_not_zero() -> None:
    silent = replace(OFFER, cores=None, memory_gib=Bounds())
    assert amounts_of(silent) == {}
    assert Quantity.MEMORY in amounts_of(OFFER)
    judged = measure(OFFER, RequestView(), NOW, node="alpha", reports_memory=False)
    assert Quantity.MEMORY not in judged.amounts


def test_a_lone_favourable_figure_is_only_a_bound() -> None:
    offer = replace(
        OFFER,
        costs=(Quote(kinds.MONETARY_COST, min=0.5),),
        metrics=(Quote(kinds.COMPUTE_PERFORMANCE, max=200),),
        cores=Bounds(max=8),
    )
    found = amounts_of(offer)
    assert found[Quantity.MONETARY] == Amount(500_000, is_bound=True)
    assert found[Quantity.PERFORMANCE] == Amount(200_000_000, is_bound=True)
    assert found[Quantity.CORES] == Amount(8, is_bound=True)


@given(st.none() | st.floats(), st.none() | st.floats())
def test_no_figure_however_odd_stops_the_measuring(low: float | None, high: float | None) -> None:
    offer = replace(
        OFFER,
        costs=tuple(Quote(type_, low, high) for type_ in (kinds.MONETARY_COST, kinds.CARBON_COST)),
        metrics=(Quote(kinds.COMPUTE_PERFORMANCE, low, high),),
    )
    for amount in amounts_of(offer).values():
        assert 0 <= amount.value <= 10**18


def test_costs_of_one_type_add_up_and_metrics_span_their_range() -> None:
    offer = replace(
        OFFER,
        costs=(Quote("c", 1, 2), Quote("c", 3, 4), Quote("d", 1, 2), Quote("d", 1, None)),
        metrics=(Quote("m", 1, 2), Quote("m", 3, 4)),
    )
    assert costs_of(offer) == {"c": Quote("c", 4, 6), "d": Quote("d", 2, None)}
    assert metrics_of(offer) == {"m": Quote("m", 1, 4)}


def test_the_session_speaks_before_its_compute_resource() -> None:
    offer = replace(
        OFFER,
        costs=(Quote("c", 1, 2), Quote("silent")),
        compute_costs=(Quote("c", 8, 9), Quote("e", 5, 6), Quote("silent", 7, 8)),
    )
    assert costs_of(offer) == {
        "c": Quote("c", 1, 2),
        "e": Quote("e", 5, 6),
        "silent": Quote("silent", 7, 8),
    }


def test_placement_and_notes_are_carried() -> None:
    candidate = measure(OFFER, RequestView(), NOW, node="alpha", placement=Placement(None))
    assert candidate.placement == Placement(None)
    assert candidate.node == "alpha"
    assert candidate.uuid == OFFER.uuid


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        (Quantity.BEGIN, 61_500, "61.5"),
        (Quantity.MONETARY, 500_000, "0.5"),
        (Quantity.MONETARY, 1, "0.000001"),
        (Quantity.MONETARY, 20_000_000, "20"),
        (Quantity.CORES, 10, "10"),
        (Quantity.BEGIN, 0, "0"),
    ],
)
def test_values_are_shown_in_their_unit(quantity: Quantity, value: int, text: str) -> None:
    assert shown(quantity, value) == text


FRESH = TrackRecord(0, 0, NOW)
events = st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=20)


def after(happened: list[tuple[bool, int]]) -> TrackRecord:
    """A record in which these happened, each so many seconds after the one before."""
    record, now = FRESH, NOW
    for is_kept, later_s in happened:
        now += timedelta(seconds=later_s)
        record = record.with_kept(now) if is_kept else record.with_broken(now)
    return record


@given(events, st.integers(0, 10**8))
def test_a_share_is_always_a_share_and_one_more_event_moves_it_the_right_way(
    happened: list[tuple[bool, int]], later_s: int
) -> None:
    record = after(happened)
    now = record.at + timedelta(seconds=later_s)
    share = record.share(now)
    assert 0 < share < WHOLE
    assert record.with_broken(now).share(now) <= share <= record.with_kept(now).share(now)


@given(events, st.integers(0, 10**7), st.integers(0, 10**7))
def test_old_events_only_ever_fade(
    happened: list[tuple[bool, int]], sooner_s: int, later_s: int
) -> None:
    record = after(happened)
    sooner = record.as_of(record.at + timedelta(seconds=sooner_s))
    later = record.as_of(record.at + timedelta(seconds=sooner_s + later_s))
    assert 0 <= later.kept <= sooner.kept <= record.kept
    assert 0 <= later.broken <= sooner.broken <= record.broken


def test_an_event_counts_half_after_its_half_life_and_nothing_in_the_end() -> None:
    record = FRESH.with_broken(NOW)
    assert record.as_of(NOW + HALF_LIFE).broken == WHOLE // 2
    assert record.as_of(NOW + HALF_LIFE / 2).broken == WHOLE * 3 // 4
    assert record.as_of(NOW + 1000 * HALF_LIFE).broken == 0
    assert record.share(NOW + 1000 * HALF_LIFE) == PRIOR_SHARE == FRESH.share(NOW)


def test_the_record_of_a_node_that_answers_all_the_time_fades_like_any_other() -> None:
    busy = quiet = FRESH.with_broken(NOW)
    for tenths in range(1, 20_000):
        busy = busy.with_timely(NOW + timedelta(seconds=tenths / 10))
    later = NOW + timedelta(seconds=2000)
    assert busy.as_of(later).broken < WHOLE
    assert abs(busy.as_of(later).broken - quiet.as_of(later).broken) < WHOLE // 1000


def test_a_clock_that_went_back_fades_nothing() -> None:
    record = FRESH.with_kept(NOW)
    assert record.as_of(at(-3600)) == record


def test_the_track_record_enters_as_the_share_of_its_day() -> None:
    record = FRESH.with_kept(NOW)
    candidate = measure(OFFER, RequestView(), NOW, node="alpha", kept_share=record.share(NOW))
    assert candidate.amounts[Quantity.TRACK_RECORD] == Amount(record.share(NOW))
