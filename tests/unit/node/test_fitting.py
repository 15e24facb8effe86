"""Slots against the rules they must keep, and against trying every second."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node_stub.fitting import MAX_RANGES, Fit, FittingRequest, Maximum, NoFit, fit
from node_stub.ledger import Amounts, Booking, Ledger, OverCapacityError, Span
from node_stub.slots import Slot, Stages, hold_of, run_booking

CAPACITY = Amounts(cores=6, memory_gib=6, storage_gib=8)
HORIZON = 80
DAY = 86_400

SITE = FittingRequest(
    now=1_000,
    minimum=Amounts(cores=2, memory_gib=2),
    limits=Amounts(cores=16, memory_gib=16, storage_gib=1_000),
    duration_s=1_800,
    max_duration_s=43_200,
    windows=[(1_000, 1_000 + DAY)],
)
WIDE = Amounts(cores=32, memory_gib=32, storage_gib=10_000)


def optional(maximum: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(0, maximum)


@st.composite
def interval(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, HORIZON - 40))
    return start, start + draw(st.integers(0, HORIZON))


@st.composite
def requests(draw: st.DrawFn, now: int | None = None) -> FittingRequest:
    prepare_s = draw(st.integers(0, 6))
    return FittingRequest(
        now=draw(st.integers(0, 10)) if now is None else now,
        minimum=Amounts(draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(0, 4))),
        maximum=Maximum(draw(optional(7)), draw(optional(7)), draw(optional(9))),
        limits=Amounts(5, 5, 8),
        duration_s=draw(st.integers(1, 15)),
        max_duration_s=draw(st.integers(10, 30)),
        windows=draw(st.lists(interval(), min_size=1, max_size=3)),
        daily=draw(st.none() | st.lists(interval(), max_size=3)),
        prepare_s=prepare_s,
        compute_prepare_s=draw(st.integers(0, prepare_s)),
        release_s=draw(st.integers(0, 3)),
        count=draw(st.integers(1, 4)),
        fit=draw(st.sampled_from(Fit)),
        expires_s=draw(st.integers(1, 20)),
        min_expires_s=draw(st.integers(1, 6)),
        step_s=draw(st.integers(1, 5)),
        scale=draw(st.sampled_from([1, 1.5, 2, 3])),
    )


steps = st.tuples(st.integers(1, 12), st.integers(0, 6), st.integers(0, 6), st.integers(0, 8))


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Other amounts are booked every few seconds."""
    ledger = Ledger(CAPACITY)
    start = draw(st.integers(0, 10))
    for length, *levels in draw(st.lists(steps, max_size=12)):
        ledger.add(Booking(str(start), (Span(start, start + length, Amounts(*levels)),)))
        start += length
    return ledger


def offers_at(request: FittingRequest, ledger: Ledger, start: int) -> Iterator[Slot]:
    """Every slot of the requested length that may be offered at this start, from the rules."""
    for first, last in request.windows:
        for since, till in request.daily if request.daily is not None else [(0, 10**6)]:
            latest_allowed = min(last, till - request.duration_s)
            if not max(first, since, request.now + request.prepare_s) <= start <= latest_allowed:
                continue
            fully_open = request.now + request.expires_s + request.prepare_s
            latest = max(start, min(fully_open, latest_allowed))
            expires = min(request.now + request.expires_s, latest - request.prepare_s)
            if expires - request.now < min(request.min_expires_s, request.expires_s):
                continue
            slot = Slot(
                start_earliest=start,
                start_latest=latest,
                duration_s=request.duration_s,
                amounts=request.minimum,
                expires=expires,
                stages=Stages(request.prepare_s, request.compute_prepare_s, request.release_s),
            )
            if all(
                span.amounts.fits_in(ledger.free_between(second, second + 1))
                for span in hold_of(slot, "").spans
                for second in range(span.start, span.end)
            ):
                yield slot


