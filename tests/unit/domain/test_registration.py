"""Leases, standings, overlays, capabilities and URLs of nodes: what is decided without asking."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.candidates import NodeState, RefusalMemory, choose
from gateway.domain.capabilities import (
    MAX_ITEMS,
    Capabilities,
    CapabilitiesError,
    read_capabilities,
)
from gateway.domain.health import HealthState
from gateway.domain.node import NodeProfile
from gateway.domain.node_urls import MAX_URL, fault_in_url
from gateway.domain.reasons import ReasonCode
from gateway.domain.registration import (
    LIVE,
    Down,
    Lease,
    MemberCause,
    Membership,
    NodeStanding,
    Overlay,
    causes_of,
    lease_ends,
    overlay_of,
    patched,
    standing_of,
)
from gateway.wire.documents import Document
from gateway.wire.kinds import (
    DOCKER_CONTAINER,
    JUPYTER_NOTEBOOK,
    SIMPLE_COMPUTE,
    SIMPLE_DATA,
)
from gateway.wire.views import Bounds, RequestView
from tests.support.members import CAPABILITIES

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
PROFILE = NodeProfile("alpha", "https://alpha.example", "uk", ("UKSRC",))
LEASE = Lease("admin", NOW, NOW, NOW)

instants = st.integers(0, 31_536_000).map(lambda passed: NOW + timedelta(seconds=passed))
spans_s = st.floats(0, 86_400, allow_nan=False)
standings = st.builds(
    Membership,
    is_draining=st.booleans(),
    down=st.none() | st.sampled_from(Down),
    lease=st.none() | st.just(LEASE),
)
names = st.lists(st.text(min_size=1, max_size=5), max_size=3)
overlay_documents = st.fixed_dictionaries(
    {},
    optional={
        "draining": st.booleans() | st.none(),
        "enabled": st.booleans() | st.none(),
        "weight": st.floats(0.01, 100) | st.none(),
        "owners": names | st.none(),
        "site": st.text(min_size=1, max_size=5) | st.none(),
    },
)


# -- leases -------------------------------------------------------------------------------------


@given(instants, spans_s, st.none() | instants, spans_s)
def test_a_lease_ends_no_sooner_than_it_says_and_no_sooner_than_the_grace(
    renewed: datetime, lease_s: float, watched: datetime | None, grace_s: float
) -> None:
    ends = lease_ends(renewed, lease_s=lease_s, watched_since=watched, grace_s=grace_s)
    least = renewed + timedelta(seconds=lease_s)
    grace = least if watched is None else watched + timedelta(seconds=grace_s)
    assert ends == max(least, grace)


@given(instants, spans_s, spans_s)
def test_a_renewal_never_shortens_a_lease(renewed: datetime, lease_s: float, later: float) -> None:
    def ends(at: datetime) -> datetime:
        return lease_ends(at, lease_s=lease_s, watched_since=NOW, grace_s=60.0)

    assert ends(renewed + timedelta(seconds=later)) >= ends(renewed)


# -- standings ----------------------------------------------------------------------------------


@given(st.sampled_from(HealthState), standings, st.booleans())
def test_what_was_decided_of_a_node_goes_before_what_was_found_out(
    health: HealthState, membership: Membership, is_enabled: bool
) -> None:
    standing = standing_of(health, membership, is_enabled=is_enabled)
    if membership.down is not None or not is_enabled:
        assert standing is NodeStanding.DOWN
        assert standing not in LIVE
    elif membership.is_draining:
        assert standing is NodeStanding.DRAINING
    elif health is not HealthState.UNKNOWN:
        assert standing.value == health.value
    else:
        assert standing is (NodeStanding.UP if membership.lease else NodeStanding.UNKNOWN)


@pytest.mark.parametrize("down", Down)
def test_a_node_that_is_down_says_why(down: Down) -> None:
    why = Membership(down=down, down_since=NOW).why_down()
    assert why is not None
    assert why.entry.applies_to.value == "skipped"
    assert "unknown" not in why.text()
    assert Membership().why_down() is None


# -- overlays -----------------------------------------------------------------------------------


@given(overlay_documents, overlay_documents)
def test_a_patch_says_all_that_it_names_and_nothing_else(before: Document, patch: Document) -> None:
    kept = patched(before, patch)
    for name, value in patch.items():
        assert kept.get(name) == value
    for name in before.keys() - patch.keys():
        assert kept.get(name) == before[name]
    assert None not in kept.values()
    assert patched(kept, patch) == kept


@given(overlay_documents)
def test_taking_a_change_back_gives_the_node_as_it_was(document: Document) -> None:
    changed = patched({}, document)
    undone = overlay_of(patched(changed, dict.fromkeys(document)))
    assert undone.over(PROFILE) == PROFILE
    assert undone == Overlay()


def test_an_overlay_changes_the_profile_and_a_later_version_may_know_more() -> None:
    document = {"weight": 2.0, "owners": ["ann"], "storage": [], "enabled": False, "colour": "red"}
    profile = overlay_of(document).over(PROFILE)
    assert (profile.weight, profile.owners) == (2.0, frozenset({"ann"}))
    assert (profile.storage, profile.is_enabled, profile.site) == ((), False, "uk")


@given(overlay_documents, overlay_documents)
def test_the_record_tells_of_every_turn_and_of_nothing_else(
    before: Document, after: Document
) -> None:
    old, new = overlay_of(patched({}, before)), overlay_of(patched({}, after))
    causes = causes_of(old, new)
    assert (MemberCause.DRAINED in causes) is (bool(new.draining) and not old.draining)
    assert (MemberCause.RESUMED in causes) is (bool(old.draining) and not new.draining)
    assert (MemberCause.DISABLED in causes) is (new.enabled is False and old.enabled is not False)
    assert causes_of(old, old) == []


# -- capabilities -------------------------------------------------------------------------------


def test_capabilities_are_read_as_they_are_shown() -> None:
    read = read_capabilities(CAPABILITIES)
    shown = read.to_document()
    assert read_capabilities(shown | {"version": 1}) == read
    assert {field.name for field in fields(Capabilities)} <= {*shown, *shown["limits"]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([*CAPABILITIES, "max_hops"]), json_values)
def test_capabilities_are_read_or_refused_and_never_anything_else(name: str, value: Any) -> None:
    try:
        read = read_capabilities(CAPABILITIES | {name: value})
    except CapabilitiesError:
        return
    assert isinstance(read, Capabilities)


@pytest.mark.parametrize("document", [[], "text", None, {}, {"version": 1}, {"version": "1"}])
def test_what_is_no_capability_document_is_refused(document: object) -> None:
    with pytest.raises(CapabilitiesError):
        read_capabilities(document)


def test_too_many_kinds_are_refused() -> None:
    with pytest.raises(CapabilitiesError, match="kinds"):
        read_capabilities(CAPABILITIES | {"kinds": ["k"] * (MAX_ITEMS + 1)})


def test_a_kind_is_lacking_only_beside_others_of_its_family() -> None:
    can = Capabilities("execbroker-node", kinds=frozenset({DOCKER_CONTAINER, SIMPLE_COMPUTE}))
    assert can.lacks(frozenset({DOCKER_CONTAINER, SIMPLE_COMPUTE})) == frozenset()
    assert can.lacks(frozenset({JUPYTER_NOTEBOOK, SIMPLE_COMPUTE})) == {JUPYTER_NOTEBOOK}
    assert can.lacks(frozenset({SIMPLE_DATA})) == frozenset()  # it lists none of that family
    assert Capabilities("other").lacks(frozenset({JUPYTER_NOTEBOOK})) == frozenset()


def chosen(state: NodeState, view: RequestView, wanted: frozenset[str] | None = None) -> Any:
    choice = choose(
        [state], kinds=view.kinds, refusals=RefusalMemory(), now=NOW, needs=view, wanted=wanted
    )
    return choice.skipped[0].reason.code if choice.skipped and choice.skipped[0].reason else None


def test_a_node_is_not_asked_for_what_it_says_it_cannot_run_unless_it_is_named() -> None:
    can = read_capabilities(CAPABILITIES)
    state = NodeState(PROFILE, capabilities=can)
    fits = RequestView(kinds=frozenset({DOCKER_CONTAINER}), cores=Bounds(16, None))
    assert chosen(state, fits) is None
    notebook = RequestView(kinds=frozenset({JUPYTER_NOTEBOOK}))
    assert chosen(state, notebook) is ReasonCode.KIND_NOT_LISTED
    assert chosen(state, notebook, frozenset({"alpha"})) is None
    for much in (
        RequestView(cores=Bounds(17, None)),
        RequestView(memory_gib=Bounds(33, None)),
    ):
        assert chosen(state, much) is ReasonCode.BEYOND_NODE_LIMITS
        assert chosen(state, much, frozenset({"alpha"})) is None
        assert chosen(NodeState(PROFILE), much) is None


def test_a_node_that_is_down_is_not_asked_even_where_it_is_named() -> None:
    why = Membership(down=Down.LEFT, down_since=NOW).why_down()
    state = NodeState(PROFILE, down=why)
    assert chosen(state, RequestView()) is ReasonCode.NODE_LEFT
    assert chosen(state, RequestView(), frozenset({"alpha"})) is ReasonCode.NODE_LEFT


# -- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://alpha.example",
        "http://127.0.0.1:8090",
        "http://[::1]:8090/broker/v1",
        "https://alpha.example/with/path",
    ],
)
def test_urls_that_nodes_have_are_taken(url: str) -> None:
    assert fault_in_url(url) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://alpha.example", "http or https"),
        ("https://", "http or https"),
        ("alpha.example", "http or https"),
        ("https://user@alpha.example", "user information"),
        ("https://user:secret@alpha.example", "user information"),
        ("https://alpha.example?", "query or fragment"),
        ("https://alpha.example#", "query or fragment"),
        ("https://alpha.example:0", "http or https"),
        ("https://alpha.example:65536", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://alpha.example\\@evil.example", "characters"),
        ("https://alpha.example/\r\nHost: evil", "characters"),
        ("https://älpha.example", "characters"),
        ("https://alpha.example/" + "x" * MAX_URL, "characters"),
    ],
)
def test_urls_that_no_node_may_have_are_refused(url: str, fault: str) -> None:
    said = fault_in_url(url)
    assert said is not None
    assert fault in said
    assert "secret" not in said


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_has_a_fault(text: str) -> None:
    fault = fault_in_url("https://" + text)
    assert fault is None or fault
