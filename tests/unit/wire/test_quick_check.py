"""The quick check of what clients write is never laxer than the schema, and takes what is usual."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.compile import QuickCheck
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.update import UpdateSchema
from tests.support.documents import paths, replaced
from tests.support.wire_strategies import documents

REQUESTS = ExecutionRequestSchema()
UPDATES = UpdateSchema()
CHECKS = {schema: QuickCheck(schema) for schema in (REQUESTS, UPDATES)}

WEIRD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 1.5, 2.0, "", "x", "1", "true", [], {}, [None], [1], ["x"]),
    *({"a": 1}, {"kind": "urn:unknown"}, "2026-02-30T09:00:00Z", "PT1.5H", "P1Y", "09:00"),
    *("2026-08-03T09:00:00", "2026-08-03T09:00:00Z/PT1H", ["2026-08-03T09:00:00Z", 1]),
    *({"start": "09:00", "end": "17:00", "timezone": "No/Where"}, {"start": 9}),
)
"""Values that belong in few places."""


@settings(max_examples=80)
@given(
    st.sampled_from([REQUESTS, UPDATES]).flatmap(
        lambda schema: st.tuples(st.just(schema), documents(schema))
    ),
    st.data(),
)
def test_what_passes_has_no_fault_by_the_schema(
    given_: tuple[Any, Document], data: st.DataObject
) -> None:
    schema, document = given_
    for _ in range(data.draw(st.integers(0, 2))):
        if found := list(paths(document)):
            document = replaced(
                document, data.draw(st.sampled_from(found)), data.draw(st.sampled_from(WEIRD))
            )
    if CHECKS[schema].passes(to_json(document)):
        assert validate(schema, document) == []


@given(documents(REQUESTS, has_extras=False))
def test_what_the_schema_takes_of_known_kinds_passes(document: Document) -> None:
    assert validate(REQUESTS, document) == []
    assert CHECKS[REQUESTS].passes(to_json(document))


REQUEST: Document = {
    "executable": {"kind": kinds.DOCKER_CONTAINER, "image": {"locations": ["a/b:1"]}},
    "schedule": {
        "requested": {
            "duration": "PT1H",
            "start": ["2026-08-03T09:00:00Z/PT1H"],
            "daily": {"start": "09:00", "end": "17:00", "timezone": "Europe/London"},
        }
    },
}


def test_a_usual_request_passes() -> None:
    assert validate(REQUESTS, REQUEST) == []
    assert CHECKS[REQUESTS].passes(to_json(REQUEST))


@pytest.mark.parametrize(
    ("member", "value"),
    [("start", "soon"), ("start", [1]), ("daily", {"start": "25:00"}), ("duration", "1 h")],
)
def test_wrong_times_do_not_pass(member: str, value: Any) -> None:
    document = json.loads(to_json(REQUEST))
    document["schedule"]["requested"][member] = value
    assert validate(REQUESTS, document)
    assert not CHECKS[REQUESTS].passes(to_json(document))


def test_a_kind_that_only_the_nodes_may_know_is_left_to_the_schema() -> None:
    document = {"executable": {"kind": "urn:new"}}
    assert validate(REQUESTS, document) == []
    assert not CHECKS[REQUESTS].passes(to_json(document))


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"a": "\xff"}', b"\xef\xbb\xbf{}"])
def test_what_cannot_be_read_is_left_to_the_codec(text: bytes) -> None:
    assert not CHECKS[REQUESTS].passes(text) or text == b'{"a": "\xff"}'