def assert_keeps_the_rules(request: FittingRequest, slot: Slot) -> None:
    least, most = request.minimum, request.maximum
    assert least.fits_in(slot.amounts)
    assert slot.amounts.fits_in(request.limits.capped(CAPACITY))
    for got, lower, upper, scale in (
        (slot.amounts.cores, least.cores, most.cores, request.scale),
        (slot.amounts.memory_gib, least.memory_gib, most.memory_gib, request.scale),
        (slot.amounts.storage_gib, least.storage_gib, most.storage_gib, 1),
    ):
        assert got <= (lower * scale if upper is None else upper)
    assert request.duration_s <= slot.duration_s <= request.max_duration_s
    if request.fit in {Fit.LONGEST, Fit.MIXED}:
        assert slot.duration_s <= request.scale * request.duration_s
    else:
        assert slot.duration_s == request.duration_s
    assert any(
        first <= slot.start_earliest and slot.start_latest <= last
        for first, last in request.windows
    )
    if request.daily is not None:
        assert any(
            since <= slot.start_earliest and slot.start_latest + slot.duration_s <= till
            for since, till in request.daily
        )
    assert slot.start_earliest >= request.now + request.prepare_s
    assert request.now < slot.expires <= request.now + request.expires_s
    assert slot.expires + request.prepare_s <= slot.start_latest


@given(request=requests(), ledger=ledgers())
def test_every_slot_keeps_the_rules_and_all_can_be_held(
    request: FittingRequest, ledger: Ledger
) -> None:
    before = ledger.timeline.copy()
    found = fit(request, ledger)
    assert vars(ledger.timeline) == vars(before)
    assert fit(request, ledger) == found
    assert len(found.slots) <= request.count
    assert (found.reason is None) == bool(found.slots)
    for number, slot in enumerate(found.slots):
        assert_keeps_the_rules(request, slot)
        ledger.add(hold_of(slot, f"offer-{number}"))
    runs = sorted((slot.start_earliest, slot.duration_s) for slot in found.slots)
    for (start, duration_s), (following, _) in pairwise(runs):
        assert start + duration_s <= following
    if request.fit is Fit.EARLIEST:
        starts = [slot.start_earliest for slot in found.slots]
        assert starts == sorted(starts)


@given(request=requests(), ledger=ledgers())
def test_the_earliest_slots_are_those_of_trying_every_second(
    request: FittingRequest, ledger: Ledger
) -> None:
    request = replace(request, fit=Fit.EARLIEST)
    found = fit(request, ledger)
    assume(found.reason not in {NoFit.MAXIMUM_BELOW_MINIMUM, NoFit.TOO_LARGE, NoFit.TOO_LONG})
    clear_from = 0
    for number in range(request.count):
        expected = next(
            (
                start
                for start in range(clear_from, 2 * HORIZON)
                if any(offers_at(request, ledger, start))
            ),
            None,
        )
        if expected is None:
            assert len(found.slots) == number
            return
        slot = found.slots[number]
        assert slot.start_earliest == expected
        assert replace(slot, amounts=request.minimum) in offers_at(request, ledger, expected)
        ledger.add(hold_of(slot, f"offer-{number}"))
        clear_from = expected + slot.duration_s


@given(request=requests(), ledger=ledgers())
def test_as_much_is_offered_as_is_free_up_to_the_target(
    request: FittingRequest, ledger: Ledger
) -> None:
    for number, slot in enumerate(fit(request, ledger).slots):
        for more, upper, least, scale in (
            (Amounts(cores=1), request.maximum.cores, request.minimum.cores, request.scale),
            (Amounts(0, 1), request.maximum.memory_gib, request.minimum.memory_gib, request.scale),
            (Amounts(0, 0, 1), request.maximum.storage_gib, request.minimum.storage_gib, 1),
        ):
            larger = replace(slot, amounts=slot.amounts.plus(more))
            got = max(
                larger.amounts.cores * more.cores,
                larger.amounts.memory_gib * more.memory_gib,
                larger.amounts.storage_gib * more.storage_gib,
            )
            is_wanted = got <= (int(least * scale) if upper is None else upper)
            if is_wanted and larger.amounts.fits_in(request.limits.capped(CAPACITY)):
                with pytest.raises(OverCapacityError):
                    ledger.add(hold_of(larger, "larger"))
        ledger.add(hold_of(slot, f"offer-{number}"))


