"""Slots and offers for the tests of what a node answers."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.times import parse_instant
from node_stub.documents import build_session, offer_name
from node_stub.ledger import Amounts
from node_stub.policy import Verdict
from node_stub.slots import Slot
from tests.support.node_requests import FULL, NOW, PROFILE, verdict_on

BASE = "https://node.example.org"
SESSION = UUID("d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10")
START = int(parse_instant("2026-08-03T09:05:00Z").timestamp())
OFFERED = Amounts(cores=4, memory_gib=6, storage_gib=15)


def slot_for(verdict: Verdict, amounts: Amounts | None = None, spread_s: int = 0) -> Slot:
    """A slot at START, for as long as was asked, which can be accepted until shortly before."""
    stages = verdict.stages
    return Slot(
        start_earliest=START,
        start_latest=START + spread_s,
        duration_s=verdict.duration_s,
        amounts=amounts or verdict.need,
        expires=START + spread_s - stages.prepare_s,
        stages=stages,
    )


def offer(document: Document = FULL, **how: Any) -> Document:
    """An offer for the request."""
    verdict = verdict_on(document)
    assert verdict.is_possible, verdict.messages
    arguments: dict[str, Any] = {
        "slot": slot_for(verdict, OFFERED if document is FULL else None),
        "uuid": SESSION,
        "name": offer_name(verdict, 0),
        "created": NOW,
        "expires": NOW + timedelta(minutes=5),
        "base_url": BASE,
        "profile": PROFILE,
    }
    return build_session(verdict, **{**arguments, **how})
