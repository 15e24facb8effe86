"""The map of sites from site capabilities, with everything that is odd about it."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.errors import (
    LakeCredentialsError,
    LakeError,
    LakeInvalidAnswerError,
    LakeStatusError,
)
from gateway.clients.topology import SiteMap
from gateway.clients.topology_file import SavedMap
from gateway.clients.topology_scapi import SiteCapabilities, to_site_map
from gateway.domain.holdings import Area, Site
from tests.support.lake_stubs import Answer, answering, fails, in_s, says

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def area(name: str, **members: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "type": "rse", "tier": 1, **members}


def site(name: str, *areas: dict[str, Any], **members: Any) -> dict[str, Any]:
    storages = [{"id": "s", "name": "storage", "areas": list(areas)}] if areas else []
    return {"id": name, "name": name, "latitude": 1.5, "longitude": 2.5, "storages": storages} | (
        members
    )


def node(name: str, *sites: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": name, "sites": list(sites), **members}


def areas_at(nodes: list[Any], when: datetime = NOW) -> tuple[Area, ...]:
    return tuple(mapped.at(when) for mapped in to_site_map(nodes, NOW).areas)


def test_the_tree_becomes_sites_with_their_node_and_areas_with_their_site() -> None:
    site_map = to_site_map([node("UKSRC", site("RAL", area("UK_RSE")), site("CAM"))], NOW)
    assert site_map.taken == NOW
    assert site_map.sites == (Site("RAL", "UKSRC", 1.5, 2.5), Site("CAM", "UKSRC", 1.5, 2.5))
    assert areas_at([node("UKSRC", site("RAL", area("UK_RSE")))]) == (
        Area("UK_RSE", "RAL", "id-UK_RSE"),
    )


def test_members_may_have_their_old_names() -> None:
    old = {"id": "a1", "identifier": "UK_RSE", "type": "rse", "disabled": True}
    storage = {"identifier": "storage", "latitude": 51.5, "longitude": -0.1, "areas": [old]}
    nodes = [node("UKSRC", {"name": "RAL", "storages": [storage]})]
    assert to_site_map(nodes, NOW).sites == (Site("RAL", "UKSRC", 51.5, -0.1),)
    assert areas_at(nodes) == (Area("UK_RSE", "RAL", "a1", is_active=False),)


def test_one_rse_name_may_stand_for_areas_at_several_sites() -> None:
    nodes = [
        node("UKSRC", site("RAL", area("X", id="a1")), site("CAM", area("X", id="a2"))),
        node("SESRC", site("OSO", area("X", id="a3", is_force_disabled=True))),
    ]
    assert [(one.rse, one.site, one.id, one.is_active) for one in areas_at(nodes)] == [
        ("X", "RAL", "a1", True),
        ("X", "CAM", "a2", True),
        ("X", "OSO", "a3", False),
    ]


def test_two_sites_of_one_name_are_told_apart_by_their_node() -> None:
    nodes = [node("A", site("HPC", area("X"))), node("B", site("HPC", area("Y")))]
    assert [one.name for one in to_site_map(nodes, NOW).sites] == ["A:HPC", "B:HPC"]
    assert [one.site for one in areas_at(nodes)] == ["A:HPC", "B:HPC"]


@pytest.mark.parametrize("level", ["node", "site", "storage", "area"])
@pytest.mark.parametrize("kind", ["downtime", "is_force_disabled"])
def test_what_a_thing_is_part_of_takes_it_down_with_it(level: str, kind: str) -> None:
    tree = node("UKSRC", site("RAL", area("UK_RSE")))
    chain = {
        "node": tree,
        "site": tree["sites"][0],
        "storage": tree["sites"][0]["storages"][0],
        "area": tree["sites"][0]["storages"][0]["areas"][0],
    }
    value = [{"date_range": "2026-11-27T11:00:00.000Z to 2026-11-27T13:00:00.000Z"}]
    chain[level][kind] = value if kind == "downtime" else True
    (found,) = areas_at([tree])
    assert not found.is_active
    (later,) = areas_at([tree], NOW + timedelta(hours=2))
    assert later.is_active is (kind == "downtime")


@pytest.mark.parametrize(
    "downtime",
    [None, "soon", [], [{}], ["x"], [{"date_range": None}], [{"date_range": "today to tomorrow"}]],
)
def test_a_downtime_that_cannot_be_read_is_none(downtime: object) -> None:
    (found,) = areas_at([node("UKSRC", site("RAL", area("UK_RSE", downtime=downtime)))])
    assert found.is_active


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ({"latitude": None, "longitude": None}, (None, None)),
        ({"latitude": None, "longitude": 12.5}, (0.0, 12.5)),
        ({"latitude": -33.9, "longitude": None}, (-33.9, 0.0)),
        ({"latitude": 0, "longitude": 12}, (0.0, 12.0)),
        ({"latitude": 123.4, "longitude": "east"}, (None, None)),
        ({"latitude": True, "longitude": None}, (None, None)),
    ],
)
def test_half_a_position_has_lost_a_zero_and_none_is_unknown(
    position: dict[str, Any], expected: tuple[float | None, float | None]
) -> None:
    (found,) = to_site_map([node("N", site("S", **position))], NOW).sites
    assert (found.latitude, found.longitude) == expected


def test_every_member_but_the_names_may_be_missing_and_a_bad_entry_costs_itself_alone() -> None:
    nodes = [
        "nonsense",
        {"sites": "none"},
        {"name": "UKSRC", "sites": [{"name": "RAL"}, {"country": "GB"}, 7]},
        {"sites": [site("CAM", area("OK"), {"type": "rse"}, area("IN", type="ingest"))]},
    ]
    site_map = to_site_map(nodes, NOW)
    assert [(one.name, one.group) for one in site_map.sites] == [("RAL", "UKSRC"), ("CAM", None)]
    assert [one.rse for one in areas_at(nodes)] == ["OK"]


@pytest.mark.parametrize("nodes", [[], {}, None, "x", [{"name": "UKSRC"}]])
def test_an_empty_map_is_not_believed(nodes: object) -> None:
    with pytest.raises(LakeInvalidAnswerError):
        to_site_map(nodes, NOW)


async def test_what_is_down_is_asked_for_too() -> None:
    nodes = json.dumps([node("UKSRC", site("RAL", area("UK_RSE")))]).encode()
    async with answering(says(nodes)) as (server, connections):
        catalogue = SiteCapabilities(AuthorizedCaller(connections, server.url, None), lambda: NOW)
        site_map = await catalogue.fetch(deadline=in_s(2))
        assert [asked.path for asked in server.asked] == ["/nodes?include_inactive=true"]
    assert site_map.taken == NOW


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (fails("401 Unauthorized"), LakeCredentialsError),
        (fails("500 Internal Server Error"), LakeStatusError),
        (says(b"<html>"), LakeInvalidAnswerError),
    ],
)
async def test_each_failure_of_the_catalogue_is_told_apart(
    answer: Answer, error: type[LakeError]
) -> None:
    async with answering(answer) as (server, connections):
        catalogue = SiteCapabilities(AuthorizedCaller(connections, server.url, None), lambda: NOW)
        with pytest.raises(error):
            await catalogue.fetch(deadline=in_s(2))


async def test_a_map_is_the_same_after_a_restart(tmp_path: Path) -> None:
    down = [{"date_range": "2026-11-27T11:00:00Z to 2026-11-27T13:00:00+00:00"}]
    site_map = to_site_map([node("N", site("S", area("X", downtime=down)))], NOW)
    await SavedMap(tmp_path / "map").save(site_map)
    assert await SavedMap(tmp_path / "map").load() == site_map
    assert os.listdir(tmp_path) == ["map"]  # noqa: PTH208  # nothing half-written is left


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
async def test_a_saved_map_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "map").write_bytes(content)
    assert await SavedMap(tmp_path / "map").load() is None
    assert await SavedMap(tmp_path / "nothing").load() is None


async def test_a_map_that_cannot_be_saved_harms_nobody(tmp_path: Path) -> None:
    await SavedMap(tmp_path / "no folder" / "map").save(SiteMap(NOW))
