"""What a node checks of a request: a test for each rule of the contract, and what holds for all."""

import copy
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.times import parse_instant
from node_stub import reasons
from node_stub.appraisal import Appraisal, Remark
from node_stub.checks.findings import MAX_MESSAGES
from node_stub.fitting import Maximum
from node_stub.ledger import Amounts
from node_stub.policy import Verdict
from node_stub.reasons import Reason
from node_stub.rules import Estimate, Figure, Profile
from tests.support.mutations import PIECES, mutated_requests
from tests.support.node_requests import (
    BOTH,
    COST,
    ESTIMATES,
    FULL,
    IVOA,
    JUPYTER,
    METRIC,
    MINIMAL,
    NAMELESS_COMPUTE,
    NOW,
    OTHER_DATA,
    RUCIO,
    S3,
    SINGULARITY,
    SITE,
    SKAO,
    changed,
    verdict_on,
)

SCHEMA = ExecutionRequestSchema()
EVERY_REASON = [value for value in vars(reasons).values() if isinstance(value, Reason)]


def kinds_of(verdict: Verdict) -> list[str]:
    """The kinds of its messages."""
    return [item["kind"] for item in verdict.messages]


def possible(document: Document, **how: Any) -> Verdict:
    """The verdict, which has to be favourable."""
    verdict = verdict_on(document, **how)
    assert verdict.is_possible, verdict.messages
    return verdict


@pytest.mark.parametrize(
    "document", [FULL, MINIMAL, JUPYTER, SINGULARITY, S3, IVOA, RUCIO, SKAO, NAMELESS_COMPUTE]
)
def test_every_kind_of_the_schema_is_possible_without_a_word(document: Document) -> None:
    assert validate(SCHEMA, document) == []
    assert possible(document).messages == ()


def test_a_kind_that_the_platform_does_not_run_is_refused() -> None:
    site = replace(SITE, kinds=SITE.kinds - {kinds.SINGULARITY_CONTAINER})
    assert kinds_of(verdict_on(SINGULARITY, site)) == ["urn:unknown-type"]


def test_every_fault_is_told_at_once() -> None:
    document = changed(
        FULL,
        executable__privileged=True,
        compute__cores__min=0,
        data__0__location=...,
        schedule__requested__duration="P1M",
    )
    assert set(kinds_of(verdict_on(document))) == {
        "urn:not-supported",
        "urn:invalid-value",
        "urn:missing-required-value",
        "urn:input-syntax-fail",
    }


def test_a_maximum_above_the_limit_is_capped_with_a_warning() -> None:
    document = changed(FULL, compute__cores__max=17, storage__0__size__max=2000)
    verdict = possible(document)
    assert [(item["level"], item["values"]["path"]) for item in verdict.messages] == [
        ("WARN", "/storage/0/size/max"),
        ("WARN", "/compute/cores/max"),
    ]
    assert verdict.maximum == Maximum(cores=16, memory_gib=6, storage_gib=1000)


def test_what_a_silent_client_needs_is_the_default() -> None:
    verdict = possible(MINIMAL)
    assert verdict.need == Amounts(cores=2, memory_gib=2, storage_gib=0)
    assert verdict.maximum == Maximum(cores=None, memory_gib=None, storage_gib=0)
    assert verdict.duration_s == 1800
    start = int(NOW.timestamp())
    assert verdict.windows == ((start, start + 86_400),)
    assert verdict.daily is None
    assert verdict.document["compute"]["meta"]["name"] == "Default compute resource"
    assert verdict.document["executable"]["image"]["platform"] == {
        "architecture": "amd64",
        "os": "linux",
    }


def test_a_default_yields_to_a_lower_maximum() -> None:
    verdict = possible(changed(NAMELESS_COMPUTE, compute__cores__max=1, compute__memory__min=5))
    assert verdict.need == Amounts(cores=1, memory_gib=5, storage_gib=0)
    assert verdict.maximum == Maximum(cores=1, memory_gib=None, storage_gib=0)


