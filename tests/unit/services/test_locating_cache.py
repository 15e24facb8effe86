"""The memory of answers: bounded in number and size, and each for as long as it is good."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.holdings import Copy, Did, DidKind, Holding, Part, Place
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.locating_breaker import BreakerLimits, BreakerPhase, CircuitBreaker
from gateway.services.locating_cache import SPREAD, AnswerCache, CacheLimits

NOT_THERE = reason(ReasonCode.DATA_NOT_FOUND, data="test:x")


def name(index: int) -> Did:
    return Did("test", f"{index}")


def holding(*urls: str, copies: bool = True) -> Holding:
    held = (Copy(Place(rse="UK"), 1, 1, urls=urls),) if copies else ()
    return Holding(name(0), DidKind.FILE, bytes=1, files=1, parts=(Part("x", 1, 1, held),))


def cache(random: float = 0.5, **limits: float) -> AnswerCache:
    return AnswerCache(CacheLimits(**limits), lambda: random)  # type: ignore[arg-type]


def life_s(kept: AnswerCache, outcome: Holding | Reason, *, is_open: bool = False) -> int:
    """Whole seconds until it is not fresh any more."""
    kept.put(name(1), outcome, 0, is_open=is_open)
    seconds = 0
    while (found := kept.get(name(1), seconds)) is not None and found.is_fresh:
        seconds += 1
    return seconds


def test_each_answer_lives_by_what_it_is() -> None:
    assert life_s(cache(), holding()) == 300
    assert life_s(cache(), holding(), is_open=True) == 60
    assert life_s(cache(), NOT_THERE) == 30
    assert life_s(cache(), holding(copies=False)) == 30


@given(st.floats(0, 1))
def test_lives_are_spread_by_a_tenth_at_most(random: float) -> None:
    seconds = life_s(cache(random, closed_s=100), holding())
    assert 100 * (1 - SPREAD) <= seconds <= 100 * (1 + SPREAD) + 1


def test_only_what_was_found_is_of_use_when_it_is_old() -> None:
    kept = cache()
    kept.put(name(1), holding(), 0, is_open=True)
    kept.put(name(2), NOT_THERE, 0, is_open=False)
    found = kept.get(name(1), 86_000)
    assert found is not None
    assert (found.is_fresh, found.age_s) == (False, 86_000)
    assert kept.get(name(2), 31) is None
    assert kept.get(name(1), 86_401) is None
    assert len(kept) == 0


def test_the_least_lately_used_goes_first() -> None:
    kept = cache(entries=2)
    kept.put(name(1), holding(), 0, is_open=False)
    kept.put(name(2), holding(), 0, is_open=False)
    kept.get(name(1), 1)
    kept.put(name(3), holding(), 2, is_open=False)
    assert kept.get(name(2), 3) is None
    assert kept.get(name(1), 3) is not None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=60))
def test_it_is_never_larger_than_it_may_be(puts: list[tuple[int, int]]) -> None:
    kept = cache(entries=10, max_bytes=20_000)
    for index, size in puts:
        kept.put(name(index), holding("x" * size), 0, is_open=False)
        assert len(kept) <= 10
        assert kept.bytes <= 20_000
    while len(kept):
        kept._drop(next(iter(kept._entries)))
    assert kept.bytes == 0


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_probe() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=2, rest_s=10))
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(1)
    assert breaker.allows(1)
    breaker.failed(2)
    assert not breaker.allows(3)
    assert breaker.rest_s(3) == 9
    assert breaker.allows(12)
    assert not breaker.allows(12)
    assert breaker.phase is BreakerPhase.PROBING
    breaker.failed(13)
    assert not breaker.allows(22)
    assert breaker.allows(23)
    breaker.succeeded()
    assert breaker.allows(23)
