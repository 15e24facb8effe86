"""Large files and violent ends: bounded memory, resumed after a break and after kill -9.

Issue 3, "It is done when" 2.
"""

import asyncio
import json
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import web

from gateway.wire.documents import Document
from tests.support.waiting import until
from tests.unit.node.staging.archive import running_archive, serving
from tests.unit.node.staging.sessions import (
    in_thread,
    session,
    sha256,
    simple,
    staged_file,
    workspace_in,
)
from tests.unit.node.staging.stage_once import WITHIN_S

ROOT: Final = Path(__file__).parents[2]
MIB: Final = 1 << 20
LARGE: Final = 2 << 30
BLOCK: Final = os.urandom(MIB - 8)
"""Each MiB of the large file is this, after its number: no two are the same."""

MEMORY_BYTES: Final = 120 * MIB


def block(number: int) -> bytes:
    return number.to_bytes(8, "big") + BLOCK


def checksum_of_large() -> Document:
    value = 1
    for number in range(LARGE // MIB):
        value = zlib.adler32(block(number), value)
    return {"type": "adler32", "value": f"{value:08x}"}


class LargeFile:
    """Serves 2 GiB that are nowhere: made as they are sent. The first answer breaks half-way."""

    def __init__(self, breaks_at: int) -> None:
        self.breaks_at = breaks_at
        self.starts: list[int] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.starts.append(start)
        response = web.StreamResponse(headers={"ETag": '"large"'})
        if start:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {start}-{LARGE - 1}/{LARGE}"
        response.content_length = LARGE - start
        await response.prepare(request)
        for number in range(start // MIB, LARGE // MIB):
            if len(self.starts) == 1 and number * MIB >= self.breaks_at:
                assert request.transport is not None
                request.transport.abort()
                return response
            data = block(number)
            await response.write(data[start % MIB :] if number == start // MIB else data)
        return response


@asynccontextmanager
async def staging_process(
    folder: Path, session_uuid: object, cache_gib: float = 0, max_file_bytes: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A node's staging in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.node.staging.stage_once",
        *map(str, (folder, session_uuid, cache_gib, max_file_bytes)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def outcome(process: asyncio.subprocess.Process) -> dict[str, Any]:
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.timeout(300)
async def test_two_gib_broken_half_way_are_resumed_with_bounded_memory(tmp_path: Path) -> None:
    large = LargeFile(breaks_at=LARGE // 2)
    uuid = uuid4()
    async with serving(large.handle) as url:
        data = simple(f"{url}/cube.fits", size=LARGE, checksum=await in_thread(checksum_of_large))
        (tmp_path / "document.json").write_text(json.dumps(session(data, size_gib=2)))

        async with staging_process(tmp_path, uuid) as process:
            found = await outcome(process)

    file = staged_file(workspace_in(tmp_path, uuid), "cube.fits")
    try:
        assert found["failure"] is None
        assert file.stat().st_size == LARGE
        first, second = large.starts
        assert first == 0
        # All but what was in flight when it broke.
        assert LARGE // 2 - 64 * MIB < second <= LARGE // 2
        print(f"2 GiB staged with {found['memory_bytes'] / MIB:.1f} MiB of memory")
        assert found["memory_bytes"] < MEMORY_BYTES
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
async def test_what_was_fetched_before_kill_9_is_not_fetched_again(
    tmp_path: Path, cache_gib: float
) -> None:
    content = os.urandom(8 * MIB)
    uuid = uuid4()
    workspace = workspace_in(tmp_path, uuid)
    async with running_archive() as archive:
        url = archive.add("/cube.fits", content)
        served = archive.files["/cube.fits"]
        held = asyncio.Event()

        async def hold_half_way(request: web.Request) -> web.StreamResponse:
            if "Range" in request.headers:
                return await archive.handle(request)
            response = web.StreamResponse(headers={"ETag": '"x"'})
            response.content_length = len(content)
            await response.prepare(request)
            await response.write(content[: 4 * MIB])
            await held.wait()
            return response

        async with serving(hold_half_way) as holding:
            served.has_etag = False
            data = simple(url.replace(archive.url, holding), checksum=sha256(content))
            (tmp_path / "document.json").write_text(json.dumps(session(data)))
            folder = tmp_path / "cache" / "incoming" if cache_gib else workspace.root / "incoming"

            async with staging_process(tmp_path, uuid, cache_gib) as process:
                await until(lambda: size_of_part(folder) >= 3 * MIB, 20)
                process.send_signal(signal.SIGKILL)
                await process.wait()
            held.set()
            assert [path for path in workspace.storage.rglob("*") if path.is_file()] == []
            objects = tmp_path / "cache" / "objects"
            assert not objects.exists() or list(objects.iterdir()) == []

            async with staging_process(tmp_path, uuid, cache_gib) as process:
                found = await outcome(process)

        assert found["failure"] is None
        assert staged_file(workspace, "cube.fits").read_bytes() == content
        (asked,) = archive.ranges()
        assert int(asked[6:-1]) >= 3 * MIB


def size_of_part(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.part"))


async def test_a_full_disk_is_a_clear_failure(tmp_path: Path) -> None:
    uuid = uuid4()
    async with running_archive() as archive:
        data = simple(archive.add("/f", b"x" * (4 * MIB)))
        (tmp_path / "document.json").write_text(json.dumps(session(data)))

        async with staging_process(tmp_path, uuid, max_file_bytes=2 * MIB) as process:
            found = await outcome(process)

    assert "the disk of the site is full" in found["failure"]
