"""Placeholders: where they are found, how paths are read, and what is put in their place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.placeholders import (
    PathError,
    Steps,
    format_path,
    open_places,
    parse_path,
    resolved,
    value_at,
    with_value,
)
from gateway.wire import kinds
from gateway.wire.faults import to_pointer

ABSTRACT_DATA = f"{kinds.KIND_BASE}/data/abstract-data-resource.yaml"
ABSTRACT_VOLUME = f"{kinds.KIND_BASE}/volume/abstract-volume-mount.yaml"
TEMPLATE: dict[str, Any] = {
    "executable": {"kind": kinds.DOCKER_CONTAINER},
    "compute": {
        "kind": kinds.SIMPLE_COMPUTE,
        "volumes": [
            {"kind": kinds.SIMPLE_VOLUME, "path": "/in", "resource": "input"},
            {"kind": ABSTRACT_VOLUME},
        ],
    },
    "data": [
        {"kind": ABSTRACT_DATA, "meta": {"name": "input", "description": "The cube to look at."}},
        {"kind": kinds.SIMPLE_DATA, "location": "https://example.org/catalogue.csv"},
    ],
}

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters=".[]/", exclude_categories=["Cs"]),
    min_size=1,
    max_size=6,
)
PATHS: st.SearchStrategy[Steps] = st.tuples(
    NAMES, st.lists(NAMES | st.integers(0, 9999), max_size=5)
).map(lambda parts: (parts[0], *parts[1]))


def test_every_abstract_component_is_an_open_place_with_what_it_says() -> None:
    places = open_places(TEMPLATE)
    assert [place.path for place in places] == ["compute.volumes[1]", "data[0]"]
    assert [place.pointer for place in places] == ["/compute/volumes/1", "/data/0"]
    assert places[1].wanted == "input: The cube to look at."
    assert places[0].wanted == ABSTRACT_VOLUME


def test_a_request_without_an_executable_has_that_place_open() -> None:
    assert [place.path for place in open_places({"data": []})] == ["executable"]


@pytest.mark.parametrize(
    "odd", [{"compute": [1]}, {"data": {"0": 1}}, {"data": [None, 3]}, {"storage": "here"}]
)
def test_a_document_of_another_shape_has_no_open_places_there(odd: dict[str, Any]) -> None:
    assert open_places({"executable": {"kind": "x"}} | odd) == ()


def test_limits_of_abstract_kinds_are_no_places() -> None:
    request = {"executable": {"kind": "x"}, "costs": [{"kind": kinds.ABSTRACT_COST}]}
    assert open_places(request) == ()


def test_a_component_is_merged_into_its_place_and_keeps_the_name_that_volumes_refer_to() -> None:
    component = {"kind": kinds.S3_DATA, "bucket": "cubes", "meta": {"description": None}}
    request = resolved(TEMPLATE, ("data", 0), component)
    assert request["data"][0] == {
        "kind": kinds.S3_DATA,
        "meta": {"name": "input"},
        "bucket": "cubes",
    }
    assert request["data"][1] is TEMPLATE["data"][1]
    assert TEMPLATE["data"][0]["kind"] == ABSTRACT_DATA
    assert [place.path for place in open_places(request)] == ["compute.volumes[1]"]


@given(PATHS)
def test_a_path_is_read_as_it_was_written(steps: Steps) -> None:
    assert parse_path(format_path(steps)) == steps


@given(st.tuples(NAMES, NAMES | st.just(0), NAMES | st.just(0)))
def test_a_pointer_leads_where_the_path_does(steps: Steps) -> None:
    value = with_value(None, steps, "here")
    assert value_at(value, parse_path(to_pointer(steps))) == "here"


@pytest.mark.parametrize(
    "text",
    ["", ".", "[0]", "data[", "data[x]", "data..a", "data.[0]", "data[0]a", "data[-1]", "a."],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        parse_path(text)


def test_a_path_is_no_longer_than_documents_are_deep() -> None:
    with pytest.raises(PathError):
        parse_path("/a" * 65)


def test_a_list_grows_by_one_item_and_not_by_more() -> None:
    grown = with_value({"data": [1]}, ("data", 1), 2)
    assert grown == {"data": [1, 2]}
    with pytest.raises(PathError, match="no place"):
        with_value({"data": [1]}, ("data", 2), 2)


@pytest.mark.parametrize("steps", [("name", "inner"), ("data", "first")])
def test_a_path_through_something_without_places_is_refused(steps: Steps) -> None:
    with pytest.raises(PathError, match="no place"):
        with_value({"name": "text", "data": []}, steps, 1)
