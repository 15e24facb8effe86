"""Requests that a node refuses, and what is true of every refusal."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from _pytest.mark.structures import ParameterSet

from gateway.wire.documents import Document
from tests.support.node_requests import verdict_on


class Row(NamedTuple):
    """A request that is refused: by this kind of message, of this element, naming these values."""

    why: str
    document: Document
    kind: str
    path: str
    values: tuple[str, ...]


def row(why: str, document: Document, kind: str, path: str, *values: object) -> Row:
    """One row of a table of refusals."""
    return Row(why, document, kind, path, tuple(str(value) for value in values))


def parameters(rows: Sequence[Row]) -> list[ParameterSet]:
    """The rows as parameters, each under its own name."""
    return [pytest.param(case, id=case.why.replace(" ", "_")) for case in rows]


def assert_refused(case: Row) -> None:
    """The request is impossible, and the message that says why is complete."""
    verdict = verdict_on(case.document)
    assert not verdict.is_possible
    found = [
        item
        for item in verdict.messages
        if (item["kind"], item["values"]["path"], item["level"]) == (case.kind, case.path, "ERROR")
    ]
    assert found, verdict.messages
    for value in case.values:
        assert any(value in text for text in found[0]["values"].values())
    for item in verdict.messages:
        assert "${" not in item["message"]
        assert item["time"] == "2026-08-03T09:00:00Z"
