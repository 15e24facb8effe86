"""Node answers: what is read out of them, and that nothing passes which would break a client."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.decode import (
    MAX_DEPTH,
    MAX_OFFERS,
    InvalidDocumentError,
    component_uuids,
    decode_offerset,
    decode_session,
    messages_of,
)
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.session import SessionSchema
from gateway.wire.times import parse_interval
from gateway.wire.views import Bounds, Quote, SessionView
from tests.support.documents import (
    OFFER_UUID,
    Path,
    at,
    offer,
    offerset,
    paths,
    replaced,
    without,
)
from tests.support.wire_strategies import documents as documents_of

SCHEMA = SessionSchema()
DEEP = MAX_DEPTH + 1
WEIRD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2.0, 1.5, 1e300, 2**31, 2**63, -(2**63) - 1),
    *("", "x", "2", "true", "OFFERED", "offered", "READY", "TEARDOWN", "WARNING", "file", "\u00e9"),
    *([], [None], ["x"], [1], [[]], [{}], {}, {"a": 1}, {"kind": "x"}, {"kind": 1}, {"min": "1"}),
    *(
        "2026-08-03T09:00:00Z",
        "2026-08-03T09:00:00",
        "2026-08-03 09:00:00Z",
        "2026-08-03t09:00:00Z",
    ),
    *("2026-08-03T09:00:00z", "2026-02-30T09:00:00Z", "2026-08-03T09:00Z", "2026-08-03"),
    *("PT5M", "-PT5M", "+PT5M", "pt5m", "PT1.5H", "PT1.5S", "P1W", "P1Y", "P1DT", "PT", "P"),
    *("2026-08-03T09:00:00Z/PT5M", "2026-08-03T09:00:00Z/pt5m", "2026-08-03T09:00:00Z/"),
    *("2026-08-03T09:00:00z/PT5M", "PT5M/2026-08-03T09:00:00Z", "2026-08-03/2026-08-04", "a/b"),
    *("d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10", "d1f0a6b28f0e4d558d5b7f1b5f3f9a10", "urn:uuid:1"),
    *("{d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10}", "d1f0a6b28f0e-4d55-8d5b-7f1b5f3f9a10"),
]
"""Values to put where others should be."""


def encoded(document: Document) -> bytes:
    # Not to_json: an integer of more than 64 bits has to get through.
    return json.dumps(document).encode()


def accepts(raw: bytes | msgspec.Raw) -> SessionView | None:
    try:
        return decode_session(raw)
    except InvalidDocumentError:
        return None


def test_the_view_says_what_the_offer_says() -> None:
    view = decode_session(to_json(offer()))
    assert view.uuid == UUID(OFFER_UUID)
    assert view.phase is SessionPhase.OFFERED
    assert view.expires == datetime(2026, 8, 3, 9, 5, 12, 610337, tzinfo=UTC)
    assert view.start == parse_interval("2026-08-03T09:06:00Z/PT5M")
    assert view.duration == timedelta(minutes=20)
    assert (view.cores, view.memory_gib) == (Bounds(4, 4), Bounds(6, 6))
    assert view.storage_gib == Bounds(10, 20)
    assert view.costs == (Quote(kinds.MONETARY_COST, 0.1, 0.5),)
    assert view.metrics == (Quote(kinds.COMPUTE_PERFORMANCE, 150, 200),)
    assert view.compute_costs == (Quote(kinds.MONETARY_COST, 0.05, 0.25),)
    assert view.compute_metrics == (Quote(kinds.IO_THROUGHPUT, 100, 500),)


def test_components_and_messages_are_read_when_somebody_asks() -> None:
    raw = to_json(offer())
    assert [str(uuid)[0] for uuid in component_uuids(raw)] == list("123456")
    assert [message["values"] for message in messages_of(raw)] == [{"limit": "4"}]


@pytest.mark.parametrize("compute", [{}, {"meta": None}, {"meta": {"uuid": "x"}}, {"meta": 5}])
def test_a_component_without_a_uuid_hides_no_other(compute: Document) -> None:
    raw = to_json(offer(compute={"kind": "urn:example:gpu"} | compute))
    decode_session(raw, frozenset({"urn:example:gpu"}))
    assert [str(uuid)[0] for uuid in component_uuids(raw)] == list("1456")


def test_the_least_offer_has_an_empty_view() -> None:
    document = {"kind": kinds.SCHEDULED_SESSION, "meta": {"uuid": OFFER_UUID}, "phase": "FAILED"}
    assert decode_session(to_json(document)) == SessionView(UUID(OFFER_UUID), SessionPhase.FAILED)
    assert component_uuids(to_json(document)) == messages_of(to_json(document)) == ()


def test_without_schedule_of_its_own_the_compute_schedule_counts() -> None:
    document = without(offer(), ("schedule",))
    document["compute"]["schedule"]["available"]["duration"] = "PT2H"
    assert decode_session(to_json(document)).duration == timedelta(hours=2)
    del document["compute"]
    assert decode_session(to_json(document)).start is None


def test_instants_counted_from_the_epoch_are_unknown() -> None:
    document = offer(expires="1970-01-01T00:00:00Z")
    document["schedule"]["available"]["start"] = "1970-01-01T00:00:01Z/PT0S"
    view = decode_session(to_json(document))
    assert (view.start, view.expires) == (None, None)
    assert view.duration is not None


def test_other_offsets_and_forms_are_the_same_instants() -> None:
    document = offer(expires="2026-08-03T11:05:12.610337123+02:00")
    document["schedule"]["available"]["start"] = "2026-08-03T11:06:00+02:00/2026-08-03T09:11:00Z"
    document["schedule"]["available"]["duration"] = "P1W"
    view, plain = decode_session(to_json(document)), decode_session(to_json(offer()))
    assert (view.expires, view.start) == (plain.expires, plain.start)
    assert view.duration == timedelta(weeks=1)


def test_extensions_of_every_kind_pass() -> None:
    document = offer(federation={"node": "alpha", "path": []}, new={"a": [1, None, "é"]})
    document["compute"]["gpu"] = {"model": "x"}
    assert messages_of(to_json(document))[0]["kind"] == "urn:example:capped"
    document["meta"]["messages"][0]["extra"] = 1
    decode_session(to_json(document))
    assert messages_of(to_json(document))[0]["extra"] == 1


def nulled(tree: Any, known: Any) -> Any:
    """Every optional member that is absent, null."""
    if isinstance(tree, dict):
        return dict.fromkeys(known) | {name: nulled(value, known) for name, value in tree.items()}
    return [nulled(value, known) for value in tree] if isinstance(tree, list) else tree


def test_null_is_the_same_as_absent() -> None:
    document = offer()
    for path in list(paths(document)):
        try:
            spoilt = replaced(document, path, None)
            bare = without(document, path)
        except KeyError:
            continue
        # Messages and connectors are shown as they are written.
        if {"messages", "connectors"} & set(path) or not isinstance(path[-1], str):
            continue
        if (view := accepts(to_json(spoilt))) is not None:
            assert view == accepts(to_json(bare))
    named = ["schedule", "preparing", "releasing", "available", "created", "modified", "volumes"]
    for path in (("meta", "messages"), ("connectors",), ("executable", "environment")):
        document = without(document, path)
    assert decode_session(to_json(nulled(document, named))) == decode_session(to_json(document))


BREAKERS: list[tuple[Path, Any]] = [
    (("kind",), "urn:unknown"),
    (("kind",), kinds.SIMPLE_SESSION),
    (("executable", "kind"), "urn:unknown"),
    (("compute", "kind"), "urn:unknown"),
    (("compute", "volumes", 0, "kind"), "urn:unknown"),
    (("storage", 0, "kind"), "urn:unknown"),
    (("data", 0, "kind"), "urn:unknown"),
    (("meta", "options", 0, "kind"), "urn:unknown"),
    (("costs", 0, "kind"), "urn:unknown"),
    (("costs", 0, "kind"), kinds.ABSTRACT_COST),
    (("compute", "costs", 0, "kind"), kinds.ABSTRACT_COST),
    (("metrics", 0, "kind"), kinds.ABSTRACT_METRIC),
    (("phase",), "READY"),
    (("phase",), "TEARDOWN"),
    (("compute", "phase"), "OFFERED"),
    (("meta", "messages", 0, "level"), "WARNING"),
    (("meta", "messages", 0, "values"), {"limit": 4}),
    (("meta", "messages", 0, "time"), "2026-08-03T09:00:12"),
    (("connectors", 0, "status"), "READY"),
    (("compute", "volumes", 0, "mode"), "readonly"),
    (("data", 1, "skao", "objecttype"), "file"),
    (("meta", "uuid"), "not-a-uuid"),
    (("storage", 0, "meta", "uuid"), "17"),
    (("compute", "cores", "min"), 2.0),
    (("compute", "memory", "max"), "6"),
    (("data", 1, "skao", "datasize"), 1024.0),
    (("costs", 0, "min"), "0.1"),
    (("costs", 0, "min"), True),
    (("expires",), "2026-08-03T09:05:12"),
    (("meta", "created"), "2026-08-03T09:05:12"),
    (("meta", "created"), "2026-02-30T09:05:12Z"),
    (("compute", "schedule", "preparing", "start"), "2026-08-03T09:05:12"),
    (("schedule", "available", "start"), "2026-08-03T09:06:00Z"),
    (("storage", 0, "schedule", "available", "start"), "2026-08-03T09:06:00Z"),
    (("schedule", "available", "duration"), "20 minutes"),
    (("executable", "schedule", "releasing", "duration"), "pt5s"),
    (("executable", "schedule", "releasing", "duration"), "PT1.5H"),
    (("executable", "environment"), {"A": None}),
    (("executable", "privileged"), "false"),
    (("executable", "command"), [10]),
    (("executable", "network", "ports", 0, "internal", "port"), 2**31),
    (("meta",), {}),
    (("phase",), None),
]


@pytest.mark.parametrize(("path", "value"), BREAKERS, ids=lambda v: str(v)[:40])
def test_what_breaks_the_client_is_refused(path: Path, value: Any) -> None:
    document = offer()
    at(document, path[:-1])[path[-1]] = value
    with pytest.raises(InvalidDocumentError):
        decode_session(to_json(document))


def test_nothing_passes_that_the_schema_refuses() -> None:
    document = offer()
    for index, path in enumerate(paths(document)):
        # Half of the values at each place: many places are of the same schema.
        for weird in WEIRD[index % 2 :: 2]:
            spoilt = replaced(document, path, weird)
            if accepts(encoded(spoilt)) is not None:
                assert validate(SCHEMA, spoilt) == [], (path, weird)


@settings(max_examples=40)
@given(st.data())
def test_nothing_passes_that_the_schema_refuses_of_many_things_at_once(data: st.DataObject) -> None:
    document = data.draw(documents_of(SCHEMA))
    for _ in range(data.draw(st.integers(0, 2))):
        if ways := list(paths(document)):
            document = replaced(
                document, data.draw(st.sampled_from(ways)), data.draw(st.sampled_from(WEIRD))
            )
    if accepts(encoded(document)) is not None:
        assert validate(SCHEMA, document) == []


TIME_TEXTS = st.one_of(
    st.text("0123456789-:.TtZz+ ", min_size=19, max_size=30),
    st.text("PTDHMSWYptdhmsy0123456789.,+-", max_size=12),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["2026-08-03", "2026-02-30", "0000-01-01", "0001-01-01", "2026-8-03"]),
        st.sampled_from(["T", "t", " ", "TT", ""]),
        st.sampled_from(["09:00:00", "09:00", "24:00:00", "09:00:60", "9:00:00", ""]),
        st.sampled_from(["", ".5", ".", ".1234567890", ",5"]),
        st.sampled_from(["Z", "z", "", "+01:00", "+0100", "+01", "-23:59", "+24:00", "ZZ", "Z "]),
    ),
)


@pytest.mark.parametrize(
    "path",
    [
        ("meta", "modified"),
        ("storage", 0, "schedule", "preparing", "start"),
        ("storage", 0, "schedule", "releasing", "duration"),
    ],
)
@given(text=TIME_TEXTS, escape=st.booleans())
def test_no_time_passes_that_the_schema_refuses(path: Path, text: str, escape: bool) -> None:
    spoilt = offer()
    at(spoilt, path[:-1])[path[-1]] = text
    raw = encoded(spoilt)
    if escape and text:
        # However the characters are written.
        raw = raw.replace(
            f'"{text}"'.encode(), b'"' + b"".join(b"\\u%04x" % ord(c) for c in text) + b'"'
        )
    if accepts(raw) is not None:
        assert validate(SCHEMA, spoilt) == []


@given(first=TIME_TEXTS, second=TIME_TEXTS)
def test_no_interval_passes_that_the_schema_refuses(first: str, second: str) -> None:
    spoilt = offer()
    spoilt["data"][0]["schedule"] = {"available": {"start": f"{first}/{second}"}}
    if accepts(encoded(spoilt)) is not None:
        assert validate(SCHEMA, spoilt) == []


@settings(max_examples=20)
@given(st.data())
def test_documents_of_the_schema_pass_if_they_say_who_and_where_they_are(
    data: st.DataObject,
) -> None:
    document = data.draw(documents_of(SCHEMA))
    document |= {"phase": "OFFERED", "meta": {"uuid": OFFER_UUID}}
    for stages in (document, document.get("compute") or {}):
        stages.pop("schedule", None)
    document["expires"] = "2026-08-03T09:05:12Z"
    assert accepts(encoded(document)) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"{}", b"<html>", b'"x"', b'{"kind":', b"[" * 100_000, b"\x00\xff",
        to_json(offer()) + b"x", to_json(offer())[:-1],
        to_json(offer(new="x")).replace(b'"x"', b'"\xff"'),
        to_json(offer(new="x")).replace(b'"x"', b'{"a":' * 5000 + b"1" + b"}" * 5000),
        to_json(offer(new="x")).replace(b'"x"', b"[" * DEEP + b"[]," * 300 + b"1" + b"]" * DEEP),
    ],
    ids=range(14),
)  # fmt: skip
def test_unreadable_text_is_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode_session(raw)
    assert caught.value.reason_detail


def test_many_brackets_are_no_fault_where_they_are_not_deep() -> None:
    assert decode_session(to_json(offer(new=[[]] * 500))) == decode_session(to_json(offer()))


def test_kinds_said_to_be_known_are_left_out_of_the_check() -> None:
    new = {"kind": "urn:example:gpu", "cores": "many", "meta": {"uuid": "x"}}
    document = offer(compute=new)
    document["storage"].append(new)
    with pytest.raises(InvalidDocumentError):
        decode_session(to_json(document), frozenset({"urn:example:other"}))
    view = decode_session(to_json(document), frozenset({"urn:example:gpu"}))
    assert view.cores is None
    assert view.storage_gib == Bounds(10, 20)
    document["phase"] = "READY"
    with pytest.raises(InvalidDocumentError):
        decode_session(to_json(document), frozenset({"urn:example:gpu"}))


def test_an_offer_of_unbounded_length_cannot_be_judged() -> None:
    document = offer()
    document["schedule"]["available"]["duration"] = "P1Y"
    with pytest.raises(InvalidDocumentError, match="years"):
        decode_session(to_json(document))


def test_an_offer_set_keeps_each_offer_as_its_own_text() -> None:
    good, bad = offer(), offer(phase="READY")
    envelope = decode_offerset(to_json(offerset(good, bad)))
    assert envelope.result == "YES"
    assert [accepts(raw) is not None for raw in envelope.offers] == [True, False]
    assert json.loads(bytes(envelope.offers[1])) == bad


def test_a_no_keeps_its_messages() -> None:
    envelope = decode_offerset(to_json(offerset()))
    assert (envelope.result, envelope.offers) == ("NO", [])
    assert [message["kind"] for message in envelope.messages] == ["urn:resource-limit"]


def test_an_offer_set_with_strange_members_is_still_read() -> None:
    body = {"result": "YES", "kind": 5, "costs": "x", "offers": None, "meta": {"messages": [1, {}]}}
    envelope = decode_offerset(to_json(body))
    assert (envelope.offers, envelope.messages) == ([], [{}])
    assert decode_offerset(b'{"result": "NO", "meta": null}').messages == []


def test_more_offers_than_anybody_needs_are_counted_and_left() -> None:
    envelope = decode_offerset(to_json({"result": "YES", "offers": [{}] * (MAX_OFFERS + 3)}))
    assert (len(envelope.offers), envelope.surplus) == (MAX_OFFERS, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b'{"result": "MAYBE"}', b'{"result": "YES", "offers": {}}', b"<html/>",
        b'{"result": "YES", "offers": [', b'{"result": 1}', b"[" * 100_000, b'{"offers": []}',
        b'{"result":"YES","x":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_offer_set_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocumentError):
        decode_offerset(body)


@pytest.mark.parametrize("number", ["1e400", "-1E+999", "5.5e1000"])
def test_a_number_beyond_a_double_is_refused_even_where_nothing_reads_it(number: str) -> None:
    raw = to_json(offer()).replace(b'"phase":', b'"x-unknown":' + number.encode() + b',"phase":', 1)
    with pytest.raises(InvalidDocumentError):
        decode_session(raw)