def test_a_maximum_of_null_is_none() -> None:
    document = changed(FULL, storage__0__size__max=None, compute__cores__max=None)
    assert possible(document).maximum == Maximum(cores=None, memory_gib=6, storage_gib=10)


def test_what_the_client_asks_for_is_what_is_needed() -> None:
    verdict = possible(FULL)
    assert verdict.need == Amounts(cores=2, memory_gib=3, storage_gib=10)
    assert verdict.maximum == Maximum(cores=4, memory_gib=6, storage_gib=20)
    assert verdict.duration_s == 600
    start = int(parse_instant("2026-08-03T09:05:00Z").timestamp())
    assert verdict.windows == ((start, start + 1800),)


def test_a_fraction_of_a_second_counts_as_a_whole_one() -> None:
    assert possible(changed(FULL, schedule__requested__duration="PT0.1S")).duration_s == 1


def test_starts_are_united_and_clipped_to_now() -> None:
    starts = [
        "2026-08-03T10:00:00Z/PT10M",
        "2026-08-03T08:00:00Z/2026-08-03T09:30:00Z",
        "2026-08-03T10:05:00Z/PT10M",
    ]
    verdict = possible(changed(FULL, schedule__requested__start=starts))
    now = int(NOW.timestamp())
    assert verdict.windows == ((now, now + 1800), (now + 3600, now + 4500))
    assert verdict.messages == ()


def test_a_start_out_of_reach_beside_others_is_only_a_warning() -> None:
    starts = [
        "2026-08-03T08:00:00Z/PT10M",
        "2026-08-03T10:00:00Z/PT10M",
        "2036-08-03T10:00:00Z/PT10M",
    ]
    verdict = possible(changed(FULL, schedule__requested__start=starts))
    assert [(item["level"], item["values"]["path"]) for item in verdict.messages] == [
        ("WARN", "/schedule/requested/start/0"),
        ("WARN", "/schedule/requested/start/2"),
    ]


def test_a_daily_window_is_given_as_spans_by_the_clock_of_its_zone() -> None:
    daily = {"start": "09:00", "end": "17:00", "timezone": "Europe/London"}
    document = changed(MINIMAL, schedule__requested__daily=daily)
    verdict = possible(document)
    assert verdict.daily is not None
    assert [datetime.fromtimestamp(end, NOW.tzinfo).hour for _, end in verdict.daily] == [16, 16]
    assert verdict.daily[0][0] == int(NOW.timestamp())


def test_now_may_be_between_two_seconds() -> None:
    now = NOW.replace(microsecond=1)
    assert possible(MINIMAL, now=now).windows[0][0] == int(NOW.timestamp()) + 1


def test_references_by_name_become_our_uuids() -> None:
    document = possible(FULL).document
    (data,), (storage,) = document["data"], document["storage"]
    assert data["storage"] == storage["meta"]["uuid"]
    assert storage["data"] == [data["meta"]["uuid"]]
    assert [volume["resource"] for volume in document["compute"]["volumes"]] == [
        data["meta"]["uuid"],
        storage["meta"]["uuid"],
    ]


def test_references_by_client_uuid_resolve_and_the_client_uuid_is_discarded() -> None:
    theirs = "2E6D8C1B-7A9F-4E35-A1C2-6B5D4F3E2D14"
    document = changed(
        FULL,
        storage__0__meta={"uuid": theirs},
        data__0__storage=theirs.lower(),
        compute__volumes__1__resource=theirs,
    )
    completed = possible(document).document
    ours = completed["storage"][0]["meta"]["uuid"]
    assert ours != theirs.lower()
    assert completed["data"][0]["storage"] == ours
    assert completed["compute"]["volumes"][1]["resource"] == ours
    assert completed["compute"]["volumes"][1]["path"] == f"/volumes/{theirs}"


def test_the_same_client_uuid_twice_is_a_duplicate() -> None:
    storage = {
        "kind": kinds.SIMPLE_STORAGE,
        "meta": {"uuid": "2e6d8c1b-7a9f-4e35-a1c2-6b5d4f3e2d14"},
    }
    verdict = verdict_on(dict(MINIMAL, storage=[storage, storage]))
    assert kinds_of(verdict) == ["urn:duplicate-resource"]


