"""Answers of nodes: what passes is as the schema says, can be compared, and breaks no client."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from gateway.domain.judging import judge
from gateway.domain.quantities import measure, shown
from gateway.wire.decode import (
    MAX_DEPTH,
    MAX_OFFERS,
    InvalidDocumentError,
    decode_offerset,
    decode_phase,
    decode_session,
)
from gateway.wire.documents import to_json
from gateway.wire.faults import validate
from gateway.wire.schemas.session import NodeSessionSchema
from gateway.wire.views import SessionView, view_of_request
from tests.fuzz.sameness import texts_of
from tests.fuzz.samples import documents
from tests.support.documents import offer, offerset, request

_SCHEMA: Final = NodeSessionSchema()
_REQUEST: Final = view_of_request(request())
_NOW: Final = datetime(2026, 8, 3, 9, tzinfo=UTC)


def run(data: bytes) -> None:
    """The bytes as an offer set, as a session, and as the phase of one."""
    _check_session(data)
    try:
        envelope = decode_offerset(data)
    except InvalidDocumentError:
        return
    assert envelope.result in {"YES", "NO"}
    assert len(envelope.offers) <= MAX_OFFERS
    for raw in envelope.offers:
        _check_session(bytes(raw))


def _check_session(raw: bytes) -> None:
    try:
        view = decode_session(raw)
    except InvalidDocumentError:
        view = None
    try:
        phase = decode_phase(raw)
    except InvalidDocumentError:
        assert view is None
        return
    if view is None:
        return
    assert (phase.uuid, phase.phase) == (view.uuid, view.phase)
    _check_client(raw)
    _check_comparable(view)


def _check_client(raw: bytes) -> None:
    """The rules that the public client was measured by (contract §1.9), read by another reader."""
    tree = json.loads(raw)
    assert validate(_SCHEMA, tree) == []
    _check_values(tree, MAX_DEPTH + 1)
    for text in texts_of(tree):
        # Half a surrogate pair can be read, and not be written again.
        text.encode()


def _check_values(tree: Any, levels: int) -> None:
    assert levels, "deeper than is passed on"
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            _check_values(value, levels - 1)
    elif isinstance(tree, float):
        assert math.isfinite(tree)


def _check_comparable(view: SessionView) -> None:
    judge(view, _REQUEST, _NOW)
    candidate = measure(view, _REQUEST, _NOW, node="alpha")
    for quantity, amount in candidate.amounts.items():
        assert isinstance(amount.value, int)
        shown(quantity, amount.value)


def seeds() -> Iterator[bytes]:
    """Answers, of stubs and of the public samples."""
    yield to_json(offer(federation={"node": "beta", "path": ["a"]}, more=[[[[1e300]]]]))
    yield to_json(offerset(offer(), offer(phase="FAILED"), {"kind": "urn:new"}))
    for document in documents():
        yield to_json(document)
