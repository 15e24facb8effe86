"""The ledger against a model that adds up every second."""

from collections.abc import Iterable, Sequence
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from node_stub.ledger import (
    Amounts,
    Booking,
    DuplicateBookingError,
    Ledger,
    OverCapacityError,
    Part,
    Span,
    Timeline,
    UnknownBookingError,
)

HORIZON = 40
CAPACITY = Amounts(cores=4, memory_gib=4, storage_gib=6)

amounts = st.builds(Amounts, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start = draw(st.integers(0, HORIZON - 1))
    return Span(start, draw(st.integers(start + 1, HORIZON)), draw(amounts))


booked_spans = st.lists(spans(), max_size=3).map(tuple)


def used_at(bookings: Iterable[Booking], instant: int) -> Amounts:
    total = Amounts()
    for booking in bookings:
        for span in booking.spans:
            if span.start <= instant < span.end:
                total = total.plus(span.amounts)
    return total


def fits_everywhere(bookings: Sequence[Booking]) -> bool:
    return all(used_at(bookings, second).fits_in(CAPACITY) for second in range(HORIZON))


class LedgerAgainstModel(RuleBasedStateMachine):
    """Bookings come, change and go in any order; the model keeps them in a dictionary."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(CAPACITY)
        self.model: dict[str, Booking] = {}
        self.made = 0

    @rule(target=keys, taken=booked_spans)
    def add(self, taken: tuple[Span, ...]) -> object:
        self.made += 1
        booking = Booking(f"booking-{self.made}", taken)
        if fits_everywhere([*self.model.values(), booking]):
            self.ledger.add(booking)
            self.model[booking.key] = booking
            return booking.key
        with pytest.raises(OverCapacityError):
            self.ledger.add(booking)
        return multiple()

    @rule(key=keys, taken=booked_spans)
    def replace(self, key: str, taken: tuple[Span, ...]) -> None:
        booking = Booking(key, taken)
        if fits_everywhere([booking, *(b for k, b in self.model.items() if k != key)]):
            self.ledger.replace(booking)
            self.model[key] = booking
        else:
            with pytest.raises(OverCapacityError):
                self.ledger.replace(booking)

    @rule(key=consumes(keys))
    def remove_twice(self, key: str) -> None:
        assert self.ledger.remove(key) == self.model.pop(key)
        assert self.ledger.remove(key) is None

    @invariant()
    def agrees(self) -> None:
        assert len(self.ledger) == len(self.model)
        for second in range(-1, HORIZON + 1):
            used = used_at(self.model.values(), second)
            free = self.ledger.free_between(second, second + 1)
            assert used.plus(free) == CAPACITY

    @invariant()
    def steps_depend_on_bookings_only(self) -> None:
        fresh = Ledger(CAPACITY)
        for booking in self.model.values():
            fresh.add(booking)
        assert fresh.timeline._times == self.ledger.timeline._times


TestLedgerAgainstModel = LedgerAgainstModel.TestCase
TestLedgerAgainstModel.settings = settings(stateful_step_count=20)


steps = st.tuples(st.integers(1, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 6))


@st.composite
def filled(draw: st.DrawFn) -> Timeline:
    """In use are other amounts every few seconds."""
    timeline = Timeline(CAPACITY)
    start = 0
    for length, cores, memory_gib, storage_gib in draw(st.lists(steps, max_size=12)):
        timeline.take(Span(start, start + length, Amounts(cores, memory_gib, storage_gib)))
        start += length
    return timeline


@given(
    timeline=filled(),
    compute=st.builds(Amounts, st.integers(0, 5), st.integers(0, 4)),
    storage=st.builds(Amounts, st.just(0), st.just(0), st.integers(0, 6)),
    before=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    after_s=st.integers(1, 12),
    start=st.integers(-5, HORIZON),
    length=st.integers(-1, HORIZON),
    until=st.none() | st.integers(-5, HORIZON),
)
def test_the_earliest_start_is_that_of_trying_every_second(
    *,
    timeline: Timeline,
    compute: Amounts,
    storage: Amounts,
    before: tuple[int, int],
    after_s: int,
    start: int,
    length: int,
    until: int | None,
) -> None:
    parts = [Part(before[0], after_s, compute), Part(before[1], after_s, storage)]

    def is_free(t: int) -> bool:
        end = max(t, t if until is None else until) + after_s
        return all(
            part.amounts.fits_in(timeline.free_between(second, second + 1))
            for part in parts
            for second in range(t - part.before_s, end)
        )

    expected = next((t for t in range(start, start + length + 1) if is_free(t)), None)
    assert timeline.earliest(start, start + length, parts, until) == expected


@given(timeline=filled(), start=st.integers(-3, HORIZON), length=st.integers(1, HORIZON))
def test_free_between_is_the_least_of_every_second(
    timeline: Timeline, start: int, length: int
) -> None:
    each = [timeline.free_between(t, t + 1) for t in range(start, start + length)]
    assert timeline.free_between(start, start + length) == Amounts(
        min(free.cores for free in each),
        min(free.memory_gib for free in each),
        min(free.storage_gib for free in each),
    )


def test_a_start_put_off_by_one_part_is_free_for_the_other_one_too() -> None:
    timeline = Timeline(CAPACITY)
    timeline.take(Span(10, 15, Amounts(cores=4)))
    timeline.take(Span(0, 6, Amounts(storage_gib=6)))
    parts = [Part(0, 10, Amounts(cores=1)), Part(0, 1, Amounts(storage_gib=1))]
    assert timeline.earliest(0, 100, parts) == 15


def test_spans_of_one_booking_add_up() -> None:
    ledger = Ledger(Amounts(cores=4))
    span = Span(0, 10, Amounts(cores=3))
    with pytest.raises(OverCapacityError) as refused:
        ledger.add(Booking("both", (span, Span(5, 15, Amounts(cores=2)))))
    assert refused.value.free == Amounts(cores=1)
    assert ledger.free_between(0, 20) == Amounts(cores=4)
    assert "both" not in ledger


def test_bookings_may_touch_but_not_overlap() -> None:
    ledger = Ledger(Amounts(cores=1))
    whole = Amounts(cores=1)
    ledger.add(Booking("first", (Span(0, 10, whole),)))
    ledger.add(Booking("second", (Span(10, 20, whole),)))
    assert ledger.timeline.earliest(0, 100, [Part(0, 5, whole)]) == 20
    with pytest.raises(OverCapacityError):
        ledger.add(Booking("third", (Span(9, 10, whole),)))


def test_a_key_is_booked_once() -> None:
    ledger = Ledger(CAPACITY)
    booking = Booking("key", (Span(0, 1, Amounts(cores=1)),))
    ledger.add(booking)
    with pytest.raises(DuplicateBookingError):
        ledger.add(booking)
    assert ledger.get("key") == booking
    assert ledger.free_between(0, 1).cores == 3


def test_replacing_what_is_not_there_is_refused() -> None:
    ledger = Ledger(CAPACITY)
    with pytest.raises(UnknownBookingError):
        ledger.replace(Booking("gone", ()))
    assert len(ledger) == 0


def test_what_runs_on_after_the_site_shrank_is_kept_and_may_shrink_too() -> None:
    ledger = Ledger(Amounts(cores=2))
    for key in ("one", "two"):
        ledger.restore(Booking(key, (Span(0, 10, Amounts(cores=2)),)))
    assert ledger.free_between(0, 10) == Amounts()
    assert ledger.timeline.earliest(0, 100, [Part(0, 1, Amounts(cores=1))]) == 10

    ledger.replace(Booking("two", (Span(0, 8, Amounts(cores=2)),)))
    with pytest.raises(OverCapacityError):
        ledger.replace(Booking("two", (Span(0, 9, Amounts(cores=2)),)))
    assert ledger.get("two") == Booking("two", (Span(0, 8, Amounts(cores=2)),))
    ledger.remove("one")
    ledger.replace(Booking("two", (Span(0, 12, Amounts(cores=2)),)))


def test_what_has_not_gone_in_time_is_entered_beside_what_was_promised_after_it() -> None:
    ledger, whole = Ledger(Amounts(cores=2)), Amounts(cores=2)
    late = Booking("late", (Span(0, 10, Amounts(cores=1)), Span(0, 10, Amounts(storage_gib=0))))
    ledger.restore(late)
    ledger.add(Booking("next", (Span(10, 20, whole),)))

    ledger.restore(late.prolonged(15))

    assert late.prolonged(15).end == 15
    assert late.prolonged(5) == late
    assert len(ledger) == 2
    assert ledger.free_between(10, 11) == Amounts()
    ledger.remove("late")
    assert ledger.free_between(0, 10) == whole


def test_pruning_removes_only_what_has_ended() -> None:
    ledger = Ledger(CAPACITY)
    one = Amounts(cores=1)
    ledger.add(Booking("old", (Span(0, 5, one), Span(0, 10, one))))
    ledger.add(Booking("now", (Span(0, 5, one), Span(5, 11, one))))
    ledger.add(Booking("none", ()))
    assert ledger.prune(10) == ("old", "none")
    assert ledger.free_between(0, 11).cores == 3
    assert ledger.prune(10) == ()


def test_more_than_the_capacity_is_never_free() -> None:
    timeline = Timeline(Amounts(cores=2))
    assert timeline.earliest(0, 10**9, [Part(0, 1, Amounts(cores=3))]) is None


def test_a_search_that_needs_nothing_starts_at_once() -> None:
    ledger = Ledger(Amounts(cores=1))
    ledger.add(Booking("all", (Span(0, 10, Amounts(cores=1)),)))
    assert ledger.timeline.earliest(3, 10, [Part(0, 5, Amounts())]) == 3
    assert ledger.timeline.earliest(3, 2, []) is None


def test_malformed_values_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Amounts(cores=-1)
    with pytest.raises(ValueError, match="end after its start"):
        Span(5, 5, Amounts())
    with pytest.raises(ValueError, match="end after its start"):
        Timeline(CAPACITY).free_between(5, 5)
    with pytest.raises(ValueError, match="length"):
        Part(-1, 1, Amounts())
    with pytest.raises(ValueError, match="two parts"):
        Timeline(CAPACITY).earliest(0, 1, [Part(0, 1, Amounts(1)), Part(1, 1, Amounts(1))])


def booked_out(bookings: int) -> Ledger:
    """Gaps everywhere, each a second too short for a search for 60 s."""
    ledger = Ledger(Amounts(cores=1))
    for number in range(bookings):
        ledger.add(Booking(str(number), (Span(120 * number, 120 * number + 61, Amounts(1)),)))
    return ledger


def test_the_cost_of_a_search_grows_no_worse_than_linearly() -> None:
    def best_of(ledger: Ledger, rounds: int) -> float:
        took: list[float] = []
        for _ in range(5):
            before = process_time()
            for _ in range(rounds):
                found = ledger.timeline.earliest(0, 2**60, [Part(0, 60, Amounts(1))])
                assert found == 120 * (len(ledger) - 1) + 61
            took.append((process_time() - before) / rounds)
        return min(took)

    few, many = booked_out(500), booked_out(16_000)
    # 32 times the bookings; a search that were quadratic would take 1024 times as long.
    assert best_of(many, 1) < 3 * 32 * best_of(few, 20)
