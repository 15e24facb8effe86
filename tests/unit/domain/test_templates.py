"""What a template is called and found by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.templates import UNTITLED, folded, folded_words, short_kind, template_of
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.kinds import DOCKER_CONTAINER, KIND_BASE, SIMPLE_COMPUTE
from gateway.wire.schemas.template import TemplateSchema

ABSTRACT_DATA = f"{KIND_BASE}/data/abstract-data-resource.yaml"


def template(**members: Any) -> Document:
    document: Document = {
        "executable": {"kind": DOCKER_CONTAINER, "meta": {"name": "androcles"}},
        "data": [
            {"kind": ABSTRACT_DATA, "meta": {"name": "input", "description": "A measurement"}}
        ],
    }
    return document | members


def test_what_runs_is_kept_without_what_it_is_found_by() -> None:
    read = template_of(template(discovery={"title": "Checksums", "keywords": ["sums", "sums"]}))
    assert read.document == template()
    assert read.title == "Checksums"
    assert read.keywords == ("sums",)


@pytest.mark.parametrize(
    ("members", "title"),
    [
        ({}, "androcles"),
        ({"meta": {"name": "whole"}}, "whole"),
        ({"executable": {"kind": DOCKER_CONTAINER}}, UNTITLED),
        ({"executable": {"kind": DOCKER_CONTAINER, "meta": {"name": " "}}}, UNTITLED),
        ({"executable": {"kind": DOCKER_CONTAINER, "meta": {"name": "x" * 300}}}, "x" * 200),
        ({"discovery": None}, "androcles"),
        ({"discovery": {"title": None}}, "androcles"),
    ],
)
def test_without_a_title_it_is_called_as_what_it_runs(members: Document, title: str) -> None:
    assert template_of(template(**members)).title == title


def test_placeholders_are_kinds_like_others_and_each_has_a_short_name() -> None:
    read = template_of(template())
    assert read.kinds == (ABSTRACT_DATA, DOCKER_CONTAINER)
    assert {"docker-container", "abstract-data-resource", DOCKER_CONTAINER} <= {*read.kind_names()}


def test_what_no_database_keeps_is_left_out() -> None:
    about = {"title": "\0", "description": "a\0b"}
    read = template_of(template(discovery=about, data=[{"kind": "uri:\0"}]))
    assert (read.title, read.description) == (UNTITLED, "ab")
    assert "uri:\0" in read.kinds
    assert not any("\0" in name for name in read.kind_names())


def test_it_is_found_by_what_is_said_of_its_components() -> None:
    volumes = [{"kind": "x", "meta": {"description": "Calibrated Visibilities"}}]
    compute = {"kind": SIMPLE_COMPUTE, "volumes": volumes}
    words = template_of(template(compute=compute)).words()
    assert {"androcles", "measurement", "calibrated", "visibilities"} <= {*words}


def test_an_endless_description_is_not_searched_to_its_end() -> None:
    long = " ".join(f"w{number}" for number in range(10_000))
    words = template_of(template(discovery={"title": "t", "description": long})).words()
    assert "w0" in words
    assert sum(map(len, words)) <= 20_000


def test_compute_of_a_strange_kind_may_have_anything_in_it() -> None:
    read = template_of(template(compute={"kind": "uri:gpu", "meta": {"name": "fast"}}))
    assert "fast" in read.words()
    assert "uri:gpu" in read.kinds


def test_a_time_that_says_nothing_definite_does_not_matter() -> None:
    odd = {"requested": {"duration": "P1Y"}}
    assert template_of(template(schedule=odd)).document["schedule"] == odd


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("WSClean 3.5: Łódź-Café", ["wsclean", "3", "5", "łodz", "cafe"]),
        ("snake_case%like", ["snake", "case", "like"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ﬁts", ["fits"]),
        ("", []),
    ],
)
def test_words_are_folded(text: str, words: list[str]) -> None:
    assert folded_words(text) == words


@given(st.text())
def test_folding_what_is_folded_changes_nothing_and_leaves_no_wildcard(text: str) -> None:
    once = folded(text)
    assert folded(once) == once
    assert not set(once) & set("%_\\")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(DOCKER_CONTAINER, "docker-container"), ("uri:gpu", "uri:gpu"), ("https://x/", "https://x/")],
)
def test_short_kinds(kind: str, name: str) -> None:
    assert short_kind(kind) == name


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/executable"),
        ({"executable": None}, "/executable"),
        ({"executable": {}}, "/executable/kind"),
        (template(discovery={"keywords": ["x"] * 51}), "/discovery/keywords"),
        (template(discovery={"title": ""}), "/discovery/title"),
        (template(data=[{"kind": 5}]), "/data/0/kind"),
        (template(compute={"kind": SIMPLE_COMPUTE, "cores": {"min": "two"}}), "/compute/cores/min"),
    ],
)
def test_what_is_no_template_is_told_where(document: Document, pointer: str) -> None:
    assert [fault.pointer for fault in validate(TemplateSchema(), document)] == [pointer]


def test_a_template_with_placeholders_is_valid() -> None:
    assert not validate(TemplateSchema(), template(discovery={"title": "t", "keywords": []}))
