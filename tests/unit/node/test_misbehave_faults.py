"""What each fault of the connection is on the wire, and that nothing of it is left."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from node_stub.misbehave.mixing import Mixture, parse_shares
from node_stub.misbehave.serving import refusing, serving
from tests.support.waiting import eventually, until

LIMIT_S = 5.0
"""Everything here is over within a few milliseconds; a machine under load may take longer."""

SILENCE_S = 0.05
"""Long enough to tell that nothing comes, where all else comes at once."""


class Connection:
    """A client of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, method: str = "POST", path: str = "/requests", body: bytes = b"{}") -> None:
        length = f"Content-Length: {len(body)}\r\n"
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode() + body)

    async def answer(self) -> tuple[bytes, bytes]:
        """One answer: its head, and as much of the body as it promises."""
        async with asyncio.timeout(LIMIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            return head, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """All until the node closes."""
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.read()

    async def is_silent(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def connected(names: str, delay_s: float | None = None) -> AsyncIterator[Connection]:
    """A connection to a node that behaves so."""
    mixture = Mixture(parse_shares(names), delay_s=delay_s)
    async with serving(mixture) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()


async def test_a_connection_is_kept_between_requests() -> None:
    async with connected("healthy") as node:
        for _ in range(3):
            node.ask()
            head, body = await node.answer()
            assert head.startswith(b"HTTP/1.1 303")
            assert json.loads(body)["result"] == "YES"


@pytest.mark.parametrize("name", ["hung", "hung-mid-body"])
async def test_a_hung_node_keeps_the_connection_and_lets_go_of_it_with_its_client(
    name: str,
) -> None:
    before = len(asyncio.all_tasks())
    async with connected(name) as node:
        node.ask()
        if name == "hung-mid-body":
            await node.reader.readuntil(b"\r\n\r\n")
            await node.reader.read(1 << 20)
        assert await node.is_silent()
        assert len(asyncio.all_tasks()) == before + 1
        node.writer.close()
        await until(lambda: len(asyncio.all_tasks()) == before)


async def test_a_half_open_node_answers_once_and_then_does_nothing_at_all() -> None:
    async with connected("half-open") as node:
        node.ask()
        await node.answer()
        node.ask()
        assert await node.is_silent()


async def test_a_node_of_stale_connections_answers_once_and_closes_at_use() -> None:
    async with connected("stale-keepalive") as node:
        node.ask()
        await node.answer()
        assert await node.is_silent(), "not closed before it is used"
        node.ask()
        assert await node.rest() == b""


@pytest.mark.parametrize("name", ["reset", "refuse"])
async def test_a_reset_is_no_proper_end(name: str) -> None:
    async with connected(f"{name},healthy") as node:
        node.ask()
        with pytest.raises(ConnectionResetError):
            await node.rest()


async def test_a_refused_connection_was_never_made() -> None:
    with refusing() as url, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def test_a_node_refuses_where_one_was_that_had_just_closed_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # who closes first keeps the address for a minute
            assert client.recv(1) == b""
    with refusing(port=port), pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("name", ["closes", "lost-offers"])
async def test_a_node_that_closes_says_nothing(name: str) -> None:
    async with connected(name) as node:
        node.ask()
        assert await node.rest() == b""


async def test_a_cut_answer_ends_before_its_length() -> None:
    async with connected("cut") as node:
        node.ask()
        head, _, body = (await node.rest()).partition(b"\r\n\r\n")
        promised = int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert 0 < len(body) < promised


async def test_a_wrong_length_leaves_bytes_on_the_connection() -> None:
    async with connected("wrong-length") as node:
        node.ask()
        _, body = await node.answer()
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        assert not await node.is_silent()


async def test_a_desynchronised_node_gives_the_next_request_the_answer_of_the_last() -> None:
    async with connected("desync") as node:
        node.ask()
        await node.answer()
        node.ask("GET", f"/sessions/{UUID(int=7)}", b"")
        head, body = await node.answer()
        assert head.startswith(b"HTTP/1.1 303")
        assert "offers" in json.loads(body)


async def test_a_flapping_node_is_well_and_ill_in_turn() -> None:
    period_s = 0.05
    mixture = Mixture(parse_shares("flapping"), delay_s=period_s)
    async with serving(mixture) as url:
        port = int(url.rpartition(":")[2])

        async def is_well() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            node = Connection(reader, writer)
            node.ask("GET", "/readyz", b"")
            try:
                await node.answer()
            except asyncio.IncompleteReadError:
                return False
            finally:
                writer.close()
            return True

        seen = [await is_well()]
        async with asyncio.timeout(LIMIT_S):
            while len(seen) < 4:
                if (now := await is_well()) is not seen[-1]:
                    seen.append(now)
                await asyncio.sleep(0.005)


async def test_a_drip_is_the_right_answer_in_bytes() -> None:
    async with connected("drip", delay_s=0.0001) as node:
        node.ask("GET", "/readyz", b"")
        assert await node.answer() == (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n",
            b'{"status": "ok"}',
        )


async def test_a_huge_answer_stops_with_its_reader() -> None:
    before = len(asyncio.all_tasks())
    async with connected("huge") as node:
        node.ask()
        async with asyncio.timeout(LIMIT_S):
            await node.reader.readexactly(1 << 20)
        node.writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) == before)


@pytest.mark.parametrize("name", ["slow-accept", "lost-accept"])
async def test_an_acceptance_without_an_answer_was_made(name: str) -> None:
    async with serving(Mixture(parse_shares(name), delay_s=4 * SILENCE_S)) as url:
        port = int(url.rpartition(":")[2])
        node = Connection(*await asyncio.open_connection("127.0.0.1", port))
        node.ask()
        uuid = json.loads((await node.answer())[1])["offers"][0]["meta"]["uuid"]
        node.ask("POST", f"/sessions/{uuid}", b'{"value": "ACCEPTED"}')
        if name == "lost-accept":
            assert await node.rest() == b""
        else:
            assert await node.is_silent()
        node.writer.close()

        async def was_accepted() -> bool:
            look = Connection(*await asyncio.open_connection("127.0.0.1", port))
            try:
                look.ask("GET", f"/sessions/{uuid}", b"")
                _, body = await look.answer()
            finally:
                look.writer.close()
            return json.loads(body)["phase"] in {"RUNNING", "COMPLETED"}

        await eventually(was_accepted)


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
async def test_what_is_no_request_costs_the_connection_and_no_more(sent: bytes) -> None:
    async with connected("healthy") as node:
        node.writer.write(sent)
        assert await node.rest() == b""
