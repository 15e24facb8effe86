"""Links: which of several sources is believed, how old it is, and what stays unknown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.holdings import Area, DeclaredLink, LakeLink, Place, Topology
from gateway.domain.network import (
    ATTOSECONDS,
    LinkBasis,
    Network,
    NodePlace,
    least_sure,
)
from tests.unit.domain.maps import AREAS, GB, SITES, TB, WORLD, topologies

BUSY = LakeLink(
    "UK_RSE",
    "SE_RSE",
    distance=12,
    done_bytes=21_600 * 400_000_000,
    done_files=100,
    failed_files=0,
    queued_files=7,
    age_s=90.0,
)
"""400 MB/s in the last 6 hours, with more waiting."""


def rate(network: Network, source: str, target: str) -> float | None:
    """Bytes per second."""
    byte_as = network.link(source, target).byte_as
    return None if byte_as is None else ATTOSECONDS / byte_as


def test_what_the_settings_declare_goes_before_all_else() -> None:
    topology = replace(WORLD, declared_links=(DeclaredLink("uk", "se", 1e6),), lake_links=(BUSY,))
    network = Network(topology)
    assert network.link("uk", "se").basis is LinkBasis.DECLARED
    assert rate(network, "uk", "se") == pytest.approx(1e6)
    assert network.link("se", "uk").basis is LinkBasis.GEOGRAPHY


def test_a_link_with_a_queue_can_do_what_it_was_seen_to_do() -> None:
    network = Network(replace(WORLD, lake_links=(BUSY,)))
    link = network.link("uk", "se")
    assert link.basis is LinkBasis.MEASURED
    assert link.age_s == 90
    assert rate(network, "uk", "se") == pytest.approx(4e8)


def test_without_a_queue_what_was_seen_is_the_least_it_can() -> None:
    idle = replace(BUSY, queued_files=0)
    geography = rate(Network(WORLD), "uk", "se")
    assert rate(Network(replace(WORLD, lake_links=(idle,))), "uk", "se") == geography


def test_failed_transfers_cost_their_share_of_the_rate() -> None:
    failing = replace(BUSY, failed_files=100)
    network = Network(replace(WORLD, lake_links=(failing,)))
    assert rate(network, "uk", "se") == pytest.approx(2e8)


def test_a_few_transfers_say_nothing_and_the_distance_is_taken() -> None:
    few = replace(BUSY, done_files=19)
    far = LakeLink("JP_RSE", "SE_RSE", distance=120)
    network = Network(replace(WORLD, lake_links=(few, far)))
    assert network.link("uk", "se").basis is LinkBasis.DISTANCE
    assert rate(network, "uk", "se") == pytest.approx(10 * GB / 8)
    assert rate(network, "jp", "se") == pytest.approx(GB / 8)


def test_a_distance_of_nothing_is_no_distance() -> None:
    """Rucio shows an unset pair as 0 or not at all; it is no proof of being near."""
    network = Network(replace(WORLD, lake_links=(LakeLink("UK_RSE", "SE_RSE", distance=0),)))
    assert network.link("uk", "se").basis is LinkBasis.GEOGRAPHY


def test_without_position_and_link_nothing_is_known() -> None:
    network = Network(Topology({}, AREAS))
    assert network.link("uk", "se").byte_as is None
    assert network.link("uk", "se").basis is LinkBasis.UNKNOWN


def test_storage_without_a_site_is_an_endpoint_of_its_own() -> None:
    network = Network(Topology(lake_links=(LakeLink("A", "B", distance=3),)))
    assert network.endpoints_of(Place(rse="A")) == ("rse:A",)
    node = NodePlace("near-b", None, frozenset({"B"}))
    assert network.home_of(node) == {"rse:B"}
    assert network.link("rse:A", "rse:B").basis is LinkBasis.DISTANCE


def test_storage_near_a_node_is_at_the_site_of_the_node() -> None:
    node = NodePlace("alpha", "uk", frozenset({"NEW_RSE"}))
    network = Network(WORLD, [node])
    assert network.endpoints_of(Place(rse="NEW_RSE")) == ("uk",)


def test_the_map_of_storage_says_what_is_on_tape() -> None:
    topology = replace(WORLD, areas=(*AREAS, Area("UK_TAPE", "uk", "id-1", is_tape=True)))
    network = Network(topology)
    assert network.is_tape(Place(area="id-1"))
    assert not network.is_tape(Place(rse="UK_RSE"))


@given(topologies, st.sampled_from(sorted(SITES)), st.sampled_from(sorted(SITES)))
def test_every_link_is_known_with_a_basis_or_not_known_at_all(
    topology: Topology, source: str, target: str
) -> None:
    link = Network(topology).link(source, target)
    assert (link.byte_as is None) == (link.basis is LinkBasis.UNKNOWN)
    if link.byte_as is not None:
        assert link.byte_as > 0
        assert link.file_as >= 0


@given(st.integers(250, 4000))
def test_a_correction_scales_the_rate_and_leaves_the_declared_alone(per_mille: int) -> None:
    network = Network(replace(WORLD, declared_links=(DeclaredLink("uk", "se", 1e6),)))
    assert network.link("uk", "se").scaled(per_mille) == network.link("uk", "se")
    plain = network.link("uk", "jp")
    scaled = plain.scaled(per_mille)
    assert plain.byte_as is not None
    assert scaled.byte_as is not None
    assert scaled.byte_as * per_mille == pytest.approx(plain.byte_as * 1000, rel=1e-5)


def test_what_rests_on_several_links_is_as_sure_as_the_least_sure() -> None:
    assert least_sure([]) is LinkBasis.MEASURED
    assert least_sure([LinkBasis.DECLARED, LinkBasis.GEOGRAPHY]) is LinkBasis.GEOGRAPHY
    assert least_sure(LinkBasis) is LinkBasis.UNKNOWN


def test_the_far_side_of_the_world_is_reckoned_as_it_was_seen() -> None:
    """Some 184 ms and 279 ms for Japan and Australia from the United Kingdom, and 10 Gbit/s at most
    for the near ones: the figures of the worked example."""
    network = Network(WORLD)
    assert rate(network, "uk", "jp") == pytest.approx(729e6, rel=0.02)
    assert rate(network, "uk", "au") == pytest.approx(482e6, rel=0.02)
    assert rate(network, "uk", "se") == pytest.approx(1.25e9)
    assert TB / (rate(network, "uk", "au") or 1) > 2000
