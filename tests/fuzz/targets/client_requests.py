"""Requests and updates from clients: the quick check is never laxer than the schema."""

from collections.abc import Iterator
from typing import Final

from gateway.wire.codecs import json as codec
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.compile import QuickCheck
from gateway.wire.faults import validate
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.update import UpdateSchema
from gateway.wire.times import TimeSyntaxError
from gateway.wire.views import view_of_request
from tests.fuzz.samples import documents

_REQUESTS: Final = ExecutionRequestSchema()
_UPDATES: Final = UpdateSchema()
_CHECKS: Final = {schema: QuickCheck(schema) for schema in (_REQUESTS, _UPDATES)}


def run(data: bytes) -> None:
    """What passes the quick check passes the schema, and what passes that has a view."""
    try:
        document = codec.decode(data)
    except CodecError:
        return
    if not isinstance(document, dict):
        return
    for schema, check in _CHECKS.items():
        faults = validate(schema, document)
        assert not (faults and check.passes(data)), faults
        if schema is _REQUESTS and not faults:
            try:
                view_of_request(document)
            except TimeSyntaxError:
                continue


def seeds() -> Iterator[bytes]:
    """Documents, requests among them."""
    for document in documents():
        yield codec.encode(document, ROOT_DOCUMENT)
