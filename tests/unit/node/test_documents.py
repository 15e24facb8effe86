"""The documents a node makes: complete, valid, consistent, and pure."""

import copy
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.wire import kinds
from gateway.wire.decode import decode_session
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate
from gateway.wire.phases import ComponentPhase, SessionPhase
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema
from gateway.wire.times import Interval, format_instant, parse_duration, parse_interval
from gateway.wire.views import Bounds, Quote
from node_stub.appraisal import Appraisal
from node_stub.component_plan import plan_components
from node_stub.documents import (
    Collection,
    OfferResult,
    build_offerset,
    components_of,
    failed_session,
    offer_name,
    reschedule,
    show,
    url_of,
)
from node_stub.ledger import Amounts
from node_stub.rules import Estimate, Profile
from node_stub.standing import Component
from tests.support.mutations import mutated_requests
from tests.support.node_offers import BASE, OFFERED, SESSION, START, offer, slot_for
from tests.support.node_requests import (
    FULL,
    JUPYTER,
    MINIMAL,
    NOW,
    OTHER_DATA,
    SINGULARITY,
    changed,
    verdict_on,
)


def begin(component: Document, stage: str) -> datetime:
    """When a stage of the component begins at the earliest."""
    return parse_interval(component["schedule"][stage]["start"]).start


def end(component: Document, stage: str) -> datetime:
    """When a stage that began at the earliest ends."""
    return begin(component, stage) + parse_duration(component["schedule"][stage]["duration"])


EVERY_REQUEST = [
    FULL,
    MINIMAL,
    JUPYTER,
    SINGULARITY,
    dict(MINIMAL, data=OTHER_DATA),
    changed(FULL, costs=[{"kind": kinds.MINMAX_COST, "type": "urn:x", "max": 1}]),
]


@pytest.mark.parametrize("document", EVERY_REQUEST)
def test_every_offer_is_valid_in_every_phase(document: Document) -> None:
    session = offer(document)
    for phase in SessionPhase:
        shown = show(
            session,
            phase=phase,
            components=dict.fromkeys(Component, ComponentPhase.WAITING),
            base_url=BASE,
            modified=NOW,
            can_update=True,
        )
        assert validate(SessionSchema(), shown) == []
        assert decode_session(to_json(shown)).phase is phase


def test_clients_read_in_an_offer_what_was_fitted() -> None:
    verdict = verdict_on(FULL)
    slot = slot_for(verdict, OFFERED, spread_s=300)
    view = decode_session(to_json(offer(slot=slot)))
    start = datetime.fromtimestamp(START, UTC)
    assert view.start == Interval(start, start + timedelta(minutes=5))
    assert view.duration == timedelta(minutes=10)
    assert view.expires == NOW + timedelta(minutes=5)
    assert (view.cores, view.memory_gib, view.storage_gib) == (
        Bounds(4, 4),
        Bounds(6, 6),
        Bounds(15, 15),
    )
    assert view.costs[0] == Quote(kinds.MONETARY_COST, 0.1, 0.5)
    assert view.compute_metrics == (Quote(kinds.IO_THROUGHPUT, 100.0, 500.0),)


def test_an_offer_is_complete() -> None:
    session = offer()
    assert list(session) == [
        "kind",
        "meta",
        "costs",
        "metrics",
        "executable",
        "compute",
        "storage",
        "data",
        "phase",
        "expires",
        "connectors",
        "schedule",
    ]
    assert session["kind"] == kinds.SCHEDULED_SESSION
    assert session["meta"] == {
        "uuid": str(SESSION),
        "name": "cantliei-offer-0",
        "url": f"{BASE}/sessions/{SESSION}",
        "description": "Finds butterflies",
        "created": "2026-08-03T09:00:00Z",
    }
    assert session["phase"] == "OFFERED"
    assert session["expires"] == "2026-08-03T09:05:00Z"


def test_a_description_of_the_request_goes_before_that_of_its_executable() -> None:
    assert offer(dict(FULL, meta={"description": "All"}))["meta"]["description"] == "All"
    assert "description" not in offer(MINIMAL)["meta"]


def test_everything_the_client_said_is_echoed() -> None:
    session = offer(changed(FULL, executable__colour="blue", storage__0__size__unit="GiB"))
    executable = session["executable"]
    for member in ("image", "command", "entrypoint", "environment"):
        assert executable[member] == FULL["executable"][member]
    assert executable["colour"] == "blue"
    assert executable["meta"]["description"] == "Finds butterflies"
    assert session["storage"][0]["size"]["unit"] == "GiB"
    assert session["data"][0]["location"] == FULL["data"][0]["location"]
    assert offer(JUPYTER)["executable"]["location"] == JUPYTER["executable"]["location"]
    others = offer(dict(MINIMAL, data=OTHER_DATA))["data"]
    for asked, told in zip(OTHER_DATA, others, strict=True):
        assert {member: told[member] for member in asked if member != "meta"} == {
            member: value for member, value in asked.items() if member != "meta"
        }


