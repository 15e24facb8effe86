"""The saved inputs of a ranking lead to the same ranking again, anywhere."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.policies import POLICIES, Policy
from gateway.domain.quantities import Candidate
from gateway.domain.reasons import ReasonCode, reason
from gateway.domain.record import (
    Decision,
    RankingRecord,
    RecordVersionError,
    Rejected,
    record_from_json,
    replay,
)
from gateway.wire.documents import from_json, to_json
from tests.unit.domain.builders import NOW, candidate_sets, policies, uuid


def handed_out(decision: Decision) -> list[tuple[str, UUID, int]]:
    """Node, offer and score of what is kept, in order."""
    return [(s.node, s.uuid, s.score) for s in decision.selection.kept]


def texts(decision: Decision) -> list[list[str]]:
    """Everything that is said of every offer."""
    ranking = decision.ranking
    return [[why.text() for why in ranking.reasons_of(s)] for s in ranking.ordered]


rejected = st.lists(
    st.builds(
        Rejected,
        node=st.sampled_from(["alpha", "beta"]),
        uuid=st.none() | st.uuids(),
        reasons=st.just((reason(ReasonCode.TOO_SHORT, offered="PT1M", limit="PT2M"),)),
    ),
    max_size=3,
).map(tuple)


@given(candidate_sets, policies, st.integers(1, 4), st.integers(1, 8), rejected)
def test_the_saved_record_leads_to_the_same_decision(
    found: list[Candidate],
    policy: Policy,
    per_node: int,
    limit: int,
    dropped: tuple[Rejected, ...],
) -> None:
    record = RankingRecord(NOW, policy, per_node, limit, tuple(found), dropped)
    saved = record.to_json()
    again = record_from_json(saved)
    assert again.to_json() == saved
    first, second = replay(record), replay(again)
    assert handed_out(first) == handed_out(second)
    assert first.ranking.ordered == second.ranking.ordered
    assert first.selection == second.selection
    assert texts(first) == texts(second)
    assert first.statements() == second.statements()
    assert len(again.rejected) == len(dropped)


@given(candidate_sets.flatmap(lambda s: st.tuples(st.just(s), st.permutations(s))))
def test_what_is_saved_does_not_depend_on_the_order_of_arrival(
    sets: tuple[list[Candidate], list[Candidate]],
) -> None:
    one, other = (
        RankingRecord(NOW, POLICIES["balanced"], 2, 10, tuple(arrived)) for arrived in sets
    )
    assert one.to_json() == other.to_json()


@given(candidate_sets, st.sampled_from(list(POLICIES.values())))
def test_another_policy_decides_as_though_it_had_been_asked_for(
    found: list[Candidate], policy: Policy
) -> None:
    record = RankingRecord(NOW, POLICIES["balanced"], 2, 4, tuple(found))
    asked = RankingRecord(NOW, policy, 2, 4, tuple(found))
    assert handed_out(replay(record, policy)) == handed_out(replay(asked))


@given(candidate_sets, candidate_sets)
def test_late_offers_come_in_without_taking_back_what_was_handed_out(
    early: list[Candidate], late: list[Candidate]
) -> None:
    known = {candidate.uuid for candidate in early}
    fresh = [candidate for candidate in late if candidate.uuid not in known]
    record = RankingRecord(NOW, POLICIES["balanced"], 2, 4, tuple(early))
    before = replay(record)
    later = record.with_more(fresh)
    after = replay(later)
    kept = {scored.uuid for scored in after.selection.kept}
    assert {scored.uuid for scored in before.selection.kept} <= kept
    assert len(kept) <= 4
    assert handed_out(replay(record_from_json(later.to_json()))) == handed_out(after)
    assert handed_out(replay(later.with_more([]))) == handed_out(after)


def test_a_statement_says_who_offers_at_which_rank_and_why() -> None:
    record = RankingRecord(
        NOW,
        POLICIES["soonest"],
        2,
        10,
        (Candidate("beta", uuid(2), 3_600_000), Candidate("alpha", uuid(1), 0)),
    )
    statements = [statement for _, statement in replay(record).statements()]
    assert [(s["node"], s["rank"]) for s in statements] == [("alpha", 1), ("beta", 2)]
    assert 0 < statements[1]["score"] < statements[0]["score"] < 1
    assert statements[0]["reasons"][0]["code"] == "starts_soonest"


@pytest.mark.parametrize("name", POLICIES)
def test_a_saved_record_has_its_policy_whole(name: str) -> None:
    record = RankingRecord(NOW, POLICIES[name], 2, 10)
    assert record_from_json(record.to_json()).policy == POLICIES[name]


def test_a_record_in_which_reasons_stand_with_their_text_is_read() -> None:
    why = reason(ReasonCode.TOO_SHORT, offered="PT1M", limit="PT2M")
    candidate = Candidate("alpha", uuid(1), 0, notes=(why,))
    record = RankingRecord(NOW, POLICIES["balanced"], 2, 10, (candidate,))
    document = from_json(record.to_json())
    document["candidates"][0]["notes"] = [why.to_document()]
    del document["candidates"][0]["placement"]  # as it was saved where data play no part
    assert record_from_json(to_json(document)) == record


def test_a_record_of_another_version_is_not_replayed() -> None:
    document = from_json(RankingRecord(NOW, POLICIES["balanced"], 2, 10).to_json())
    with pytest.raises(RecordVersionError, match="version 99"):
        record_from_json(to_json({**document, "version": 99}))