def test_every_uuid_is_fresh_and_names_and_descriptions_stay() -> None:
    document = possible(FULL).document
    parts = [
        document["executable"],
        document["compute"],
        *document["compute"]["volumes"],
        *document["storage"],
        *document["data"],
    ]
    assert len({UUID(part["meta"]["uuid"]) for part in parts}) == len(parts)
    assert document["executable"]["meta"]["name"] == "cantliei"
    assert document["executable"]["meta"]["description"] == "Finds butterflies"


def test_data_without_storage_gets_storage_of_its_own() -> None:
    verdict = possible(dict(MINIMAL, data=OTHER_DATA))
    storage, data = verdict.document["storage"], verdict.document["data"]
    assert [store["data"] for store in storage] == [[item["meta"]["uuid"]] for item in data]
    assert [item["storage"] for item in data] == [store["meta"]["uuid"] for store in storage]
    assert storage[0]["meta"]["name"] == "Storage for [s3]"
    assert storage[3]["size"]["min"] == 6  # a byte more than 5 GiB
    assert verdict.need.storage_gib == 1 + 1 + 1 + 6


def test_an_unnamed_volume_goes_to_a_path_of_its_target_for_data_and_storage_alike() -> None:
    volumes = [{"kind": kinds.SIMPLE_VOLUME, "resource": name} for name in ("../etc", "scratch")]
    document = changed(FULL, data__0__meta__name="../etc", compute__volumes=volumes)
    assert [
        (volume["path"], volume["mode"])
        for volume in possible(document).document["compute"]["volumes"]
    ] == [("/volumes/.._etc", "READONLY"), ("/volumes/scratch", "READONLY")]


def test_a_target_named_by_dots_alone_does_not_lead_out_of_the_directory() -> None:
    volumes = [{"kind": kinds.SIMPLE_VOLUME, "resource": ".."}]
    document = changed(FULL, data__0__meta__name="..", compute__volumes=volumes)
    assert possible(document).document["compute"]["volumes"][0]["path"] == "/volumes/__"


def test_a_name_shared_by_data_and_storage_is_fine_while_no_volume_uses_it() -> None:
    possible(changed(BOTH, compute__volumes=[]))


def test_ports_get_their_defaults() -> None:
    ports = possible(FULL).document["executable"]["network"]["ports"]
    assert ports[1] == {"internal": {"port": 9090}, "access": False, "protocol": "TCP"}


@pytest.mark.parametrize("external", [None, {}])
def test_an_external_port_that_says_nothing_is_let_pass(external: object) -> None:
    document = changed(FULL, executable__network__ports__0__external=external)
    port = possible(document).document["executable"]["network"]["ports"][0]
    assert "external" not in port


def test_what_only_a_service_may_say_is_dropped_and_the_rest_is_carried() -> None:
    document = changed(
        FULL,
        executable__phase="COMPLETED",
        executable__colour="blue",
        executable__meta__messages=[{"message": "hello"}],
        executable__meta__mood="fine",
    )
    executable = possible(document).document["executable"]
    assert "phase" not in executable
    assert "messages" not in executable["meta"]
    assert (executable["colour"], executable["meta"]["mood"]) == ("blue", "fine")


@pytest.mark.parametrize(
    "limits",
    [
        {"costs": [COST | {"type": "urn:x:karma", "max": 1}]},
        {"metrics": [{"kind": kinds.MINMAX_METRIC, "min": 1}]},
        {"data": [FULL["data"][0] | {"storage": None, "costs": [COST | {"max": 0}]}]},
    ],
)
def test_a_limit_on_what_is_not_reported_is_answered_by_information(limits: Document) -> None:
    verdict = possible(MINIMAL | limits)
    assert [(item["kind"], item["level"]) for item in verdict.messages] == [
        ("urn:unknown-limit", "INFO")
    ]


def test_a_figure_without_numbers_cannot_be_judged() -> None:
    site = replace(SITE, profile=Profile(session_costs=(Figure(kinds.MONETARY_COST),)))
    document = dict(MINIMAL, costs=[COST | {"max": 1}])
    assert kinds_of(possible(document, site=site)) == ["urn:unknown-limit"]


