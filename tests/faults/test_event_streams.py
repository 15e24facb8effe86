"""Many who watch, and some who do not keep up."""

import asyncio
import contextlib
import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest
from yarl import URL

from gateway.cli.events import EventReader
from gateway.stores.database import Database
from gateway.stores.events import Event, EventStore
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.sessions import SessionStore
from gateway.wire.documents import from_json
from gateway.wire.phases import SessionPhase
from tests.support.event_streams import EventsSeen, watching
from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN
from tests.support.stores import store_of_this_test
from tests.support.waiting import eventually
from tests.unit.stores.test_stores import session

WATCHERS = 1000
MAX_WATCHER_BYTES = 100 << 10
"""Of the gateway's memory for each who watches. Measured are 28 KiB: what the process grew by for a
thousand, three times alike (28.1), on Linux with Python 3.11."""

ALL_S = 30.0
"""In which a thousand ends are told. Measured are 3.5 to 5.4 s, writing them and a thousand readers
in the test's own process included, on two cores that had other work."""

SLOW = 8
LONG = "x" * 4000
BATCH = 500
MANY = 8000
"""Events of 4 KB: more than fit into the buffers of both ends and the queue."""

CUT_OFF_S = 60.0
"""In which the slow are cut off while all that is written; in a quiet moment it takes some 2 s."""

MAX_SLOW_BYTES = 8 << 20
"""Of the gateway's memory for each who is slow, before it is cut off: the queue is shared. Measured
are 3.8 to 4.6 MiB."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for the sockets of all who watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * WATCHERS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"{wanted} open files are needed, and the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway in a process of its own, with room for all."""
    room = {"streams": 2 * WATCHERS, "streams_per_owner": 2 * WATCHERS}
    process = GatewayProcess({}, tmp_path, events=room)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


@pytest.fixture
async def database(gateway: GatewayProcess, tmp_path: Path) -> AsyncIterator[Database]:
    """The gateway's database, as another process has it."""
    async with store_of_this_test().opened(tmp_path) as opened:
        yield opened


