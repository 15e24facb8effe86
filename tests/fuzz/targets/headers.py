"""Headers from clients and nodes, one on each line: a value, nothing, or a client's fault."""

import math
import re
from collections.abc import Iterator
from typing import Final

from aiohttp import hdrs
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.httpkit.conversation import (
    MAX_KEY_LENGTH,
    budget_ms_of,
    federation_path_of,
    idempotency_key_of,
    preferences_of,
)
from gateway.httpkit.errors import MalformedRequestProblem
from gateway.httpkit.ranges import RangeNotSatisfiableError, parse_range
from gateway.wire.codecs.registry import CODECS, codec_for_accept, codec_for_content_type
from gateway.wire.headers import FEDERATION_BUDGET_MS, FEDERATION_PATH, IDEMPOTENCY_KEY, PREFER
from gateway.wire.retry_after import retry_after_s

_SIZE: Final = 1000
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_REQUEST: Final = make_mocked_request("POST", "/requests")
"""Given other headers each time: to make one takes milliseconds."""


def run(data: bytes) -> None:
    """Each line is one header, as aiohttp hands them over: bytes that are no UTF-8 escaped."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    parted = (line.partition(":") for line in lines)
    headers = CIMultiDict((name, value.strip()) for name, _, value in parted if _TOKEN(name))
    _check_conversation(headers)
    _check_media_types(headers)
    _check_range(headers.get(hdrs.RANGE))
    wait_s = retry_after_s(headers)
    assert wait_s is None or (math.isfinite(wait_s) and wait_s >= 0)


def _check_conversation(headers: CIMultiDict[str]) -> None:
    # Given to its maker, they would be encoded, which those that came as other bytes cannot be.
    _REQUEST._cache.clear()
    _REQUEST._headers = CIMultiDictProxy(headers)
    wait_s = preferences_of(_REQUEST).wait_s
    assert wait_s is None or (math.isfinite(wait_s) and wait_s >= 0)
    try:
        key, budget_ms = idempotency_key_of(_REQUEST), budget_ms_of(_REQUEST)
        path = federation_path_of(_REQUEST)
    except MalformedRequestProblem:
        return
    assert budget_ms is None or budget_ms >= 0
    assert key is None or 1 <= len(key) <= MAX_KEY_LENGTH
    assert all(name == name.strip() != "" for name in path)
    # Both are kept in the database and handed on.
    for text in (key or "", *path):
        text.encode()


def _check_media_types(headers: CIMultiDict[str]) -> None:
    accepted = codec_for_accept(headers.get(hdrs.ACCEPT))
    assert accepted is None or accepted in CODECS
    given = codec_for_content_type(headers.get(hdrs.CONTENT_TYPE, ""))
    assert given is None or given in CODECS


def _check_range(value: str | None) -> None:
    found = parse_range(value)
    if found is None:
        return
    try:
        span = found.within(_SIZE)
    except RangeNotSatisfiableError:
        return
    assert 0 <= span.start < span.stop <= _SIZE


def seeds() -> Iterator[bytes]:
    """Usual ones."""
    for header in (
        f'{PREFER}: wait=2.5; a="b,c", return=representation, handling=strict, resubmit',
        f"{FEDERATION_PATH}: urn:a, urn:b,,\n{FEDERATION_PATH}: c",
        f"{FEDERATION_BUDGET_MS}: 2500\n{IDEMPOTENCY_KEY}: 0af",
        "Accept: application/xml;q=0.5, application/*;q=.3, */*;q=0",
        "Content-Type: application/vnd.example+json; charset=utf-8",
        "Range: bytes=0-499\nRetry-After: 120",
        "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\nDate: Wed, 21 Oct 2026 07:27:00 +0000",
    ):
        yield header.encode()
