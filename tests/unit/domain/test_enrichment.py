"""Enrichment: each node is told what is missing, nearest first; nothing of the client's changes."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.enrichment import MAX_REPLICAS, Enriched, enrich
from gateway.domain.holdings import Checksum, Copy, DidKind, Holding, Part, Place
from gateway.domain.network import Network
from gateway.domain.restoring import restored, restoring_of
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.kinds import IVOA_DATA, RUCIO_DATA, S3_DATA, SIMPLE_DATA, SKAO_DATA
from tests.unit.domain.maps import DID, SITES, WORLD, copy_at

NETWORK = Network(WORLD)

FILE = Holding(
    DID,
    DidKind.FILE,
    bytes=1024,
    files=1,
    parts=(
        Part(
            "ska-mid:obs-1",
            1024,
            1,
            tuple(
                copy_at(site, urls=(f"davs://{site}.example.org/obs-1",))
                for site in ("jp", "uk", "se")
            ),
        ),
    ),
    checksums=(Checksum("adler32", "0a1b2c3d"), Checksum("md5", "d" * 32)),
)
SKAO: Document = {"kind": SKAO_DATA, "skao": {"namespace": "ska-mid", "objectname": "obs-1"}}
RUCIO: Document = {
    "kind": RUCIO_DATA,
    "meta": {"name": "obs"},
    "storage": "scratch",
    "rucio": {"scope": "ska-mid", "object": "obs-1"},
}
IVOA: Document = {"kind": IVOA_DATA, "ivoa": {"ivoid": "ivo://skao.int/data?ska-mid:obs-1"}}


def request(*data: Any) -> Document:
    """A request for these data."""
    return {"executable": {"kind": "x"}, "data": list(data), "other": [1, {"kept": True}]}


def enriched(document: Document, site: str = "uk", **options: bool) -> Enriched:
    """The document as a node at this site gets it, all of its data being the same file."""
    holdings = dict.fromkeys(range(len(document["data"])), FILE)
    return enrich(document, holdings, NETWORK, frozenset({site}), **options)


def sources_of(item: Document) -> list[str]:
    """The storage of the replicas, in their order."""
    return [replica["rsename"] for replica in item["skao"]["replicas"]]


@pytest.mark.parametrize(
    ("site", "order"),
    [
        ("uk", ["UK_RSE", "SE_RSE", "JP_RSE"]),
        ("jp", ["JP_RSE", "SE_RSE", "UK_RSE"]),
        ("se", ["SE_RSE", "UK_RSE", "JP_RSE"]),
        ("au", ["JP_RSE", "SE_RSE", "UK_RSE"]),
    ],
)
def test_a_node_gets_the_replicas_nearest_to_it_first(site: str, order: list[str]) -> None:
    (item,) = enriched(request(SKAO), site).document["data"]
    assert sources_of(item) == order


def test_size_checksum_and_type_are_filled_in() -> None:
    (item,) = enriched(request(SKAO)).document["data"]
    block = item["skao"]
    assert block["datasize"] == 1024
    assert block["checksum"] == {"type": "adler32", "value": "0a1b2c3d"}
    assert block["objecttype"] == "FILE"
    assert block["replicas"][0] == {
        "rsename": "UK_RSE",
        "dataurl": "davs://uk.example.org/obs-1",
    }


def test_rucio_and_ivoa_resources_keep_their_kind_and_get_the_same_block() -> None:
    rucio, ivoa = enriched(request(RUCIO, IVOA)).document["data"]
    assert rucio["kind"] == RUCIO_DATA
    assert rucio["rucio"] == {"scope": "ska-mid", "object": "obs-1", "type": "FILE"}
    assert ivoa["kind"] == IVOA_DATA
    assert ivoa["ivoa"] == IVOA["ivoa"]
    for item in (rucio, ivoa):
        assert item["skao"]["namespace"] == "ska-mid"
        assert item["skao"]["objectname"] == "obs-1"
        assert sources_of(item)[0] == "UK_RSE"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=5), below, max_size=2)
    ),
    max_leaves=5,
)
_blocks = st.dictionaries(
    st.sampled_from(
        ["namespace", "objectname", "objecttype", "datasize", "checksum", "replicas", "x"]
    ),
    st.integers(1, 9) | st.text(min_size=1, max_size=4) | st.just([{"rsename": "MINE"}]),
)
_resources = st.builds(
    lambda kind, block, more: {**more, "kind": kind, "skao": block},
    st.sampled_from([SKAO_DATA, RUCIO_DATA, IVOA_DATA, SIMPLE_DATA, S3_DATA, "urn:other"]),
    _blocks,
    st.dictionaries(st.sampled_from(["meta", "storage", "ivoa", "strange"]), _values),
)


@given(st.lists(_resources, max_size=3), st.sampled_from(sorted(SITES)))
def test_nothing_that_the_client_wrote_is_altered(data: list[Document], site: str) -> None:
    document = request(*data)
    before = copy.deepcopy(document)
    sent = enriched(document, site).document
    assert document == before
    assert {name: value for name, value in sent.items() if name != "data"} == {
        name: value for name, value in before.items() if name != "data"
    }
    assert len(sent["data"]) == len(data)
    for wrote, given_on in zip(data, sent["data"], strict=True):
        for name, value in wrote.items():
            if name == "skao":
                assert {key: given_on["skao"][key] for key in value} == value
            else:
                assert given_on[name] == value


def test_what_could_not_be_located_is_sent_as_it_is() -> None:
    document = request(SKAO, RUCIO)
    assert enrich(document, {}, NETWORK, frozenset({"uk"})).document is document
    sent = enrich(document, {1: FILE}, NETWORK, frozenset({"uk"})).document
    assert sent["data"][0] is document["data"][0]


def test_copies_that_cannot_be_read_or_are_not_whole_are_not_named() -> None:
    copies = (copy_at("uk", is_readable=False), copy_at("se", is_complete=False), copy_at("jp"))
    holding = Holding(DID, DidKind.DATASET, 10, 2, (Part("d", 10, 2, copies),))
    sent = enrich(request(SKAO), {0: holding}, NETWORK, frozenset({"uk"}))
    assert sent.document["data"][0]["skao"]["replicas"] == [{"rsename": "JP_RSE"}]


def test_no_node_is_told_of_more_replicas_than_it_needs() -> None:
    copies = tuple(Copy(Place(rse=f"RSE_{n}"), urls=(f"https://h{n}/f",)) for n in range(50))
    holding = Holding(DID, DidKind.FILE, 1, 1, (Part("f", 1, 1, copies),))
    sent = enrich(request(SKAO), {0: holding}, NETWORK, frozenset({"uk"}))
    assert len(sent.document["data"][0]["skao"]["replicas"]) == MAX_REPLICAS


def test_a_simple_node_gets_the_url_of_the_nearest_replica() -> None:
    sent = enriched(request(SKAO, IVOA), "se", simple_data=True)
    simple, ivoa = sent.document["data"]
    assert simple == {"kind": SIMPLE_DATA, "location": "https://se.example.org/obs-1"}
    assert ivoa["kind"] == IVOA_DATA
    assert sent.replaced == {"https://se.example.org/obs-1": 0}


def test_a_simple_resource_keeps_what_belongs_to_the_resource_itself() -> None:
    (simple,) = enriched(request(RUCIO), simple_data=True).document["data"]
    assert simple["meta"] == {"name": "obs"}
    assert simple["storage"] == "scratch"
    assert "rucio" not in simple


def test_where_no_plain_url_is_known_the_resource_stays_what_it_is() -> None:
    copies = (copy_at("uk", urls=("root://uk.example.org//obs-1",)),)
    holding = Holding(DID, DidKind.FILE, 1, 1, (Part("f", 1, 1, copies),))
    sent = enrich(request(SKAO), {0: holding}, NETWORK, frozenset({"uk"}), simple_data=True)
    assert sent.document["data"][0]["kind"] == SKAO_DATA
    assert not sent.replaced


def as_the_node_shows_it(sent: Enriched) -> bytes:
    """A session of a node that has put in its own members."""
    data = [
        {**item, "meta": {"uuid": f"u-{n}"}, "phase": "INITIALIZING"}
        for n, item in enumerate(sent.document["data"])
    ]
    return to_json({"kind": "session", "phase": "OFFERED", "data": data})


def test_what_a_simple_node_shows_is_turned_back_into_what_was_asked() -> None:
    document = request(SKAO, RUCIO)
    sent = enrich(document, {0: FILE, 1: FILE}, NETWORK, frozenset({"se"}), simple_data=True)
    restoring = restoring_of(document, sent, shows_replicas=False)
    assert restoring is not None
    shown = from_json(restored(as_the_node_shows_it(sent), restoring.to_json()))
    first = shown["data"][0]
    assert first["kind"] == SKAO_DATA
    assert first["skao"] == SKAO["skao"]
    assert "location" not in first
    assert first["meta"] == {"uuid": "u-0"}
    assert first["phase"] == "INITIALIZING"


def test_no_replica_that_the_client_did_not_name_is_shown() -> None:
    mine = {"rsename": "MINE", "dataurl": "https://mine.example.org/f"}
    named = {**SKAO, "skao": {**SKAO["skao"], "replicas": [mine]}}
    document = request(SKAO, RUCIO, IVOA, named)
    sent = enriched(document, "se")
    restoring = restoring_of(document, sent, shows_replicas=False)
    assert restoring is not None
    text = restored(as_the_node_shows_it(sent), restoring.to_json()).decode()
    assert "example.org/obs-1" not in text
    assert "_RSE" not in text
    shown = from_json(text)["data"]
    assert shown[0]["skao"]["datasize"] == 1024
    assert shown[3]["skao"]["replicas"] == [mine]


def test_who_may_see_replicas_sees_them() -> None:
    document = request(SKAO)
    sent = enriched(document)
    assert restoring_of(document, sent, shows_replicas=True) is None
    assert restored(as_the_node_shows_it(sent), None) == as_the_node_shows_it(sent)


def test_an_answer_of_another_form_is_left_as_it_is() -> None:
    restoring = restoring_of(request(SKAO), enriched(request(SKAO)), shows_replicas=False)
    assert restoring is not None
    for text in (b'{"data":null}', b'{"data":["x",1]}', b'{"data":[{"skao":5}]}', b"{}"):
        assert from_json(restored(text, restoring.to_json())) == from_json(text)
