"""Buckets of calls: never more than the rate and one burst, and bounded memory."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.httpkit.rate_limits import Buckets, Rate


@dataclass(slots=True)
class Hand:
    """A clock that is moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


rates = st.builds(Rate, per_s=st.floats(0.01, 1000), burst=st.integers(1, 50))
pauses = st.lists(st.floats(0, 100), max_size=60)


@given(rates, pauses)
def test_never_are_more_let_in_than_the_burst_and_what_came_in_since(
    rate: Rate, pauses: list[float]
) -> None:
    clock = Hand()
    buckets = Buckets(rate, clock)
    let_in = 0
    for pause in pauses:
        clock.now += pause
        let_in += buckets.take("alice")[0]
        assert let_in <= rate.burst + (clock.now - 1000.0) * rate.per_s + 1e-6


@given(rates, pauses)
def test_who_waits_as_long_as_it_was_told_is_let_in(rate: Rate, pauses: list[float]) -> None:
    clock = Hand()
    buckets = Buckets(rate, clock)
    for pause in pauses:
        clock.now += pause
        is_let_in, standing = buckets.take("alice")
        if not is_let_in:
            clock.now += standing.next_s + 1e-6
            assert buckets.take("alice")[0]


def test_a_burst_may_come_at_once_and_then_one_at_the_rate() -> None:
    clock = Hand()
    buckets = Buckets(Rate(2.0, 3), clock)
    assert [buckets.take("alice")[0] for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [buckets.take("alice")[0] for _ in range(2)] == [True, False]
    assert buckets.take("bob")[0]


def test_what_was_done_many_times_at_once_is_owed() -> None:
    clock = Hand()
    buckets = Buckets(Rate(1.0, 2), clock)
    for _ in range(4):
        buckets.charge("alice")
    assert buckets.standing("alice").left == 0
    assert buckets.standing("alice").next_s == 3.0
    clock.now += 3.0
    assert buckets.standing("alice").left == 1


@given(st.lists(st.text(max_size=3), max_size=80))
def test_no_more_callers_are_kept_than_there_is_room_for(callers: list[str]) -> None:
    buckets = Buckets(Rate(1.0, 5), Hand(), most=10)
    for caller in callers:
        buckets.take(caller)
        assert len(buckets) <= 10


def test_the_caller_that_called_last_is_not_forgotten() -> None:
    buckets = Buckets(Rate(1.0, 1), Hand(), most=2)
    for caller in ("alice", "bob", "alice", "carol"):
        buckets.take(caller)
    assert not buckets.take("alice")[0]
