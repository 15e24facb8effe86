"""Whom to ask first: the promising, then the rest, and everyone some time."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.track_record import WHOLE
from gateway.domain.waves import Order, Standing, WaveRule, YieldMemory, order

RULE = WaveRule(all_up_to=4, size=4, explored=1)
NOBODY: frozenset[str] = frozenset()

STANDINGS = st.lists(
    st.builds(
        Standing,
        node=st.integers(0, 10_000).map(str),
        yields=st.floats(0, 1),
        kept_share=st.integers(0, WHOLE),
        mean_s=st.none() | st.floats(0, 100),
        proximity=st.none() | st.integers(0, WHOLE),
        turn=st.integers(0, 50),
    ),
    max_size=60,
    unique_by=lambda standing: standing.node,
)


def standings(count: int) -> list[Standing]:
    return [Standing(f"n{number:03}", yields=0.9, mean_s=0.05, turn=1) for number in range(count)]


@given(STANDINGS, st.data())
def test_everyone_has_one_place_and_the_named_come_first(
    known: list[Standing], data: st.DataObject
) -> None:
    names = [standing.node for standing in known]
    named = frozenset(data.draw(st.lists(st.sampled_from(names), max_size=8)) if names else ())
    found = order(known, named=named, rule=RULE)
    assert sorted(found.nodes) == sorted(names)
    assert set(found.nodes[: len(named)]) == named
    assert found.first >= len(named)
    assert not found.explored & named


@given(STANDINGS, st.randoms())
def test_the_order_depends_on_what_is_known_and_not_on_its_order(
    known: list[Standing], random: object
) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis has no public type
    assert order(known, named=NOBODY, rule=RULE) == order(shuffled, named=NOBODY, rule=RULE)


def test_the_most_promising_go_first_and_one_place_is_for_whom_nobody_asked() -> None:
    known = standings(20)
    known[7] = replace(known[7], yields=0.0)
    known[8] = replace(known[8], kept_share=WHOLE // 10)
    known[9] = replace(known[9], mean_s=30.0)
    known[15] = Standing("n015", turn=0)
    found = order(known, named=NOBODY, rule=RULE)
    assert found.nodes[:4] == ("n000", "n001", "n002", "n015")
    assert "n015" in found.explored
    behind = found.nodes[10:]
    # Each wave tries one of those left; of equals the first by name.
    assert {"n007", "n008", "n009"} <= {*behind, *found.explored}


def test_data_far_away_put_a_node_back_but_do_not_shut_it_out() -> None:
    near = Standing("z-near", yields=0.9, mean_s=0.05, proximity=WHOLE, turn=1)
    far = Standing("a-far", yields=0.9, mean_s=0.05, proximity=0, turn=1)
    idle = Standing("a-never-has-any", yields=0.1, mean_s=0.05, proximity=WHOLE, turn=1)
    assert near.worth() > far.worth() > idle.worth()


def test_equals_take_turns() -> None:
    known = {standing.node: standing for standing in standings(40)}
    rule = WaveRule(all_up_to=4, size=4, explored=0)
    asked: list[str] = []
    for turn in range(2, 12):
        first = order(list(known.values()), named=NOBODY, rule=rule).nodes[:4]
        asked += first
        for node in first:
            known[node] = replace(known[node], turn=turn)
    assert sorted(asked) == sorted(known)


def test_nobody_is_starved_however_little_is_expected_of_them() -> None:
    known = {s.node: replace(s, yields=float(i < 10)) for i, s in enumerate(standings(50))}
    asked: set[str] = set()
    for turn in range(2, 2 + 50):
        first = order(list(known.values()), named=NOBODY, rule=RULE).nodes[:4]
        asked |= set(first)
        for node in first:
            known[node] = replace(known[node], turn=turn)
    assert asked == set(known)


def test_a_bound_on_how_many_are_asked_at_once_bounds_both_sizes() -> None:
    rule = WaveRule(all_up_to=64, size=16, explored=2)
    assert rule.within(200) == rule
    assert rule.within(20) == WaveRule(20, 16, 2)
    assert rule.within(1) == WaveRule(1, 1, 0)
    assert rule.within(0) == WaveRule(0, 1, 0)


def test_whoever_are_all_asked_at_once_are_the_whole() -> None:
    assert Order(("a", "b"), 2).is_whole
    assert not Order(("a", "b", "c"), 2).is_whole


def test_what_a_node_offers_is_remembered_for_the_kinds_asked() -> None:
    memory = YieldMemory()
    docker, notebook = frozenset({"docker"}), frozenset({"notebook"})
    for _ in range(20):
        memory.learn("alpha", docker, has_offers=True)
        memory.learn("alpha", notebook, has_offers=False)
    assert memory.share("alpha", docker) > 0.9
    assert memory.share("alpha", notebook) < 0.1
    assert memory.share("beta", docker) == 0.5


def test_the_memory_of_kinds_is_bounded_and_forgets_the_oldest() -> None:
    memory = YieldMemory()
    for number in range(100):
        memory.learn("alpha", frozenset({str(number)}), has_offers=True)
    assert memory.share("alpha", frozenset({"0"})) == 0.5
    assert memory.share("alpha", frozenset({"99"})) > 0.5


def test_a_node_of_more_weight_is_asked_before_its_equals_and_one_of_none_is_still_tried() -> None:
    standings = [Standing(f"n{i}", weight=1.0) for i in range(6)]
    standings += [Standing("z-heavy", weight=2.0), Standing("a-weightless", weight=0.0)]
    decided = order(standings, named=frozenset(), rule=WaveRule(all_up_to=1, size=4, explored=1))
    assert decided.nodes[0] == "z-heavy"
    assert decided.nodes[3] == "a-weightless"
