"""CloudEvents: what an event is called, what it says, and who wants it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.cloud_events import TYPE_PREFIX, Occurrence, is_wanted, to_cloud_event
from gateway.wire.phases import TERMINAL_SESSION_PHASES, SessionPhase

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SESSION = UUID("11111111-1111-4111-8111-111111111111")
OFFERSET = UUID("22222222-2222-4222-8222-222222222222")


def occurrence(what: str, who: str = "gateway", **more: object) -> Occurrence:
    values: dict[str, object] = {"session": SESSION, "offerset": OFFERSET} | more
    return Occurrence(7, "ann", NOW, what, who, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", SessionPhase)
def test_every_phase_has_a_type_and_only_the_last_are_ends(phase: SessionPhase) -> None:
    event = occurrence(f"phase_{phase.lower()}")
    assert event.type == f"session.phase.{phase.lower()}"
    assert event.is_end is (phase in TERMINAL_SESSION_PHASES)
    assert to_cloud_event(event, "urn:x")["data"]["phase"] == phase.value


def test_an_event_of_a_session_says_all_that_is_known() -> None:
    event = to_cloud_event(occurrence("accept_refused", "node:alpha", detail="full"), "urn:x")
    assert event == {
        "specversion": "1.0",
        "id": "7",
        "source": "urn:x",
        "type": "int.skao.srcnet.execbroker.session.accept-refused",
        "time": "2026-07-01T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "by": "node:alpha",
            "session": str(SESSION),
            "offerset": str(OFFERSET),
            "detail": "full",
        },
        "subject": f"sessions/{SESSION}",
    }


def test_an_event_of_an_offer_set_is_about_that() -> None:
    event = to_cloud_event(occurrence("offered", session=None), "urn:x")
    assert event["type"] == TYPE_PREFIX + "offerset.offered"
    assert event["subject"] == f"offersets/{OFFERSET}"


def test_an_event_of_neither_has_no_subject() -> None:
    event = to_cloud_event(occurrence("webhook_disabled", session=None, offerset=None), "urn:x")
    assert event["type"] == TYPE_PREFIX + "gateway.webhook-disabled"
    assert "subject" not in event


@given(st.text(min_size=1))
def test_an_identity_is_never_told(who: str) -> None:
    by = to_cloud_event(occurrence("accept_asked", f"https://iam {who}"), "urn:x")["data"]["by"]
    assert by == "owner"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), True),
        (("session.phase.running",), True),
        ((TYPE_PREFIX + "session.phase.running",), True),
        (("session.phase.*",), True),
        (("*",), True),
        (("offerset.*", "session.*"), True),
        (("session.phase",), False),
        (("session.phase.completed",), False),
        (("offerset.*",), False),
    ],
)
def test_a_filter_is_a_type_or_the_beginning_of_some(
    filters: tuple[str, ...], expected: bool
) -> None:
    assert is_wanted(occurrence("phase_running"), filters) is expected
