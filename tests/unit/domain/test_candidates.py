"""Choosing whom to ask, and remembering which kinds a node did not know."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.candidates import (
    MAX_REFUSALS_PER_NODE,
    Hops,
    NodeState,
    RefusalMemory,
    choose,
    unknown_kinds,
)
from gateway.domain.coverage import CoverageEntry, Outcome
from gateway.domain.health import Cause
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import ReasonCode
from gateway.wire import kinds
from tests.unit.domain.builders import NOW, at

ASKED = frozenset({kinds.DOCKER_CONTAINER, kinds.SIMPLE_COMPUTE, kinds.SKAO_DATA})
SKAO = frozenset({kinds.SKAO_DATA})


def node(
    name: str, *, is_enabled: bool = True, is_draining: bool = False, identity: str | None = None
) -> NodeState:
    """A node that can be asked, unless said otherwise."""
    profile = NodeProfile(name, f"http://{name}:8090", is_enabled=is_enabled)
    return NodeState(profile, is_draining=is_draining, identity=identity)


def code_of(entry: CoverageEntry) -> ReasonCode:
    """Why the node was skipped."""
    assert entry.outcome is Outcome.SKIPPED
    assert entry.reason is not None
    return entry.reason.code


def only_reason(
    state: NodeState, *, wanted: frozenset[str] | None = None, hops: Hops | None = None
) -> ReasonCode | None:
    """Why this one node is skipped; None if it is asked."""
    choice = choose(
        [state], kinds=ASKED, refusals=RefusalMemory(), now=NOW, wanted=wanted, hops=hops
    )
    assert len(choice.nodes) + len(choice.skipped) == 1
    return code_of(choice.skipped[0]) if choice.skipped else None


moments = st.none() | st.sampled_from([at(-10), at(10)])

states = st.builds(
    NodeState,
    profile=st.builds(
        NodeProfile,
        name=st.text(min_size=1, max_size=4),
        url=st.just("http://somewhere"),
        is_enabled=st.booleans(),
    ),
    is_draining=st.booleans(),
    identity=st.none() | st.sampled_from(["head", "uk"]),
    ejected_until=moments,
    ejected_for=st.just(Cause.LATE),
    waits_until=moments,
)


@given(
    st.lists(states, max_size=8, unique_by=lambda state: state.name),
    st.none() | st.frozensets(st.text(min_size=1, max_size=4)),
    st.lists(st.sampled_from(["head", "uk", "other"]), max_size=5),
)
def test_every_node_is_either_asked_or_skipped_with_a_reason(
    registered: list[NodeState], wanted: frozenset[str] | None, path: list[str]
) -> None:
    choice = choose(
        registered,
        kinds=ASKED,
        refusals=RefusalMemory(),
        now=NOW,
        wanted=wanted,
        hops=Hops("me", tuple(path)),
    )
    asked = [state.name for state in choice.nodes]
    skipped = [entry.node for entry in choice.skipped]
    assert sorted(asked + skipped) == sorted(state.name for state in registered)
    assert asked == sorted(asked)
    assert set(choice.unknown_names) == (wanted or frozenset()) - set(asked) - set(skipped)
    for entry in choice.skipped:
        assert code_of(entry)


def test_a_node_that_the_client_did_not_name_is_not_asked() -> None:
    assert only_reason(node("alpha"), wanted=frozenset({"alpha"})) is None
    assert only_reason(node("alpha"), wanted=frozenset({"beta"})) is ReasonCode.NOT_WANTED


def test_a_wanted_name_that_nobody_has_is_reported() -> None:
    choice = choose(
        [node("alpha")],
        kinds=ASKED,
        refusals=RefusalMemory(),
        now=NOW,
        wanted=frozenset({"alpha", "omega", "beta"}),
    )
    assert choice.unknown_names == ("beta", "omega")


def test_disabled_and_draining_nodes_are_not_asked_even_when_named() -> None:
    wanted = frozenset({"alpha"})
    assert only_reason(node("alpha", is_enabled=False), wanted=wanted) is ReasonCode.DISABLED
    assert only_reason(node("alpha", is_draining=True), wanted=wanted) is ReasonCode.DRAINING


def test_a_request_never_goes_round_in_a_circle() -> None:
    gateway = node("uk", identity="https://uk.example.org/")
    passed = Hops("head", ("https://uk.example.org",))
    assert only_reason(gateway, hops=passed) is ReasonCode.PATH_LOOP
    assert only_reason(node("alpha"), hops=passed) is None
    by_url = Hops("head", ("http://alpha:8090/",))
    assert only_reason(node("alpha"), hops=by_url) is ReasonCode.PATH_LOOP
    own = Hops("head", ("head", "other"))
    assert only_reason(node("alpha"), hops=own) is ReasonCode.PATH_LOOP


def test_a_request_that_passed_enough_gateways_stops() -> None:
    assert (
        only_reason(node("alpha"), hops=Hops("head", ("a", "b"), limit=2)) is ReasonCode.HOP_LIMIT
    )
    assert only_reason(node("alpha"), hops=Hops("head", ("a",), limit=2)) is None


def ejected(name: str) -> NodeState:
    """A node that is left alone for ten seconds more."""
    return replace(node(name), ejected_until=at(10), ejected_for=Cause.UNREACHABLE)


def chosen(
    states: list[NodeState],
    wanted: frozenset[str] | None = None,
    required: frozenset[str] = frozenset(),
) -> tuple[list[str], list[ReasonCode]]:
    """Who is asked, and why the others are not."""
    memory = RefusalMemory()
    choice = choose(states, kinds=ASKED, refusals=memory, now=NOW, wanted=wanted, required=required)
    return [state.name for state in choice.nodes], [code_of(entry) for entry in choice.skipped]


def test_an_ejected_node_is_not_asked_unless_it_is_named() -> None:
    both = [node("alpha"), ejected("beta")]
    beta = frozenset({"beta"})
    assert chosen(both) == (["alpha"], [ReasonCode.EJECTED])
    assert chosen(both, wanted=beta) == (["beta"], [ReasonCode.NOT_WANTED])
    assert chosen(both, required=beta) == (["alpha", "beta"], [])


def test_an_ejected_node_says_why_and_until_when() -> None:
    choice = choose(
        [node("alpha"), ejected("beta")], kinds=ASKED, refusals=RefusalMemory(), now=NOW
    )
    assert choice.skipped[0].reason is not None
    assert choice.skipped[0].reason.values == {
        "cause": "unreachable",
        "until": "2026-08-03T09:00:10Z",
    }


def test_where_nobody_else_is_left_the_ejected_are_asked() -> None:
    off = node("alpha", is_enabled=False)
    assert chosen([off, ejected("beta")]) == (["beta"], [ReasonCode.DISABLED])


def test_a_node_that_wants_to_be_left_alone_is_even_when_it_is_named() -> None:
    waiting = replace(node("alpha"), waits_until=at(10))
    assert only_reason(waiting) is ReasonCode.ASKED_TO_WAIT
    assert only_reason(waiting, wanted=frozenset({"alpha"})) is ReasonCode.ASKED_TO_WAIT
    assert only_reason(replace(waiting, waits_until=NOW)) is None


def test_a_kind_refused_before_is_not_asked_for_until_it_is_forgotten() -> None:
    memory = RefusalMemory(lasts=timedelta(seconds=60))
    memory.learn("alpha", [SKAO], NOW)
    soon = choose([node("alpha"), node("beta")], kinds=ASKED, refusals=memory, now=at(59))
    assert [state.name for state in soon.nodes] == ["beta"]
    assert code_of(soon.skipped[0]) is ReasonCode.KIND_REFUSED_BEFORE
    assert soon.skipped[0].reason is not None
    assert kinds.SKAO_DATA in soon.skipped[0].reason.text()
    later = choose([node("alpha")], kinds=ASKED, refusals=memory, now=at(60))
    assert [state.name for state in later.nodes] == ["alpha"]
    without = choose([node("alpha")], kinds=ASKED - SKAO, refusals=memory, now=at(1))
    assert [state.name for state in without.nodes] == ["alpha"]


def test_a_named_node_is_asked_again_about_a_kind_it_refused() -> None:
    memory = RefusalMemory()
    memory.learn("alpha", [SKAO], NOW)
    wanted = frozenset({"alpha"})
    choice = choose([node("alpha")], kinds=ASKED, refusals=memory, now=NOW, wanted=wanted)
    assert len(choice.nodes) == 1
    choice = choose([node("alpha")], kinds=ASKED, refusals=memory, now=NOW, required=wanted)
    assert len(choice.nodes) == 1


def test_an_offer_shows_that_all_its_kinds_are_known() -> None:
    memory = RefusalMemory()
    memory.learn("alpha", [SKAO, frozenset({kinds.RUCIO_DATA})], NOW)
    memory.forget("alpha", ASKED)
    assert memory.find("alpha", SKAO, NOW) is None
    assert memory.find("alpha", frozenset({kinds.RUCIO_DATA}), NOW) is not None


def test_what_an_offer_shows_narrows_a_refusal_that_named_no_kind() -> None:
    memory = RefusalMemory()
    memory.learn("alpha", [ASKED], NOW)
    assert memory.find("alpha", ASKED - SKAO, NOW) is None
    memory.forget("alpha", ASKED - SKAO)
    refusal = memory.find("alpha", SKAO, NOW)
    assert refusal is not None
    assert refusal.kinds == SKAO


kind_sets = st.frozensets(st.sampled_from("abcdef"))


@given(
    st.lists(st.tuples(st.booleans(), kind_sets), max_size=20),
    st.frozensets(st.sampled_from("abcdef")),
    kind_sets,
)
def test_the_memory_never_keeps_a_node_from_what_it_knows(
    events: list[tuple[bool, frozenset[str]]], known: frozenset[str], asked: frozenset[str]
) -> None:
    """A node that knows ``known`` refuses what has another kind in it and offers for the rest."""
    memory = RefusalMemory()
    for is_offered, request in events:
        if request <= known and is_offered:
            memory.forget("alpha", request)
        elif not request <= known:
            memory.learn("alpha", [request], NOW)
    if asked <= known:
        assert memory.find("alpha", asked, NOW) is None


def test_the_memory_is_bounded_whatever_kinds_clients_invent() -> None:
    memory = RefusalMemory()
    for number in range(3 * MAX_REFUSALS_PER_NODE):
        memory.learn("alpha", [frozenset({f"kind-{number}"})], at(number))
    kept = [
        number
        for number in range(3 * MAX_REFUSALS_PER_NODE)
        if memory.find("alpha", frozenset({f"kind-{number}"}), at(0))
    ]
    assert kept == list(range(2 * MAX_REFUSALS_PER_NODE, 3 * MAX_REFUSALS_PER_NODE))


def test_the_kind_is_read_from_the_values_or_the_text_of_a_message() -> None:
    by_value = {"kind": "urn:unknown-type", "values": {"kind": kinds.SKAO_DATA, "name": "obs"}}
    by_text = {"kind": "uri:unknown-type", "message": f"Unknown kind [{kinds.SKAO_DATA}][obs]"}
    assert unknown_kinds([by_value], ASKED) == (SKAO,)
    assert unknown_kinds([by_text, by_value], ASKED) == (SKAO,)


def test_a_refusal_that_names_no_kind_is_about_the_combination() -> None:
    nameless = {"kind": "uri:unknown-type", "template": "Unknown kind [${kind}]", "values": None}
    assert unknown_kinds([nameless], ASKED) == (ASKED,)
    assert unknown_kinds([nameless], frozenset()) == ()


def test_other_messages_teach_nothing() -> None:
    other = {"kind": "urn:resource-limit", "message": f"too much [{kinds.SKAO_DATA}]"}
    assert unknown_kinds([other], ASKED) == ()


def test_an_unknown_kind_of_a_cost_is_not_held_against_the_components() -> None:
    elsewhere = {"kind": "urn:unknown-type", "values": {"kind": "urn:example:cost", "path": "/x"}}
    assert unknown_kinds([elsewhere], ASKED) == ()
