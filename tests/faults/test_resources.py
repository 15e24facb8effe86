"""A gateway whose disk is full or whose descriptors are used up refuses, and recovers by itself."""

import asyncio
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from gateway.wire.documents import Document
from tests.support.crashing import Federation, killable_federation
from tests.support.gateway import Answer
from tests.support.nursery import Nursery
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits another process's resources"
)

STRICT: Final = {"Prefer": "handling=strict"}
LIVES_S: Final = 120
"""Offers here outlive every test: what lets go of them is the gateway."""

RECOVERED_S: Final = 20.0


@asynccontextmanager
async def federation_of(nursery: Nursery, at: Path) -> AsyncIterator[tuple[Federation, int]]:
    """A federation, and the process of its gateway; nodes are called only when a test does it."""
    unprobed = {"probe_every_s": 0}
    async with killable_federation(nursery, at, expires_s=LIVES_S, health=unprobed) as federation:
        yield federation, federation.gateway.pid


@contextmanager
def limited(pid: int, what: int, to: int) -> Iterator[None]:
    """The process gets no more of a resource than that until the block ends."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (to, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


@contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """The process keeps the descriptors that it has, and gets no other."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    lowest_free = next(number for number in count() if number not in used)
    with limited(pid, resource.RLIMIT_NOFILE, lowest_free):
        yield


def best_of(answer: Answer) -> dict[str, Document]:
    """The best offer of each node."""
    assert answer.status == 303, answer.text
    found: dict[str, Document] = {}
    for offer in answer.document["offers"]:
        found.setdefault(offer["federation"]["node"], offer)
    return found


# -- disk -----------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_cleanly_and_nothing_is_half_done(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with federation_of(nursery, tmp_path) as (federation, pid):
        client = federation.client
        offers = best_of(await client.ask(minimal_request()))
        alpha, beta = (offers[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        held = await federation.holds()
        size = (tmp_path / "gateway" / "gateway.db-wal").stat().st_size
        with limited(pid, resource.RLIMIT_FSIZE, size):
            refused = [
                await client.move(alpha, "ACCEPTED", **STRICT),
                await client.move(beta, "REJECTED", **STRICT),
                await client.ask(minimal_request()),
                await client.call("POST", "/direct", minimal_request()),
            ]
            for answer in refused:
                assert answer.status == 503, answer.text
                assert answer.headers["Content-Type"].startswith("application/problem+json")
                assert answer.document["type"].endswith("store-unavailable")
            assert (await client.read(alpha))["phase"] == "OFFERED"
            assert federation.ran() == set()

        async def holds_as_before() -> bool:
            return await federation.holds() == held

        # What was held for those two requests is let go, which had to be saved first.
        await eventually(holds_as_before, RECOVERED_S)
        assert (await client.move(alpha, "ACCEPTED", **STRICT)).status == 200
        last = await federation.comes_to_rest(offers.values())
        assert last == {alpha: "COMPLETED", beta: "REJECTED"}
        assert federation.ran() == {alpha}


# -- descriptors ----------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Seconds of processor time that the process has used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def is_served(url: str) -> bool:
    """Whether a new connection gets an answer within a moment."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=0.5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
        try:
            return connection.recv(1) == b"H"
        except OSError:
            return False


async def test_without_descriptors_a_gateway_goes_on_for_whom_it_has_and_then_for_all(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with federation_of(nursery, tmp_path) as (federation, pid):
        client = federation.client
        offers = best_of(await client.ask(minimal_request()))
        uuid = offers["alpha"]["meta"]["uuid"]
        with no_descriptors(pid):
            assert not await asyncio.to_thread(is_served, federation.gateway.url)
            began = cpu_s(pid)
            assert not await asyncio.to_thread(is_served, federation.gateway.url)
            # A loop that tries again and again would have taken all of that half second.
            assert cpu_s(pid) - began < 0.3
            # Those who have a connection are served, over connections to nodes that there are.
            assert (await client.move(uuid, "ACCEPTED")).status == 200

        async def serves_all() -> bool:
            return await asyncio.to_thread(is_served, federation.gateway.url)

        await eventually(serves_all, RECOVERED_S)
        assert (await federation.comes_to_rest(offers.values()))[uuid] == "COMPLETED"
        assert federation.ran() == {uuid}


async def test_nodes_that_could_not_be_called_for_want_of_descriptors_are_not_blamed(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with federation_of(nursery, tmp_path) as (federation, pid):
        client = federation.client
        assert (await client.call("GET", "/nodes")).status == 200  # there is a connection now
        with no_descriptors(pid):
            loop = asyncio.get_running_loop()
            began = loop.time()
            while loop.time() - began < 1.5:
                answer = await client.ask(minimal_request())
                assert answer.status == 503, answer.text
                assert answer.headers["Retry-After"]
                codes = {entry["reason"]["code"] for entry in answer.document["coverage"]}
                assert codes == {"no_descriptors"}
        nodes = (await client.call("GET", "/nodes")).document["nodes"]
        assert {node["health"]["state"] for node in nodes} == {"unknown"}
        assert best_of(await client.ask(minimal_request())).keys() == {"alpha", "beta"}
