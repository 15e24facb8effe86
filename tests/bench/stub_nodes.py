"""Stub node brokers for measurements: many ports, one process, as cheap as they can be.

Run as ``python -m tests.bench.stub_nodes COUNT DELAY_MS OFFERS``. The first line on standard output
is a JSON list of their URLs. Every answer has fresh UUIDs and lives another five minutes. ``GET
/counts`` at any of them tells how often each path was asked.
"""

import asyncio
import gc
import itertools
import json
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from gateway.wire import kinds
from gateway.wire.documents import Document

_UUID_MARK: Final = re.compile(r"@(\d+)@")
_TEXT: Final = (
    "Offered under the terms of the federation: metering, billing, data residency and the notice "
    "to be given of incidents. Burst capacity is best effort. "
)
_RENEW_S: Final = 60.0
"""How long an answer's instants serve; offers live five minutes."""

counts: Counter[str] = Counter()


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _meta(mark: int, path: str, name: str) -> Document:
    url = f"http://node-01:8080/{path}/@{mark}@"
    return {"uuid": f"@{mark}@", "name": name, "url": url, "created": "2026-08-03T09:00:12Z"}


def _quotes(kind: str, *types: str) -> list[Document]:
    return [
        {"kind": kind, "type": type_urn, "description": _TEXT[:40], "min": 0.1 * i, "max": 0.5 * i}
        for i, type_urn in enumerate(types, 1)
    ]


def offer(first_mark: int, index: int, now: datetime) -> Document:
    """An offer of about 4 KB; its UUIDs are the marks from ``first_mark`` on."""
    executable, compute, volume, storage, data = range(first_mark + 1, first_mark + 6)
    start = _instant(now + timedelta(minutes=10 + 20 * index))
    schedule = {
        "preparing": {"start": _instant(now + timedelta(minutes=9)), "duration": "PT10S"},
        "available": {"start": f"{start}/PT5M", "duration": "PT30M"},
        "releasing": {"start": _instant(now + timedelta(minutes=60)), "duration": "PT10S"},
    }
    return {
        "kind": kinds.SCHEDULED_SESSION,
        "meta": _meta(first_mark, "sessions", f"offer-{index}") | {"description": _TEXT},
        "costs": _quotes(
            kinds.MINMAX_COST, kinds.MONETARY_COST, kinds.ENERGY_COST, kinds.CARBON_COST
        ),
        "metrics": _quotes(kinds.MINMAX_METRIC, kinds.COMPUTE_PERFORMANCE),
        "executable": {
            "kind": kinds.DOCKER_CONTAINER,
            "meta": _meta(executable, "executables", "reduce"),
            "phase": "INITIALIZING",
            "image": {
                "locations": ["registry.example.org/team/reduce:1.4"],
                "digest": "sha256:" + "6e" * 32,
                "platform": {"architecture": "amd64", "os": "linux"},
            },
            "privileged": False,
            "command": ["reduce", "--all"],
            "environment": {"MODE": "demo"},
        },
        "compute": {
            "kind": kinds.SIMPLE_COMPUTE,
            "meta": _meta(compute, "compute", "cpu"),
            "phase": "INITIALIZING",
            "schedule": schedule,
            "cores": {"min": 2 + index, "max": 2 + index},
            "memory": {"min": 4, "max": 4},
            "volumes": [
                {
                    "kind": kinds.SIMPLE_VOLUME,
                    "meta": _meta(volume, "volumes", "in"),
                    "path": "/input",
                    "mode": "READONLY",
                    "resource": f"@{data}@",
                }
            ],
        },
        "storage": [
            {
                "kind": kinds.SIMPLE_STORAGE,
                "meta": _meta(storage, "storage", "scratch"),
                "phase": "INITIALIZING",
                "size": {"min": 10, "max": 10},
                "data": [f"@{data}@"],
            }
        ],
        "data": [
            {
                "kind": kinds.SIMPLE_DATA,
                "meta": _meta(data, "data", "obs"),
                "phase": "INITIALIZING",
                "storage": f"@{storage}@",
                "location": "https://archive.example.org/data/obs-000042.fits",
            }
        ],
        "phase": "OFFERED",
        "expires": _instant(now + timedelta(minutes=5)),
    }


