"""Logs followed and files fetched from a broker whose connections break."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import (
    BrokerProblemError,
    BrokerUnavailableError,
    ChecksumError,
    UnreadableAnswerError,
    UnsafePathError,
)
from gateway.cli.transfers import safe_target
from gateway.wire.documents import to_json
from gateway.wire.outputs import to_piece
from tests.support.canned_broker import FAST

UUID_: Final = UUID("00000000-0000-4000-8000-000000000001")
DATA: Final = bytes(range(256)) * 400
TAG: Final = hashlib.sha256(DATA).hexdigest()


@dataclass
class Broker:
    """Has one file and one log. Breaks the connection after so many bytes, so many times."""

    data: bytes = DATA
    tag: str | None = TAG
    break_after: int = 0
    breaks: int = 0
    failures: int = 0
    log: bytes = b""
    garbage: bytes = b""
    ranges: list[str | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/results/{uuid}/{path:.+}", self._file)
        app.router.add_get("/streams/{uuid}/{name}", self._stream)
        return app

    async def _file(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.failures:
            self.failures -= 1
            return web.json_response({"title": "away"}, status=502)
        headers = {} if self.tag is None else {"ETag": f'"{self.tag}"'}
        start, status = 0, 200
        if asked is not None and request.headers.get("If-Range") == f'"{self.tag}"':
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(self.data):
                return web.json_response({"title": "range"}, status=416)
            end = len(self.data) - 1
            headers["Content-Range"] = f"bytes {start}-{end}/{len(self.data)}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(self.data) - start
        await response.prepare(request)
        if self.breaks:
            self.breaks -= 1
            await response.write(self.data[start : start + self.break_after])
            _cut(request)
            return response
        await response.write(self.data[start:])
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if "follow" not in request.query:
            return web.Response(body=self.log)
        offset = int(request.headers["Last-Event-ID"])
        self.offsets.append(offset)
        if self.failures:
            self.failures -= 1
            return web.json_response({"title": "away"}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": open\n\n" + self.garbage)
        for at in range(offset, len(self.log), 10):
            # One byte too early: a broker may begin again before what was seen.
            start = max(0, at - 1)
            piece = to_piece(start, self.log[start : at + 10])
            text = f"id: {at + 10}\nevent: chunk\ndata: ".encode() + to_json(piece) + b"\n\n"
            await response.write(text)
            if self.breaks and at >= offset + self.break_after:
                self.breaks -= 1
                await response.write(b"id: 3\nevent: chunk\nda")
                _cut(request)
                return response
        await response.write(b'id: 0\nevent: end\ndata: {"phase":"COMPLETED"}\n\n')
        return response


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def flaky() -> Broker:
    return Broker()


@pytest.fixture
async def flaky_client(flaky: Broker) -> AsyncIterator[ExecutionBrokerClient]:
    server = TestServer(flaky.app())
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    async with ExecutionBrokerClient(url, polling=FAST) as client:
        yield client
    await server.close()


async def test_a_file_comes_whole_and_bears_its_name_only_then(
    flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    target = tmp_path / "a file"
    assert await flaky_client.fetch(UUID_, "a b%20/c?", target) == len(DATA)
    assert names_in(tmp_path) == ["a file"]
    assert target.read_bytes() == DATA


async def test_a_connection_that_breaks_again_and_again_costs_no_byte_twice(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    flaky.break_after, flaky.breaks = 10_000, 5
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "f").read_bytes() == DATA
    assert flaky.ranges == [None, *(f"bytes={n}0000-" for n in range(1, 6))]


async def test_an_earlier_try_is_continued(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(DATA[:777])
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "f").read_bytes() == DATA
    assert flaky.ranges == ["bytes=777-"]


async def test_an_earlier_try_that_was_whole_is_not_fetched_again(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(DATA)
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "f").read_bytes() == DATA
    assert flaky.ranges == [f"bytes={len(DATA)}-"]


async def test_an_earlier_try_that_is_too_long_is_dropped(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(DATA + b"more")
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "f").read_bytes() == DATA


async def test_an_earlier_try_at_another_file_is_found_out_and_the_next_is_right(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(b"something else")
    with pytest.raises(ChecksumError):
        await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert names_in(tmp_path) == []
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "f").read_bytes() == DATA


async def test_damage_is_found_out(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    flaky.data = DATA[:-1] + b"?"
    for sha256 in (TAG, None):
        with pytest.raises(ChecksumError):
            await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=sha256)
        assert names_in(tmp_path) == []


async def test_a_file_without_any_checksum_is_not_believed(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    flaky.tag = None
    with pytest.raises(UnreadableAnswerError, match="checksum"):
        await flaky_client.fetch(UUID_, "f", tmp_path / "f")


async def test_a_broker_that_never_gives_more_is_given_up(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    flaky.breaks = 1_000_000
    with pytest.raises(BrokerUnavailableError):
        await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert not (tmp_path / "f").exists()


async def test_a_gateway_that_misses_its_node_is_asked_again(
    flaky: Broker, flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    flaky.failures = 2
    await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert len(flaky.ranges) == 3


async def test_a_refusal_is_final(flaky_client: ExecutionBrokerClient, tmp_path: Path) -> None:
    with pytest.raises(BrokerProblemError) as refused:
        async for _ in flaky_client.logs(UUID_, "a/b", follow=True):
            pass
    assert refused.value.status == 404


async def test_nothing_is_written_through_a_link(
    flaky_client: ExecutionBrokerClient, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "f.part").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        await flaky_client.fetch(UUID_, "f", tmp_path / "f", sha256=TAG)
    assert (tmp_path / "victim").read_text() == "mine"


async def test_a_log_that_breaks_off_comes_whole_and_once(
    flaky: Broker, flaky_client: ExecutionBrokerClient
) -> None:
    flaky.log = "".join(f"Zeile {n} ä\n" for n in range(200)).encode()
    flaky.break_after, flaky.breaks, flaky.failures = 500, 3, 2
    pieces = [piece async for piece in flaky_client.logs(UUID_, follow=True)]
    assert b"".join(pieces) == flaky.log
    assert len(flaky.offsets) == 6
    assert flaky.offsets == sorted(flaky.offsets)
    assert flaky.offsets[-1] > 1000


async def test_a_log_so_far_is_bytes(flaky: Broker, flaky_client: ExecutionBrokerClient) -> None:
    flaky.log = b"\xff\x00abc"
    assert b"".join([piece async for piece in flaky_client.logs(UUID_, "stderr")]) == flaky.log


@pytest.mark.parametrize(
    "garbage",
    [b"event: chunk\ndata: {}\n\n", b"event: chunk\ndata: no json\n\n"],
)
async def test_what_is_no_log_is_said_to_be_none(
    flaky: Broker, flaky_client: ExecutionBrokerClient, garbage: bytes
) -> None:
    flaky.garbage = garbage
    with pytest.raises(UnreadableAnswerError):
        async for _ in flaky_client.logs(UUID_, follow=True):
            pass


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            ".",
            "..",
            "a/",
            "a\0b",
            "\x1b[2J",
        ),
        *("inner/x", "inner", "out/x", "directory"),
    ],
)
def test_no_path_of_a_broker_leads_out_of_the_directory(tmp_path: Path, path: str) -> None:
    directory, outside = tmp_path / "here", tmp_path / "outside"
    directory.mkdir()
    outside.mkdir()
    (directory / "inner").symlink_to(outside)
    (directory / "out").symlink_to("..")
    (directory / "directory").mkdir()
    with pytest.raises(UnsafePathError):
        safe_target(directory, path)
    assert list(outside.iterdir()) == []


def test_directories_are_made_as_the_path_says(tmp_path: Path) -> None:
    assert safe_target(tmp_path / "new", "a/b/c") == tmp_path / "new" / "a" / "b" / "c"
    assert (tmp_path / "new" / "a" / "b").is_dir()
