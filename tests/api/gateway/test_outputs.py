"""What came out of sessions, through gateways: passed on as it comes, or said why it is not."""

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from yarl import URL

from gateway.api.outputs import OUTPUTS
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.services import outputs as outputs_service
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.results import ResultsSchema
from gateway.wire.secret import Secret
from tests.support import canned_broker
from tests.support.gateway import (
    FEDERATION,
    GatewayProcess,
    GatewayUnderTest,
    node_settings,
    running_gateway,
)
from tests.support.node import (
    ADMIN,
    ALICE,
    BOB,
    NOBODY,
    NodeClient,
    node_process,
    process_config,
    running_node,
)
from tests.support.outputs import WritingPlatform, archived, following
from tests.support.proxy import Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

DATA: Final = bytes(range(256)) * 3000
BIG: Final = 300 << 20
"""Much more than a gateway may hold."""

MOST_GROWTH_BYTES: Final = 32 << 20
"""What a gateway may grow by while something big passes through."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A gateway over one node behind a network, with a session that runs."""

    gateway: GatewayUnderTest
    platform: WritingPlatform
    proxy_url: str
    data_dir: Path
    uuid: str

    async def get(self, path: str, account: Any = ALICE, **headers: str) -> "Got":
        return await get(self.gateway, path.format(uuid=self.uuid), account, **headers)

    async def leaves(self, **files: bytes) -> None:
        """The session's files and log are in the archive of its node."""
        home = self.data_dir / "home"
        (home / "plots").mkdir(parents=True)
        for name, data in files.items():
            (home / "plots" / name).write_bytes(data)
        await archived(self.data_dir, self.uuid, home, log=b"what it wrote\n")


