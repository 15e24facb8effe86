"""What came out of sessions, at a node: growing logs, results, files, and who may read them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from yarl import URL

from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.results import ResultsSchema
from node_stub.archive import Archive
from tests.support.node import (
    ADMIN,
    ALICE,
    BOB,
    NOBODY,
    Account,
    NodeClient,
    node_process,
    node_settings,
    process_config,
    running_node,
)
from tests.support.node_requests import MINIMAL
from tests.support.outputs import LASTING, WritingPlatform, archived, following, running
from tests.support.waiting import eventually

DATA: Final = bytes(range(256)) * 3000


@asynccontextmanager
async def writing(tmp_path: Path) -> AsyncIterator[tuple[NodeClient, WritingPlatform, str]]:
    """A node with a session that runs and writes what the test likes."""
    platform = WritingPlatform(tmp_path)
    async with running_node(tmp_path, platform=platform) as node:
        yield node, platform, await running(node)


@asynccontextmanager
async def with_files(tmp_path: Path, **changes: Any) -> AsyncIterator[tuple[NodeClient, str]]:
    """A node with a session of which files came out."""
    home = tmp_path / "home"
    (home / "plots").mkdir(parents=True)
    (home / "plots" / "a b%20c?#.png").write_bytes(DATA)
    (home / "page.html").write_text("<script>alert(1)</script>")
    (home / "ça.txt").write_text("hello")
    settings = node_settings(platform=LASTING, **changes)
    async with running_node(tmp_path, settings) as node:
        uuid = await running(node)
        await archived(tmp_path, uuid, home)
        yield node, uuid


async def get(
    node: NodeClient, path: str, auth: Account = ALICE, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body; the path is sent as it is, underscores in headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(node.url + path, encoded=True)
    async with node.http.get(url, headers=auth.headers | named) as answer:
        return answer.status, answer.headers, await answer.read()


async def test_a_session_that_has_run_says_how_it_ended_and_what_it_wrote(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path) as node:
        uuid = await running(node, SIMULATE_EXIT_CODE="3", SIMULATE_LOG_BYTES="100")
        session = await node.reaches(uuid, "FAILED")
        results = (await node.call("GET", f"/sessions/{uuid}/results")).document
        assert validate(ResultsSchema(), results) == []
        assert (results["session"], results["phase"]) == (uuid, "FAILED")
        assert (results["exit_code"], results["reason"]) == (3, "NONZERO")
        assert results["is_complete"] is True
        assert results["expires"] > results["ended"]
        sizes = {stream["name"]: stream["size"] for stream in results["streams"]}
        assert sizes["stdout"] == 100
        (url,) = [s["url"] for s in results["streams"] if s["name"] == "stdout"]
        status, headers, body = await get(node, URL(url).path)
        assert (status, len(body)) == (200, 100)
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        connectors = {c["kind"].rpartition(":")[2]: c for c in session["connectors"]}
        assert connectors["stdout"]["location"] == url
        assert connectors["results"]["status"] == "AVAILABLE"


async def test_results_come_in_every_media_type(tmp_path: Path) -> None:
    async with with_files(tmp_path) as (node, uuid):
        for accept in ("application/yaml", "application/xml"):
            status, headers, body = await get(node, f"/sessions/{uuid}/results", Accept=accept)
            assert (status, headers["Content-Type"].partition(";")[0]) == (200, accept)
            assert hashlib.sha256(DATA).hexdigest().encode() in body


async def test_files_are_listed_with_checksums_and_come_as_they_are(tmp_path: Path) -> None:
    async with with_files(tmp_path) as (node, uuid):
        results = (await node.call("GET", f"/sessions/{uuid}/results")).document
        assert [file["path"] for file in results["files"]] == [
            "page.html",
            "plots/a b%20c?#.png",
            "ça.txt",
        ]
        for file in results["files"]:
            status, headers, body = await get(node, URL(file["url"], encoded=True).raw_path)
            assert status == 200
            assert hashlib.sha256(body).hexdigest() == file["sha256"]
            assert len(body) == file["size"]
            assert headers["ETag"] == f'"{file["sha256"]}"'
            assert headers["Content-Disposition"].startswith("attachment")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in headers["Content-Security-Policy"]


async def test_a_file_is_resumed_by_range_and_tag(tmp_path: Path) -> None:
    async with with_files(tmp_path) as (node, uuid):
        path = f"/results/{uuid}/plots/a%20b%2520c%3F%23.png"
        tag = hashlib.sha256(DATA).hexdigest()
        half = len(DATA) // 2
        status, headers, body = await get(node, path, Range=f"bytes={half}-", If_Range=f'"{tag}"')
        assert (status, body) == (206, DATA[half:])
        assert headers["Content-Range"] == f"bytes {half}-{len(DATA) - 1}/{len(DATA)}"
        status, _, body = await get(node, path, Range=f"bytes={half}-", If_Range='"old"')
        assert (status, body) == (200, DATA)
        assert (await get(node, path, If_None_Match=f'"{tag}"'))[0] == 304
        status, headers, body = await get(node, path, Range=f"bytes={len(DATA)}-")
        assert status == 416
        assert headers["Content-Range"] == f"bytes */{len(DATA)}"
        assert b"range-not-satisfiable" in body


@pytest.mark.parametrize(
    "path",
    [
        *("..%2freport.json", "../report.json", "..", "plots", "plots/", "%2e%2e/stdout"),
        *(
            "%2fetc%2fpasswd",
            "plots/../page.html",
            "./page.html",
            "plots//a",
            "page.html/",
            "a%00b",
        ),
        *("nothing", "%ff", "page.html%00", "x" * 3000),
    ],
)
async def test_nothing_but_a_listed_file_can_be_had(tmp_path: Path, path: str) -> None:
    async with with_files(tmp_path) as (node, uuid):
        status, headers, body = await get(node, f"/results/{uuid}/{path}")
        assert status in {400, 404}, body
        assert headers["Content-Type"].startswith("application/problem+json")
        assert b"root:" not in body


async def test_only_owners_read_where_reads_are_theirs(tmp_path: Path) -> None:
    reads = AuthenticationSettings(reads=Reads.OWNER)
    async with with_files(tmp_path, authentication=reads) as (node, uuid):
        for path in (
            f"/sessions/{uuid}/results",
            f"/streams/{uuid}/stdout",
            f"/streams/{uuid}/stdout?follow=true",
            f"/results/{uuid}/page.html",
        ):
            statuses = [(await get(node, path, who))[0] for who in (ALICE, ADMIN, BOB, NOBODY)]
            assert statuses == [200, 200, 404, 401], path


async def test_what_is_forgotten_is_gone_and_its_connectors_are_finished(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        uuid = await running(node)
        await node.reaches(uuid, "COMPLETED")
        await Archive(tmp_path / "results").remove(UUID(uuid))
        for path in (f"/sessions/{uuid}/results", f"/streams/{uuid}/stdout", f"/results/{uuid}/a"):
            status, _, body = await get(node, path)
            assert status == 410, path
            assert b"outputs-gone" in body
        session = await node.session(uuid)
        assert {connector["status"] for connector in session["connectors"]} == {"FINISHED"}
        assert all("location" not in connector for connector in session["connectors"])


async def test_an_offer_and_an_unknown_session_have_nothing(node: NodeClient) -> None:
    offers = (await node.ask(MINIMAL)).document["offers"]
    uuids = [offers[0]["meta"]["uuid"], str(uuid4())]
    for uuid in uuids:
        for path in (f"/streams/{uuid}/stdout?follow=true", f"/results/{uuid}/a"):
            assert (await get(node, path))[0] == 404
    assert (await get(node, f"/sessions/{uuids[1]}/results"))[0] == 404
    results = (await node.call("GET", f"/sessions/{uuids[0]}/results")).document
    assert (results["is_complete"], results["streams"], results["files"]) == (False, [], [])
    await node.update(uuids[0], "REJECTED")
    results = (await node.call("GET", f"/sessions/{uuids[0]}/results")).document
    assert results["is_complete"] is True
    assert "connectors" not in offers[0]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/streams/{uuid}/stdin", 404),
        ("/streams/{uuid}/stdout?follow=perhaps", 400),
        ("/streams/{uuid}/stdout?offset=1", 400),
        ("/streams/nobody/stdout", 400),
        ("/results/nobody/a", 400),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, path: str, status: int) -> None:
    async with writing(tmp_path) as (node, _, uuid):
        found, headers, _ = await get(node, path.format(uuid=uuid))
        assert found == status
        assert headers["Content-Type"].startswith("application/problem+json")


async def test_a_log_that_grows_can_be_read_so_far_and_in_parts(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, platform, uuid):
        path = f"/streams/{uuid}/stdout"
        assert (await get(node, path))[2] == b""
        platform.written += DATA
        status, _, body = await get(node, path)
        assert (status, body) == (200, DATA)
        status, headers, body = await get(node, path, Range="bytes=1000-1999")
        assert (status, body) == (206, DATA[1000:2000])
        assert headers["Content-Range"] == "bytes 1000-1999/*"
        assert (await get(node, path, Range=f"bytes={len(DATA)}-"))[0] == 416
        results = (await node.call("GET", f"/sessions/{uuid}/results")).document
        assert validate(ResultsSchema(), results) == []
        assert results["is_complete"] is False
        assert results["files"] == []
        async with node.http.head(path) as head:
            assert head.status == 200


async def test_a_log_is_followed_as_it_grows_to_its_end(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, platform, uuid):
        url = f"{node.url}/streams/{uuid}/stdout"
        platform.written += b"first\n"
        async with asyncio.timeout(20), following(node.http, url) as log:
            assert await log.piece() == b"first\n"
            platform.written += "später\n".encode()
            assert await log.bytes(8) == "später\n".encode()
            await node.update(uuid, "CANCELLED")
            assert (await log.end())["phase"] == "CANCELLED"


async def test_the_end_of_a_log_says_how_it_went(tmp_path: Path) -> None:
    settings = node_settings(platform=LASTING)
    async with running_node(tmp_path, settings) as node:
        uuid = await running(node, SIMULATE_RUN_S="0.3", SIMULATE_LOG_BYTES="500000")
        url = f"{node.url}/streams/{uuid}/stdout"
        async with asyncio.timeout(20), following(node.http, url) as log:
            data = await log.bytes(500_000)
            end = await log.end()
        assert (end["exit_code"], end["reason"]) == (0, "OK")
        assert (await get(node, f"/streams/{uuid}/stdout"))[2] == data
        assert len(data) == 500_000


async def test_whoever_comes_back_goes_on_where_they_left_off(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, platform, uuid):
        url = f"{node.url}/streams/{uuid}/stdout"
        platform.written += b"0123456789"
        headers = {"Last_Event_ID": "4", "Accept": "text/event-stream"}
        async with asyncio.timeout(10), following(node.http, url, **headers) as log:
            assert await log.piece() == b"456789"
        for text in ("-1", "x", "9" * 30, ""):
            found = await get(node, f"/streams/{uuid}/stdout?follow=true", Last_Event_ID=text)
            assert found[0] == 400


async def test_to_accept_events_is_to_follow(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, _, uuid):
        headers = {"Accept": "text/event-stream"}
        async with node.http.get(f"/streams/{uuid}/stdout", headers=headers) as answer:
            assert answer.content_type == "text/event-stream"


async def test_bytes_that_are_no_text_come_unharmed(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, platform, uuid):
        platform.written += bytes(range(256)) * 1000
        url = f"{node.url}/streams/{uuid}/stdout"
        async with asyncio.timeout(10), following(node.http, url) as log:
            assert await log.bytes(256_000) == bytes(range(256)) * 1000


async def test_text_comes_as_text_wherever_it_is_cut(tmp_path: Path) -> None:
    async with writing(tmp_path) as (node, platform, uuid):
        platform.written += b"x" + "ä".encode() * 100_000
        url = f"{node.url}/streams/{uuid}/stdout"
        async with asyncio.timeout(10), following(node.http, url) as log:
            while log.offset < 200_001:
                (await log.piece()).decode()


async def test_a_reader_slower_than_the_writer_misses_nothing(tmp_path: Path) -> None:
    """Nothing is written for them while they do not read, and all of it once they do."""
    async with writing(tmp_path) as (node, platform, uuid):
        url = f"{node.url}/streams/{uuid}/stdout"
        lines = b"".join(b"line %9d\n" % number for number in range(1_000_000))
        async with asyncio.timeout(60), following(node.http, url) as log:
            platform.written += lines[:15]
            first = await log.piece()
            reads: list[int] = []
            read_log = platform.read_log

            async def counted(session: Any, stream: Any, offset: int, limit: int) -> Any:
                reads.append(offset)
                return await read_log(session, stream, offset, limit)

            platform.read_log = counted  # type: ignore[method-assign]
            platform.written += lines[15:]

            async def stands_still() -> bool:
                before = len(reads)
                await asyncio.sleep(0.05)
                return before > 0 and len(reads) == before

            await eventually(stands_still)
            assert max(reads) < 8 << 20, "it is read ahead of the reader"
            assert first + await log.bytes(len(lines) - len(first)) == lines


async def test_readers_do_not_keep_a_node_from_ending(tmp_path: Path) -> None:
    config = process_config(platform={"type": "simulated", "prepare_s": 0, "run_s": 600})
    async with node_process(tmp_path, config) as process, NodeClient(process.url, ADMIN) as node:
        uuid = await running(node, SIMULATE_LOG_BYTES="1000000")
        async with asyncio.timeout(20), following(node.http, f"/streams/{uuid}/stdout") as log:
            await log.piece()
            began = asyncio.get_running_loop().time()
            assert await process.terminate() == 0
            assert asyncio.get_running_loop().time() - began < 6


async def test_openapi_describes_logs_and_files(node: NodeClient) -> None:
    document: Document = (await node.call("GET", "/openapi.json")).document
    log = document["paths"]["/streams/{uuid}/{stream}"]["get"]
    assert set(log["responses"]) >= {"200", "206", "404", "410", "416"}
    assert "text/event-stream" in log["responses"]["200"]["content"]
    file = document["paths"]["/results/{uuid}/{path}"]["get"]
    assert "*/*" in file["responses"]["200"]["content"]
    assert "/sessions/{uuid}/results" in document["paths"]
