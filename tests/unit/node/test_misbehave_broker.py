"""The broker behind a misbehaving node: without a fault before it, it keeps to the contract."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from gateway.wire.decode import decode_offerset, decode_session
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.session import OfferSetSchema
from node_stub.misbehave.broker import MemoryBroker
from node_stub.misbehave.documents import EXPIRES_S
from node_stub.misbehave.exchange import Asked
from tests.support.mutations import mutated_requests
from tests.support.node_requests import FULL, MINIMAL
from tests.support.requests import minimal_request

START = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
RUN_S = 10.0


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker(2, run_s=RUN_S, now=clock)


def asked(method: str, path: str, document: Any = None, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(method, path, named, json.dumps(document or {}).encode())


def said(broker: MemoryBroker, *question: Any, **headers: str) -> tuple[int, Document]:
    """The status and the document."""
    head, _, body = broker.answer(asked(*question, **headers)).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def offers_of(broker: MemoryBroker, **headers: str) -> list[str]:
    _, document = said(broker, "POST", "/requests", minimal_request(), **headers)
    return [offer["meta"]["uuid"] for offer in document["offers"]]


def move(broker: MemoryBroker, uuid: str, phase: str, **headers: str) -> tuple[int, Document]:
    return said(broker, "POST", f"/sessions/{uuid}", {"path": "phase", "value": phase}, **headers)


def phase_of(broker: MemoryBroker, uuid: str) -> str:
    phase: str = said(broker, "GET", f"/sessions/{uuid}")[1]["phase"]
    return phase


@pytest.mark.parametrize("request_document", [{}, MINIMAL, FULL, minimal_request()])
def test_offers_keep_to_the_schema_and_to_the_request(
    broker: MemoryBroker, request_document: Document
) -> None:
    status, document = said(broker, "POST", "/requests?x=y", request_document)
    assert (status, document["result"], len(document["offers"])) == (303, "YES", 2)
    assert OfferSetSchema().validate(document) == {}
    envelope = decode_offerset(json.dumps(document).encode())
    kinds = frozenset({item["kind"] for item in request_document.get("data", ())})
    views = [decode_session(raw, kinds) for raw in envelope.offers]
    assert len({view.uuid for view in views}) == 2
    for view in views:
        assert view.phase is SessionPhase.OFFERED
        assert view.expires == START + timedelta(seconds=EXPIRES_S)
        assert view.cores is not None
        wanted = request_document.get("compute", {}).get("cores", {})
        assert view.cores.min is not None
        assert wanted.get("min", 0) <= view.cores.min <= wanted.get("max", 1000)


@given(mutated_requests())
def test_no_request_is_too_odd_to_be_answered(request_document: Any) -> None:
    assert said(MemoryBroker(), "POST", "/requests", request_document)[0] == 303


def test_a_session_goes_from_offer_to_end(broker: MemoryBroker, clock: Clock) -> None:
    chosen, other = offers_of(broker)
    status, document = move(broker, chosen, "ACCEPTED")
    assert (status, document["phase"]) == (200, "ACCEPTED")
    assert phase_of(broker, other) == "REJECTED"
    clock.advance(RUN_S / 2)
    assert phase_of(broker, chosen) == "RUNNING"
    assert move(broker, chosen, "ACCEPTED")[1]["phase"] == "RUNNING", "twice is once"
    clock.advance(RUN_S / 2)
    assert phase_of(broker, chosen) == "COMPLETED"
    assert move(broker, chosen, "CANCELLED")[1]["phase"] == "COMPLETED"


def test_what_is_accepted_can_be_cancelled(broker: MemoryBroker, clock: Clock) -> None:
    chosen, _ = offers_of(broker)
    move(broker, chosen, "ACCEPTED")
    assert move(broker, chosen, "CANCELLED")[1]["phase"] == "CANCELLED"
    clock.advance(2 * RUN_S)
    assert phase_of(broker, chosen) == "CANCELLED"


def test_an_offer_that_has_expired_cannot_be_accepted(broker: MemoryBroker, clock: Clock) -> None:
    chosen, _ = offers_of(broker)
    clock.advance(EXPIRES_S)
    assert move(broker, chosen, "ACCEPTED")[1]["phase"] == "EXPIRED"
    assert move(broker, chosen, "ACCEPTED", prefer="handling=strict")[0] == 409


def test_the_same_key_gives_the_same_offers(broker: MemoryBroker) -> None:
    first, again = (offers_of(broker, idempotency_key="k") for _ in range(2))
    assert first == again
    assert offers_of(broker, idempotency_key="other") != first
    answer = broker.answer(asked("POST", "/requests", idempotency_key="k"))
    assert b"Idempotency-Key: k\r\n" in answer


def test_a_broker_without_keys_makes_new_offers_and_repeats_no_key() -> None:
    broker = MemoryBroker(honours_keys=False)
    assert offers_of(broker, idempotency_key="k") != offers_of(broker, idempotency_key="k")
    assert b"Key: k" not in broker.answer(asked("POST", "/requests", idempotency_key="k"))


def test_an_offer_set_shows_its_offers_as_they_are(broker: MemoryBroker) -> None:
    _, document = said(broker, "POST", "/requests")
    chosen = document["offers"][0]["meta"]["uuid"]
    move(broker, chosen, "ACCEPTED")
    _, shown = said(broker, "GET", f"/offersets/{document['meta']['uuid']}")
    assert [offer["phase"] for offer in shown["offers"]] == ["RUNNING", "REJECTED"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sessions/1"), ("GET", f"/sessions/{UUID(int=1)}"), ("POST", "/"), ("GET", "/nodes")],
)
def test_what_there_is_not_is_a_404(broker: MemoryBroker, method: str, path: str) -> None:
    assert said(broker, method, path)[0] == 404


@pytest.mark.parametrize("update", [[], {"value": "GONE"}, {"value": None}, {}])
def test_an_update_of_no_phase_is_a_problem(broker: MemoryBroker, update: Any) -> None:
    uuid = offers_of(broker)[0]
    assert said(broker, "POST", f"/sessions/{uuid}", update or [1])[0] == 400
    assert phase_of(broker, uuid) == "OFFERED"


def test_it_is_ready_from_the_start(broker: MemoryBroker) -> None:
    assert said(broker, "GET", "/readyz")[0] == said(broker, "GET", "/livez")[0] == 200
