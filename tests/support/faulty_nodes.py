"""Node brokers on loopback, each named for its fault, and a healthy one to stand beside them.

They are real servers, speaking bytes: what a transport makes of them is part of the test.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4
from weakref import WeakSet

from gateway.wire.documents import Document
from gateway.wire.kinds import (
    DOCKER_CONTAINER,
    MINMAX_COST,
    MONETARY_COST,
    OFFERSET,
    SCHEDULED_SESSION,
    SIMPLE_COMPUTE,
)

HEALTHY_OFFERS: Final = 4
"""Offers in each answer of the healthy node."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""What a node does with a request. The connection is kept unless it closes the writer."""


@dataclass(slots=True)
class FaultyNode:
    """A running node: where it is, and all that it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def offer_document(url: str = "http://node.invalid", *, start_in_s: float = 60) -> Document:
    """A valid offer with fresh UUIDs."""
    now = datetime.now(UTC)
    start = _instant(now + timedelta(seconds=start_in_s))
    session, executable, compute = (str(uuid4()) for _ in range(3))
    return {
        "kind": SCHEDULED_SESSION,
        "meta": {"uuid": session, "url": f"{url}/sessions/{session}", "created": _instant(now)},
        "costs": [{"kind": MINMAX_COST, "type": MONETARY_COST, "min": 0.1, "max": 0.5}],
        "executable": {
            "kind": DOCKER_CONTAINER,
            "meta": {"uuid": executable, "url": f"{url}/executables/{executable}"},
            "phase": "INITIALIZING",
            "image": {"locations": ["registry.example.org/example/image:1"]},
        },
        "compute": {
            "kind": SIMPLE_COMPUTE,
            "meta": {"uuid": compute, "url": f"{url}/compute/{compute}"},
            "phase": "INITIALIZING",
            "schedule": {"available": {"start": f"{start}/PT5M", "duration": "PT30M"}},
            "cores": {"min": 2, "max": 2},
            "memory": {"min": 2, "max": 2},
        },
        "phase": "OFFERED",
        "expires": _instant(now + timedelta(seconds=300)),
    }


def offerset_document(offers: list[Document], url: str = "http://node.invalid") -> Document:
    """A valid answer to a request: YES with these offers, NO without."""
    uuid = str(uuid4())
    document: Document = {
        "kind": OFFERSET,
        "meta": {"uuid": uuid, "url": f"{url}/offersets/{uuid}"},
        "result": "YES" if offers else "NO",
    }
    if offers:
        document["offers"] = offers
    return document


def http_reply(
    body: bytes,
    *,
    status: str = "303 See Other",
    content_type: str | None = "application/json",
    headers: str = "",
    length: int | None = None,
) -> bytes:
    """The bytes of an HTTP answer; ``length`` to promise another length than there is."""
    kind = f"Content-Type: {content_type}\r\n" if content_type is not None else ""
    promised = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\n{kind}{headers}Content-Length: {promised}\r\n\r\n"
    return head.encode() + body


def healthy_answer(offers: int = HEALTHY_OFFERS) -> bytes:
    """The body of a good answer with fresh UUIDs."""
    return json.dumps(offerset_document([offer_document() for _ in range(offers)])).encode()


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Asked(method, path, headers, body)


@asynccontextmanager
async def running(behaviour: Behaviour) -> AsyncIterator[FaultyNode]:
    """A node that behaves so, on a free port, until the block ends."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        node.connections += 1
        try:
            while (asked := await _read_request(reader)) is not None:
                node.asked.append(asked)
                with suppress(ConnectionError):
                    await behaviour(asked, writer)
                    await writer.drain()
                if writer.is_closing():
                    break
        except asyncio.CancelledError:
            return  # the block ended while this connection was open
        finally:
            connections.discard(task)
            writer.transport.abort() if not writer.is_closing() else None

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    node = FaultyNode(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield node
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections)


@contextmanager
def refuses() -> Iterator[FaultyNode]:
    """A port that is taken and not listened on: every connection is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield FaultyNode(f"http://127.0.0.1:{taken.getsockname()[1]}")


def healthy(offers: int = HEALTHY_OFFERS) -> Behaviour:
    """Answers at once, with so many good offers."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(http_reply(healthy_answer(offers)))

    return behave


def honours_idempotency(offers: int = HEALTHY_OFFERS) -> Behaviour:
    """Gives the same answer to the same key, and says so by repeating the key."""
    known: dict[str, bytes] = {}

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        key = asked.headers.get("idempotency-key", "")
        body = known.setdefault(key, healthy_answer(offers))
        writer.write(http_reply(body, headers=f"Idempotency-Key: {key}\r\n"))

    return behave


def says_no(text: str = "no capacity") -> Behaviour:
    """A proper refusal."""
    document = offerset_document([])
    document["meta"]["messages"] = [
        {
            "kind": "urn:no-capacity",
            "time": "2026-08-03T09:00:00Z",
            "level": "WARN",
            "template": text,
            "message": text,
        }
    ]
    return _says(http_reply(json.dumps(document).encode()))


def _says(reply: bytes) -> Behaviour:
    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(reply)

    return behave


