"""Ranking: absolute scores, a total order, monotone in every input; the unknown is never best."""

from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.policies import POLICIES, Policy
from gateway.domain.quantities import (
    MICRO,
    SCALES,
    Amount,
    Candidate,
    Direction,
    Placement,
    Quantity,
)
from gateway.domain.ranking import Ranking, Scored, share_shown
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.domain.worth import Basis, rules_of, score_of, worths_of
from tests.unit.domain.builders import (
    MEASURED,
    candidate_sets,
    candidates,
    policies,
    uuid,
)

BALANCED = POLICIES["balanced"]
DAY_MS = 86_400_000


def score(candidate: Candidate, policy: Policy) -> int:
    """What the offer is worth."""
    return score_of(worths_of(candidate, rules_of(policy)))


def with_amount(candidate: Candidate, quantity: Quantity, amount: Amount | None) -> Candidate:
    """The same offer with another amount, or without that one."""
    others = {q: a for q, a in candidate.amounts.items() if q is not quantity}
    return replace(candidate, amounts=others if amount is None else {**others, quantity: amount})


def offer(number: int, node: str = "alpha", delay_s: int = 60, **amounts: int) -> Candidate:
    """An offer with these amounts, all measured."""
    measured = {Quantity(name): Amount(value) for name, value in amounts.items()}
    return Candidate(node, uuid(number), delay_s * 1000, amounts=measured)


def find(ranking: Ranking, candidate: Candidate) -> Scored:
    """The offer as it was ranked."""
    return next(scored for scored in ranking.ordered if scored.candidate is candidate)


def codes(ranking: Ranking, candidate: Candidate) -> list[ReasonCode]:
    """The codes of what is said of the offer."""
    return [why.code for why in ranking.reasons_of(find(ranking, candidate))]


def one_reason(ranking: Ranking, candidate: Candidate, code: ReasonCode) -> Reason:
    """What is said under that code."""
    reasons = ranking.reasons_of(find(ranking, candidate))
    return next(why for why in reasons if why.code is code)


@given(candidate_sets.flatmap(lambda s: st.tuples(st.just(s), st.permutations(s))), policies)
def test_the_order_does_not_depend_on_the_order_of_arrival(
    sets: tuple[list[Candidate], list[Candidate]], policy: Policy
) -> None:
    one, other = (Ranking(arrived, policy) for arrived in sets)
    assert one.ordered == other.ordered
    assert [one.reasons_of(s) for s in one.ordered] == [other.reasons_of(s) for s in other.ordered]


@given(candidate_sets, policies, st.data())
def test_no_offer_changes_how_two_others_stand(
    arrived: list[Candidate], policy: Policy, data: st.DataObject
) -> None:
    few = [candidate for candidate in arrived if data.draw(st.booleans())]
    uuids = {candidate.uuid for candidate in few}
    alone = Ranking(few, policy).ordered
    assert alone == tuple(s for s in Ranking(arrived, policy).ordered if s.uuid in uuids)


@given(candidate_sets, policies)
def test_the_order_is_total_and_begins_with_the_best_score(
    arrived: list[Candidate], policy: Policy
) -> None:
    ordered = Ranking(arrived, policy).ordered
    assert len(ordered) == len(arrived)
    scores = [scored.score for scored in ordered]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= one <= MICRO for one in scores)


def test_ties_go_to_the_sooner_start_then_the_node_name_then_the_uuid() -> None:
    policy = Policy("flat", {}, BALANCED.yardsticks)
    ties = [
        replace(offer(1, "alpha"), start_delay_ms=None),
        offer(9, "beta", delay_s=5),
        offer(3, "alpha", delay_s=5),
        offer(2, "alpha", delay_s=5),
        offer(4, "gamma", delay_s=4),
    ]
    ordered = Ranking(ties, policy).ordered
    assert [scored.uuid.int for scored in ordered] == [4, 2, 3, 9, 1]


@given(candidates, policies, st.integers(0, 10 * DAY_MS))
def test_a_sooner_start_never_lowers_an_offer(
    candidate: Candidate, policy: Policy, sooner_ms: int
) -> None:
    assume(candidate.start_delay_ms is not None)
    start = candidate.start_delay_ms or 0
    sooner = replace(candidate, start_delay_ms=max(start - sooner_ms, 0))
    assert score(sooner, policy) >= score(candidate, policy)


@given(candidates, policies, st.integers(0, 10 * DAY_MS), st.integers(0, 10 * DAY_MS))
def test_shorter_staging_never_lowers_an_offer(
    candidate: Candidate, policy: Policy, one_ms: int, other_ms: int
) -> None:
    shorter, longer = sorted([one_ms, other_ms])
    nearer = replace(candidate, placement=Placement(shorter))
    farther = replace(candidate, placement=Placement(longer))
    assert score(nearer, policy) >= score(farther, policy)