@dataclass(frozen=True, slots=True)
class Got:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def get(gateway: GatewayUnderTest, path: str, account: Any = ALICE, **headers: str) -> Got:
    """One exchange; the path is sent as it is, underscores in headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(gateway.url + path, encoded=True)
    async with gateway.session.get(url, headers=account.headers | named) as answer:
        return Got(answer.status, answer.headers, await answer.read())


async def running_at(gateway: GatewayUnderTest, account: Any = ALICE) -> str:
    """The UUID of a session that runs behind a gateway."""
    answer = await gateway.ask(minimal_request(), account=account)
    assert answer.status == 303, answer.text
    uuid: str = answer.document["offers"][0]["meta"]["uuid"]
    await gateway.move(uuid, "ACCEPTED", account=account)

    async def is_running() -> bool:
        session: Document = (await gateway.call("GET", f"/sessions/{uuid}")).document
        return bool(session["phase"] == "RUNNING")

    await eventually(is_running, 10)
    return uuid


@asynccontextmanager
async def scene(tmp_path: Path, **settings: Any) -> AsyncIterator[Scene]:
    platform = WritingPlatform(tmp_path)
    async with (
        running_node(tmp_path, platform=platform) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway", **settings) as gateway,
    ):
        yield Scene(gateway, platform, node.url, tmp_path, await running_at(gateway))


async def test_results_logs_and_files_come_through_with_the_gateways_own_urls(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as it:
        await it.leaves(**{"a b?.bin": DATA})
        answer = await it.gateway.call("GET", f"/sessions/{it.uuid}/results")
        assert validate(ResultsSchema(), answer.document) == []
        (file,) = answer.document["files"]
        assert file["url"] == f"{it.gateway.url}/results/{it.uuid}/plots/a%20b%3F.bin"
        got = await it.get(URL(file["url"], encoded=True).raw_path)
        assert (got.status, got.body) == (200, DATA)
        assert got.headers["ETag"] == f'"{file["sha256"]}"'
        assert got.headers["Content-Length"] == str(len(DATA))
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Disposition"].startswith("attachment")
        (stream,) = answer.document["streams"]
        assert stream["url"] == f"{it.gateway.url}/streams/{it.uuid}/stdout"
        got = await it.get(URL(stream["url"]).path)
        assert got.body == b"what it wrote\n"
        assert got.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_connectors_to_outputs_lead_through_the_gateway(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        session = await it.gateway.read(it.uuid)
        locations = {c["kind"].rpartition(":")[2]: c["location"] for c in session["connectors"]}
        assert locations == {
            "stdout": f"{it.gateway.url}/streams/{it.uuid}/stdout",
            "stderr": f"{it.gateway.url}/streams/{it.uuid}/stderr",
            "results": f"{it.gateway.url}/sessions/{it.uuid}/results",
        }


async def test_ranges_tags_and_heads_are_passed_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.leaves(data=DATA)
        path, tag = "/results/{uuid}/plots/data", hashlib.sha256(DATA).hexdigest()
        got = await it.get(path, Range="bytes=100-199", If_Range=f'"{tag}"')
        assert (got.status, got.body) == (206, DATA[100:200])
        assert got.headers["Content-Range"] == f"bytes 100-199/{len(DATA)}"
        assert (await it.get(path, Range="bytes=0-0", If_Range='"x"')).status == 200
        assert (await it.get(path, If_None_Match=f'"{tag}"')).status == 304
        got = await it.get(path, Range=f"bytes={len(DATA)}-")
        assert got.status == 416
        assert got.headers["Content-Range"] == f"bytes */{len(DATA)}"
        assert b"range-not-satisfiable" in got.body
        url = it.gateway.url + path.format(uuid=it.uuid)
        async with it.gateway.session.head(url) as head:
            assert head.status == 200
            assert head.headers["Content-Length"] == str(len(DATA))


async def test_a_log_is_followed_through_the_gateway_to_its_end(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        url = f"{it.gateway.url}/streams/{it.uuid}/stdout"
        it.platform.written += b"first\n"
        session = it.gateway.session
        async with asyncio.timeout(20), following(session, url) as log:
            assert await log.piece() == b"first\n"
            it.platform.written += b"second\n"
            assert await log.piece() == b"second\n"
            async with following(session, url, Last_Event_ID="6") as again:
                assert await again.piece() == b"second\n"
            await it.gateway.move(it.uuid, "CANCELLED", account=ALICE)
            assert (await log.end())["phase"] == "CANCELLED"


async def test_everything_comes_through_gateways_of_gateways(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as it,
        running_gateway(
            {"below": it.gateway.url},
            tmp_path / "above",
            federation=replace(FEDERATION, name="above"),
        ) as above,
    ):
        uuid = await running_at(above)
        it.platform.written += b"deep\n"
        async with (
            asyncio.timeout(20),
            following(above.session, f"{above.url}/streams/{uuid}/stdout") as log,
        ):
            assert await log.piece() == b"deep\n"
        home = tmp_path / "deep"
        home.mkdir()
        (home / "f").write_bytes(DATA)
        await archived(tmp_path, uuid, home)
        results = (await above.call("GET", f"/sessions/{uuid}/results")).document
        assert results["files"][0]["url"] == f"{above.url}/results/{uuid}/f"
        assert (await get(above, f"/results/{uuid}/f")).body == DATA
        session = await above.read(uuid)
        assert all(c["location"].startswith(above.url) for c in session["connectors"])


async def test_only_owners_read_where_reads_are_theirs(tmp_path: Path) -> None:
    async with scene(tmp_path, authentication=AuthenticationSettings(reads=Reads.OWNER)) as it:
        await it.leaves(data=DATA)
        for path in (
            "/sessions/{uuid}/results",
            "/streams/{uuid}/stdout",
            "/streams/{uuid}/stdout?follow=true",
            "/results/{uuid}/plots/data",
        ):
            statuses = [(await it.get(path, who)).status for who in (ALICE, ADMIN, BOB, NOBODY)]
            assert statuses == [200, 200, 404, 401], path


@pytest.mark.parametrize(
    "path", ["..%2f..%2fsessions%2f{uuid}", "../../sessions/{uuid}", "a/..", "a//b"]
)
async def test_no_path_reaches_anything_else_at_the_node(tmp_path: Path, path: str) -> None:
    """The gateway has an account at the node that may read what the client may not."""
    platform = WritingPlatform(tmp_path)
    async with (
        running_node(tmp_path, platform=platform) as node,
        running_proxy(node.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "gateway") as gateway,
    ):
        uuid = await running_at(gateway)
        proxy.seen.clear()
        got = await get(gateway, f"/results/{uuid}/{path.format(uuid=uuid)}")
        assert got.status == 404
        assert proxy.seen == []


async def test_what_the_node_has_not_or_forgot_is_said_with_its_own_words(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.leaves(data=DATA)
        answer = await it.gateway.call("GET", f"/results/{it.uuid}/nothing")
        assert answer.status == 404
        assert answer.document["type"].endswith("/unknown-output")
        assert answer.document["upstream"]["type"].endswith("/unknown-output")
        assert (await it.get("/streams/{uuid}/stdin")).status == 404


async def test_a_forgotten_session_is_gone_through_the_gateway_too(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.gateway.move(it.uuid, "CANCELLED", account=ALICE)

        async def is_gone() -> bool:
            return (await it.get("/sessions/{uuid}/results")).status == 410

        await eventually(is_gone)
        answer = await it.gateway.call("GET", f"/streams/{it.uuid}/stdout")
        assert answer.status == 410
        assert answer.document["upstream"]["status"] == 410


async def test_a_node_that_gives_no_outputs_is_said_to_give_none(tmp_path: Path) -> None:
    """As the upstream services, which have no such paths."""
    server = TestServer(canned_broker.CannedBroker(federated=False).app())
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    credentials = node_settings("old", url).credentials
    try:
        options = {"old": {"credentials": _canned_account(credentials)}}
        async with running_gateway(
            {"old": url}, tmp_path / "gateway", node_options=options
        ) as gateway:
            offer = (await gateway.ask(minimal_request())).document["offers"][0]
            uuid = offer["meta"]["uuid"]
            for path in (f"/sessions/{uuid}/results", f"/streams/{uuid}/stdout?follow=true"):
                answer = await gateway.call("GET", path)
                assert answer.status == 404, answer.text
                assert "does not give out" in answer.document["detail"]
                assert answer.document["upstream"]["status"] == 404
    finally:
        await server.close()


def _canned_account(credentials: Any) -> Any:
    password = Secret(canned_broker.PASSWORD)
    [account] = credentials
    return (replace(account, username=canned_broker.USERNAME, password=password),)


@pytest.mark.parametrize(
    ("weather", "status", "slug"),
    [
        (Weather.HANGS, 504, "node-timeout"),
        (Weather.REQUEST_LOST, 502, "node-unavailable"),
        (Weather.FAILS, 503, "node-busy"),
    ],
)
async def test_a_node_in_trouble_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weather: Weather,
    status: int,
    slug: str,
) -> None:
    monkeypatch.setattr(outputs_service, "FIRST_S", 0.5)
    platform = WritingPlatform(tmp_path)
    async with (
        running_node(tmp_path, platform=platform) as node,
        running_proxy(node.url) as proxy,
        running_gateway({"alpha": proxy.url}, tmp_path / "gateway") as gateway,
    ):
        uuid = await running_at(gateway)
        proxy.weather = weather
        for path in (f"/sessions/{uuid}/results", f"/streams/{uuid}/stdout?follow=true"):
            async with asyncio.timeout(5):
                answer = await gateway.call("GET", path)
            assert answer.status == status
            assert answer.document["type"].endswith(f"/{slug}")
            assert "alpha" in answer.document["detail"]
        await proxy.close()
        answer = await gateway.call("GET", f"/sessions/{uuid}/results")
        assert answer.status == 502


async def test_a_log_that_falls_silent_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node says that it lives four times a minute; one that does not is away."""
    monkeypatch.setattr(outputs_service, "IDLE_S", 0.3)
    async with scene(tmp_path) as it:
        it.platform.written += b"first\n"
        url = f"{it.gateway.url}/streams/{it.uuid}/stdout"
        async with asyncio.timeout(5), following(it.gateway.session, url) as log:
            assert await log.piece() == b"first\n"
            with pytest.raises(aiohttp.ClientPayloadError):
                await log.next()