async def says_yes_without_offers(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A YES with nothing in it."""
    del asked
    document = offerset_document([]) | {"result": "YES"}
    writer.write(http_reply(json.dumps(document).encode()))


async def hangs_before_headers(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    del asked, writer
    await asyncio.Event().wait()


async def hangs_mid_body(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says half of a good answer, and then nothing."""
    del asked
    reply = http_reply(healthy_answer())
    writer.write(reply[: len(reply) // 2])
    await asyncio.Event().wait()


def drips(interval_s: float = 1.0) -> Behaviour:
    """A good answer, one byte at a time."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        for byte in http_reply(healthy_answer()):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(interval_s)

    return behave


def answers_late(delay_s: float, offers: int = HEALTHY_OFFERS) -> Behaviour:
    """A good answer, after so long."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        await asyncio.sleep(delay_s)
        writer.write(http_reply(healthy_answer(offers)))

    return behave


def answers_status(status: str, body: bytes = b"") -> Behaviour:
    """Fails, in proper HTTP."""
    return _says(http_reply(body, status=status))


answers_500: Final = answers_status("500 Internal Server Error", b'{"status": 500}')
"""Fails, in proper HTTP."""

refuses_credentials: Final = answers_status("401 Unauthorized")
"""Does not know who asks."""

speaks_no_http: Final = _says(b"\x00\x01SSH-2.0-broken\r\n\r\n")
"""Answers in another protocol."""

answers_garbage: Final = _says(http_reply(b"{\xff\xfe garbage"))
"""Answers proper HTTP whose body is no JSON."""

answers_wrong_type: Final = _says(http_reply(b"[1, 2, 3]"))
"""Answers JSON that is no object."""

wrong_content_type: Final = _says(http_reply(b"<html>log in</html>", content_type="text/html"))
"""Answers a web page, as a proxy in front of it may."""

redirects_elsewhere: Final = _says(
    http_reply(b"", headers="Location: http://192.0.2.1/offersets/1\r\n")
)
"""Redirects to another server, and leaves the document out."""


async def redirects_home(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Redirects to itself and leaves the document out; answers it there."""
    if asked.method == "POST":
        writer.write(http_reply(b"", headers="Location: /offersets/1\r\n"))
    else:
        writer.write(http_reply(healthy_answer(), status="200 OK"))


async def closes_mid_body(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says half of a good answer and closes."""
    del asked
    body = healthy_answer()
    writer.write(http_reply(body[: len(body) // 2], length=len(body)))
    await writer.drain()
    writer.close()


async def closes_before_headers(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and closes."""
    del asked
    writer.close()


def closes_first(then: Behaviour) -> Behaviour:
    """Closes on the first request without a word, and behaves from the second on."""
    is_first = True

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            writer.close()
        else:
            await then(asked, writer)

    return behave


def closes_idle_on_use(then: Behaviour) -> Behaviour:
    """Answers once on each connection and closes it when it is used again."""
    used: WeakSet[asyncio.StreamWriter] = WeakSet()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if writer in used:
            writer.close()
            return
        used.add(writer)
        await then(asked, writer)

    return behave


def huge_body(size: int = 64 << 20, *, says_length: bool = True) -> Behaviour:
    """An answer of so many bytes; without a length it comes in chunks."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        if says_length:
            writer.write(http_reply(b"", length=size))
        else:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b" " * (64 << 10)
        for _ in range(size // len(piece)):
            writer.write(piece if says_length else b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        if not says_length:
            writer.write(b"0\r\n\r\n")

    return behave


def _with_offer(change: Callable[[Document], None], good: int = 0) -> Behaviour:
    """Answers one offer that was changed for the worse, beside so many good ones."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        bad = offer_document()
        change(bad)
        offers = [offer_document() for _ in range(good)]
        writer.write(http_reply(json.dumps(offerset_document([bad, *offers])).encode()))

    return behave


def answers_unknown_kind(good: int = 0) -> Behaviour:
    """An offer of a session kind that breaks clients."""
    return _with_offer(lambda offer: offer.update(kind="urn:example:another-session"), good)


def answers_bad_phase(good: int = 0) -> Behaviour:
    """An offer in a phase that breaks clients."""
    return _with_offer(lambda offer: offer.update(phase="READY"), good)


def doubles_an_offer() -> Behaviour:
    """The same offer twice in one answer."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        offer = offer_document()
        writer.write(http_reply(json.dumps(offerset_document([offer, offer])).encode()))

    return behave


def answers_unchanged_to_accept() -> Behaviour:
    """Offers, and answers every update of an offer 200 with the session as it was."""
    offers: dict[str, Document] = {}

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        uuid = asked.path.rpartition("/")[2]
        if asked.path.startswith("/sessions/") and uuid in offers:
            writer.write(http_reply(json.dumps(offers[uuid]).encode(), status="200 OK"))
        elif asked.path.startswith("/requests"):
            offer = offer_document()
            offers[offer["meta"]["uuid"]] = offer
            writer.write(http_reply(json.dumps(offerset_document([offer])).encode()))
        else:
            writer.write(http_reply(b"", status="404 Not Found"))

    return behave
