"""How many requests are let in, by how late the loop is and how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from gateway.httpkit.shedding import FEWEST, Admission, Cause
from gateway.httpkit.shedding_settings import SheddingSettings

START = 32
SETTINGS = SheddingSettings(max_heavy=START, start_heavy=START, max_requests=100)
LATE_S = 2 * SETTINGS.high_lag_s
MANY = START * 3 // 4


def let_in(admission: Admission, count: int) -> None:
    for _ in range(count):
        assert admission.refuses(is_heavy=True) is None
        assert admission.has_room()
        admission.begin_heavy()


def fill(admission: Admission, at_most: int = 10_000) -> int:
    count = 0
    while count < at_most and admission.has_room():
        let_in(admission, 1)
        count += 1
    return count


@contextmanager
def heavy(admission: Admission, count: int) -> Iterator[None]:
    let_in(admission, count)
    try:
        yield
    finally:
        for _ in range(count):
            admission.end_heavy()


@contextmanager
def filled(admission: Admission, at_most: int = 10_000) -> Iterator[int]:
    count = fill(admission, at_most)
    try:
        yield count
    finally:
        for _ in range(count):
            admission.end_heavy()


def test_a_quiet_process_lets_in_as_many_as_it_may() -> None:
    admission = Admission(SETTINGS)
    with heavy(admission, SETTINGS.max_heavy):
        assert not admission.has_room()
        assert admission.refuses(is_heavy=True) is None
        assert admission.refuses(is_heavy=False) is None
    assert admission.has_room()


def test_nobody_is_let_in_beyond_the_requests_of_any_sort() -> None:
    admission = Admission(SETTINGS)
    for _ in range(SETTINGS.max_requests):
        assert admission.refuses(is_heavy=False) is None
        admission.begin()
    assert admission.refuses(is_heavy=False) is Cause.IN_FLIGHT
    assert admission.refuses(is_heavy=True) is Cause.IN_FLIGHT
    admission.end()
    assert admission.refuses(is_heavy=True) is None


def test_a_late_loop_lets_in_fewer_and_grows_again_when_it_keeps_up() -> None:
    admission = Admission(SETTINGS)
    with heavy(admission, MANY):
        for _ in range(4):
            admission.observe(LATE_S)
        assert admission.limit < MANY
        assert not admission.has_room()
        cut = admission.limit
        # Between the marks nothing changes.
        for _ in range(10):
            admission.observe((SETTINGS.low_lag_s + SETTINGS.high_lag_s) / 2)
        assert admission.limit == cut
    for _ in range(200):
        with filled(admission):
            admission.observe(0.0)
    assert admission.limit == SETTINGS.max_heavy


def test_a_burst_is_let_in_by_and_by_where_it_makes_no_trouble() -> None:
    admission = Admission(SheddingSettings(max_heavy=3 * START, start_heavy=START))
    for _ in range(3):
        assert fill(admission) == START
        admission.observe(0.0)
    assert admission.limit == 3 * START


def test_a_limit_that_nobody_needs_does_not_grow() -> None:
    admission = Admission(SETTINGS)
    with heavy(admission, MANY):
        for _ in range(10):
            admission.observe(LATE_S)
    admission.observe(0.0)
    cut = admission.limit
    for _ in range(50):
        admission.observe(0.0)
    assert admission.limit == cut


def test_no_more_are_let_in_than_can_be_paid_for_when_nodes_keep_all_of_them_waiting() -> None:
    admission = Admission(SheddingSettings(max_heavy=1000, start_heavy=1000, answer_s=4.0))
    let_in(admission, 1)
    for _ in range(9):
        with heavy(admission, 10):
            pass
        admission.observe(0.0, cpu_s=10 * 0.02)
    # Each costs 20 ms; three quarters of four seconds pay for 150.
    assert 140 <= fill(admission) <= 160


def test_what_a_request_costs_is_not_learned_from_a_few_or_from_other_work() -> None:
    admission = Admission(SheddingSettings(max_heavy=1000, start_heavy=1000, answer_s=4.0))
    admission.observe(0.0, cpu_s=1000.0)
    with heavy(admission, 3):
        admission.observe(0.0, cpu_s=1.0)
    assert fill(admission) == 1000


def test_a_few_are_let_in_however_dear_they_are() -> None:
    admission = Admission(SheddingSettings(answer_s=0.1))
    for _ in range(5):
        with heavy(admission, FEWEST * 2 if admission.limit > FEWEST else FEWEST):
            admission.observe(0.0, cpu_s=100.0)
        admission.observe(0.0)
    assert fill(admission) == FEWEST


def test_some_are_let_in_however_late_the_loop_is() -> None:
    admission = Admission(SETTINGS)
    for _ in range(100):
        admission.observe(20 * SETTINGS.high_lag_s)
    assert fill(admission) == FEWEST
    # It would wait for nothing: not even what costs little is let in now.
    assert admission.refuses(is_heavy=True) is Cause.EVENT_LOOP_LAG


def test_reading_and_accepting_go_on_long_after_there_is_no_room_for_asking() -> None:
    admission = Admission(SETTINGS)
    with heavy(admission, MANY):
        for _ in range(20):
            admission.observe(5 * SETTINGS.high_lag_s)
        assert not admission.has_room()
        assert admission.refuses(is_heavy=False) is None
        for _ in range(20):
            admission.observe(20 * SETTINGS.high_lag_s)
        assert admission.refuses(is_heavy=False) is Cause.EVENT_LOOP_LAG
        for _ in range(20):
            admission.observe(0.0)
        assert admission.refuses(is_heavy=False) is None


def test_one_late_tick_is_an_accident() -> None:
    admission = Admission(SETTINGS)
    with heavy(admission, MANY):
        admission.observe(1.5 * SETTINGS.high_lag_s)
        admission.observe(0.0)
    assert admission.limit == SETTINGS.max_heavy


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 80)), max_size=60))
def test_the_limit_stays_between_its_bounds(ticks: list[tuple[float, int]]) -> None:
    admission = Admission(SETTINGS)
    for lag_s, wanted in ticks:
        with filled(admission, wanted):
            admission.observe(lag_s)
        assert FEWEST <= admission.limit <= SETTINGS.max_heavy