async def test_readers_of_one_node_are_bounded_and_leave_its_calls_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_service, "MAX_READERS_OF_NODE", 1)
    async with scene(tmp_path) as it:
        it.platform.written += b"first\n"
        url = f"{it.gateway.url}/streams/{it.uuid}/stdout"
        async with following(it.gateway.session, url) as log:
            await log.piece()
            got = await it.get("/streams/{uuid}/stdout")
            assert got.status == 503
            assert got.headers["Retry-After"] == "5"
            assert (await it.gateway.read(it.uuid))["phase"] == "RUNNING"

        async def is_free() -> bool:
            return (await it.get("/streams/{uuid}/stdout")).status == 200

        await eventually(is_free)


@asynccontextmanager
async def processes(tmp_path: Path) -> AsyncIterator[tuple[Any, GatewayProcess, str]]:
    """A node and a gateway in processes of their own, and a session that runs."""
    config = process_config(platform={"type": "simulated", "prepare_s": 0, "run_s": 600})
    async with node_process(tmp_path, config) as node:
        (tmp_path / "gateway").mkdir()
        gateway = GatewayProcess({"alpha": node.url}, tmp_path / "gateway")
        await gateway.start()
        try:
            async with NodeClient(gateway.url, ADMIN) as client:
                session = await client.direct(minimal_request())
                assert session.status == 303, session
                await client.reaches(session.uuid, "RUNNING")
                yield node, gateway, session.uuid
        finally:
            await gateway.stop()