class Template:
    """A document with marks for UUIDs, filled with fresh ones at little cost."""

    def __init__(self, document: Document) -> None:
        parts = _UUID_MARK.split(json.dumps(document, separators=(",", ":")))
        self._parts = parts
        self._marks = [int(mark) for mark in parts[1::2]]
        self._count = max(self._marks, default=-1) + 1

    def fill(self, serial: Iterator[int], prefix: str) -> bytes:
        """The text with UUIDs that no other answer has."""
        uuids = [f"{prefix}-4000-8000-{next(serial):012x}" for _ in range(self._count)]
        self._parts[1::2] = [uuids[mark] for mark in self._marks]
        return "".join(self._parts).encode()


class StubNode:
    """What one port says."""

    def __init__(self, offers: int) -> None:
        self._offers = offers
        self._serial = itertools.count()
        self._prefix = f"{secrets.token_hex(4)}-{secrets.token_hex(2)}"
        self._made = 0.0
        self._accepted: set[str] = set()
        self._answer: Template
        self._session: Document

    def offerset(self, now: float) -> bytes:
        """An answer with fresh offers."""
        self._renew(now)
        return self._answer.fill(self._serial, self._prefix)

    def move(self, now: float, uuid: str, phase: str) -> bytes:
        """The session of this UUID, told to go to this phase."""
        if phase == "ACCEPTED":
            self._accepted.add(uuid)
        else:
            self._accepted.discard(uuid)
        return self.session(now, uuid, phase)

    def read(self, now: float, uuid: str) -> bytes:
        """The session of this UUID as it is: an offer, or at work since it was accepted."""
        return self.session(now, uuid, "RUNNING" if uuid in self._accepted else "OFFERED")

    def session(self, now: float, uuid: str, phase: str) -> bytes:
        """The session of this UUID in this phase."""
        self._renew(now)
        self._session["meta"]["uuid"] = uuid
        self._session["phase"] = phase
        return Template(self._session).fill(self._serial, self._prefix)

    def _renew(self, now: float) -> None:
        if self._made and now - self._made < _RENEW_S:
            return
        self._made = now
        today = datetime.now(UTC)
        self._session = offer(0, 0, today)
        document = {
            "kind": kinds.OFFERSET,
            "meta": _meta(0, "offersets", "answer"),
            "result": "YES",
            "offers": [offer(1 + 6 * i, i, today) for i in range(self._offers)],
        }
        self._answer = Template(document)


class Connection(asyncio.Protocol):
    """What one client hears. ``delay_s`` gives the wait before each answer to a request."""

    def __init__(self, node: StubNode, delay_s: Callable[[], float]) -> None:
        self._node = node
        self._delay_s = delay_s
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._asked(head, body)

    def _asked(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        now = self._loop.time()
        key = re.search(rb"(?i)\r\n(idempotency-key: *[^\r]*)", head)
        extra = key[1] + b"\r\n" if key else b""
        if path.startswith("/requests"):
            counts["requests"] += 1
            status, answer = b"303 See Other", self._node.offerset(now)
        elif path.startswith("/sessions/"):
            found = re.search(rb'"value" *: *"([A-Z]+)"', body)
            uuid = path.rpartition("/")[2]
            phase = found[1].decode() if found else None
            counts[phase or "read"] += 1
            status = b"200 OK"
            answer = self._node.move(now, uuid, phase) if phase else self._node.read(now, uuid)
        elif path == "/counts":
            status, answer = b"200 OK", json.dumps(counts).encode()
        else:
            status, answer = b"404 Not Found", b"{}"
        reply = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        reply %= (status, extra, len(answer), answer)
        delay_s = self._delay_s() if path.startswith("/requests") else 0.0
        if delay_s:
            self._loop.call_later(delay_s, self._transport.write, reply)
        else:
            self._transport.write(reply)


async def serve(count: int, delay_s: float, offers: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    urls = []
    for _ in range(count):
        connection = partial(Connection, StubNode(offers), lambda: delay_s)
        server = await loop.create_server(connection, "127.0.0.1", 0, backlog=512)
        urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    print(json.dumps(urls), flush=True)
    gc.freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000, int(sys.argv[3])))