def test_a_limit_that_may_be_met_is_let_pass() -> None:
    document = changed(FULL, costs=[COST | {"max": 0.1}], metrics=[METRIC | {"min": 200}])
    assert possible(document).messages == ()


def test_estimates_follow_the_order_of_the_components() -> None:
    verdict = possible(FULL)
    # Storage 1 s, data 30 s, compute 1 s; compute 10 s, data 10 s, storage 1 s.
    assert (verdict.stages.prepare_s, verdict.stages.release_s) == (32, 21)
    assert verdict.stages.compute_prepare_s == 1
    slow = Appraisal({**ESTIMATES, kinds.DOCKER_CONTAINER: Estimate(60, 0)})
    assert verdict_on(FULL, appraisal=slow).stages.prepare_s == 61


def test_what_the_platform_refuses_is_refused_with_its_reason() -> None:
    remark = Remark(reasons.PLATFORM_DOWN, "/executable/image", {"detail": "no such image"})
    verdict = verdict_on(FULL, appraisal=Appraisal(remarks=(remark,)))
    assert not verdict.is_possible
    assert [said["kind"] for said in verdict.messages] == ["urn:platform-unavailable"]
    assert verdict.messages[0]["values"] == {"path": "/executable/image", "detail": "no such image"}


def test_what_the_platform_remarks_goes_with_the_offers() -> None:
    remark = Remark(reasons.MORE_MESSAGES, "", {"count": "0"})
    verdict = verdict_on(FULL, appraisal=Appraisal(remarks=(remark,)))
    assert verdict.is_possible
    assert [said["level"] for said in verdict.messages] == ["INFO"]


def test_a_volume_may_be_mounted_below_the_home() -> None:
    document = possible(changed(FULL, compute__volumes__0__path="data/in")).document
    assert document["compute"]["volumes"][0]["path"] == "data/in"


def test_the_request_itself_is_not_changed() -> None:
    before = copy.deepcopy(FULL)
    verdict_on(FULL)
    assert before == FULL


def test_a_thousand_faults_are_told_in_a_hundred_messages_and_one() -> None:
    ports = [{"internal": {"port": 0}}] * 1000
    limits = [COST | {"type": "urn:x"}] * 1000
    verdict = verdict_on(changed(FULL, executable__network__ports=ports, costs=limits))
    assert len(verdict.messages) == 2 * MAX_MESSAGES + 1
    assert verdict.messages[-1]["message"].startswith("1800 further messages")


def test_a_message_repeats_no_more_than_a_piece_of_the_request() -> None:
    verdict = verdict_on(changed(FULL, data__0__storage="x" * 100_000))
    assert all(len(item["message"]) < 1000 for item in verdict.messages)


@pytest.mark.parametrize("reason", EVERY_REASON, ids=lambda reason: reason.template[:40])
def test_every_reason_is_spelt_as_a_urn(reason: Reason) -> None:
    assert reason.kind.startswith("urn:")
    assert "{}" not in reason.template


@given(mutated_requests())
def test_whatever_the_schema_lets_through_is_judged_and_a_no_has_a_reason(
    document: Document,
) -> None:
    verdict = verdict_on(document)  # nothing may crash it, valid or not
    is_refused = any(item["level"] == "ERROR" for item in verdict.messages)
    assert verdict.is_possible is not is_refused
    for item in verdict.messages:
        assert item["message"]
        assert item["values"]["path"] == "" or item["values"]["path"].startswith("/")


@given(
    st.sampled_from(["executable", "compute", "storage", "data", "costs", "metrics", "schedule"]),
    st.recursive(
        PIECES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    ),
)
def test_a_component_of_unknown_kind_may_hold_anything(member: str, anything: Any) -> None:
    odd = {"kind": "urn:x", "meta": anything, "volumes": anything, "requested": anything}
    for value in (anything, odd, [odd]):
        verdict = verdict_on(FULL | {member: value})
        assert verdict.is_possible or verdict.messages
