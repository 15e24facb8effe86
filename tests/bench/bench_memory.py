"""What a live session takes: memory of the gateway's process, and room in its database.

Every session is asked for, accepted and read once at a gateway with one node that gives one offer,
so that there is a request, an offer set and the events of each. What there is before the first
thousand is not counted: pools and caches that are filled once.
"""

import argparse
import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final
from uuid import UUID

from aiohttp import ClientSession

from gateway.wire.documents import Document, to_json
from tests.bench.federation import HEADERS, REQUEST, Target, federation, until_idle
from tests.bench.figures import Figure
from tests.bench.measure import memory_kib

_CALLERS: Final = 8
_LIVE: Final = frozenset({"ACCEPTED", "RUNNING"})
_ACCEPT: Final = to_json({"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"})


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Memory and room for each session between the smaller and the larger number."""
    few, many = options.live
    with federation(1, offers=1) as nodes:
        gateway = nodes.gateway()
        before_kib, before_bytes = asyncio.run(_grown(gateway, few))
        after_kib, after_bytes = asyncio.run(_grown(gateway, many - few))
    what = f"{few} to {many} sessions"
    each_kib = (after_kib - before_kib) / (many - few)
    each_bytes = (after_bytes - before_bytes) / (many - few)
    return [
        Figure(
            "memory of a live session",
            "KiB",
            (each_kib,),
            note=f"{what}, {after_kib / 1024:.0f} MiB in all",
        ),
        Figure("database of a live session", "KiB", (each_bytes / 1024,), note=what),
    ]


async def _grown(gateway: Target, count: int) -> tuple[int, int]:
    """Memory in KiB and database in bytes once there are so many more sessions."""
    numbers = iter(range(count))
    async with ClientSession(gateway.url, headers=HEADERS) as client, asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(_start(client, numbers))
    await until_idle(gateway)
    return memory_kib(gateway.process.pid, "VmRSS"), _size(gateway)


async def _start(client: ClientSession, numbers: Iterator[int]) -> None:
    """Have one session after the other."""
    for _ in numbers:
        offers = await _call(client, "POST", "/requests", REQUEST)
        path = f"/sessions/{UUID(offers['offers'][0]['meta']['uuid'])}"
        await _call(client, "POST", path, _ACCEPT)
        session = await _call(client, "GET", path)
        if session["phase"] not in _LIVE:
            message = f"a session is {session['phase']}"
            raise RuntimeError(message)


async def _call(
    client: ClientSession, method: str, path: str, body: bytes | None = None
) -> Document:
    async with client.request(method, path, data=body, allow_redirects=False) as answer:
        document: Document = await answer.json(content_type=None)
    if answer.status not in {200, 303}:
        message = f"{answer.status} for {method} {path}: {document}"
        raise RuntimeError(message)
    return document


def _size(gateway: Target) -> int:
    """Bytes of the database, what is still in its log included."""
    with closing(sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    return int(pages * page_bytes)