def memory_of(pid: int) -> int:
    """What a process has in memory, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


async def metric(http: aiohttp.ClientSession, gateway: GatewayProcess, name: str) -> float:
    async with http.get(f"{gateway.url}/metrics") as answer:
        found = re.search(rf"^execbroker_{name} ([0-9.e+]+)$", await answer.text(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def add_sessions(database: Database, count: int) -> list[UUID]:
    """Sessions that run, and for each of them an event that says so."""
    now = datetime.now(UTC)
    running = SessionPhase.RUNNING
    rows = [session(uuid4(), phase=running, observed=now, changed=now) for _ in range(count)]
    async with database.transaction() as tx:
        for row in rows:
            offerset = OfferSetRow(row.offerset, "ann", now, b"{}", b"{}", b"{}", b"[]")
            await OfferSetStore().add(tx, offerset)
        await SessionStore().add(tx, rows)
        for row in rows:
            event = Event(now, "phase_running", "gateway", row.uuid, row.offerset)
            await EventStore().add(tx, event)
    return [row.uuid for row in rows]


async def end_sessions(database: Database, uuids: Sequence[UUID]) -> None:
    """All of them complete."""
    now = datetime.now(UTC)
    async with database.transaction() as tx:
        for uuid in uuids:
            await SessionStore().move(
                tx, uuid, was=SessionPhase.RUNNING, phase=SessionPhase.COMPLETED, at=now
            )
            await EventStore().add(tx, Event(now, "phase_completed", "gateway", uuid))


async def test_a_thousand_watch_a_thousand_sessions(
    many_descriptors: None, gateway: GatewayProcess, database: Database
) -> None:
    uuids = await add_sessions(database, WATCHERS)
    before = memory_of(gateway.pid)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        contextlib.AsyncExitStack() as stack,
    ):
        gate = asyncio.Semaphore(50)

        async def begin(uuid: UUID) -> EventsSeen:
            async with gate:
                url = f"{gateway.url}/sessions/{uuid}/events"
                stream = await stack.enter_async_context(watching(http, url))
                assert (await stream.cloud_event())["data"]["session"] == str(uuid)
                return stream

        streams = await asyncio.gather(*map(begin, uuids))
        assert await metric(http, gateway, "event_watchers") == WATCHERS
        assert (memory_of(gateway.pid) - before) / WATCHERS < MAX_WATCHER_BYTES
        clock = asyncio.get_running_loop().time
        began = clock()
        await end_sessions(database, uuids)
        for uuid, stream in zip(uuids, streams, strict=True):
            (end,) = await stream.rest()
            assert (end["data"]["session"], end["data"]["phase"]) == (str(uuid), "COMPLETED")
        assert clock() - began < ALL_S
        # Who only waits is in nobody's way: others are answered meanwhile, and nobody was shed.
        assert await metric(http, gateway, "http_requests_in_flight") == 1


async def write_long(database: Database, count: int, seen: Sequence[int]) -> None:
    """Write so many, no faster than whoever has ``seen`` them reads: the test may be slow."""
    events, now = EventStore(), datetime.now(UTC)
    for written in range(0, count, BATCH):
        await eventually(partial(_keeps_up, seen, written), CUT_OFF_S)
        async with database.transaction() as tx:
            for _ in range(BATCH):
                await events.add(tx, Event(now, "noted", "gateway", detail=LONG))


async def _keeps_up(seen: Sequence[int], written: int) -> bool:
    return len(seen) >= written - BATCH


async def read_until(stream: EventsSeen, position: int, seen: list[int]) -> None:
    """Note the positions seen up to this one."""
    while not seen or seen[-1] < position:
        seen.append(int((await stream.cloud_event())["id"]))


def slow_socket(url: str) -> socket.socket:
    """Somebody who asks for all events and reads none."""
    parts = URL(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((parts.host, parts.port))
    head = "".join(f"{name}: {value}\r\n" for name, value in ADMIN.headers.items())
    connection.sendall(
        f"GET /events HTTP/1.0\r\nHost: {parts.authority}\r\n"
        f"Accept: text/event-stream\r\n{head}\r\n".encode()
    )
    return connection


def what_came(connection: socket.socket) -> tuple[list[int], list[str], str]:
    """All that the connection still gives: positions, names of other events, the last id."""
    connection.settimeout(20)
    raw = b""
    while piece := connection.recv(1 << 20):
        raw += piece
    reader = EventReader()
    events = reader.feed(raw.partition(b"\r\n\r\n")[2])
    positions = [int(from_json(e.data)["id"]) for e in events if e.name == "message"]
    return positions, [e.name for e in events if e.name != "message"], reader.last_id


async def test_the_slow_are_cut_off_without_harm_to_the_others(
    gateway: GatewayProcess, database: Database
) -> None:
    async with aiohttp.ClientSession() as http:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(slow_socket(gateway.url)) for _ in range(SLOW)]
            async with watching(http, f"{gateway.url}/events") as quick:

                async def all_watch() -> bool:
                    return await metric(http, gateway, "event_watchers") == SLOW + 1

                async def all_cut_off() -> bool:
                    return await metric(http, gateway, "event_overruns_total") == SLOW

                await eventually(all_watch)
                before = memory_of(gateway.pid)
                async with asyncio.TaskGroup() as group:
                    seen: list[int] = []
                    group.create_task(read_until(quick, MANY, seen))
                    group.create_task(write_long(database, MANY, seen))
                    # At once: those who are cut off and still take nothing are let go a moment
                    # later, and are not told why.
                    await eventually(all_cut_off, CUT_OFF_S)
                    assert (memory_of(gateway.pid) - before) / SLOW < MAX_SLOW_BYTES
                    positions, others, last_id = await asyncio.to_thread(what_came, slow[0])
                assert seen == list(range(1, MANY + 1))
        assert others == ["overrun"]
        assert positions == list(range(1, len(positions) + 1))
        assert last_id == str(positions[-1])
        async with watching(http, f"{gateway.url}/events", last_id=last_id) as again:
            rest: list[int] = []
            await read_until(again, MANY, rest)
            assert rest == list(range(positions[-1] + 1, MANY + 1))
