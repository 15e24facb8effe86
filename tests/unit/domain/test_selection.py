"""Selection: the best that fit per node and in all; what was handed out stays."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.policies import POLICIES
from gateway.domain.quantities import Candidate
from gateway.domain.ranking import Ranking, Scored
from gateway.domain.reasons import ReasonCode
from gateway.domain.selection import select
from tests.unit.domain.builders import candidate_sets, uuid

numbers = st.integers(1, 6)


def ranked(found: list[Candidate]) -> tuple[Scored, ...]:
    """The offers in the order of the default policy."""
    return Ranking(found, POLICIES["balanced"]).ordered


@given(candidate_sets, numbers, numbers)
def test_the_limits_hold_and_every_offer_is_accounted_for(
    found: list[Candidate], per_node: int, limit: int
) -> None:
    ordered = ranked(found)
    selection = select(ordered, per_node=per_node, limit=limit)
    assert len(selection.kept) <= limit
    assert all(count <= per_node for count in Counter(s.node for s in selection.kept).values())
    dropped = [scored.uuid for scored, _ in selection.dropped]
    kept = [scored.uuid for scored in selection.kept]
    assert sorted(kept + dropped) == sorted(scored.uuid for scored in ordered)
    places = {scored.uuid: place for place, scored in enumerate(ordered)}
    assert kept == sorted(kept, key=places.__getitem__)


@given(candidate_sets, numbers, numbers)
def test_an_offer_is_dropped_only_for_better_ones(
    found: list[Candidate], per_node: int, limit: int
) -> None:
    ordered = ranked(found)
    selection = select(ordered, per_node=per_node, limit=limit)
    places = {scored.uuid: place for place, scored in enumerate(ordered)}
    for scored, why in selection.dropped:
        better = [kept for kept in selection.kept if places[kept.uuid] < places[scored.uuid]]
        if why.code is ReasonCode.OVER_PER_NODE:
            assert sum(kept.node == scored.node for kept in better) == per_node
        else:
            assert why.code is ReasonCode.OVER_LIMIT
            assert len(better) == limit


@given(candidate_sets, numbers, numbers, st.data())
def test_what_was_handed_out_stays_and_takes_up_its_room(
    found: list[Candidate], per_node: int, limit: int, data: st.DataObject
) -> None:
    before = [candidate for candidate in found if data.draw(st.booleans())]
    first = select(ranked(before), per_node=per_node, limit=limit)
    handed_out = {scored.uuid for scored in first.kept}
    then = select(ranked(found), per_node=per_node, limit=limit, handed_out=handed_out)
    assert handed_out <= {scored.uuid for scored in then.kept}
    assert len(then.kept) <= limit
    assert all(count <= per_node for count in Counter(s.node for s in then.kept).values())


def test_the_reason_says_which_limit_it_was() -> None:
    found = [
        Candidate("alpha", uuid(1), 1000),
        Candidate("alpha", uuid(2), 2000),
        Candidate("beta", uuid(3), 3000),
        Candidate("gamma", uuid(4), 4000),
    ]
    selection = select(ranked(found), per_node=1, limit=2)
    assert [scored.uuid for scored in selection.kept] == [UUID(int=1), UUID(int=3)]
    assert [(scored.uuid.int, why.text()) for scored, why in selection.dropped] == [
        (2, "1 offers of alpha are kept already."),
        (4, "2 offers are kept already."),
    ]
