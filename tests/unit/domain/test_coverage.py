"""The coverage: every registered node exactly once, each with an outcome and a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.coverage import (
    GOOD_CAUSES,
    CoverageEntry,
    CoverageError,
    Outcome,
    coverage_of,
    entry_from_document,
    is_final,
    is_unavailable,
    with_entry,
)
from gateway.domain.reasons import Reason, ReasonCode, reason

SILENT = (Outcome.TIMEOUT, Outcome.REFUSED, Outcome.ERROR, Outcome.INVALID)


def entry(
    node: str, outcome: Outcome = Outcome.ANSWERED, code: ReasonCode = ReasonCode.NODE_SAID_NO
) -> CoverageEntry:
    """One node's entry; outcomes that need a reason get some."""
    return CoverageEntry(node, outcome, None if outcome is Outcome.ANSWERED else reason(code))


names = st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=8)


@given(names.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_coverage_has_every_node_once_in_the_order_of_names(
    lists: tuple[list[str], list[str]],
) -> None:
    registered, arrived = lists
    coverage = coverage_of([entry(name) for name in arrived], registered)
    assert [one.node for one in coverage] == sorted(registered)


@given(names.filter(bool))
def test_a_node_that_is_missing_twice_or_strange_is_a_defect(registered: list[str]) -> None:
    entries = [entry(name) for name in registered]
    with pytest.raises(CoverageError, match="without an outcome"):
        coverage_of(entries[1:], registered)
    with pytest.raises(CoverageError, match="twice"):
        coverage_of([*entries, entries[0]], registered)
    with pytest.raises(CoverageError, match="not registered"):
        coverage_of(entries, registered[1:])


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.ANSWERED}))
def test_no_outcome_but_an_answer_goes_without_a_reason(outcome: Outcome) -> None:
    with pytest.raises(CoverageError, match="without a reason"):
        CoverageEntry("alpha", outcome)


@pytest.mark.parametrize("outcome", [*SILENT, Outcome.NO, Outcome.SKIPPED])
def test_a_node_that_gave_no_answer_has_no_offers(outcome: Outcome) -> None:
    with pytest.raises(CoverageError, match="with offers"):
        CoverageEntry("alpha", outcome, reason(ReasonCode.NODE_SAID_NO), offers=1)


@given(
    st.sampled_from(Outcome),
    st.sampled_from(ReasonCode),
    st.none() | st.integers(0, 60_000),
    st.integers(0, 9),
)
def test_an_entry_survives_the_trip_through_a_document(
    outcome: Outcome, code: ReasonCode, took_ms: int | None, offers: int
) -> None:
    can_offer = outcome in {Outcome.ANSWERED, Outcome.LATE}
    one = CoverageEntry("alpha", outcome, Reason(code), took_ms, offers if can_offer else 0)
    assert entry_from_document(one.to_document()) == one


def test_a_late_answer_replaces_what_was_said_of_its_node() -> None:
    before = coverage_of(
        [entry("alpha"), entry("beta", Outcome.LATE, ReasonCode.NOT_WAITED_FOR)], ["alpha", "beta"]
    )
    late = CoverageEntry("beta", Outcome.LATE, reason(ReasonCode.ARRIVED_LATE), 6000, 2)
    assert with_entry(before, late) == (before[0], late)
    with pytest.raises(CoverageError, match="gamma"):
        with_entry(before, entry("gamma"))


def test_silence_alone_is_no_answer() -> None:
    assert is_unavailable(())
    assert is_unavailable([entry("n", outcome) for outcome in SILENT])
    assert is_unavailable([entry("n", Outcome.LATE, ReasonCode.NOT_WAITED_FOR)])
    assert is_unavailable([entry("n", Outcome.SKIPPED, ReasonCode.NOT_WANTED)])
    assert is_unavailable([entry("n", Outcome.SKIPPED, ReasonCode.DRAINING)])


def test_one_answer_or_one_skip_for_good_cause_is_enough_to_say_no() -> None:
    silent = entry("a", Outcome.TIMEOUT, ReasonCode.HEADERS_TIMEOUT)
    assert not is_unavailable([silent, entry("b", Outcome.NO)])
    assert not is_unavailable([silent, entry("b")])
    for cause in GOOD_CAUSES:
        assert not is_unavailable([silent, entry("b", Outcome.SKIPPED, cause)])
    late = CoverageEntry("b", Outcome.LATE, reason(ReasonCode.ARRIVED_LATE), 6000, 2)
    assert not is_unavailable([silent, late])


def test_a_node_that_answered_in_time_or_need_not_be_asked_has_said_all_it_will() -> None:
    assert is_final(entry("a"))
    assert is_final(entry("a", Outcome.NO))
    for cause in GOOD_CAUSES:
        assert is_final(entry("a", Outcome.SKIPPED, cause))
    assert not is_final(entry("a", Outcome.SKIPPED, ReasonCode.DRAINING))
    assert not any(is_final(entry("a", outcome)) for outcome in SILENT)
    assert not is_final(CoverageEntry("a", Outcome.LATE, reason(ReasonCode.ARRIVED_LATE), 6000, 2))
