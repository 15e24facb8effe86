"""Client input: what passes, and where the faults are said to be."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.decode import InvalidDocumentError, decode_session
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import to_pointer, validate
from gateway.wire.problem import Fault
from gateway.wire.schemas.identity import IdentityRequestSchema, IdentitySchema
from gateway.wire.schemas.problem import ProblemSchema
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema
from gateway.wire.schemas.update import UpdateSchema
from gateway.wire.times import TimeSyntaxError, parse_duration, parse_interval
from gateway.wire.views import Bounds, Quote, RequestView, view_of_request
from tests.support.documents import Path, at, offer, offerset, paths, replaced, request, without
from tests.support.wire_strategies import documents as documents_of

REQUEST = ExecutionRequestSchema()
NEW = {"kind": "urn:example:new", "anything": [1, {"a": None}]}


def pointers(document: Any) -> list[str]:
    return [fault.pointer for fault in validate(REQUEST, document)]


def test_a_full_request_passes() -> None:
    assert pointers(request()) == []
    assert pointers({}) == []
    assert pointers(dict.fromkeys(request())) == []


def test_loading_changes_nothing() -> None:
    document = request() | {"new": {"a": 1}}
    document["compute"]["new"] = [1.0, 2, "3"]
    assert REQUEST.load(document) == document


def test_kinds_that_are_not_known_here_pass_in_requests() -> None:
    document = request()
    for path in (("executable",), ("compute",), ("storage", 0), ("data", 0), ("costs", 0)):
        assert pointers(replaced(document, path, NEW)) == []
    assert pointers(replaced(document, ("compute", "volumes", 0), NEW)) == []
    assert pointers(replaced(document, ("metrics", 0), NEW)) == []


@pytest.mark.parametrize(
    "path",
    [
        ("executable",), ("compute",), ("storage", 0), ("data", 1), ("costs", 0), ("metrics", 0),
        ("compute", "volumes", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [None, 5, {}, ["x"]])
def test_a_missing_or_misshapen_kind_is_a_fault(path: Path, kind: Any) -> None:
    assert pointers(without(request(), (*path, "kind"))) == [to_pointer((*path, "kind"))]
    assert pointers(replaced(request(), (*path, "kind"), kind)) == [to_pointer((*path, "kind"))]
    assert pointers(replaced(request(), path, kind if kind != {} else 1)) in (
        [to_pointer(path)],
        [],
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("compute", "cores", "min"), "2"), (("compute", "cores", "min"), 2.0),
        (("compute", "cores", "min"), True), (("compute", "cores", "max"), 2**63),
        (("compute", "cores"), 4), (("compute", "cores"), []), (("executable", "command"), "10"),
        (("executable", "command", 0), 10), (("executable", "privileged"), "no"),
        (("executable", "privileged"), 0), (("executable", "environment", "MODE"), 1),
        (("executable", "environment"), []), (("executable", "image", "digest"), 7),
        (("executable", "network", "ports", 0, "internal", "port"), 2**31),
        (("executable", "phase"), "OFFERED"), (("executable", "meta", "created"), "yesterday"),
        (("compute", "volumes", 0, "mode"), "RO"), (("storage", 0, "size", "min"), None),
        (("data", 1, "skao", "objecttype"), "file"), (("data", 1, "skao", "replicas"), {}),
        (("costs", 0, "max"), "1.0"), (("costs", 0, "max"), False), (("costs",), {}),
        (("schedule", "requested", "duration"), "ten minutes"),
        (("schedule", "requested", "duration"), "PT"), (("schedule", "requested", "start"), 5),
        (("schedule", "requested", "start", 0), "T12:00Z"), (("storage", 0), "scratch"),
        (("schedule", "requested", "start", 1), None),
        (("schedule", "requested", "daily"), {"start": "9", "end": "17:00"}),
        (("schedule", "requested", "daily", "timezone"), "Mars/Olympus"),
        (("schedule", "requested", "daily"), "09:00-17:00"),
    ],
)  # fmt: skip
def test_a_fault_is_found_where_it_is(path: Path, value: Any) -> None:
    expected = [to_pointer(path)]
    if path[-1] == "timezone":
        expected = [to_pointer(path[:-1])]
    if value is None and path[-1] == "min":
        expected = []
    assert pointers(replaced(request(), path, value)) == expected


def test_all_faults_are_found_at_once_in_the_order_of_the_schema() -> None:
    document = request()
    document["data"][0]["location"] = 1
    document["executable"]["command"] = [1, "a", 2]
    document["compute"]["cores"] = {"min": "a", "max": "b"}
    assert pointers(document) == [
        "/executable/command/0",
        "/executable/command/2",
        "/compute/cores/min",
        "/compute/cores/max",
        "/data/0/location",
    ]


def test_names_in_pointers_are_escaped() -> None:
    document = request()
    document["executable"]["environment"] = {"a/b~c": 1}
    assert pointers(document) == ["/executable/environment/a~1b~0c"]


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_a_document_that_is_no_object_is_one_fault(document: Any) -> None:
    assert validate(REQUEST, document) == [Fault("", "Invalid input type.")]
    assert [fault.pointer for fault in validate(SessionSchema(), document)] == [""]


@pytest.mark.parametrize("text", ["P1Y", "P1M", "P1DT", "-PT5M"])
def test_durations_that_are_no_length_pass_the_schema_and_fail_the_view(text: str) -> None:
    document = {"schedule": {"requested": {"duration": text}}}
    assert pointers(document) == []
    with pytest.raises(TimeSyntaxError):
        view_of_request(document)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-08-03T09:00/PT1H", "2026-08-03/2026-08-02"])
def test_starts_that_are_no_time_pass_the_schema_and_fail_the_view(text: str) -> None:
    for start in (text, [text]):
        document: Document = {"schedule": {"requested": {"start": start}}}
        assert pointers(document) == []
        with pytest.raises(TimeSyntaxError):
            view_of_request(document)


@given(st.text("0123456789-:.TZP+DHMSYW/ ", max_size=30))
def test_every_time_that_can_be_read_passes_the_schema(text: str) -> None:
    for member, parse in (("duration", parse_duration), ("start", parse_interval)):
        try:
            parse(text)
        except TimeSyntaxError:
            continue
        if not text.endswith("/-PT0S"):
            assert pointers({"schedule": {"requested": {member: text}}}) == []


def test_a_newline_at_the_end_of_a_time_or_uuid_is_a_fault() -> None:
    document = request()
    for path in paths(document):
        if isinstance(at(document, path), str) and path[-1] in {"duration", "start", "created"}:
            assert pointers(replaced(document, path, at(document, path) + "\n")), path
    answer = offer()
    for path in paths(answer):
        if path[-1] in {"uuid", "duration", "start", "created", "modified", "expires", "time"}:
            spoilt = replaced(answer, path, at(answer, path) + "\n")
            assert [f.pointer for f in validate(SessionSchema(), spoilt)] == [to_pointer(path)]
            with pytest.raises(InvalidDocumentError):
                decode_session(to_json(spoilt))


def test_the_view_of_a_request_says_what_it_needs() -> None:
    view = view_of_request(request())
    assert view.kinds == {
        *(kinds.DOCKER_CONTAINER, kinds.SIMPLE_COMPUTE, kinds.SIMPLE_VOLUME),
        *(kinds.SIMPLE_STORAGE, kinds.SIMPLE_DATA, kinds.SKAO_DATA),
    }
    assert view.executable_kind == kinds.DOCKER_CONTAINER
    assert (view.cores, view.memory_gib, view.storage_gib) == (
        Bounds(2, 4),
        Bounds(3, 6),
        Bounds(10, None),
    )
    assert view.duration == parse_duration("PT10M")
    assert view.starts == tuple(map(parse_interval, ("2026-08-03T09:05:00Z/PT30M", "2026-08-04")))
    assert view.daily is not None
    assert view.cost_limits == (Quote(kinds.MONETARY_COST, None, 1.0),)
    assert view.metric_limits == (Quote(kinds.COMPUTE_PERFORMANCE, 50.0),)
    assert [(item.index, item.name) for item in view.data] == [(0, "observation"), (1, None)]
    assert view.unknown_limits == ()


def test_the_view_of_an_empty_request_is_empty() -> None:
    assert view_of_request({}) == RequestView()
    assert view_of_request(dict.fromkeys(request())) == RequestView()


def test_the_most_of_storage_is_known_only_if_all_of_it_is() -> None:
    # Data that names no storage gets some of its own, of unknown size.
    assert view_of_request(request()).storage_gib == Bounds(10, None)
    document = request()
    del document["data"][1]
    assert view_of_request(document).storage_gib == Bounds(10, 20)
    document["storage"].append({"kind": kinds.SIMPLE_STORAGE, "size": {"min": 5}})
    assert view_of_request(document).storage_gib == Bounds(15, None)


def test_limits_whose_meaning_is_not_known_are_named() -> None:
    document = {
        "costs": [
            {"kind": kinds.ABSTRACT_COST, "type": "urn:a"},
            {"kind": "urn:k", "type": ["?"]},
            {"kind": kinds.MINMAX_COST},
        ],
        "metrics": [{"kind": "urn:m"}],
    }
    assert pointers(document) == []
    assert view_of_request(document).unknown_limits == (
        *("urn:a", "['?']", kinds.MINMAX_COST),
        "urn:m",
    )


@settings(max_examples=40)
@given(documents_of(REQUEST))
def test_every_valid_request_has_a_view_or_a_reason(document: Document) -> None:
    try:
        view_of_request(document)
    except TimeSyntaxError as error:
        assert str(error)  # noqa: PT017 - either way is good


def test_components_of_unknown_kinds_do_not_hurt_the_view() -> None:
    strange = {"kind": "urn:new", "cores": 5, "meta": "x", "size": [], "volumes": 1}
    document = {"compute": strange, "storage": [strange], "data": [strange], "executable": strange}
    assert pointers(document) == []
    view = view_of_request(document)
    assert view.kinds == {"urn:new"}
    assert (view.cores, view.data[0].name) == (Bounds(), None)


def test_answers_are_strict_about_kinds() -> None:
    document = offerset(offer())
    assert validate(OfferSetSchema(), document) == []
    ways = [path for path in paths(document) if path[-1] == "kind" and len(path) > 1]
    for path in ways:
        if path[-3:-2] in (("messages",), ("connectors",)):
            continue
        spoilt = replaced(document, path, "urn:unknown")
        assert [f.pointer for f in validate(OfferSetSchema(), spoilt)] == [to_pointer(path)]


def test_what_a_gateway_adds_is_described() -> None:
    federation = {
        "node": "alpha", "path": ["gw"], "rank": 1, "score": 0.5,
        "reasons": [{"code": "starts_soonest", "text": "In 5 s.", "values": {"value": "5"}}],
        "placement": {"bytes_total": 5, "staging_s": 1.5, "approximate": True, "basis": "rucio"},
    }  # fmt: skip
    coverage = {
        "node": "alpha", "outcome": "answered", "reason": None, "took_ms": 12.5, "offers": 1,
    }  # fmt: skip
    document = offerset(offer(federation=federation)) | {"federation": {"coverage": [coverage]}}
    assert validate(OfferSetSchema(), document) == []
    at(document, ("federation", "coverage", 0))["outcome"] = "lost"
    document["offers"][0]["federation"]["placement"]["bytes_total"] = 1.5
    assert [fault.pointer for fault in validate(OfferSetSchema(), document)] == [
        "/offers/0/federation/placement/bytes_total",
        "/federation/coverage/0/outcome",
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"kind": kinds.ENUM_UPDATE, "path": "phase", "value": "ACCEPTED"}, []),
        ({"kind": kinds.STRING_UPDATE, "path": "x", "value": ""}, []),
        ({"kind": kinds.INTEGER_UPDATE, "path": "x", "value": 1, "units": "GiB"}, []),
        ({"kind": kinds.DELTA_UPDATE, "path": "x", "delta": -1}, []),
        ({"kind": kinds.ENUM_UPDATE}, ["/path", "/value"]),
        ({"kind": kinds.DELTA_UPDATE, "path": "x", "value": 1}, ["/delta"]),
        ({"kind": kinds.INTEGER_UPDATE, "path": 1, "value": "1"}, ["/path", "/value"]),
        ({"path": "phase", "value": "ACCEPTED"}, ["/kind"]),
        ({"kind": "uri:other", "path": "phase", "value": "ACCEPTED"}, ["/kind"]),
    ],
)
def test_updates(document: Document, expected: list[str]) -> None:
    assert sorted(fault.pointer for fault in validate(UpdateSchema(), document)) == expected


def test_identities_and_problems() -> None:
    assert validate(IdentityRequestSchema(), {"username": "", "password": ""}) == []
    assert len(validate(IdentityRequestSchema(), {})) == 2
    assert validate(IdentitySchema(), {"uuid": "x", "username": "a"}) == [
        Fault("/uuid", "Not a UUID.")
    ]
    problem = {"type": "t", "title": "t", "status": 400, "errors": [{"pointer": "", "detail": "d"}]}
    assert validate(ProblemSchema(), problem) == []
