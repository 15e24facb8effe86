"""The retry budget: never below nothing, and nothing is repeated while a node fails."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.retry_budget import RetryBudget


@given(st.lists(st.booleans(), max_size=200))
def test_the_bucket_is_never_empty_below_nothing_nor_fuller_than_full(calls: list[bool]) -> None:
    budget = RetryBudget()
    for is_well in calls:
        budget.succeeded() if is_well else budget.failed()
        assert 0 <= budget.tokens <= 10
        assert budget.allows() is (budget.tokens > 5)


def test_five_failures_end_all_repetition_and_one_success_begins_it_again() -> None:
    budget = RetryBudget()
    for _ in range(5):
        assert budget.allows()
        budget.failed()
    assert not budget.allows()
    budget.succeeded()
    assert budget.allows()


def test_a_node_that_fails_less_than_one_call_in_eleven_may_always_be_asked_again() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.failed()
        assert budget.allows() or budget.tokens == 5
        for _ in range(10):
            budget.succeeded()
        assert budget.allows()
