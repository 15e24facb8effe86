"""What a gateway below says of its nodes, read without trusting it."""

import json
from uuid import uuid4

import pytest

from gateway.wire.below import MAX_BELOW_BYTES, MAX_LEVELS, read_below
from gateway.wire.documents import Document


def entry(**members: object) -> Document:
    usual: Document = {
        "node": "alpha",
        "outcome": "timeout",
        "reason": {"code": "body_timeout", "text": "Too slow."},
        "took_ms": 5000,
        "offers": 0,
    }
    return usual | members


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_statement_is_read_with_its_offer_set() -> None:
    uuid = uuid4()
    below = read_below(encoded({"gateway": "uk", "coverage": [entry()]}), encoded(str(uuid)))
    assert below is not None
    assert below.to_document() == {
        "gateway": "uk",
        "offerset": str(uuid),
        "coverage": [entry()],
    }


def test_levels_further_down_are_told_up_to_a_bound() -> None:
    coverage = [entry(node="leaf")]
    for level in range(MAX_LEVELS + 3):
        below = {"gateway": f"g{level}", "offerset": None, "coverage": coverage}
        coverage = [entry(node=f"n{level}", below=below)]
    found = read_below(encoded({"coverage": coverage}), b"")
    assert found is not None
    depth, at = 0, found.coverage[0]
    while "below" in at:
        depth, at = depth + 1, at["below"]["coverage"][0]
    assert depth == MAX_LEVELS


@pytest.mark.parametrize(
    "federation",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"coverage": 3}',
        encoded({"coverage": [entry(outcome="splendid")]}),
        encoded({"coverage": [entry(node=None)]}),
        encoded({"coverage": [entry(took_ms="long")]}),
        b"[" * 5000,
        encoded({"coverage": [entry(node="x" * MAX_BELOW_BYTES)]}),
    ],
)
def test_what_cannot_be_understood_is_left_out(federation: bytes) -> None:
    assert read_below(federation, b"") is None


def test_an_offer_set_that_is_no_uuid_leaves_all_out() -> None:
    assert read_below(encoded({"coverage": []}), b'"not-a-uuid"') is None
