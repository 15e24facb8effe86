"""What a session is remembered as after a decision."""

from dataclasses import replace

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from node_stub import reasons
from node_stub.platforms.base import JobPhase, Observation, Usage
from node_stub.records import SESSION_PART, SessionRecord
from node_stub.standing import Component, Decision, Intent, Note, Standing
from tests.support.node_offers import offer
from tests.support.node_requests import FULL, MINIMAL, NOW, minting

FAILED = Note(Component.DATA, reasons.DATA_FAILED, {"reason": "DATA", "detail": "gone"})


def record_of(document: Document) -> SessionRecord:
    mint = minting()
    return SessionRecord(
        uuid=mint(),
        offerset=mint(),
        position=0,
        owner=None,
        standing=Standing(SessionPhase.PREPARING, SessionPhase.COMPLETED, Intent.PREPARE, NOW),
        document=document,
        slot=None,
        booking=None,
        start_at=NOW,
        expires=None,
        created=NOW,
        modified=NOW,
    )


@pytest.mark.parametrize(
    ("document", "part"), [(FULL, Component.DATA.value), (MINIMAL, SESSION_PART)]
)
def test_what_is_said_of_a_component_is_said_of_the_session_that_has_none(
    document: Document, part: str
) -> None:
    record = record_of(offer(document))
    after = record.decided(Decision(record.standing, notes=(FAILED,)), None, NOW)

    assert {name: [m["kind"] for m in said] for name, said in after.messages.items()} == {
        part: ["urn:data-failed"]
    }


def test_what_was_seen_is_remembered_with_what_was_decided() -> None:
    record = record_of(offer())
    seen = Observation(JobPhase.ENDED, NOW, usage=Usage(cpu_s=1.0))
    after = record.decided(Decision(record.standing), seen, NOW)

    assert kinds.CPU_TIME in {metric["type"] for metric in after.document["metrics"]}
    assert replace(after, document=record.document) == record


def test_what_changes_nothing_is_not_written_again() -> None:
    record = record_of(offer())
    seen = Observation(JobPhase.RUNNING, NOW)

    assert record.decided(Decision(record.standing), seen, NOW) is record
