"""What is no request that can be read gets a problem from both services, over a plain socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.httpkit.connections import MAX_FIELD_BYTES, MAX_LINE_BYTES
from gateway.wire.documents import Document, from_json
from tests.support.gateway import GatewayProcess
from tests.support.node import node_process, process_config

WITHIN_S: Final = 10.0
END: Final = b"\r\n\r\n"
HOST: Final = b"Host: x\r\n"


@asynccontextmanager
async def gateway_at(folder: Path) -> AsyncIterator[str]:
    process = GatewayProcess({}, folder)
    await process.start()
    try:
        yield process.url
    finally:
        await process.stop()


@asynccontextmanager
async def node_at(folder: Path) -> AsyncIterator[str]:
    async with node_process(folder, process_config()) as node:
        yield node.url


SERVICES: Final = {"gateway": gateway_at, "node": node_at}


@pytest.fixture(params=SERVICES)
async def port(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[int]:
    async with SERVICES[request.param](tmp_path) as url:
        yield int(url.rpartition(":")[2])


async def answers_to(port: int, *pieces: bytes) -> bytes:
    """All that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(WITHIN_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
    finally:
        writer.close()


async def problem_to(port: int, *pieces: bytes) -> Document:
    head, _, body = (await answers_to(port, *pieces)).partition(END)
    status, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    document: Document = from_json(body)
    assert fields["content-type"].startswith("application/problem+json")
    assert document["status"] == int(status.split(" ")[1])
    assert document["instance"] == fields["x-request-id"]
    return document


async def test_a_long_request_line_is_414(port: int) -> None:
    path = b"/" + b"a" * (MAX_LINE_BYTES + 10)
    for pieces in (
        [b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"],
        [b"GET " + path[:5000], path[5000:]],
        [b"GET /nodes?name=" + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"],
    ):
        document = await problem_to(port, *pieces)
        assert document["status"] == 414
        assert document["type"].endswith("/request-line-too-long")
        assert str(MAX_LINE_BYTES) in document["detail"]


async def test_a_long_header_field_is_431(port: int) -> None:
    long = b"a" * (MAX_FIELD_BYTES + 10)
    start = b"GET /nodes HTTP/1.1\r\n" + HOST
    for pieces in (
        [start + b"X: " + long + END],
        [start + b"X: " + long[:5000], long[5000:]],
        [start + long + b": x" + END],
        [start + b"Authorization: Bearer " + long + END],
    ):
        document = await problem_to(port, *pieces)
        assert document["status"] == 431
        assert document["type"].endswith("/header-field-too-long")
        assert str(MAX_FIELD_BYTES) in document["detail"]


async def test_what_is_no_http_is_400(port: int) -> None:
    for text in (
        b"\x16\x03\x01 hello",
        b"hello",
        b"GET /nodes HTTP/1.1\r\nno field",
        b"GET /nodes HTTP/1.1\r\n" + HOST + b"Content-Length: x",
    ):
        document = await problem_to(port, text + END)
        assert document["status"] == 400
        assert document["type"].endswith("/malformed-request")


async def test_what_is_just_short_enough_is_read(port: int) -> None:
    line = b"GET /livez?" + b"a" * 8000 + b" HTTP/1.1\r\n"
    field = b"X: " + b"a" * 8000 + b"\r\n"
    text = await answers_to(port, line + HOST + field + b"Connection: close" + END)
    assert text.startswith(b"HTTP/1.1 200")
