"""The sections about data: what they become, and that every fault in them is said."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from gateway.assembly.lakes import build_lakes
from gateway.clock import SystemClock
from gateway.domain.holdings import Area, DeclaredLink, Did, DidKind, Site
from gateway.httpkit.settings import SettingsError, describe, load_settings
from gateway.sections.lake_catalogue import load_catalogue
from gateway.sections.lake_settings import LakeSections, RucioLakeSettings
from gateway.sections.lakes import LakeSectionsSchema

CATALOGUE = """
data:
  - did: ska:obs-1
    kind: DATASET
    bytes: 100
    files: 10
    copies:
      - rse: UK_RSE
      - {rse: JP_RSE, bytes: 90, files: 9}
      - {rse: UK_TAPE, tape: true}
  - did: ska:obs-2
    bytes: 7
    checksums: {adler32: 0cc737eb}
    copies: [{rse: SE_RSE, urls: ["https://se.example.org/obs-2"]}]
  - {did: ska:lost, bytes: 5}
  - {did: ska:inner, kind: CONTAINER, parts: [ska:obs-1]}
  - {did: ska:all, kind: CONTAINER, parts: [ska:inner, ska:obs-1, ska:obs-2]}
"""
ENVIRON = {"PASSWORD": "s3cr3t", "TOKEN": "t0k3n", "SECRET": "cl13nt"}


def load(folder: Path, settings: dict[str, Any], catalogue: str = CATALOGUE) -> LakeSections:
    (folder / "lake.yaml").write_text(catalogue)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    sections = load_settings(path, LakeSectionsSchema(), ENVIRON)
    assert isinstance(sections, LakeSections)
    return sections


RUCIO = {
    "type": "rucio",
    "url": "https://rucio.example.org/",
    "auth_url": "https://auth.example.org",
    "username": "gateway",
    "password_env": "PASSWORD",
    "namespaces": ["ska-*"],
}
OIDC = {
    "token_url": "https://iam.example.org/token",
    "client_id": "gw",
    "client_secret_env": "SECRET",
}
DM_API = {"type": "dm_api", "url": "https://dm.example.org/api/v1", "oidc": OIDC}
SITE_CAPABILITIES = {"type": "site_capabilities", "url": "https://sc.example.org/api/v1"}


def test_one_lake_or_a_list_of_them(tmp_path: Path) -> None:
    one = load(tmp_path, {"data_lake": {"type": "static", "file": "lake.yaml"}})
    assert [lake.name for lake in one.data_lake] == ["static"]
    many = load(tmp_path, {"data_lake": [RUCIO, DM_API]})
    assert [lake.name for lake in many.data_lake] == ["rucio", "dm-api"]
    assert isinstance(many.data_lake[0], RucioLakeSettings)
    assert many.data_lake[0].url == "https://rucio.example.org"
    assert load(tmp_path, {}) == LakeSections()


def test_what_is_shown_has_no_secret_in_it(tmp_path: Path) -> None:
    sections = load(
        tmp_path,
        {
            "data_lake": [RUCIO, DM_API],
            "topology": SITE_CAPABILITIES | {"token_env": "TOKEN"},
        },
    )
    shown = f"{describe(sections)} {sections!r}"
    assert not any(secret in shown for secret in ENVIRON.values())


def test_sites_and_links_have_their_units(tmp_path: Path) -> None:
    sections = load(
        tmp_path,
        {
            "sites": {
                "uk": {
                    "latitude": 51.6,
                    "longitude": -1.3,
                    "inbound_gbit_s": 100,
                    "rses": ["UK_RSE"],
                    "tapes": ["UK_TAPE"],
                    "hosts": ["*.example.org"],
                }
            },
            "links": [{"from": "uk", "to": "se", "gbit_s": 8, "both_ways": True}],
        },
    )
    uk = sections.sites["uk"]
    assert uk.to_site("uk") == Site("uk", None, 51.6, -1.3, 12_500_000_000)
    assert uk.to_areas("uk") == (Area("UK_RSE", "uk"), Area("UK_TAPE", "uk", is_tape=True))
    assert sections.links[0].to_links() == (
        DeclaredLink("uk", "se", 1e9),
        DeclaredLink("se", "uk", 1e9),
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"data_lake": {"type": "irods"}}, "data_lake.type: must be one of"),
        ({"data_lake": {"type": "static"}}, "data_lake.file"),
        ({"data_lake": {"type": "static", "file": "no.yaml"}}, "there is no file"),
        ({"data_lake": [RUCIO, RUCIO]}, "data_lake[1].name: is the name of another data lake"),
        ({"data_lake": RUCIO | {"token_env": "TOKEN"}}, "data_lake.token: give one of"),
        ({"data_lake": RUCIO | {"password": "x"}}, "data_lake.password: does not belong"),
        (
            {"data_lake": {"type": "rucio", "url": "https://r.org", "username": "u"}},
            "data_lake.username: username and password belong together",
        ),
        ({"data_lake": RUCIO | {"url": "ftp://r.org"}}, "data_lake.url"),
        ({"data_lake": RUCIO | {"url": "https://u:p@r.org"}}, "data_lake.url: must have no user"),
        ({"data_lake": RUCIO | {"batch": 1001}}, "data_lake.batch"),
        ({"data_lake": RUCIO | {"ca_file": "lake.yaml"}}, "there is no certificate in"),
        ({"data_lake": RUCIO | {"acount": "x"}}, "data_lake.acount: is not a setting"),
        ({"topology": {"type": "site_capabilities"}}, "topology.url"),
        ({"sites": {"uk": {"latitude": 51}}}, "sites.uk.latitude: latitude and longitude belong"),
        ({"sites": {"uk": {"latitude": 91, "longitude": 0}}}, "sites.uk.latitude"),
        ({"links": [{"from": "uk", "to": "se", "gbit_s": 0}]}, "links[0].gbit_s"),
        ({"locating": {"fetch_s": 0}}, "locating.fetch_s"),
    ],
)
def test_each_fault_is_said_where_it_is(
    tmp_path: Path, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, settings)
    assert fault in str(error.value)


def test_a_catalogue_says_where_copies_lie_and_what_containers_come_to(tmp_path: Path) -> None:
    (tmp_path / "lake.yaml").write_text(CATALOGUE)
    found = {str(one.did): one for one in load_catalogue(tmp_path / "lake.yaml").holdings()}
    dataset = found["ska:obs-1"]
    assert (dataset.kind, dataset.bytes, dataset.files) == (DidKind.DATASET, 100, 10)
    uk, jp, tape = dataset.parts[0].copies
    assert (uk.place.rse, uk.bytes, uk.files, uk.is_complete) == ("UK_RSE", 100, 10, True)
    assert (jp.bytes, jp.files, jp.is_complete) == (90, 9, False)
    assert (tape.is_tape, tape.is_complete) == (True, True)
    file = found["ska:obs-2"]
    assert (file.kind, file.files, file.checksums[0].value) == (DidKind.FILE, 1, "0cc737eb")
    assert file.parts[0].copies[0].urls == ("https://se.example.org/obs-2",)
    assert found["ska:lost"].parts[0].copies == ()
    container = found["ska:all"]
    assert (container.bytes, container.files) == (107, 11)
    assert [part.name for part in container.parts] == ["ska:obs-1", "ska:obs-2"]


@pytest.mark.parametrize(
    ("catalogue", "fault"),
    [
        ("data: [{did: nonsense}]", "data[0].did: must be scope:name"),
        ("data: [{did: 'a:b'}, {did: 'a:b'}]", "data[1].did: is there already"),
        ("data: [{did: 'a:b', kind: CONTAINER, parts: ['a:b']}]", "not an entry before this one"),
        ("data: [{did: 'a:b', kind: PILE}]", "data[0].kind"),
        ("data: [{did: 'a:b', bytes: -1}]", "data[0].bytes"),
        ("data: [{did: 'a:b'}, {did: 'a:c', parts: ['a:b']}]", "only a CONTAINER has parts"),
        (
            "data: [{did: 'a:b'}, {did: 'a:c', kind: CONTAINER, bytes: 1, parts: ['a:b']}]",
            "are those of the parts",
        ),
        ("data: [", "is not YAML"),
    ],
)
def test_a_bad_catalogue_is_a_fault_of_the_settings(
    tmp_path: Path, catalogue: str, fault: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, {"data_lake": {"type": "static", "file": "lake.yaml"}}, catalogue)
    assert fault in str(error.value)
    assert "data_lake.file" in str(error.value)


async def test_everything_is_built_from_the_settings_and_asks_nobody(tmp_path: Path) -> None:
    sections = load(
        tmp_path,
        {
            "data_lake": [
                {"type": "static", "file": "lake.yaml", "namespaces": ["ska"]},
                RUCIO | {"endpoints": ["rucio-alias.example.org"]},
                DM_API,
            ],
            "topology": SITE_CAPABILITIES | {"oidc": OIDC, "refresh_s": 60},
            "sites": {"uk": {"rses": ["UK_RSE"]}},
        },
    )
    parts = build_lakes(sections, tmp_path, SystemClock(), CollectorRegistry())
    assert [duty.name for duty in parts.duties] == [
        "watch_lakes",
        "refresh_map",
        "refresh_links",
    ]
    assert [lake.name for lake in parts.guarded] == ["rucio", "dm-api"]
    assert set(parts.locator._lakes.by_endpoint) == {
        "rucio.example.org:443",
        "rucio-alias.example.org:443",
    }
    async with parts.running():
        result = await parts.locator._lakes.combined.locate([Did("ska", "obs-2")], deadline=0)
    assert Did("ska", "obs-2") in result.holdings


def test_without_sections_nothing_is_asked_and_there_are_no_duties(tmp_path: Path) -> None:
    parts = build_lakes(LakeSections(), tmp_path, SystemClock(), CollectorRegistry())
    assert parts.duties == ()
    assert parts.guarded == ()
