"""Rules of three levels, put together for one caller."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.node import NodeProfile
from gateway.domain.permissions import UNBOUND, Allowance, Limits, Names, Permissions, Rule
from gateway.domain.reasons import ReasonCode
from gateway.wire import kinds

NODES = ("alpha", "beta", "gamma")
GROUPS = ("astronomers", "engineers", "guests")
OWNERS = ("alice", "bob")

names = st.builds(
    Names,
    allow=st.none() | st.frozensets(st.sampled_from(NODES)),
    deny=st.frozensets(st.sampled_from(NODES), max_size=1),
)
limits = st.builds(
    Limits,
    offers=st.none() | st.integers(0, 9),
    sessions=st.none() | st.integers(0, 9),
)
rules = st.builds(
    Rule, may_submit=st.none() | st.booleans(), nodes=names, limits=limits, shared=limits
)
permissions = st.builds(
    Permissions,
    everyone=rules,
    groups=st.dictionaries(st.sampled_from(GROUPS), rules),
    owners=st.dictionaries(st.sampled_from(OWNERS), rules),
)
groups = st.frozensets(st.sampled_from(GROUPS))
owners = st.sampled_from(OWNERS)


def node(name: str) -> NodeProfile:
    return NodeProfile(name, f"http://{name}:8090")


def code_of(allowance: Allowance, profile: NodeProfile) -> ReasonCode | None:
    why = allowance.refused_node(profile)
    return why.code if why else None


def applying(rules: Permissions, owner: str, joined: frozenset[str]) -> list[Rule]:
    """Every rule that speaks of the caller."""
    own = [rules.owners[owner]] if owner in rules.owners else []
    return [*own, *(rules.groups[name] for name in joined if name in rules.groups), rules.everyone]


@given(owners, groups)
def test_without_rules_everybody_may_do_everything(owner: str, joined: frozenset[str]) -> None:
    allowance = Permissions().allowance(owner, joined)
    assert allowance.refused_request(kinds.COMPONENT_KINDS) == ()
    assert all(allowance.refused_node(node(name)) is None for name in NODES)
    assert not allowance.limits
    assert allowance.shared == ()


@given(permissions, owners, groups)
def test_a_denial_by_any_rule_holds(rules: Permissions, owner: str, joined: frozenset[str]) -> None:
    allowance = rules.allowance(owner, joined)
    for rule in applying(rules, owner, joined):
        for name in rule.nodes.deny:
            assert code_of(allowance, node(name)) is ReasonCode.NODE_NOT_PERMITTED


@given(permissions, owners, groups)
def test_the_owners_own_rule_is_heard_before_all_others(
    rules: Permissions, owner: str, joined: frozenset[str]
) -> None:
    own = rules.owners.get(owner, Rule())
    allowance = rules.allowance(owner, joined)
    if own.may_submit is not None:
        assert allowance.may_submit is own.may_submit
    if own.limits.offers is not None:
        assert allowance.limits.offers == own.limits.offers
    if own.nodes.allow is not None:
        assert allowance.nodes.allow == own.nodes.allow


@given(permissions, groups)
def test_what_one_group_allows_is_allowed_whatever_the_other_groups_say(
    rules: Permissions, joined: frozenset[str]
) -> None:
    rules = replace(rules, owners={})
    allowance = rules.allowance("alice", joined)
    denied = allowance.nodes.deny
    for name in joined & rules.groups.keys():
        rule = rules.groups[name]
        assert allowance.may_submit or not rule.may_submit
        for allowed in (rule.nodes.allow or frozenset()) - denied:
            assert code_of(allowance, node(allowed)) is None
        if rule.limits.sessions is not None:
            assert allowance.limits.sessions is not None
            assert allowance.limits.sessions >= rule.limits.sessions


@given(permissions, owners, groups, st.sampled_from(GROUPS))
def test_the_rules_of_groups_one_is_not_in_mean_nothing(
    rules: Permissions, owner: str, joined: frozenset[str], other: str
) -> None:
    without = replace(rules, groups={n: r for n, r in rules.groups.items() if n in joined})
    assert rules.allowance(owner, joined) == without.allowance(owner, joined)
    assert other in joined or other not in dict(rules.allowance(owner, joined).shared)


@given(permissions, owners, groups)
def test_the_limits_that_a_group_shares_are_kept_apart_from_those_of_each_member(
    rules: Permissions, owner: str, joined: frozenset[str]
) -> None:
    shared = dict(rules.allowance(owner, joined).shared)
    assert shared == {
        name: rules.groups[name].shared
        for name in joined & rules.groups.keys()
        if rules.groups[name].shared
    }


def test_everyones_rule_is_heard_where_the_groups_say_nothing() -> None:
    rules = Permissions(
        everyone=Rule(may_submit=False, limits=Limits(offers=3)),
        groups={"guests": Rule(nodes=Names(deny=frozenset({"alpha"})))},
    )
    allowance = rules.allowance("alice", frozenset({"guests"}))
    (why,) = allowance.refused_request(frozenset())
    assert why.code is ReasonCode.SUBMIT_NOT_PERMITTED
    assert allowance.limits == Limits(offers=3)


@pytest.mark.parametrize(
    ("owner", "joined", "is_served"),
    [
        ("alice", frozenset[str](), True),
        ("bob", frozenset({"engineers"}), True),
        ("bob", frozenset({"guests"}), False),
        (None, frozenset[str](), False),
    ],
)
def test_a_node_that_is_reserved_serves_its_owners_and_groups_alone(
    owner: str | None, joined: frozenset[str], is_served: bool
) -> None:
    reserved = replace(node("alpha"), owners=frozenset({"alice"}), groups=frozenset({"engineers"}))
    code = code_of(Permissions().allowance(owner, joined), reserved)
    assert code is (None if is_served else ReasonCode.NODE_RESERVED)
    assert code_of(UNBOUND, reserved) is None


def test_a_list_of_kinds_restricts_its_own_family_alone() -> None:
    rules = Permissions(everyone=Rule(kinds=Names(allow=frozenset({kinds.DOCKER_CONTAINER}))))
    allowance = rules.allowance("alice", frozenset())
    asked = {kinds.DOCKER_CONTAINER, kinds.SIMPLE_COMPUTE, kinds.SKAO_DATA}
    assert allowance.refused_request(asked) == ()
    (why,) = allowance.refused_request(asked | {kinds.JUPYTER_NOTEBOOK})
    assert why.code is ReasonCode.KIND_NOT_PERMITTED
    assert why.values["kind"] == kinds.JUPYTER_NOTEBOOK


def test_a_kind_that_is_denied_is_refused_though_it_is_allowed_too() -> None:
    both = Names(allow=frozenset({kinds.S3_DATA}), deny=frozenset({kinds.S3_DATA}))
    allowance = Permissions(everyone=Rule(kinds=both)).allowance("alice", frozenset())
    assert [why.code for why in allowance.refused_request({kinds.S3_DATA})] == [
        ReasonCode.KIND_NOT_PERMITTED
    ]
