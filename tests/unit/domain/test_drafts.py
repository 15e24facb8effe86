"""Drafts: what changes them, and what is said of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.domain.drafts import (
    DraftContent,
    EditError,
    look_at,
    patched,
    request_for_ivoid,
    request_for_rucio,
    updated,
)
from gateway.wire import kinds
from tests.support.requests import minimal_request

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DRAFT = DraftContent(minimal_request(), "first")


def update(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "path": path, **more}


def test_a_merge_patch_changes_the_request_and_the_name() -> None:
    patch = {"meta": {"name": "second"}, "request": {"compute": {"cores": {"max": 4}}}}
    changed = patched(DRAFT, patch)
    assert changed.name == "second"
    assert changed.request["compute"]["cores"] == {"min": 1, "max": 4}
    assert DRAFT.request == minimal_request()


def test_a_null_takes_the_name_or_the_whole_request_away() -> None:
    assert patched(DRAFT, {"meta": {"name": None}}) == DraftContent(DRAFT.request, None)
    assert patched(DRAFT, {"request": None}) == DraftContent({}, "first")


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"revision": 7}, "/revision"),
        ({"meta": {"uuid": "other"}}, "/meta/uuid"),
        ({"meta": "name"}, "/meta"),
        ({"meta": {"name": 7}}, "/meta/name"),
        ({"request": [1]}, "/request"),
    ],
)
def test_a_patch_of_anything_else_says_where_it_is_wrong(
    patch: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(EditError) as caught:
        patched(DRAFT, patch)
    assert caught.value.fault.pointer == pointer


@pytest.mark.parametrize(
    ("change", "steps", "value"),
    [
        (update(kinds.STRING_UPDATE, "executable.meta.name", value="b"), ("name",), "b"),
        (update(kinds.ENUM_UPDATE, "executable.meta.name", value="c"), ("name",), "c"),
    ],
)
def test_an_update_sets_a_text(change: dict[str, Any], steps: tuple[str], value: str) -> None:
    request = updated(DRAFT, change).request
    assert request["executable"]["meta"][steps[0]] == value


def test_updates_set_and_move_numbers_also_where_there_was_none() -> None:
    more = updated(DRAFT, update(kinds.INTEGER_UPDATE, "compute.cores.max", value=8))
    less = updated(more, update(kinds.DELTA_UPDATE, "compute.cores.max", delta=-2))
    assert less.request["compute"]["cores"] == {"min": 1, "max": 6}


def test_a_component_is_put_at_the_end_of_a_list() -> None:
    component = {"kind": kinds.SIMPLE_DATA, "location": "https://example.org/a"}
    changed = updated(DRAFT, update(kinds.COMPONENT_UPDATE, "data[0]", value=component))
    assert changed.request["data"] == [component]


@pytest.mark.parametrize(
    "change",
    [
        update(kinds.STRING_UPDATE, "executable.meta", value="b"),
        update(kinds.STRING_UPDATE, "executable.kind.more", value="b"),
        update(kinds.DELTA_UPDATE, "compute.cores.max", delta=1),
        update(kinds.DELTA_UPDATE, "executable.kind", delta=1),
        update(kinds.COMPONENT_UPDATE, "data[3]", value={"kind": kinds.SIMPLE_DATA}),
        update(kinds.INTEGER_UPDATE, "data[", value=1),
    ],
)
def test_an_update_that_cannot_be_made_there_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(EditError) as caught:
        updated(DRAFT, change)
    assert caught.value.fault.pointer == "/path"


def test_a_look_says_what_is_missing_and_what_is_wrong_and_where() -> None:
    abstract = f"{kinds.KIND_BASE}/data/abstract-data-resource.yaml"
    place = {"kind": abstract, "meta": {"name": "input", "description": "A cube."}}
    request = minimal_request(data=[place], schedule={"requested": {"duration": "long"}})
    look = look_at(request)
    assert not look.is_ready
    assert [fault.pointer for fault in look.all_faults()] == [
        "/data/0",
        "/schedule/requested/duration",
    ]
    assert look.options() == [
        {
            "kind": kinds.COMPONENT_OPTION,
            "path": "data[0]",
            "name": "input",
            "description": "A cube.",
            "abstract": abstract,
        }
    ]
    missing, wrong = look.messages(NOW)
    assert missing["message"] == "To be supplied at data[0]: input: A cube."
    assert (missing["level"], wrong["level"]) == ("WARN", "ERROR")
    assert wrong["values"]["pointer"] == "/request/schedule/requested/duration"
    assert look_at(minimal_request()).is_ready


def test_data_are_begun_from_by_either_identifier() -> None:
    assert request_for_rucio("testing:a/b:c")["data"] == [
        {"kind": kinds.RUCIO_DATA, "rucio": {"scope": "testing", "object": "a/b:c"}}
    ]
    assert request_for_ivoid("ivo://skao.int/data?a:b")["data"] == [
        {"kind": kinds.IVOA_DATA, "ivoa": {"ivoid": "ivo://skao.int/data?a:b"}}
    ]
    for begin, bad in (
        (request_for_rucio, "name"),
        (request_for_rucio, ":name"),
        (request_for_ivoid, "ivo://"),
        (request_for_ivoid, "https://example.org"),
    ):
        with pytest.raises(EditError):
            begin(bad)
