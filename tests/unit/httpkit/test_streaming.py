"""Answers in pieces, from a small application on loopback."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.httpkit import streaming
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.health import LIFECYCLE, Lifecycle
from gateway.httpkit.ranges import RangeNotSatisfiableError
from gateway.httpkit.streaming import (
    BrokenPieceError,
    EventStream,
    ReadingLimit,
    content_type_of,
    send_file,
    send_pieces,
    while_serving,
)

DATA: Final = bytes(range(256)) * 5000
"""Some more than four pieces."""

OPEN: Final = SimpleNamespace(is_closing=lambda: False)
"""A connection whose other end is there."""


@asynccontextmanager
async def serving(handler: object) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an application with one handler, at any path."""
    app = web.Application()
    app[LIFECYCLE] = Lifecycle()
    app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    server = TestServer(app)
    await server.start_server()
    try:
        async with aiohttp.ClientSession(server.make_url("/")) as session:
            yield session
    finally:
        await server.close()


@asynccontextmanager
async def serving_file(path: Path, etag: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await send_file(request, path, {"X-Mine": "yes"}, etag=etag)
        except RangeNotSatisfiableError as error:
            return web.Response(status=error.status, headers=error.headers)
        except FileNotFoundError:
            return web.Response(status=410)

    async with serving(handler) as session:
        yield session


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


async def test_a_file_comes_whole_with_its_length_and_safe_headers(file: Path) -> None:
    async with serving_file(file, "abc") as session, session.get("/") as answer:
        assert answer.status == 200
        assert await answer.read() == DATA
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["ETag"] == '"abc"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Mine"] == "yes"


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(DATA)),
        (f"bytes={len(DATA) - 1}-", len(DATA) - 1, len(DATA)),
        ("bytes=-1", len(DATA) - 1, len(DATA)),
        ("bytes=262143-262144", 262143, 262145),
        ("bytes=100-99999999999", 100, len(DATA)),
        ("bytes=-99999999999", 0, len(DATA)),
    ],
)
async def test_a_range_is_that_part(file: Path, text: str, start: int, stop: int) -> None:
    async with (
        serving_file(file) as session,
        session.get("/", headers={"Range": text}) as answer,
    ):
        assert answer.status == 206
        assert await answer.read() == DATA[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(stop - start)


async def test_a_range_beyond_the_end_is_refused_with_the_size(file: Path) -> None:
    async with (
        serving_file(file) as session,
        session.get("/", headers={"Range": f"bytes={len(DATA)}-"}) as answer,
    ):
        assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-1", "If-Range": '"abc"'}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200),
        ({"If-None-Match": '"x", "abc"'}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"Range": "bytes=5-3"}, 200),
        ({"Range": "bytes=0-1,4-5"}, 200),
    ],
)
async def test_conditions_are_kept(file: Path, headers: dict[str, str], status: int) -> None:
    async with serving_file(file, "abc") as session, session.get("/", headers=headers) as answer:
        assert answer.status == status


async def test_head_has_the_head_of_the_whole_and_no_body(file: Path) -> None:
    async with (
        serving_file(file) as session,
        session.head("/", headers={"Range": "bytes=0-1"}) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(DATA))
        assert await answer.read() == b""


async def test_an_empty_file_is_empty_and_has_no_ranges(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    async with serving_file(tmp_path / "empty") as session:
        async with session.get("/") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with session.get("/", headers={"Range": "bytes=0-"}) as answer:
            assert answer.status == 416


@pytest.mark.parametrize("sort", ["link", "pipe", "directory", "nothing"])
async def test_only_files_are_sent(file: Path, tmp_path: Path, sort: str) -> None:
    odd = tmp_path / "odd"
    if sort == "link":
        odd.symlink_to(file)
    elif sort == "pipe":
        os.mkfifo(odd)
    elif sort == "directory":
        odd.mkdir()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await send_file(request, odd, {})
        except OSError:
            return web.Response(status=410)

    async with serving(handler) as session, session.get("/") as answer:
        assert answer.status == 410


async def test_a_file_that_shrinks_breaks_the_connection(file: Path) -> None:
    async with serving_file(file) as session:
        real = os.pread

        def short(number: int, count: int, at: int) -> bytes:
            return real(number, count, at) if at == 0 else b""

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "pread", short)
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.get("/") as answer:
                    await answer.read()


