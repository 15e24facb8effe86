"""Placement: exact bytes, times that follow the data, and nothing known that is not."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.domain.holdings import Area, Copy, Holding, Part, Place, Site, Topology
from gateway.domain.network import LinkBasis, Network, NodePlace
from gateway.domain.placement import NodePlacement, place, placement_from_document
from gateway.domain.quantities import Whereabouts
from gateway.wire.documents import from_json, to_json
from gateway.wire.kinds import BYTES_TO_MOVE, DATA_PROXIMITY, STAGING_TIME
from gateway.wire.views import Quote, SessionView
from tests.unit.domain.builders import OFFER
from tests.unit.domain.maps import (
    GB,
    NODES,
    SITES,
    TB,
    WORLD,
    copy_at,
    found,
    holding,
    holdings,
    part,
    partly_held,
    parts,
    placed,
    topologies,
)

LONG = 10**30
"""What is not known counts as longer than anything, for comparisons in tests."""


def ms(placement: NodePlacement) -> int:
    """The staging time, of what is known of it."""
    return LONG if placement.staging_ms is None else placement.staging_ms


def test_the_worked_example_comes_out_as_it_was_worked_out() -> None:
    """One dataset of 2.55 TB in 100 files: whole in one place, all but 10 files in two others.

    The figures are those of an independent calculation, before any of this was written.
    """
    some = {"bytes": 2340 * GB, "files": 90, "is_complete": False}
    dataset = part(2550 * GB, "uk", copy_at("jp", **some), copy_at("au", **some), files=100)
    found_there = placed(found(holding(dataset)))
    moved = {site: one.bytes_to_move for site, one in found_there.items()}
    assert moved == {
        "uk": 0,
        "jp": 210 * GB,
        "au": 210 * GB,
        "se": 2550 * GB,
        "ca": 2550 * GB,
        "za": 2550 * GB,
    }
    seconds = {site: ms(one) / 1000 for site, one in found_there.items()}
    expected = {"uk": 0, "jp": 319, "au": 466, "se": 2073, "ca": 2818, "za": 3574}
    for site, value in expected.items():
        assert seconds[site] == pytest.approx(value, rel=0.03), site
    assert found_there["uk"].proximity == 1_000_000
    assert (found_there["za"].proximity or 0) / 1e6 == pytest.approx(0.502, abs=0.01)
    assert found_there["jp"].basis is LinkBasis.GEOGRAPHY
    assert dict(found_there["jp"].sources) == {"uk": 210 * GB}


@given(st.lists(st.lists(partly_held | parts, min_size=1, max_size=3), min_size=1, max_size=3))
def test_bytes_are_exactly_those_of_a_count_part_by_part(groups: list[list[Part]]) -> None:
    result = placed(found(*(holding(*group) for group in groups)))
    everything = [one for group in groups for one in group]
    for site, placement in result.items():
        local = sum(_local_bytes(one, site) for one in everything)
        total = sum(one.bytes or 0 for one in everything)
        located = sum(one.bytes or 0 for one in everything if _is_somewhere(one))
        assert placement.bytes_total in {located, None}
        if placement.bytes_to_move is not None and located == total:
            assert placement.bytes_to_move == total - local
            assert placement.bytes_local == local


@given(st.lists(parts, min_size=1, max_size=5), topologies)
def test_times_are_exactly_those_of_a_count_part_by_part(
    some: list[Part], topology: Topology
) -> None:
    """Each part from the fastest disk that has it; written without a look at how it is done."""
    on_disk = [
        replace(one, copies=tuple(replace(copy, is_tape=False) for copy in one.copies))
        for one in some
    ]
    network = Network(topology, NODES)
    for site, placement in placed(found(holding(*on_disk), topology=topology)).items():
        total: int | None = 0
        for one in on_disk:
            ends = {end for copy in one.copies for end in network.endpoints_of(copy.place)}
            if site in ends:
                continue
            ways = [link for end in ends if (link := network.link(end, site)).byte_as is not None]
            if not ways or total is None:
                total = None
                continue
            total += (one.bytes or 0) * min(way.byte_as or 0 for way in ways)
            total += (one.files or 0) * min(way.file_as for way in ways)
        is_all_here = all(site in {_site(copy) for copy in one.copies} for one in on_disk)
        if is_all_here:
            assert placement.staging_ms == 0
        elif total is None:
            assert placement.staging_ms is None
        else:
            assert placement.staging_ms == 30_000 - (-total // 10**15)


def _site(copy: Copy) -> str:
    return (copy.place.rse or "").partition("_")[0].lower()


def _local_bytes(one: Part, site: str) -> int:
    here = [copy for copy in one.copies if copy.place.rse == f"{site.upper()}_RSE"]
    if any(copy.is_complete for copy in here):
        return one.bytes or 0
    return max((copy.bytes or 0 for copy in here if not copy.is_tape), default=0)


def _is_somewhere(one: Part) -> bool:
    return any(copy.is_complete or not copy.is_tape for copy in one.copies)


@given(holdings, topologies, st.data())
def test_a_copy_that_is_nearer_than_the_others_never_lowers_a_node(
    found_data: list[Holding], topology: Topology, data: st.DataObject
) -> None:
    site = data.draw(st.sampled_from(sorted(SITES)))
    network = Network(topology, NODES)
    which = data.draw(st.integers(0, len(found_data) - 1))
    old = found_data[which]
    index = data.draw(st.integers(0, len(old.parts) - 1))
    held = [
        network.link(end, site).byte_as
        for copy in old.parts[index].copies
        for end in network.endpoints_of(copy.place)
        if end != site
    ]
    nearest = [
        source
        for source in sorted(SITES)
        if source == site or _is_fastest(network.link(source, site).byte_as, held)
    ]
    source = data.draw(st.sampled_from(nearest))
    grown = replace(old.parts[index], copies=(*old.parts[index].copies, copy_at(source)))
    new_parts = (*old.parts[:index], grown, *old.parts[index + 1 :])
    more = [*found_data[:which], replace(old, parts=new_parts), *found_data[which + 1 :]]
    before = placed(found(*found_data, topology=topology))[site]
    after = placed(found(*more, topology=topology))[site]
    assert ms(after) <= ms(before)
    if before.bytes_to_move is not None and after.bytes_to_move is not None:
        assert after.bytes_to_move <= before.bytes_to_move


def _is_fastest(byte_as: int | None, others: list[int | None]) -> bool:
    return byte_as is not None and all(one is not None and byte_as <= one for one in others)


@given(
    st.lists(parts, min_size=1, max_size=4), topologies, st.integers(0, 3), st.integers(0, 10 * TB)
)
def test_more_bytes_never_raise_a_node(
    some: list[Part], topology: Topology, which: int, more: int
) -> None:
    index = which % len(some)
    larger = replace(some[index], bytes=(some[index].bytes or 0) + more)
    grown = [*some[:index], larger, *some[index + 1 :]]
    before = placed(found(holding(*some), topology=topology))
    after = placed(found(holding(*grown), topology=topology))
    for site in SITES:
        assert (before[site].staging_ms is None) == (after[site].staging_ms is None)
        assert ms(after[site]) >= ms(before[site])
        assert after[site].at_least_ms >= before[site].at_least_ms


@given(holdings, topologies, st.integers(1, 5))
def test_a_node_is_placed_alike_whichever_others_there_are(
    found_data: list[Holding], topology: Topology, count: int
) -> None:
    everybody = placed(found(*found_data, topology=topology))
    few = placed(found(*found_data, topology=topology), nodes=NODES[:count])
    assert few == {site: everybody[site] for site in few}


@given(holdings, topologies, st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_found_plays_no_part(
    found_data: list[Holding], topology: Topology, chance: random.Random
) -> None:
    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(chance.sample(items, len(items)))

    mixed = [
        replace(
            one,
            parts=tuple(replace(p, copies=shuffled(p.copies)) for p in shuffled(one.parts)),
        )
        for one in shuffled(tuple(found_data))
    ]
    other = Topology(
        dict(shuffled(tuple(topology.sites.items()))),
        shuffled(topology.areas),
        topology.declared_links,
        shuffled(topology.lake_links),
    )
    assert placed(found(*mixed, topology=other)) == placed(found(*found_data, topology=topology))


@given(holdings, topologies)
def test_what_is_known_is_never_less_than_what_is_sure(
    found_data: list[Holding], topology: Topology
) -> None:
    for placement in placed(found(*found_data, topology=topology)).values():
        assert placement.at_least_ms >= 0
        if placement.staging_ms is not None:
            assert placement.at_least_ms == placement.staging_ms
            assert placement.basis is not LinkBasis.UNKNOWN
        else:
            assert placement.basis is LinkBasis.UNKNOWN
            assert placement.proximity is None


@given(holdings, topologies)
def test_a_placement_survives_the_trip_through_a_document(
    found_data: list[Holding], topology: Topology
) -> None:
    for placement in placed(found(*found_data, topology=topology)).values():
        again = placement_from_document(from_json(to_json(placement.to_document())))
        assert again == placement


def test_a_place_without_position_or_link_is_not_known_rather_than_near_or_far() -> None:
    nowhere = Topology({"uk": SITES["uk"]}, WORLD.areas)
    result = placed(found(holding(part(TB, "uk")), topology=nowhere))
    assert result["uk"].staging_ms == 0
    assert result["jp"].staging_ms is None
    assert result["jp"].bytes_to_move == TB
    assert result["jp"].proximity is None
    assert result["jp"].basis is LinkBasis.UNKNOWN


def test_a_size_that_is_not_known_matters_only_where_the_data_are_not() -> None:
    result = placed(found(holding(part(None, "uk"), part(TB, "uk"))))
    assert result["uk"].staging_ms == 0
    assert result["uk"].bytes_to_move == 0
    assert result["se"].staging_ms is None
    assert result["se"].bytes_to_move is None
    assert result["se"].at_least_ms > 0
    assert result["uk"].bytes_total is None


def test_what_nobody_can_locate_is_counted_and_is_in_no_sum() -> None:
    result = placed(found(holding(part(TB, "uk")), lost=2))
    assert result["uk"].whereabouts is Whereabouts.PARTLY
    assert (result["uk"].resources, result["uk"].unlocated) == (3, 2)
    assert result["uk"].bytes_total == TB
    assert result["uk"].staging_ms == 0
    assert result["uk"].exact_ms is None
    lost = placed(found(lost=2))
    assert {one.whereabouts for one in lost.values()} == {Whereabouts.UNKNOWN}
    assert {one.bytes_to_move for one in lost.values()} == {None}
    assert {one.staging_ms for one in lost.values()} == {None}


def test_data_without_any_readable_copy_are_nowhere() -> None:
    blocked = copy_at("uk", is_readable=False)
    result = placed(found(holding(part(TB, blocked)), holding(part(GB, "se"))))
    assert result["uk"].unlocated == 1
    assert result["se"].staging_ms == 0
    assert result["se"].whereabouts is Whereabouts.PARTLY


def test_storage_that_is_switched_off_neither_holds_nor_gives_anything() -> None:
    off = Topology(SITES, (Area("UK_RSE", "uk", is_active=False), Area("SE_RSE", "se")))
    result = placed(found(holding(part(TB, "uk", "se")), topology=off))
    assert result["uk"].bytes_to_move == TB
    assert dict(result["uk"].sources) == {"se": TB}


def test_a_name_that_stands_for_several_places_is_at_each_of_them_and_said_to_be_vague() -> None:
    twice = Topology(SITES, (Area("SHARED", "uk", "a"), Area("SHARED", "jp", "b")))
    by_name = Copy(Place(rse="SHARED"))
    result = placed(found(holding(part(TB, by_name)), topology=twice))
    assert result["uk"].staging_ms == result["jp"].staging_ms == 0
    assert result["uk"].is_approximate
    by_area = Copy(Place(rse="SHARED", area="b"))
    result = placed(found(holding(part(TB, by_area)), topology=twice))
    assert result["jp"].staging_ms == 0
    assert result["uk"].bytes_to_move == TB
    assert not result["uk"].is_approximate


def test_a_tape_takes_its_time_once_and_a_disk_is_taken_where_that_is_quicker() -> None:
    on_tape = [part(GB, copy_at("uk", is_tape=True), name=f"t{n}") for n in range(3)]
    result = placed(found(holding(*on_tape)))
    assert result["uk"].bytes_to_move == 0
    assert result["uk"].staging_ms == 630_000
    assert 630_000 < ms(result["se"]) < 650_000
    both = [part(GB, copy_at("uk", is_tape=True), "jp", name=f"t{n}") for n in range(3)]
    result = placed(found(holding(*both)))
    assert ms(result["uk"]) < 60_000
    assert dict(result["uk"].sources) == {"jp": 3 * GB}


def test_a_part_that_is_whole_nowhere_is_a_guess_and_said_to_be_one() -> None:
    half = {"is_complete": False, "files": 5}
    scattered = part(
        10 * GB, copy_at("uk", bytes=6 * GB, **half), copy_at("se", bytes=8 * GB, **half)
    )
    result = placed(found(holding(replace(scattered, files=10))))
    assert result["uk"].bytes_to_move == 4 * GB
    assert result["uk"].staging_ms is not None
    assert result["uk"].is_approximate
    assert result["jp"].staging_ms is None
    assert result["jp"].at_least_ms > 30_000


def test_resources_share_the_way_into_the_site() -> None:
    one = placed(found(holding(part(TB, "uk"))))["se"]
    two = placed(found(holding(part(TB, "uk")), holding(part(TB, "uk"))))["se"]
    overhead_ms = 30_000
    assert ms(two) - overhead_ms == pytest.approx(2 * (ms(one) - overhead_ms), abs=1)


def test_a_site_cannot_take_in_more_than_its_inbound_rate() -> None:
    slow = {**SITES, "se": replace(SITES["se"], inbound_bytes_per_s=float(10**7))}
    result = placed(found(holding(part(10 * GB, "uk")), topology=Topology(slow, WORLD.areas)))
    assert ms(result["se"]) > 1_000_000


def test_storage_near_a_node_is_its_own_without_any_site() -> None:
    nodes = (NodePlace("near", None, frozenset({"UK_RSE"})), NodePlace("lost"))
    result = placed(found(holding(part(TB, "uk")), topology=Topology()), nodes=nodes)
    assert result["near"].staging_ms == 0
    assert result["lost"].staging_ms is None


def test_a_node_may_be_placed_by_the_name_of_its_group_of_sites() -> None:
    sites = {name: replace(site, group="UKSRC") for name, site in SITES.items() if name == "uk"}
    nodes = (NodePlace("grouped", "UKSRC"),)
    result = placed(found(holding(part(TB, "uk")), topology=Topology(sites, WORLD.areas)), nodes)
    assert result["grouped"].staging_ms == 0


def test_a_slower_past_makes_a_node_farther_and_is_shown() -> None:
    quick, slow = NodePlace("quick", "se"), NodePlace("slow", "se", rate_per_mille=500)
    result = placed(found(holding(part(TB, "uk"))), (quick, slow))
    assert ms(result["slow"]) - 30_000 == pytest.approx(
        2 * (ms(result["quick"]) - 30_000), rel=0.01
    )
    assert result["slow"].to_public()["correction"] == 0.5


def test_the_ranges_say_what_is_sure() -> None:
    result = placed(found(holding(part(TB, "uk"))))
    ranges = {quote.type: quote for quote in result["uk"].ranges()}
    assert ranges[DATA_PROXIMITY] == Quote(DATA_PROXIMITY, 1.0, 1.0)
    assert ranges[STAGING_TIME] == Quote(STAGING_TIME, 0.0, 0.0)
    unsure = placed(found(holding(part(TB, "uk")), lost=1))["se"]
    ranges = {quote.type: quote for quote in unsure.ranges()}
    assert ranges[BYTES_TO_MOVE] == Quote(BYTES_TO_MOVE, float(TB), float("inf"))
    assert ranges[DATA_PROXIMITY].min == 0.0
    assert (ranges[STAGING_TIME].min or 0) > 0


def test_what_a_node_says_itself_counts_only_where_nothing_is_known_here() -> None:
    offer = offer_saying(Quote(STAGING_TIME, 120.0, 120.0), Quote(BYTES_TO_MOVE, 5.0, 5.0))
    unknown = placed(found(lost=1))["uk"].with_declared(offer)
    assert unknown.staging_ms == 120_000
    assert unknown.bytes_to_move == 5
    assert unknown.basis is LinkBasis.DECLARED
    known = placed(found(holding(part(TB, "uk"))))["se"]
    assert known.with_declared(offer) is known


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan"), 1e30])
def test_nonsense_that_a_node_says_is_not_believed(value: float) -> None:
    unknown = placed(found(lost=1))["uk"]
    assert unknown.with_declared(offer_saying(Quote(STAGING_TIME, value, value))) is unknown


def offer_saying(*metrics: Quote) -> SessionView:
    """The usual offer with these metrics."""
    return structs.replace(OFFER, metrics=metrics)


def test_what_is_not_known_or_a_guess_is_noted_on_the_offer() -> None:
    def codes(placement: NodePlacement) -> list[str]:
        return [note.code.value for note in placement.notes()]

    nowhere = placed(found(holding(part(TB, "uk")), topology=Topology({}, WORLD.areas)))
    assert codes(nowhere["uk"]) == []
    assert codes(nowhere["jp"]) == ["placement_unknown"]
    assert "speed" in nowhere["jp"].notes()[0].text()
    unsized = placed(found(holding(part(None, "uk"))))
    assert "size" in unsized["jp"].notes()[0].text()
    vague = placed(found(replace(holding(part(TB, "uk")), is_approximate=True)))
    assert codes(vague["jp"]) == ["placement_approximate"]
    assert codes(placed(found(lost=1))["uk"]) == []


def test_what_is_public_names_no_place() -> None:
    result = placed(found(holding(part(TB, "uk"))))["jp"]
    text = json.dumps(result.to_public())
    assert "uk" not in text.lower()
    assert "sources" not in result.to_public()


_SCRIPT = """
import json, sys
from tests.unit.domain.maps import found, holding, part, copy_at, placed, TB, GB
some = {"bytes": 3 * GB, "files": 2, "is_complete": False}
groups = [("uk", "jp"), ("se",), ("au", "za"), ("uk", "se", "jp", "za")]
parts = [
    part(n * GB, *sites, copy_at("ca", **some), files=n, name=str(n))
    for n, sites in enumerate(groups, start=5)
]
result = placed(found(holding(*parts), holding(*parts[::-1]), lost=1))
print(json.dumps({site: one.to_document() for site, one in result.items()}))
"""


def test_another_process_with_another_hash_seed_comes_to_the_same() -> None:
    root = Path(__file__).parents[3]

    def run(seed: str) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            cwd=root,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    answers = {run(seed) for seed in ("0", "1", "4242")}
    assert len(answers) == 1
    assert json.loads(answers.pop())["uk"]["resources"] == 3


def test_nodes_in_the_same_place_are_worked_out_once() -> None:
    nodes = tuple(NodePlace(f"node-{n}", "se") for n in range(50))
    located = found(holding(part(TB, "uk")))
    placements = place(located, nodes, Network(WORLD, nodes))
    assert len({id(one) for one in placements.values()}) == 1


def test_a_site_known_only_by_its_host_is_a_place_too() -> None:
    outside = Holding(None, parts=(Part("url", GB, 1, (Copy(Place(site="uk")),)),))
    result = placed(found(outside))
    assert result["uk"].staging_ms == 0
    assert ms(result["se"]) > 0


def test_a_topology_may_know_sites_that_no_node_is_at() -> None:
    farther = {**SITES, "nz": Site("nz", None, -41.0, 174.0)}
    topology = Topology(farther, (*WORLD.areas, Area("NZ_RSE", "nz")))
    result = placed(found(holding(part(TB, "nz")), topology=topology))
    assert ms(result["au"]) < ms(result["uk"])
