"""What was seen of a job, as its session's document shows it."""

from datetime import UTC, datetime
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.session import SessionSchema
from node_stub.observed import with_observed
from node_stub.platforms.base import JobPhase, Observation, Reachable, Usage
from tests.support.node_offers import offer

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)


def seen(phase: JobPhase, *reachable: Reachable, usage: Usage | None = None) -> Observation:
    return Observation(phase, NOW, reachable=reachable, usage=usage)


def metrics_of(document: Document) -> dict[str, float]:
    return {item["type"]: item["max"] for item in document["metrics"]}


def test_a_port_that_answers_becomes_an_available_connector() -> None:
    before = offer()
    after = with_observed(before, seen(JobPhase.RUNNING, Reachable(0, "http://127.0.0.1:1/app")))

    connector = before["connectors"][0]
    assert after["connectors"] == [
        {**connector, "status": "AVAILABLE", "location": "http://127.0.0.1:1/app"}
    ]
    assert connector["status"] == "PREPARING"
    assert validate(SessionSchema(), after) == []


def test_a_port_that_answers_no_more_is_preparing_again() -> None:
    before = offer()
    answering = with_observed(before, seen(JobPhase.RUNNING, Reachable(0, "http://127.0.0.1:1/")))

    assert with_observed(answering, seen(JobPhase.RUNNING)) == before


def test_a_port_that_the_client_did_not_ask_to_reach_is_not_shown_in_the_place_of_another() -> None:
    after = with_observed(offer(), seen(JobPhase.RUNNING, Reachable(7, "tcp://127.0.0.1:9")))

    first, added = after["connectors"]
    assert first["status"] == "PREPARING"
    assert added["location"] == "tcp://127.0.0.1:9"
    assert added["kind"].endswith(":tcp")


def test_what_a_job_took_is_among_the_metrics_once_it_has_ended() -> None:
    usage = Usage(cpu_s=1.5, peak_memory_bytes=2**30, bytes_staged=10, staging_s=0.25)
    after = with_observed(offer(), seen(JobPhase.ENDED, usage=usage))

    assert metrics_of(after) == metrics_of(offer()) | {
        kinds.CPU_TIME: 1.5,
        kinds.PEAK_MEMORY: 2.0**30,
        kinds.BYTES_STAGED: 10.0,
        kinds.STAGING_TIME: 0.25,
    }
    assert validate(SessionSchema(), after) == []


def test_what_was_not_measured_is_not_said() -> None:
    after = with_observed(offer(), seen(JobPhase.ENDED, usage=Usage(cpu_s=2.0)))

    assert set(metrics_of(after)) - set(metrics_of(offer())) == {kinds.CPU_TIME}


def test_what_changes_nothing_gives_the_same_document() -> None:
    document = offer()

    assert with_observed(document, None) is document
    assert with_observed(document, seen(JobPhase.STARTING)) is document
    assert with_observed(document, seen(JobPhase.RUNNING, usage=Usage(cpu_s=1.0))) is document
    usage = Usage(cpu_s=1.0)
    ended = with_observed(document, seen(JobPhase.ENDED, usage=usage))
    assert with_observed(ended, seen(JobPhase.ENDED, usage=usage)) is ended
