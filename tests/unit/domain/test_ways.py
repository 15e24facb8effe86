"""Which of several ways to one node counts."""

import json
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.ways import MAX_ORIGIN, Way, longer_ways, origin_of, taken_ways, way_of


def test_the_shorter_way_counts_and_of_equal_ones_the_first_by_name() -> None:
    direct, far, east, west = (uuid4() for _ in range(4))
    ways = {
        far: Way("a", ("x", "n"), "anna"),
        direct: Way("a", (), "zoe"),
        west: Way("b", ("n",), "west"),
        east: Way("b", ("n",), "east"),
    }
    assert longer_ways(ways, {}) == {far, west}


def test_a_way_that_is_taken_is_kept_to() -> None:
    direct, far = uuid4(), uuid4()
    ways = {far: Way("a", ("x",), "anna"), direct: Way("a", (), "zoe")}
    assert longer_ways(ways, {"a": "anna"}) == {direct}
    assert longer_ways({direct: ways[direct]}, {"a": "elsewhere"}) == {direct}


_WAYS = st.dictionaries(
    st.uuids(),
    st.builds(
        Way,
        st.sampled_from("abc"),
        st.lists(st.sampled_from("xyz"), max_size=3).map(tuple),
        st.sampled_from(["east", "north", "west"]),
    ),
)


@given(_WAYS)
def test_every_origin_keeps_the_offers_of_exactly_one_node(ways: dict[UUID, Way]) -> None:
    dropped = longer_ways(ways, {})
    kept = {uuid: way for uuid, way in ways.items() if uuid not in dropped}
    assert {way.origin for way in kept.values()} == {way.origin for way in ways.values()}
    for origin in {way.origin for way in ways.values()}:
        assert len({way.node for way in kept.values() if way.origin == origin}) == 1


def test_an_offer_of_a_plain_node_is_from_that_node() -> None:
    own = origin_of("https://node.example.org/")
    assert own == origin_of("https://node.example.org")
    assert "node.example.org" not in own
    assert origin_of("https://node.example.org", "an-identity") == "an-identity"
    assert way_of(b'{"phase": "OFFERED"}', "alpha", own) == Way(own, (), "alpha")


def test_what_a_gateway_says_of_the_way_is_taken_only_where_it_can_be_read() -> None:
    def offer(**federation: object) -> bytes:
        return json.dumps({"federation": federation}).encode()

    assert way_of(offer(path=["x", "n"], origin="o"), "g", "own") == Way("o", ("x", "n"), "g")
    assert way_of(offer(path=["x", 3], origin=7), "g", "own") == Way("own", (), "g")
    assert way_of(offer(path="x", origin=""), "g", "own") == Way("own", (), "g")
    assert way_of(offer(origin="o" * (MAX_ORIGIN + 1)), "g", "own").origin == "own"
    assert way_of(b'{"federation": 3}', "g", "own") == Way("own", (), "g")


def test_the_ways_taken_are_those_of_the_offers_shown() -> None:
    shown = [
        json.dumps({"node": "alpha", "origin": "o"}).encode(),
        json.dumps({"node": "beta"}).encode(),
        None,
    ]
    assert taken_ways(shown) == {"o": "alpha"}