async def big_file(tmp_path: Path, uuid: str) -> Document:
    home = tmp_path / "home"
    home.mkdir()
    with (home / "big").open("wb") as file:
        file.truncate(BIG - 4)
        file.seek(BIG - 4)
        file.write(b"last")
    report = await archived(tmp_path, uuid, home)
    return {"sha256": report.files[0].sha256}


def memory_of(process: asyncio.subprocess.Process, name: str) -> int:
    """Bytes that a process holds, or held at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def forget_peak_of(process: asyncio.subprocess.Process) -> None:
    """What it held at most while it started."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


async def test_a_big_file_passes_through_a_gateway_that_stays_small(tmp_path: Path) -> None:
    """Also when the reader is slow: the gateway waits, and holds next to nothing."""
    async with processes(tmp_path) as (_, gateway, uuid):
        known = await big_file(tmp_path, uuid)
        assert gateway._process is not None
        forget_peak_of(gateway._process)
        before = memory_of(gateway._process, "VmHWM")
        digest, size = hashlib.sha256(), 0
        async with (
            asyncio.timeout(100),
            aiohttp.ClientSession() as session,
            session.get(f"{gateway.url}/results/{uuid}/big") as answer,
        ):
            assert answer.status == 200
            # Not reading, until nothing comes any more: what was sent lies in socket buffers.
            await asyncio.to_thread(_until_still, gateway._process)
            async for piece in answer.content.iter_any():
                digest.update(piece)
                size += len(piece)
        assert (size, digest.hexdigest()) == (BIG, known["sha256"])
        assert memory_of(gateway._process, "VmHWM") - before < MOST_GROWTH_BYTES


def _until_still(process: asyncio.subprocess.Process) -> None:
    """Return when a process does not work any more."""
    last: list[str] = []
    for _ in range(200):
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        if ticks == last:
            return
        last = ticks
        time.sleep(0.05)


async def test_a_node_that_dies_in_the_middle_leaves_no_answer_that_looks_whole(
    tmp_path: Path,
) -> None:
    async with processes(tmp_path) as (node, gateway, uuid):
        await big_file(tmp_path, uuid)
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            async with session.get(f"{gateway.url}/results/{uuid}/big") as answer:
                assert answer.status == 200
                assert await answer.content.readany()
                await node.kill()
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            async with session.get(f"{gateway.url}/results/{uuid}/big") as answer:
                assert answer.status == 502
            async with session.get(f"{gateway.url}/livez") as answer:
                assert answer.status == 200


async def test_a_reader_who_leaves_ends_the_reading_at_the_node(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.platform.written += b"first\n"
        assert it.gateway.app is not None
        readers = it.gateway.app[OUTPUTS]._readers
        url = URL(it.gateway.url)
        with socket.create_connection((url.host, url.port)) as reader:
            reader.sendall(
                f"GET /streams/{it.uuid}/stdout?follow=true HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )

            async def is_reading() -> bool:
                return readers["alpha"] == 1

            await eventually(is_reading)
        it.platform.written += b"x" * (1 << 20)

        async def has_left() -> bool:
            it.platform.written += b"more\n"
            return readers["alpha"] == 0

        await eventually(has_left)
