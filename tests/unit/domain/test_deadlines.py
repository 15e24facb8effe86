"""A node's own limit and the time of its second try, from what its answers took."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.deadlines import FUTILE, hedge_after_s, may_hedge, own_limit_s
from gateway.domain.latency import BOUNDS_S, FEWEST, LatencyRecord

SECONDS = st.floats(0, 1000, allow_nan=False)


def limit_s(record: LatencyRecord, wait_s: float = 5.0) -> float | None:
    usual_s = record.usual_s(FUTILE * wait_s)
    return own_limit_s(usual_s, record.mean_s, wait_s=wait_s, floor_s=0.5)


def record_of(*times: float) -> LatencyRecord:
    record = LatencyRecord()
    for took_s in times:
        record.add(took_s)
    return record


def test_a_node_of_which_too_little_is_known_has_no_limit_and_no_second_try() -> None:
    record = record_of(*[0.01] * (FEWEST - 1))
    assert limit_s(record) is None
    assert hedge_after_s(record.usual_s(5.0)) is None
    record.add(0.01)
    assert limit_s(record) == 0.5
    assert hedge_after_s(record.usual_s(5.0)) == 0.01


def test_a_node_that_is_silent_every_other_time_keeps_its_limit() -> None:
    assert limit_s(record_of(*[0.3, 5.0] * 200)) == 3 * 0.315 + 0.1


def test_an_answer_in_a_hundred_that_takes_its_time_does_not_change_the_limit() -> None:
    assert limit_s(record_of(*([0.3] * 99 + [3.0]) * 3)) == 3 * 0.315 + 0.1


def test_a_node_that_often_takes_its_time_is_given_it() -> None:
    assert limit_s(record_of(*[0.02, 0.02, 0.02, 2.0] * 20)) == 3 * 2.0 + 0.1


def test_a_node_slower_than_the_buckets_say_has_no_limit() -> None:
    assert limit_s(record_of(*[2 * BOUNDS_S[-1]] * FEWEST), wait_s=100.0) is None


def test_a_node_that_was_waited_for_in_vain_is_not_waited_for_again() -> None:
    record = record_of(0.99)
    assert limit_s(record, wait_s=1.0) == 0.5
    # Whoever waits longer may hear it.
    assert limit_s(record, wait_s=2.0) is None
    record.add(0.02)
    assert limit_s(record, wait_s=1.0) is None


def test_the_habit_follows_a_node_that_changes_within_its_next_answers() -> None:
    record = record_of(*[0.01] * FEWEST)
    assert record.usual_s(5.0) == 0.01
    for _ in range(200):
        record.add(1.0)
    assert record.usual_s(5.0) == 1.0


def test_the_habit_is_that_within_the_wait_at_hand() -> None:
    record = record_of(*[0.01] * FEWEST, *[1.0] * 200)
    assert record.usual_s(0.5) == 0.01
    assert record.usual_s(5.0) == 1.0


@given(SECONDS, SECONDS, SECONDS)
def test_the_limit_is_never_below_the_floor_and_never_less_for_a_slower_node(
    usual_s: float, more_s: float, floor_s: float
) -> None:
    quick = own_limit_s(usual_s, usual_s, wait_s=1e6, floor_s=floor_s)
    slow = own_limit_s(usual_s + more_s, usual_s, wait_s=1e6, floor_s=floor_s)
    assert quick is not None
    assert slow is not None
    assert floor_s <= quick <= slow
    assert quick >= usual_s


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0.001, 1))
def test_second_tries_are_at_most_their_share_and_one_in_any_case(
    hedged: int, asked: int, share: float
) -> None:
    if may_hedge(hedged, asked, share):
        assert hedged == 0 or hedged + 1 <= asked * share
    else:
        assert hedged + 1 > asked * share


def test_without_a_share_there_is_no_second_try() -> None:
    assert not may_hedge(0, 100, 0.0)
