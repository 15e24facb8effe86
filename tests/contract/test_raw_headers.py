"""Headers as no HTTP library would write them, to both services: the client's fault, not ours."""

import asyncio
import json
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.contract.running import SERVICES
from tests.support.node import ADMIN
from tests.support.node_requests import FULL

ODD: Final = (b"\xff", b"\xed\xa0\x80", "é".encode(), b'"', b"9" * 4000)
"""No UTF-8, half a surrogate pair, and what is only strange."""

HEADERS: Final = (
    *(b"Idempotency-Key", b"Federation-Path", b"Federation-Budget-Ms", b"Prefer", b"Accept"),
    *(b"Accept-Encoding", b"Content-Type", b"X-Request-Id", b"Authorization", b"Host"),
    *(b"X-Forwarded-For", b"Traceparent", b"Range", b"If-None-Match", b"Cookie", b"Last-Event-ID"),
)

ANSWER_WITHIN_S: Final = 10.0


async def answered(url: str, header: bytes, value: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request for offers with this header."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    body = json.dumps(FULL).encode()
    usual = {
        b"host": b"localhost",
        b"content-type": b"application/json",
        b"authorization": ADMIN.headers["Authorization"].encode(),
    } | {header.lower(): value}
    lines = [b"POST /requests HTTP/1.1", b"Content-Length: %d" % len(body), b"Connection: close"]
    lines += [b"%s: %s" % item for item in usual.items()]
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


@pytest.mark.parametrize("service", SERVICES)
async def test_no_header_makes_a_service_fail(service: str, tmp_path: Path) -> None:
    async with SERVICES[service](tmp_path) as url:
        for header in HEADERS:
            for value in ODD:
                status, body = await answered(url, header, value)
                assert status < 500, (header, value, body)
                if status >= 400 and body.startswith(b"{"):
                    assert json.loads(body)["status"] == status
