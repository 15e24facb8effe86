"""What a reader sees of a session: by phase, by caller, and without changing what is stored."""

import copy
from datetime import timedelta

import pytest

from gateway.wire.faults import validate
from gateway.wire.phases import ComponentPhase, SessionPhase
from gateway.wire.schemas.session import SessionSchema
from node_stub.documents import components_of, show
from node_stub.standing import Component
from tests.support.node_offers import BASE, offer
from tests.support.node_requests import NOW


def test_a_connector_is_finished_with_its_session() -> None:
    session = offer()
    session["connectors"][0] |= {"status": "AVAILABLE", "location": "http://node:1"}
    running = show(session, phase=SessionPhase.RUNNING, components={}, base_url=BASE)
    assert running["connectors"] == session["connectors"]
    ended = show(session, phase=SessionPhase.COMPLETED, components={}, base_url=BASE)
    assert ended["connectors"] == [
        {"kind": "urn:execbroker:connector:http", "status": "FINISHED", "protocol": "HTTP"}
    ]


@pytest.mark.parametrize(
    ("phase", "values"),
    [
        (SessionPhase.OFFERED, ["ACCEPTED", "REJECTED"]),
        *((SessionPhase(p), ["CANCELLED"]) for p in ("ACCEPTED", "WAITING", "PREPARING")),
        *((SessionPhase(p), ["CANCELLED"]) for p in ("AVAILABLE", "RUNNING")),
        *((SessionPhase(p), None) for p in ("RELEASING", "COMPLETED", "FAILED", "CANCELLED")),
        *((SessionPhase(p), None) for p in ("EXPIRED", "REJECTED", "INITIAL")),
    ],
)
def test_options_are_those_of_the_phase_and_only_for_who_may_use_them(
    phase: SessionPhase, values: list[str] | None
) -> None:
    session = offer()
    shown = show(session, phase=phase, components={}, base_url=BASE, can_update=True)
    option = {"kind": "uri:enum-value-option", "path": "phase", "values": values}
    assert shown["meta"].get("options") == ([option] if values else None)
    others = show(session, phase=phase, components={}, base_url=BASE, can_update=False)
    assert "options" not in others["meta"]


def test_what_is_shown_has_the_phases_messages_and_urls_of_now() -> None:
    session = offer()
    before = copy.deepcopy(session)
    note = {"kind": "urn:x", "level": "INFO", "message": "hello"}
    shown = show(
        session,
        phase=SessionPhase.PREPARING,
        components={
            Component.STORAGE: ComponentPhase.AVAILABLE,
            Component.DATA: ComponentPhase.PREPARING,
        },
        base_url="https://elsewhere.example.org",
        modified=NOW + timedelta(seconds=1),
        messages={"session": [note], "data": [note]},
    )
    assert session == before
    assert shown["phase"] == "PREPARING"
    assert [shown[m][0]["phase"] for m in ("storage", "data")] == ["AVAILABLE", "PREPARING"]
    assert shown["compute"]["phase"] == "INITIALIZING"
    assert shown["meta"]["modified"] == "2026-08-03T09:00:01Z"
    assert shown["meta"]["messages"] == [note]
    assert shown["data"][0]["meta"]["messages"] == [note]
    for _, component in components_of(shown):
        assert component["meta"]["url"].startswith("https://elsewhere.example.org/")
    assert validate(SessionSchema(), shown) == []
