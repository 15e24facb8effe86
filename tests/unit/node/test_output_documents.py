"""Connectors to what came out, and the list of it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.wire.faults import validate
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.results import ResultsSchema
from gateway.wire.schemas.session import ConnectorSchema
from node_stub.archive import Report, ResultFile
from node_stub.output_documents import end_document, output_connectors, results_document
from node_stub.platforms.base import EndReason, Usage

SESSION = UUID("00000000-0000-4000-8000-000000000001")
BASE = "https://node.example.org"
REPORT = Report(
    exit_code=0,
    reason=EndReason.OK,
    text="done",
    started=None,
    ended=datetime(2026, 8, 3, 9, tzinfo=UTC),
    usage=Usage(cpu_s=1.5),
    files=(ResultFile("a b/c.png", 3, "0" * 64),),
    notes=("a note",),
)


@pytest.mark.parametrize(
    ("phases", "has_outputs", "status"),
    [
        (("ACCEPTED", "WAITING", "PREPARING", "AVAILABLE"), False, "PREPARING"),
        (("RUNNING", "RELEASING"), False, "AVAILABLE"),
        (("COMPLETED", "FAILED", "CANCELLED"), True, "AVAILABLE"),
        (("COMPLETED", "FAILED", "CANCELLED"), False, "FINISHED"),
    ],
)
def test_connectors_say_when_something_can_be_read(
    phases: tuple[str, ...], has_outputs: bool, status: str
) -> None:
    for phase in phases:
        found = output_connectors(SESSION, BASE, SessionPhase(phase), has_outputs=has_outputs)
        assert [connector["kind"].rpartition(":")[2] for connector in found] == [
            "stdout",
            "stderr",
            "results",
        ]
        for connector in found:
            assert connector["status"] == status
            assert connector["protocol"] == "HTTPS"
            assert validate(ConnectorSchema(), connector) == []
            assert ("location" in connector) is (status != "FINISHED")
        if status != "FINISHED":
            assert found[0]["location"] == f"{BASE}/streams/{SESSION}/stdout"


@pytest.mark.parametrize("phase", ["INITIAL", "OFFERED", "REJECTED", "EXPIRED"])
def test_an_offer_has_no_connectors(phase: str) -> None:
    assert output_connectors(SESSION, BASE, SessionPhase(phase), has_outputs=False) == []


def test_the_list_of_results_is_what_its_schema_says() -> None:
    expires = datetime(2026, 9, 3, tzinfo=UTC)
    sizes = {"stdout": 10}
    found = results_document(SESSION, SessionPhase.COMPLETED, REPORT, sizes, BASE, expires)
    assert validate(ResultsSchema(), found) == []
    assert found["is_complete"] is True
    assert found["usage"] == {"cpu_s": 1.5}
    assert found["expires"] == "2026-09-03T00:00:00Z"
    assert found["streams"] == [
        {"name": "stdout", "size": 10, "url": f"{BASE}/streams/{SESSION}/stdout"}
    ]
    assert found["files"][0]["url"] == f"{BASE}/results/{SESSION}/a%20b/c.png"
    assert "started" not in found


def test_before_the_end_there_are_logs_and_no_files() -> None:
    found = results_document(SESSION, SessionPhase.RUNNING, None, {}, BASE, None)
    assert validate(ResultsSchema(), found) == []
    assert found["is_complete"] is False
    assert found["files"] == []
    assert [stream["name"] for stream in found["streams"]] == ["stdout", "stderr"]


def test_the_end_of_a_log_says_how_the_session_ended() -> None:
    assert end_document(SessionPhase.CANCELLED, None) == {"phase": "CANCELLED"}
    end = end_document(SessionPhase.RELEASING, REPORT)
    assert (end["exit_code"], end["reason"], end["ended"]) == (0, "OK", "2026-08-03T09:00:00Z")
