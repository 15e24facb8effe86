"""One HTTP exchange as bytes: what was asked, and how to answer it, rightly or wrongly."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

MAX_BODY_BYTES: Final = 16 << 20
"""Longest request that is read: sixteen times what a broker takes by default."""

HEALTH_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Where a gateway looks whether a node lives."""

_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in; header names are lower case.

    ``turn`` is which request on its connection it is: the first has 1.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    turn: int = 1

    @property
    def route(self) -> str:
        """The path without its query."""
        return urlsplit(self.path).path

    @property
    def is_health(self) -> bool:
        """Whether it only asks if the node lives."""
        return self.route in HEALTH_PATHS

    @property
    def is_question(self) -> bool:
        """Whether it asks for offers."""
        return self.method == "POST" and self.route == "/requests"

    @property
    def origin(self) -> str:
        """What URLs in the answer begin with: where the client found this node."""
        return f"http://{self.headers.get('host', 'node.invalid')}"


Behaviour: TypeAlias = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""What a node does with a request. The connection is kept unless it closes the writer."""


async def read_request(reader: asyncio.StreamReader, turn: int = 1) -> Asked | None:
    """The next request on a connection; None where it ended, or what came is no request."""
    try:
        head = (await reader.readuntil(_HEAD_END)).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY_BYTES:
            return None
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return Asked(method, path, headers, body, turn)


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