@given(
    request=requests(),
    ledger=ledgers(),
    wanted=st.sampled_from([Fit.MOST_CORES, Fit.MOST_MEMORY, Fit.LONGEST]),
)
def test_the_best_slot_by_a_measure_is_that_of_trying_every_second(
    request: FittingRequest, ledger: Ledger, wanted: Fit
) -> None:
    request = replace(request, fit=wanted, count=1, step_s=1)
    found = fit(request, ledger)
    assume(found.slots)
    slot = found.slots[0]

    def request_for(value: int) -> FittingRequest:
        if wanted is Fit.MOST_CORES:
            return replace(request, minimum=replace(request.minimum, cores=value))
        if wanted is Fit.MOST_MEMORY:
            return replace(request, minimum=replace(request.minimum, memory_gib=value))
        return replace(request, duration_s=value)

    def target() -> int:
        if wanted is Fit.LONGEST:
            return min(int(request.scale * request.duration_s), request.max_duration_s)
        least, upper = (
            (request.minimum.cores, request.maximum.cores)
            if wanted is Fit.MOST_CORES
            else (request.minimum.memory_gib, request.maximum.memory_gib)
        )
        return min(int(request.scale * least) if upper is None else upper, 5)

    got = {
        Fit.MOST_CORES: slot.amounts.cores,
        Fit.MOST_MEMORY: slot.amounts.memory_gib,
        Fit.LONGEST: slot.duration_s,
    }[wanted]
    seconds = range(2 * HORIZON)
    first = next(s for s in seconds if any(offers_at(request_for(got), ledger, s)))
    assert slot.start_earliest == first
    if got < target():
        assert not any(any(offers_at(request_for(got + 1), ledger, s)) for s in seconds)


@given(request=requests(), ledger=ledgers())
def test_the_next_free_start_has_room(request: FittingRequest, ledger: Ledger) -> None:
    found = fit(request, ledger)
    assert (found.next_free is not None) == (found.reason is NoFit.NO_CAPACITY)
    if found.next_free is not None:
        late = [(found.next_free, found.next_free + 10**6)]
        again = fit(replace(request, windows=late, daily=None, fit=Fit.EARLIEST), ledger)
        assert again.slots[0].start_earliest == found.next_free


