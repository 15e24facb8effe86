"""Catalogues on loopback that answer as recorded, or as badly as they are told to.

They are real servers, speaking bytes. The answers of ``StubRucio`` are those of Rucio 41.5.1, as
far as they are read.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.connections import ConnectionLimits, LakeConnections
from gateway.clients.lakes.rucio import RucioLake, RucioLimits
from gateway.clients.lakes.rucio_api import RucioApi, is_token_refused, rucio_token
from gateway.clients.lakes.tokens import RucioLogin, TokenCache
from gateway.domain.holdings import Did, Holding
from gateway.domain.reasons import Reason
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import Asked, Behaviour, FaultyNode, http_reply, running

SCOPE: Final = "test"

Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""What a catalogue does with one call."""


def did(name: str) -> Did:
    """An identifier in the scope of the tests."""
    return Did(SCOPE, name)


def says(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    """Always the same."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(
            http_reply(body, status=status, content_type="application/octet-stream", headers=lines)
        )

    return answer


def fails(status: str, error_class: str = "", message: str = "") -> Answer:
    """A failure as Rucio words it."""
    failure = {"ExceptionClass": error_class, "ExceptionMessage": message}
    return says(json.dumps(failure).encode(), status)


async def hangs(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the call and says nothing."""
    del asked, writer
    await asyncio.Event().wait()


def drips(body: bytes, pause_s: float = 0.02) -> Answer:
    """The right answer, a byte at a time."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for index in range(len(body)):
            writer.write(body[index : index + 1])
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


def chunked(body: bytes, *, is_whole: bool = True) -> Answer:
    """In one chunk, as Rucio streams; not whole, the connection ends before the last one."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b""))
        if is_whole:
            writer.write(b"0\r\n\r\n")
        else:
            await writer.drain()
            writer.close()

    return answer


def lines(*rows: Mapping[str, Any]) -> bytes:
    """Rows as Rucio writes them."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass(slots=True)
class StubRucio:
    """A Rucio that knows these files, datasets and containers, and may be told to misbehave.

    ``files`` have their RSEs by name, ``datasets`` their files, ``containers`` their children; a
    file's size is ``size``. ``faults`` answer instead, by the beginning of the path; ``logins`` are
    the tokens given out, ``good`` those that are still taken.
    """

    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    containers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    size: float = 1000
    token_life_s: int = 3600
    faults: dict[str, Answer] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    logins: list[str] = field(default_factory=list)
    good: set[str] = field(default_factory=set)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one call."""
        path = urlsplit(asked.path).path
        kind = "deep" if path.endswith("/datasets") else path.split(f"/{SCOPE}/")[0]
        self.calls[kind] += 1
        fault = next((f for start, f in self.faults.items() if path.startswith(start)), None)
        if fault is not None:
            await fault(asked, writer)
        elif path == "/auth/userpass":
            await self._log_in(writer)
        elif asked.headers.get("x-rucio-auth-token") not in self.good:
            await fails("401 Unauthorized", "CannotAuthenticate")(asked, writer)
        else:
            await chunked(self._body(path, asked))(asked, writer)

    async def _log_in(self, writer: asyncio.StreamWriter) -> None:
        token = f"token-{len(self.logins)}"
        self.logins.append(token)
        self.good.add(token)
        minutes, seconds = divmod(self.token_life_s, 60)
        hours, minutes = divmod(minutes, 60)
        ends = f"{12 + hours}:{minutes:02}:{seconds:02}"
        headers = (
            f"X-Rucio-Auth-Token: {token}\r\n"
            "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
            f"X-Rucio-Auth-Token-Expires: Sun, 22 Nov 2026 {ends} UTC\r\n"
        )
        writer.write(http_reply(b"", status="200 OK", headers=headers))

    def _body(self, path: str, asked: Asked) -> bytes:
        match path:
            case "/ping":
                return b'{"version": "41.5.1"}'
            case "/rses/":
                return lines(*self._rses())
            case "/dids/bulkmeta":
                return lines(*map(self._meta, filter(self._knows, _asked_for(asked))))
            case "/replicas/list":
                return lines(*map(self._replica, self._files_of(_asked_for(asked))))
            case _:
                return self._about(path)

    def _about(self, path: str) -> bytes:
        name = path.removesuffix("/datasets").removesuffix("/dids").split(f"/{SCOPE}/")[1]
        if path.endswith("/datasets"):
            return lines(*self._deep(name))
        if path.endswith("/dids"):
            return lines(*map(self._child, self.containers.get(name, ())))
        return json.dumps({"bytes": 123.0, "length": 4}).encode()

    def _rses(self) -> list[dict[str, Any]]:
        known = sorted({rse for rses in self.files.values() for rse in rses})
        return [{"rse": rse, "availability_read": rse not in self.unreadable} for rse in known]

    def _files_of(self, names: list[str]) -> list[str]:
        files = [name for name in names if name in self.files]
        inside = [file for name in names for file in self.datasets.get(name, ())]
        return files + [file for file in inside if {*self.files[file]} - self.unreadable]

    def _knows(self, name: str) -> bool:
        return name in self.files or name in self.datasets or name in self.containers

    def _kind(self, name: str) -> str:
        if name in self.files:
            return "FILE"
        return "DATASET" if name in self.datasets else "CONTAINER"

    def _meta(self, name: str) -> dict[str, Any]:
        kind = self._kind(name)
        size = self.size if kind == "FILE" else None
        return {"scope": SCOPE, "name": name, "did_type": kind, "bytes": size, "is_open": True}

    def _child(self, name: str) -> dict[str, Any]:
        return {"scope": SCOPE, "name": name, "type": self._kind(name), "bytes": None}

    def _replica(self, name: str) -> dict[str, Any]:
        rses = [rse for rse in self.files[name] if rse not in self.unreadable]
        urls = {rse: f"davs://{rse.lower()}.invalid/{name}" for rse in rses}
        return {
            "scope": SCOPE,
            "name": name,
            "bytes": self.size,
            "md5": None,
            "adler32": "0cc737eb",
            "pfns": {
                url: {"rse": rse, "type": "TAPE" if "TAPE" in rse else "DISK", "priority": 1}
                for rse, url in urls.items()
            },
            "rses": {rse: [url] for rse, url in urls.items()},
            "states": dict.fromkeys(rses, "AVAILABLE"),
        }

    def _deep(self, name: str) -> list[dict[str, Any]]:
        files = self.datasets.get(name, ())
        held = Counter(rse for file in files for rse in self.files[file])
        return [
            {
                "rse": rse,
                "bytes": self.size * len(files),
                "length": len(files),
                "available_bytes": self.size * count,
                "available_length": count,
                "state": "AVAILABLE" if count == len(files) else "UNAVAILABLE",
            }
            for rse, count in held.items()
        ]


def _asked_for(asked: Asked) -> list[str]:
    return [item["name"] for item in json.loads(asked.body)["dids"]]


@dataclass(slots=True)
class Told:
    """Takes in what a lake client tells before it is done."""

    outcomes: list[tuple[Did, Holding | Reason, bool]] = field(default_factory=list)

    def __call__(self, did: Did, outcome: Holding | Reason, *, is_open: bool) -> None:
        """Take it in."""
        self.outcomes.append((did, outcome, is_open))


def in_s(seconds: float) -> float:
    """The loop's time in so many seconds."""
    return asyncio.get_running_loop().time() + seconds


def rucio_lake(
    connections: LakeConnections, url: str, limits: RucioLimits | None = None
) -> RucioLake:
    """A client for a Rucio there, logging in with a password."""
    login = RucioLogin(
        connections=connections,
        url=url,
        account="root",
        username="ddmlab",
        password=Secret("secret"),
    )
    caller = AuthorizedCaller(
        connections,
        url,
        TokenCache(login),
        to_headers=rucio_token,
        is_refused=is_token_refused,
    )
    return RucioLake("rucio", RucioApi(caller), limits)


@asynccontextmanager
async def running_rucio(
    stub: StubRucio,
    limits: RucioLimits | None = None,
    connection_limits: ConnectionLimits | None = None,
) -> AsyncIterator[RucioLake]:
    """A client of this stub, which is running."""
    async with running(stub) as server, LakeConnections(connection_limits) as connections:
        yield rucio_lake(connections, server.url, limits)


@asynccontextmanager
async def answering(answer: Behaviour) -> AsyncIterator[tuple[FaultyNode, LakeConnections]]:
    """A server that behaves so, and connections to ask it over."""
    async with running(answer) as server, LakeConnections() as connections:
        yield server, connections