@given(candidates, policies, st.sampled_from(MEASURED), st.integers(0, 10**12))
def test_a_better_amount_never_lowers_an_offer(
    candidate: Candidate, policy: Policy, quantity: Quantity, value: int
) -> None:
    amount = candidate.amounts.get(quantity)
    assume(amount is not None)
    assert amount is not None
    better = min if SCALES[quantity].direction is Direction.LESS_IS_BETTER else max
    improved = replace(amount, value=better(amount.value, value))
    assert score(with_amount(candidate, quantity, improved), policy) >= score(candidate, policy)


BEST: Mapping[Quantity, Amount] = {
    quantity: Amount(
        {Direction.LESS_IS_BETTER: 0, Direction.SHARE: MICRO}.get(
            SCALES[quantity].direction, 10**15
        )
    )
    for quantity in MEASURED
}


@given(candidates, policies, st.sampled_from(MEASURED))
def test_an_unknown_amount_is_never_worth_more_than_the_best_known(
    candidate: Candidate, policy: Policy, quantity: Quantity
) -> None:
    unknown = with_amount(candidate, quantity, None)
    best = with_amount(candidate, quantity, BEST[quantity])
    assert score(unknown, policy) <= score(best, policy)


@given(candidates, policies)
def test_an_unknown_start_or_staging_is_never_worth_more_than_the_best_known(
    candidate: Candidate, policy: Policy
) -> None:
    no_start = replace(candidate, start_delay_ms=None)
    assert score(no_start, policy) <= score(replace(candidate, start_delay_ms=0), policy)
    unknown = replace(candidate, placement=Placement(None))
    assert score(unknown, policy) <= score(replace(candidate, placement=Placement(0)), policy)


@given(candidates, policies, st.sampled_from(MEASURED), st.integers(0, 10**12))
def test_a_bound_is_worth_no_more_than_the_same_amount_measured_and_than_nothing_known(
    candidate: Candidate, policy: Policy, quantity: Quantity, value: int
) -> None:
    assume(quantity is not Quantity.TRACK_RECORD)
    bound = score(with_amount(candidate, quantity, Amount(value, is_bound=True)), policy)
    assert bound <= score(with_amount(candidate, quantity, Amount(value)), policy)
    assert bound <= score(with_amount(candidate, quantity, None), policy)


@given(candidate_sets, policies)
def test_nothing_unknown_is_ever_called_the_best(arrived: list[Candidate], policy: Policy) -> None:
    ranking = Ranking(arrived, policy)
    for scored in ranking.ordered:
        said = {why.code for why in ranking.reasons_of(scored)}
        doubtful = [worth for worth in scored.worths if worth.basis is not Basis.MEASURED]
        assert not said & {BEST_SAYINGS[worth.quantity] for worth in doubtful}


BEST_SAYINGS = {
    Quantity.BEGIN: ReasonCode.STARTS_SOONEST,
    Quantity.STAGING: ReasonCode.NEAREST_DATA,
    Quantity.MONETARY: ReasonCode.CHEAPEST,
    Quantity.CARBON: ReasonCode.LOWEST_CARBON,
    Quantity.ENERGY: ReasonCode.LOWEST_ENERGY,
    Quantity.PERFORMANCE: ReasonCode.FASTEST,
    Quantity.CORES: ReasonCode.MOST_CORES,
    Quantity.MEMORY: ReasonCode.MOST_MEMORY,
    Quantity.TRACK_RECORD: ReasonCode.MOST_RELIABLE,
}


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "nearest"])
@given(
    candidate=candidates,
    now_ms=st.integers(0, DAY_MS),
    later_ms=st.integers(0, 10 * DAY_MS),
    staging_ms=st.integers(0, 10 * DAY_MS),
)
def test_far_data_cost_no_more_than_the_time_they_take(
    name: str, candidate: Candidate, now_ms: int, later_ms: int, staging_ms: int
) -> None:
    """A site that starts now stays above one that starts later, unless moving takes that long."""
    assume(staging_ms <= now_ms + later_ms)
    far = replace(candidate, start_delay_ms=now_ms, placement=Placement(staging_ms))
    local = replace(candidate, start_delay_ms=now_ms + later_ms, placement=Placement(0))
    assert score(far, POLICIES[name]) >= score(local, POLICIES[name])


def test_where_data_play_no_part_staging_weighs_nothing() -> None:
    nearest = POLICIES["nearest"]
    worths = worths_of(offer(1), rules_of(nearest))
    assert Quantity.STAGING not in {worth.quantity for worth in worths}
    assert sum(worth.weight for worth in worths) == 40


