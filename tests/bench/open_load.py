"""Load that does not wait: requests at a rate, and what each of them came to.

A closed loop would ask less where answers are slow, and so hide the slow ones. Here time runs from
the moment at which a request was due.
"""

import asyncio
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from gateway.wire.documents import Document


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: what came back, and how long after it was due."""

    status: int
    headers: Mapping[str, str]
    took_s: float
    body: bytes

    @property
    def document(self) -> Document:
        """The answer; JSON."""
        document: Document = json.loads(self.body)
        return document


class Gun:
    """Posts the same request over as many connections as it takes. Use as a context manager."""

    def __init__(self, url: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        host, _, port = url.rpartition("//")[2].partition(":")
        self._address = host, int(port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> "Gun":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for _, writer in self._idle:
            writer.close()

    async def fire(self, due: float | None = None) -> Shot:
        """One request; ``due`` is when it should have been made, in ``perf_counter`` seconds."""
        began = perf_counter() if due is None else due
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(*self._address, limit=1 << 26)
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        found = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(found[1]) if found else 0)
        took_s = perf_counter() - began
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return Shot(int(head.split(" ", 2)[1]), headers, took_s, body)

    async def volley(self, rate_per_s: float, seconds: float) -> list[Shot]:
        """Requests at even distances for so long, whatever becomes of those before."""
        shots: list[Shot] = []
        began = perf_counter()

        async def one(due: float) -> None:
            shots.append(await self.fire(due))

        async with asyncio.TaskGroup() as group:
            for number in range(int(rate_per_s * seconds)):
                due = began + number / rate_per_s
                await asyncio.sleep(max(0.0, due - perf_counter()))
                group.create_task(one(due))
        return shots

    async def saturate(self, callers: int, seconds: float) -> list[Shot]:
        """So many callers that each ask again as soon as they have their answer."""
        shots: list[Shot] = []
        until = perf_counter() + seconds

        async def one() -> None:
            while perf_counter() < until:
                shots.append(await self.fire())

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(one())
        return shots


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def outcomes(document: Document) -> dict[str, Any]:
    """Each node's line of the coverage, by its name."""
    return {entry["node"]: entry for entry in document["federation"]["coverage"]}
