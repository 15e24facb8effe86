"""What a gateway says of its nodes: never less than any of them can do, and never a guess."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.capabilities import MAX_ITEMS, Capabilities, read_capabilities
from gateway.domain.joint_capabilities import joint_capabilities

NAMES = st.sets(st.sampled_from(["a", "b", "c", "d"]))
AMOUNTS = st.none() | st.integers(0, 1000)
NODES = st.lists(
    st.none()
    | st.builds(
        Capabilities,
        service=st.just("execbroker-node"),
        kinds=NAMES.map(frozenset),
        platforms=NAMES.map(sorted).map(tuple),
        storage=NAMES.map(sorted).map(tuple),
        cores=AMOUNTS,
        memory_gib=AMOUNTS,
        storage_gib=AMOUNTS,
    ),
    max_size=5,
)


def node(**facts: Any) -> Capabilities:
    return Capabilities(service="execbroker-node", **facts)


@given(NODES)
def test_whatever_a_node_may_be_able_to_do_is_not_ruled_out(
    nodes: list[Capabilities | None],
) -> None:
    joint = joint_capabilities(nodes)
    for each in nodes:
        if each is None or not each.kinds:
            assert joint.kinds == ()
        elif joint.kinds:
            assert each.kinds <= set(joint.kinds)
        for amount in ("cores", "memory_gib", "storage_gib"):
            most = getattr(joint, amount)
            own = None if each is None else getattr(each, amount)
            assert most is None or (own is not None and most >= own)


@given(NODES, st.randoms())
def test_the_order_of_the_nodes_says_nothing(nodes: list[Capabilities | None], random: Any) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert joint_capabilities(shuffled) == joint_capabilities(nodes)


@given(NODES)
def test_another_gateway_can_read_it(nodes: list[Capabilities | None]) -> None:
    document = {
        "version": 1,
        "service": "execbroker-gateway",
        **joint_capabilities(nodes).to_document(),
    }
    joint = joint_capabilities(nodes)
    read = read_capabilities(document)
    assert read.kinds == frozenset(joint.kinds)
    assert read.cores == joint.cores


def test_limits_are_those_of_the_largest_node() -> None:
    joint = joint_capabilities([node(cores=4, memory_gib=64), node(cores=16, memory_gib=8)])
    assert (joint.cores, joint.memory_gib, joint.storage_gib) == (16, 64, None)


def test_a_gateway_without_nodes_can_say_nothing() -> None:
    assert joint_capabilities([]) == joint_capabilities([None])


def test_a_list_that_nobody_would_read_is_left_out() -> None:
    kinds = frozenset(f"kind-{n}" for n in range(MAX_ITEMS))
    assert len(joint_capabilities([node(kinds=kinds)]).kinds) == MAX_ITEMS
    assert joint_capabilities([node(kinds=kinds | {"one-more"})]).kinds == ()