def test_cores_memory_and_storage_are_those_offered() -> None:
    session = offer()
    assert session["compute"]["cores"] == {"min": 4, "max": 4}
    assert session["compute"]["memory"] == {"min": 6, "max": 6}
    assert session["storage"][0]["size"] == {"min": 15, "max": 15}


def test_storage_beyond_the_minimum_is_shared_out_up_to_the_maxima() -> None:
    sizes: list[Document] = [{"min": 1, "max": 3}, {"min": 5}, {"min": 2, "max": 9}]
    storage = [{"kind": kinds.SIMPLE_STORAGE, "size": size} for size in sizes]
    document = dict(MINIMAL, storage=storage)
    slot = slot_for(verdict_on(document), Amounts(2, 2, 12))
    session = offer(document, slot=slot)
    assert [store["size"]["min"] for store in session["storage"]] == [3, 5, 4]


def test_costs_and_metrics_are_the_configured_ones() -> None:
    session = offer()
    assert session["costs"][0] == {
        "kind": kinds.MINMAX_COST,
        "type": kinds.MONETARY_COST,
        "description": "Estimated monetary cost",
        "min": 0.1,
        "max": 0.5,
    }
    assert [item["type"] for item in session["metrics"]] == [kinds.COMPUTE_PERFORMANCE]
    assert [item["type"] for item in session["compute"]["costs"]] == [kinds.MONETARY_COST]
    assert [item["type"] for item in session["compute"]["metrics"]] == [kinds.IO_THROUGHPUT]
    bare = offer(profile=Profile())
    assert "costs" not in bare
    assert "metrics" not in bare["compute"]


