"""No offer takes another's place that is dearer, later or farther than its client allows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.falling_through import FallThrough, allowed
from gateway.domain.policies import policies_from_settings
from gateway.domain.quantities import (
    COST_TYPES,
    MICRO,
    Amount,
    Candidate,
    Placement,
    Quantity,
    Whereabouts,
)
from gateway.domain.record import RankingRecord

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
ANY: Final = FallThrough(offers=3)
MONEY: Final = Quantity.MONETARY


def candidate(
    *,
    cost: float | None = 1.0,
    start_s: int | None = 60,
    staging_s: int | None = None,
    is_bound: bool = False,
) -> Candidate:
    return Candidate(
        node="alpha",
        uuid=uuid4(),
        start_delay_ms=None if start_s is None else start_s * 1000,
        placement=None if staging_s is None else Placement(staging_s * 1000),
        amounts={} if cost is None else {MONEY: Amount(round(cost * MICRO), is_bound)},
    )


def may_replace(
    asked: Candidate, other: Candidate, wish: FallThrough = ANY, *, has_data: bool = False
) -> bool:
    policy = policies_from_settings({})["balanced"]
    record = RankingRecord(NOW, policy, per_node=2, limit=10, candidates=(asked, other))
    return allowed(record, asked.uuid, wish, has_data=has_data) == {other.uuid}


def test_an_offer_that_is_alike_may_take_the_others_place() -> None:
    assert may_replace(candidate(), candidate())
    assert may_replace(candidate(start_s=60), candidate(start_s=61)), "whole seconds"


@pytest.mark.parametrize(
    "worse",
    [
        candidate(cost=1.000001),
        candidate(cost=None),
        candidate(cost=0.5, is_bound=True),
        candidate(start_s=62),
        candidate(start_s=None),
    ],
    ids=["dearer", "of-unknown-cost", "of-open-cost", "later", "of-unknown-start"],
)
def test_one_that_is_or_may_be_worse_may_not(worse: Candidate) -> None:
    assert not may_replace(candidate(), worse)


def test_one_that_is_farther_from_its_data_may_not() -> None:
    asked = candidate(staging_s=100)
    assert may_replace(asked, candidate(staging_s=100), has_data=True)
    assert not may_replace(asked, candidate(staging_s=101), has_data=True)
    unknown = msgspec.structs.replace(
        candidate(), placement=Placement(None, whereabouts=Whereabouts.UNKNOWN)
    )
    assert not may_replace(asked, unknown, has_data=True)


def test_what_the_offer_asked_for_does_not_say_is_not_compared() -> None:
    asked = candidate(cost=None, start_s=None)
    assert may_replace(asked, candidate(cost=100.0, start_s=9000))


def test_what_the_client_gives_a_number_for_is_held_to_that() -> None:
    asked, dear = candidate(), candidate(cost=5.0)
    assert may_replace(asked, dear, replace(ANY, max_cost=5.0))
    assert not may_replace(asked, dear, replace(ANY, max_cost=4.9))
    assert not may_replace(asked, candidate(cost=0.5), replace(ANY, max_cost=0.4))
    late = candidate(start_s=600)
    assert may_replace(asked, late, replace(ANY, start_before=NOW + timedelta(seconds=600)))
    assert not may_replace(asked, late, replace(ANY, start_before=NOW + timedelta(seconds=599)))
    near = candidate(staging_s=30)
    assert may_replace(asked, near, replace(ANY, max_staging_s=30), has_data=True)
    assert not may_replace(asked, near, replace(ANY, max_staging_s=29.9), has_data=True)


def test_data_that_nobody_looked_for_are_not_taken_to_be_near() -> None:
    wish = replace(ANY, max_staging_s=1e6)
    assert not may_replace(candidate(), candidate(), wish, has_data=True)
    assert may_replace(candidate(), candidate(), wish, has_data=False)


def test_an_offer_that_was_not_ranked_has_no_substitute() -> None:
    policy = policies_from_settings({})["balanced"]
    record = RankingRecord(NOW, policy, per_node=2, limit=10, candidates=(candidate(),))
    assert not allowed(record, UUID(int=1), ANY, has_data=False)


amounts = st.none() | st.integers(0, 5).map(lambda value: Amount(value * MICRO))
candidates = st.builds(
    Candidate,
    node=st.just("alpha"),
    uuid=st.uuids(),
    start_delay_ms=st.none() | st.integers(0, 5).map(lambda s: s * 10_000),
    placement=st.none() | st.builds(Placement, st.none() | st.integers(0, 5)),
    amounts=st.dictionaries(st.sampled_from(sorted(COST_TYPES)), amounts).map(
        lambda found: {name: amount for name, amount in found.items() if amount is not None}
    ),
)


@given(candidates, candidates, st.booleans())
def test_nothing_that_is_known_of_the_offer_asked_for_gets_worse(
    asked: Candidate, other: Candidate, has_data: bool
) -> None:
    if not may_replace(asked, other, has_data=has_data):
        return
    for quantity in COST_TYPES:
        if quantity in asked.amounts:
            assert other.amounts[quantity].value <= asked.amounts[quantity].value
    if asked.start_delay_ms is not None:
        assert other.start_delay_ms is not None
        assert other.start_delay_ms <= asked.start_delay_ms + 1000
    if asked.placement is not None and asked.placement.staging_ms is not None:
        staging_ms = other.placement.staging_ms if other.placement else 0
        assert staging_ms is not None
        assert staging_ms <= asked.placement.staging_ms
