"""How long a node takes: mean and quantiles in constant space."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.latency import BOUNDS_S, LatencyRecord

TIMES = st.floats(0, BOUNDS_S[-1], allow_nan=False)


def record_of(times: list[float]) -> LatencyRecord:
    record = LatencyRecord()
    for time in times:
        record.add(time)
    return record


def test_nothing_seen_is_unknown_and_not_zero() -> None:
    record = LatencyRecord()
    assert record.mean_s is None
    assert record.quantile(0.5) is None


def test_a_quantile_beyond_the_last_bucket_is_unknown_and_not_the_bound() -> None:
    assert record_of([10 * BOUNDS_S[-1]]).quantile(0.5) is None


@given(st.lists(TIMES, min_size=1, max_size=400), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_quantile_bounds_its_share_of_the_answers(times: list[float], share: float) -> None:
    bound = record_of(times).quantile(share)
    assert bound is not None
    assert sum(time <= bound for time in times) >= share * len(times)


@given(st.lists(TIMES, min_size=1, max_size=100))
def test_the_mean_lies_between_the_extremes(times: list[float]) -> None:
    mean = record_of(times).mean_s
    assert mean is not None
    assert min(times) - 1e-9 <= mean <= max(times) + 1e-9


def test_old_behaviour_fades() -> None:
    record = record_of([5.0] * 2000 + [0.01] * 600)
    assert record.quantile(0.5) == 0.01
    assert record.mean_s is not None
    assert record.mean_s < 0.02