def test_the_utility_is_one_half_at_the_reference() -> None:
    for worth in worths_of(
        offer(1, delay_s=3600, monetary=MICRO, performance=150 * MICRO), rules_of(BALANCED)
    ):
        if worth.quantity in {Quantity.BEGIN, Quantity.MONETARY, Quantity.PERFORMANCE}:
            assert worth.utility == MICRO // 2


def test_the_three_sites_of_the_demonstration_rank_as_their_profiles_say() -> None:
    """Green computing centre, cloud and budget site of the upstream project's own demonstration."""
    sites = [
        offer(
            1, "alpha", monetary=800_000, energy=30_000, carbon=8 * MICRO, performance=250 * MICRO
        ),
        offer(
            2, "beta", monetary=150_000, energy=150_000, carbon=40 * MICRO, performance=120 * MICRO
        ),
        offer(
            3, "gamma", monetary=80_000, energy=300_000, carbon=80 * MICRO, performance=60 * MICRO
        ),
    ]

    def best(policy: str) -> str:
        return Ranking(sites, POLICIES[policy]).ordered[0].node

    assert best("greenest") == "alpha"
    assert best("fastest") == "alpha"
    assert best("cheapest") == "gamma"


def test_an_offer_says_in_what_it_is_best_and_what_counted_most() -> None:
    cheap, soon = offer(1, delay_s=600, monetary=100_000), offer(2, "beta", 5, monetary=900_000)
    ranking = Ranking([cheap, soon], POLICIES["cheapest"])
    assert codes(ranking, cheap)[:3] == [
        ReasonCode.CHEAPEST,
        ReasonCode.COUNTS_MOST,
        ReasonCode.COUNTS_MOST,
    ]
    assert ReasonCode.STARTS_SOONEST in codes(ranking, soon)
    assert one_reason(ranking, cheap, ReasonCode.COUNTS_MOST).text() == (
        "monetary 0.1 of money is worth 0.909 of 1, at weight 80 of 100."
    )


def test_where_all_are_the_same_none_is_called_the_best() -> None:
    ranking = Ranking([offer(1, cores=4), offer(2, cores=4)], BALANCED)
    assert not set(codes(ranking, ranking.ordered[0].candidate)) & set(BEST_SAYINGS.values())


def test_what_counts_and_is_not_known_is_said() -> None:
    unknown = replace(offer(1), start_delay_ms=None)
    ranking = Ranking([unknown], POLICIES["soonest"])
    assert one_reason(ranking, unknown, ReasonCode.UNKNOWN_QUANTITY).text() == (
        "begin is not known and counts as 86400 s."
    )
    waiting = replace(offer(1, delay_s=60), placement=Placement(None))
    assert one_reason(
        Ranking([waiting], POLICIES["soonest"]), waiting, ReasonCode.ONLY_A_BOUND
    ).text() == ("Of begin only the bound 60 s is known; it counts as 10860 s.")


def test_the_notes_of_the_judging_are_carried_along() -> None:
    note = reason(ReasonCode.EXPIRY_UNKNOWN)
    candidate = replace(offer(1), notes=(note,))
    assert codes(Ranking([candidate], BALANCED), candidate)[-1] is ReasonCode.EXPIRY_UNKNOWN


def test_an_offer_that_another_beats_in_everything_is_marked() -> None:
    good, bad = offer(1, delay_s=5, cores=4), offer(2, "beta", 60, cores=4)
    other = offer(3, "beta", 90, cores=8)
    ranking = Ranking([bad, good, other], BALANCED)
    assert one_reason(ranking, bad, ReasonCode.DOMINATED).values["node"] == "alpha"
    assert ReasonCode.DOMINATED not in codes(ranking, good)
    assert ReasonCode.DOMINATED not in codes(ranking, other)
    assert ranking.dominator_of(find(ranking, good)) is None


def test_the_same_again_and_the_unknown_are_not_dominated() -> None:
    known, unknown = offer(1, delay_s=5, cores=9), offer(2, delay_s=60)
    twin = offer(3, delay_s=5, cores=9)
    ranking = Ranking([known, unknown, twin], BALANCED)
    assert ReasonCode.DOMINATED not in codes(ranking, unknown)
    assert ReasonCode.DOMINATED not in codes(ranking, twin)


@given(candidate_sets, policies)
def test_a_dominator_is_ranked_before_and_never_dominated_itself(
    arrived: list[Candidate], policy: Policy
) -> None:
    ranking = Ranking(arrived, policy)
    places = {scored.uuid: place for place, scored in enumerate(ranking.ordered)}
    for scored in ranking.ordered:
        dominator = ranking.dominator_of(scored)
        if dominator is not None:
            assert places[dominator.uuid] < places[scored.uuid]
            assert dominator.score >= scored.score
            assert ranking.dominator_of(dominator) is None


def test_a_share_is_shown_with_three_digits() -> None:
    assert share_shown(MICRO) == "1.000"
    assert share_shown(5_999) == "0.005"
