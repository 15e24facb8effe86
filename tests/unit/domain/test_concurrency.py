"""The limit of requests to one node: within its bounds, up with quick answers, down with slow."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.concurrency import ConcurrencyLimit

seconds = st.floats(0, 60, allow_nan=False)
events = st.lists(st.tuples(st.booleans(), seconds, st.integers(1, 200)) | st.none(), max_size=100)


@given(st.integers(1, 20), st.integers(1, 200), events)
def test_the_limit_never_leaves_its_bounds(
    least: int, most: int, happened: list[tuple[bool, float, int] | None]
) -> None:
    limit = ConcurrencyLimit(least, most)
    now = 0.0
    for event in happened:
        if event is None:
            limit.restart()
        else:
            is_answer, took_s, in_flight = event
            now += took_s
            limit.answered(took_s, in_flight) if is_answer else limit.dropped(now - took_s, now)
        assert min(least, most) <= limit.value <= most


@given(st.floats(0.001, 5))
def test_steady_answers_under_demand_raise_the_limit_to_the_most(took_s: float) -> None:
    limit = ConcurrencyLimit(4, 64)
    limit.restart()
    for _ in range(200):
        before = limit.value
        limit.answered(took_s, in_flight=limit.value)
        assert limit.value >= before
    assert limit.value == 64


@given(st.floats(0.001, 1), st.floats(4, 50))
def test_answers_that_take_longer_under_demand_lower_the_limit(took_s: float, by: float) -> None:
    limit = ConcurrencyLimit(4, 64)
    for _ in range(50):
        limit.answered(took_s, in_flight=64)
    for _ in range(100):
        limit.answered(took_s * by, in_flight=limit.value)
    assert limit.value < 32


def test_a_limit_that_nobody_needs_stays() -> None:
    limit = ConcurrencyLimit(4, 64)
    limit.restart()
    for _ in range(100):
        limit.answered(0.01, in_flight=1)
    assert limit.value == 4


def test_answers_that_do_not_come_cut_the_limit_once_for_all_that_were_under_way() -> None:
    limit = ConcurrencyLimit(4, 64)
    for _ in range(64):
        limit.dropped(sent=10.0, now=15.0)
    assert limit.value == 57
    limit.dropped(sent=16.0, now=21.0)
    assert limit.value == 51