def test_limits_of_the_request_are_not_taken_for_figures_of_the_offer() -> None:
    limit = [{"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST, "max": 9}]
    session = offer(changed(MINIMAL, executable__costs=limit), profile=Profile())
    assert "costs" not in session["executable"]


def test_warnings_go_with_the_session() -> None:
    session = offer(changed(FULL, compute__cores__max=99), slot=slot_for(verdict_on(FULL)))
    assert [item["level"] for item in session["meta"]["messages"]] == ["WARN"]


def test_an_unnamed_executable_makes_a_numbered_offer() -> None:
    assert offer_name(verdict_on(MINIMAL), 3) == "offer-3"
    assert offer_name(verdict_on(FULL), 3) == "cantliei-offer-3"


def test_each_offer_has_component_uuids_of_its_own_and_references_that_fit() -> None:
    first, second = offer(), offer(uuid=uuid4())
    uuids = [c["meta"]["uuid"] for session in (first, second) for _, c in components_of(session)]
    assert len({UUID(uuid) for uuid in uuids}) == len(uuids)
    for session in (first, second):
        (data,), (storage,) = session["data"], session["storage"]
        assert data["storage"] == storage["meta"]["uuid"]
        assert storage["data"] == [data["meta"]["uuid"]]
        assert [volume["resource"] for volume in session["compute"]["volumes"]] == [
            data["meta"]["uuid"],
            storage["meta"]["uuid"],
        ]


def test_every_component_has_a_url_and_the_time_of_its_making() -> None:
    for collection, component in components_of(offer()):
        meta = component["meta"]
        assert meta["url"] == url_of(BASE + "/", collection, meta["uuid"])
        assert meta["created"] == "2026-08-03T09:00:00Z"
    assert {collection for collection, _ in components_of(offer())} == {*Collection} - {
        Collection.OFFERSETS,
        Collection.SESSIONS,
    }


def test_schedules_follow_the_order_of_the_components() -> None:
    session = offer()
    (data,), (storage,) = session["data"], session["storage"]
    executable, compute = session["executable"], session["compute"]
    assert session["schedule"] == {
        "preparing": {"start": "2026-08-03T09:04:28Z", "duration": "PT32S"},
        "available": {"start": "2026-08-03T09:05:00Z/PT0S", "duration": "PT10M"},
        "releasing": {"start": "2026-08-03T09:15:00Z", "duration": "PT21S"},
    }
    assert begin(storage, "preparing") == begin(session, "preparing")
    assert begin(executable, "preparing") == begin(session, "preparing")
    assert end(storage, "preparing") == begin(storage, "available") == begin(data, "preparing")
    assert end(data, "preparing") == begin(compute, "preparing")
    assert end(compute, "preparing") == begin(compute, "available") == begin(session, "available")
    assert end(compute, "available") == begin(compute, "releasing") == begin(session, "releasing")
    assert end(compute, "releasing") == begin(data, "releasing")
    assert end(data, "releasing") == begin(storage, "releasing")
    assert end(storage, "releasing") == end(session, "releasing")
    for component in (executable, compute, data, storage):
        assert end(component, "available") == begin(component, "releasing")
        assert component["phase"] == "INITIALIZING"


def test_a_start_that_may_be_later_is_shown_as_an_interval() -> None:
    session = offer(slot=slot_for(verdict_on(FULL), OFFERED, spread_s=300))
    assert session["schedule"]["available"]["start"] == "2026-08-03T09:05:00Z/PT5M"
    for _, component in components_of(session):
        if "schedule" in component:
            assert component["schedule"]["available"]["start"].endswith("/PT5M")


@given(
    st.dictionaries(
        st.sampled_from(
            [kinds.DOCKER_CONTAINER, kinds.SIMPLE_COMPUTE, kinds.SIMPLE_STORAGE, kinds.SIMPLE_DATA]
        ),
        st.builds(Estimate, st.integers(0, 100), st.integers(0, 100)),
    )
)
def test_whatever_takes_how_long_no_component_leaves_the_stages_of_the_session(
    estimates: dict[str, Estimate],
) -> None:
    document = verdict_on(FULL).document
    plan = plan_components(document, Appraisal(estimates).estimate)
    stages, shares = plan.stages, plan.shares
    for share in shares.values():
        assert 0 <= share.prepare_from_s <= share.prepare_to_s <= stages.prepare_s
        assert 0 <= share.release_from_s <= share.release_to_s <= stages.release_s
    compute, data, storage = (
        shares[component["meta"]["uuid"]]
        for component in (document["compute"], document["data"][0], document["storage"][0])
    )
    assert compute.prepare_to_s == stages.prepare_s
    assert compute.prepare_from_s == stages.prepare_s - stages.compute_prepare_s
    assert storage.prepare_to_s <= data.prepare_from_s
    assert data.prepare_to_s <= compute.prepare_from_s
    assert compute.release_to_s <= data.release_from_s
    assert data.release_to_s <= storage.release_from_s


def test_a_session_accepted_early_has_all_its_schedules_moved() -> None:
    session = offer(slot=slot_for(verdict_on(FULL), OFFERED, spread_s=300))
    before = copy.deepcopy(session)
    moved = reschedule(session, START + 100)
    assert session == before
    assert moved["schedule"]["available"]["start"] == "2026-08-03T09:06:40Z/PT0S"
    pairs = [(session, moved), *zip(*map(components_in, (session, moved)), strict=True)]
    for old, new in pairs:
        for stage in ("preparing", "available", "releasing"):
            assert begin(new, stage) - begin(old, stage) == timedelta(seconds=100)
            assert new["schedule"][stage]["duration"] == old["schedule"][stage]["duration"]
    assert validate(SessionSchema(), moved) == []
    bare = reschedule(offer(MINIMAL), START + 100)
    assert bare["compute"]["schedule"]["available"]["start"] == "2026-08-03T09:06:40Z/PT0S"


# About half of them are refused, which other tests look at.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(mutated_requests(most=1))
def test_whatever_is_possible_makes_a_valid_offer(document: Document) -> None:
    assume(not validate(ExecutionRequestSchema(), document))
    verdict = verdict_on(document)
    assume(verdict.is_possible)
    session = offer(document, slot=slot_for(verdict, spread_s=300))
    assert validate(SessionSchema(), session) == []
    decode_session(to_json(session))


def components_in(session: Document) -> list[Document]:
    """The components that have a schedule."""
    return [component for _, component in components_of(session) if "schedule" in component]


def test_ports_for_the_user_become_connectors() -> None:
    assert offer()["connectors"] == [
        {"kind": "urn:execbroker:connector:http", "status": "PREPARING", "protocol": "HTTP"}
    ]
    assert "connectors" not in offer(MINIMAL)
    assert "connectors" not in offer(changed(JUPYTER, executable__network={"ports": "none"}))


def test_an_offer_set_says_yes_with_offers_or_no_with_reasons() -> None:
    uuid = UUID("5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01")
    yes = build_offerset(
        uuid=uuid, created=NOW, base_url=BASE, result=OfferResult.YES, offers=[offer()]
    )
    assert yes["result"] == "YES"
    assert yes["meta"] == {
        "uuid": str(uuid),
        "url": f"{BASE}/offersets/{uuid}",
        "created": format_instant(NOW),
    }
    messages = verdict_on({}).messages
    no = build_offerset(
        uuid=uuid, created=NOW, base_url=BASE, result=OfferResult.NO, messages=messages
    )
    assert no["meta"]["messages"] == [*messages]
    assert "offers" not in no
    for document in (yes, no):
        assert validate(OfferSetSchema(), document) == []


def test_direct_execution_that_cannot_be_is_a_failed_session_with_reasons() -> None:
    uuid = UUID("00000000-0000-4000-8000-00000000dead")
    session = failed_session(uuid=uuid, created=NOW, messages=verdict_on({}).messages)
    assert session == {
        "kind": kinds.SCHEDULED_SESSION,
        "meta": {
            "uuid": str(uuid),
            "created": "2026-08-03T09:00:00Z",
            "messages": [
                {
                    "kind": "urn:executable-required",
                    "time": "2026-08-03T09:00:00Z",
                    "level": "ERROR",
                    "template": "Description of the executable is required",
                    "values": {"path": "/executable"},
                    "message": "Description of the executable is required",
                }
            ],
        },
        "phase": "FAILED",
    }
    assert validate(SessionSchema(), session) == []
    shown = show(session, phase=SessionPhase.FAILED, components={}, base_url=BASE)
    assert shown["meta"]["url"] == f"{BASE}/sessions/{uuid}"
    assert list(components_of(shown)) == []