async def test_a_body_that_breaks_off_does_not_look_whole() -> None:
    """Without a length only the end of the chunks says that it is one."""

    async def pieces() -> AsyncGenerator[bytes]:
        yield b"half"
        raise BrokenPieceError("no more")

    async def handler(request: web.Request) -> web.StreamResponse:
        return await send_pieces(request, web.StreamResponse(), pieces())

    async with serving(handler) as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.get("/") as answer:
                await answer.read()


async def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WRITE_S", 0.2)
    ended = asyncio.Event()
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        try:
            while True:
                sent += 1 << 16
                yield bytes(1 << 16)
        finally:
            ended.set()

    async def handler(request: web.Request) -> web.StreamResponse:
        return await send_pieces(request, web.StreamResponse(), endless())

    async with serving(handler) as session:
        url = session._base_url
        assert url is not None
        with socket.create_connection((url.host, url.port)) as reader:
            reader.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(5):
                await ended.wait()
    assert sent < 64 << 20


async def test_who_leaves_ends_the_body_quietly() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield bytes(1 << 16)
        finally:
            ended.set()

    async def handler(request: web.Request) -> web.StreamResponse:
        return await send_pieces(request, web.StreamResponse(), endless())

    async with serving(handler) as session:
        async with session.get("/") as answer:
            await answer.content.readany()
            answer.close()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_events_have_ids_and_a_silent_stream_says_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.0)

    async def handler(request: web.Request) -> web.StreamResponse:
        events = EventStream(request)
        response = await events.open()
        await events.send("chunk", {"text": "a\nb"}, 3)
        await events.beat()
        await response.write_eof()
        return response

    async with serving(handler) as session, session.get("/") as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.text() == (
            ': open\n\nid: 3\nevent: chunk\ndata: {"text":"a\\nb"}\n\n: still here\n\n'
        )


async def test_a_stream_without_end_ends_when_the_service_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "DRAIN_LOOK_S", 0.02)
    lifecycle, closed = Lifecycle(), asyncio.Event()

    async def silent() -> AsyncGenerator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.set()

    request = SimpleNamespace(app={LIFECYCLE: lifecycle}, transport=OPEN)
    seen = []
    async with asyncio.timeout(5):
        async for piece in while_serving(request, silent()):  # type: ignore[arg-type]
            seen.append(piece)
            lifecycle.begin_draining()
    assert seen == [b"one"]
    assert closed.is_set()


async def test_while_serving_passes_everything_on_and_its_errors() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"1"
        yield b"2"
        raise BrokenPieceError("no more")

    request = SimpleNamespace(app={LIFECYCLE: Lifecycle()}, transport=OPEN)
    passed = while_serving(request, pieces())  # type: ignore[arg-type]
    assert [await anext(passed), await anext(passed)] == [b"1", b"2"]
    with pytest.raises(BrokenPieceError):
        await anext(passed)


def test_only_so_many_read_at_once() -> None:
    limit = ReadingLimit(1)
    with limit.reader():
        with pytest.raises(OverloadedProblem) as refused, limit.reader():
            pass
        assert refused.value.headers["Retry-After"] == "5"
    with limit.reader():
        pass


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("a/b.html", "text/html; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.exe", "application/octet-stream"),
        ("a.js", "application/octet-stream"),
        ("a.txt.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.swf", "application/octet-stream"),
    ],
)
def test_names_promise_types(name: str, media_type: str) -> None:
    assert content_type_of(name) == media_type