class OffersOverTime(RuleBasedStateMachine):
    """A site on which clients ask, accept, reject, forget and finish in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(CAPACITY)
        self.now = 0
        self.made = 0
        self.offers: dict[str, tuple[int, Slot]] = {}
        self.running: dict[str, int] = {}

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        request = data.draw(requests(now=self.now))
        ahead = [(first + self.now, last + self.now) for first, last in request.windows]
        self.made += 1
        for number, slot in enumerate(fit(replace(request, windows=ahead), self.ledger).slots):
            key = f"{self.made}.{number}"
            self.ledger.add(hold_of(slot, key))
            self.offers[key] = (self.made, slot)

    @precondition(lambda self: self.offers)
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.offers)))
        request, slot = self.offers[key]
        start = slot.start_if_accepted(self.now)
        assert start <= slot.start_latest
        assert start - slot.stages.prepare_s >= self.now
        booking = run_booking(slot, start, key)
        assert booking.is_within(hold_of(slot, key))
        self.ledger.replace(booking)
        self.running[key] = start + slot.duration_s + slot.stages.release_s
        del self.offers[key]
        for sibling in [k for k, (of, _) in self.offers.items() if of == request]:
            del self.offers[sibling]
            self.ledger.remove(sibling)

    @precondition(lambda self: self.offers or self.running)
    @rule(data=st.data())
    def reject_or_cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted([*self.offers, *self.running])))
        self.ledger.remove(key)
        self.offers.pop(key, None)
        self.running.pop(key, None)

    @rule(passed_s=st.integers(1, 30))
    def time_passes(self, passed_s: int) -> None:
        self.now += passed_s
        for key in [k for k, (_, slot) in self.offers.items() if slot.expires < self.now]:
            del self.offers[key]
            self.ledger.remove(key)
        for key in [k for k, ends in self.running.items() if ends <= self.now]:
            del self.running[key]
            self.ledger.remove(key)

    @invariant()
    def capacity_is_never_exceeded(self) -> None:
        bookings = [b for key in [*self.offers, *self.running] if (b := self.ledger.get(key))]
        assert len(bookings) == len(self.ledger) == len(self.offers) + len(self.running)
        spans = [span for booking in bookings for span in booking.spans]
        for instant in {span.start for span in spans}:
            used = Amounts()
            for span in spans:
                if span.start <= instant < span.end:
                    used = used.plus(span.amounts)
            assert used.fits_in(CAPACITY)


TestOffersOverTime = OffersOverTime.TestCase
TestOffersOverTime.settings = settings(stateful_step_count=20)


def test_on_an_empty_site_the_runs_follow_one_another_at_twice_the_minimum() -> None:
    found = fit(replace(SITE, prepare_s=7), Ledger(WIDE))
    assert [slot.start_earliest for slot in found.slots] == [
        1_007 + 1_800 * number for number in range(4)
    ]
    assert {slot.amounts for slot in found.slots} == {Amounts(cores=4, memory_gib=4)}
    assert {slot.expires for slot in found.slots} == {1_300}
    first, second = found.slots[:2]
    assert first.start_latest == 1_307
    assert second.start_latest == second.start_earliest


def test_a_client_in_a_hurry_starts_as_soon_as_its_session_is_prepared() -> None:
    ledger = Ledger(WIDE)
    slot = fit(replace(SITE, prepare_s=5, compute_prepare_s=2, release_s=3), ledger).slots[0]
    ledger.add(hold_of(slot, "offer"))
    start = slot.start_if_accepted(1_002)
    assert start == 1_007
    ledger.replace(run_booking(slot, start, "offer"))
    assert ledger.get("offer") == Booking(
        "offer", (Span(1_005, 1_007 + 1_800 + 3, Amounts(cores=4, memory_gib=4)),)
    )


def test_an_expired_slot_gives_no_start() -> None:
    slot = fit(SITE, Ledger(WIDE)).slots[0]
    assert slot.start_if_accepted(slot.expires) == slot.start_latest
    with pytest.raises(ValueError, match="expired"):
        slot.start_if_accepted(slot.expires + 1)
    for start in (slot.start_earliest - 1, slot.start_latest + 1):
        with pytest.raises(ValueError, match="outside"):
            run_booking(slot, start, "offer")


def test_a_lone_instant_is_offered_exactly_and_expires_before_its_preparation() -> None:
    request = replace(SITE, prepare_s=60, windows=[(1_100, 1_100)])
    slots = fit(request, Ledger(WIDE)).slots
    assert [(s.start_earliest, s.start_latest, s.expires) for s in slots] == [(1_100, 1_100, 1_040)]
    assert fit(replace(request, windows=[(1_069, 1_069)]), Ledger(WIDE)).reason is NoFit.NO_START
    assert fit(replace(request, windows=[(1_070, 1_070)]), Ledger(WIDE)).slots


def test_the_gap_between_bookings_is_found_to_the_second() -> None:
    ledger = Ledger(Amounts(cores=2, memory_gib=2))
    whole = Amounts(cores=2, memory_gib=2)
    ledger.add(Booking("before", (Span(0, 2_017, whole),)))
    ledger.add(Booking("after", (Span(2_017 + 1_800 + 5, 100_000, whole),)))
    request = replace(SITE, prepare_s=4, compute_prepare_s=2, release_s=3, count=1)
    assert fit(request, ledger).slots[0].start_earliest == 2_019
    blocked = fit(replace(request, duration_s=1_801), ledger)
    assert (blocked.slots, blocked.reason, blocked.next_free) == ((), NoFit.NO_CAPACITY, 100_002)


def test_what_is_held_pushes_the_next_request_to_the_next_free_slot() -> None:
    ledger = Ledger(Amounts(cores=2, memory_gib=2))
    request = replace(SITE, count=1)
    first = fit(request, ledger).slots[0]
    ledger.add(hold_of(first, "first"))
    second = fit(request, ledger).slots[0]
    assert second.start_earliest == first.start_latest + first.duration_s
    ledger.remove("first")
    assert fit(request, ledger).slots == (first,)


def test_the_run_lies_within_one_daily_window() -> None:
    daily = [(5_000, 9_000), (50_000, 54_000)]
    found = fit(replace(SITE, duration_s=3_000, daily=daily), Ledger(WIDE))
    assert [slot.start_earliest for slot in found.slots] == [5_000, 50_000]
    assert fit(replace(SITE, duration_s=4_001, daily=daily), Ledger(WIDE)).reason is NoFit.NO_START


def test_several_requested_intervals_are_tried_in_order_of_time() -> None:
    windows = [(70_000, 70_000), (40_000, 41_000), (1_000, 1_005), (40_500, 42_000)]
    found = fit(replace(SITE, windows=windows), Ledger(WIDE))
    assert [slot.start_earliest for slot in found.slots] == [40_000, 41_800, 70_000]


def test_of_intervals_that_open_together_the_longer_sets_the_expiry() -> None:
    windows = [(1_000, 1_030), (1_000, 9_000), (1_000, 1_100)]
    assert fit(replace(SITE, windows=windows), Ledger(WIDE)).slots[0].expires == 1_300


@pytest.mark.parametrize(
    ("windows", "booked", "start"),
    [
        # The second interval closes later and so needs more; the first serves sooner.
        ([(1_000, 1_100), (1_010, 2_000)], [(900, 1_050), (1_210, 1_250)], 1_050),
        # The second interval closes sooner and so needs less; it serves sooner.
        ([(1_000, 5_000), (1_010, 1_020)], [(1_150, 1_310)], 1_010),
    ],
)
def test_of_overlapping_intervals_the_one_that_serves_first_is_taken(
    windows: list[tuple[int, int]], booked: list[tuple[int, int]], start: int
) -> None:
    ledger = Ledger(WIDE)
    for since, till in booked:
        ledger.add(Booking(f"from-{since}", (Span(since, till, WIDE),)))
    request = replace(SITE, windows=windows, duration_s=100, count=1)
    assert fit(request, ledger).slots[0].start_earliest == start


@pytest.mark.parametrize(("first", "starts"), [(3_200, [5_000, 3_200]), (3_201, [5_000])])
def test_a_second_best_run_may_end_where_the_best_begins(first: int, starts: list[int]) -> None:
    ledger = Ledger(Amounts(cores=6, memory_gib=99))
    ledger.add(Booking("early", (Span(0, 5_000, Amounts(cores=3)),)))
    request = replace(SITE, fit=Fit.MOST_CORES, windows=[(first, 5_000)])
    assert [slot.start_earliest for slot in fit(request, ledger).slots] == starts


def test_a_second_best_offer_keeps_its_expiry_though_a_better_one_follows() -> None:
    ledger = Ledger(Amounts(cores=6, memory_gib=99))
    ledger.add(Booking("early", (Span(0, 3_000, Amounts(cores=3)),)))
    best, second = fit(replace(SITE, fit=Fit.MOST_CORES, windows=[(1_000, 3_000)]), ledger).slots
    assert (best.start_earliest, second.start_earliest) == (3_000, 1_000)
    assert (second.start_latest, second.expires) == (1_300, 1_300)


def test_a_mixed_choice_offers_each_fit_where_it_betters_the_others() -> None:
    ledger = Ledger(Amounts(cores=8, memory_gib=8))
    ledger.add(Booking("cores", (Span(0, 10_000, Amounts(cores=6)),)))
    ledger.add(Booking("memory", (Span(10_000, 20_000, Amounts(memory_gib=6)),)))
    ledger.add(Booking("short", (Span(20_000, 22_000, Amounts(cores=6)),)))
    ledger.add(Booking("shorter", (Span(3_500, 3_600, Amounts(cores=1)),)))
    found = fit(replace(SITE, fit=Fit.MIXED, maximum=Maximum(cores=6, memory_gib=8)), ledger)
    assert [
        (slot.start_earliest, slot.duration_s, slot.amounts.cores, slot.amounts.memory_gib)
        for slot in found.slots
    ] == [
        (1_000, 1_800, 2, 8),
        (10_000, 1_800, 6, 2),
        (3_600, 3_600, 2, 8),
        (7_200, 1_800, 2, 8),
    ]


def test_a_mixed_choice_on_an_empty_site_is_not_four_times_the_same() -> None:
    found = fit(replace(SITE, fit=Fit.MIXED), Ledger(WIDE))
    assert [(slot.start_earliest, slot.duration_s) for slot in found.slots] == [
        (1_000, 1_800),
        (2_800, 3_600),
        (6_400, 1_800),
        (8_200, 1_800),
    ]


def test_the_longest_run_is_extended_in_whole_steps_and_never_beyond_the_site_limit() -> None:
    ledger = Ledger(WIDE)
    request = replace(SITE, fit=Fit.LONGEST, count=1)
    assert fit(request, ledger).slots[0].duration_s == 3_600
    assert fit(replace(request, max_duration_s=2_500), ledger).slots[0].duration_s == 2_500
    for step in range(30):
        ledger.add(Booking("all", (Span(3_107 + 60 * step, 200_000, WIDE),)))
        assert fit(request, ledger).slots[0].duration_s == 1_800 + 60 * step
        ledger.remove("all")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(SITE, minimum=Amounts(cores=17)), NoFit.TOO_LARGE),
        (replace(SITE, limits=Amounts(99, 99, 99), minimum=Amounts(33)), NoFit.TOO_LARGE),
        (replace(SITE, duration_s=43_201), NoFit.TOO_LONG),
        (replace(SITE, maximum=Maximum(cores=1)), NoFit.MAXIMUM_BELOW_MINIMUM),
        (replace(SITE, windows=[]), NoFit.NO_START),
        (replace(SITE, windows=[(0, 999)]), NoFit.NO_START),
        (replace(SITE, daily=[]), NoFit.NO_START),
    ],
)
def test_nothing_offered_has_a_reason(request_: FittingRequest, reason: NoFit) -> None:
    found = fit(request_, Ledger(WIDE))
    assert (found.slots, found.reason, found.next_free) == ((), reason, None)


def test_a_maximum_above_the_limit_is_capped() -> None:
    found = fit(replace(SITE, maximum=Maximum(cores=99, storage_gib=20)), Ledger(WIDE))
    assert found.slots[0].amounts == Amounts(cores=16, memory_gib=4, storage_gib=20)


def test_only_so_many_start_intervals_are_looked_at() -> None:
    ledger = Ledger(Amounts(cores=2, memory_gib=2))
    ledger.add(Booking("all", (Span(0, 3_000 + MAX_RANGES, Amounts(cores=2)),)))
    windows = [(3_000 + n, 3_000 + n) for n in range(MAX_RANGES + 1)]
    assert fit(replace(SITE, windows=windows), ledger).reason is NoFit.NO_CAPACITY
    assert fit(replace(SITE, windows=windows[1:]), ledger).slots


@pytest.mark.parametrize(
    "wrong", [{"duration_s": 0}, {"count": 0}, {"scale": 0.5}, {"step_s": 0}, {"expires_s": 0}]
)
def test_contradictory_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="contradictory"):
        replace(SITE, **wrong)  # type: ignore[arg-type]  # one keyword at a time


def test_contradictory_stages_and_stranding_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="contradictory"):
        Stages(prepare_s=1, compute_prepare_s=2)
    slot = fit(SITE, Ledger(WIDE)).slots[0]
    with pytest.raises(ValueError, match="strand"):
        replace(slot, expires=slot.start_latest + 1)
