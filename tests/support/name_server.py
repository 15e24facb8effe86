"""A name server of the tests' own, at the address where this machine looks for one."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, cast

from tests.support.netns import Namespace, ip

PORT: Final = 53

_HEADER_BYTES: Final = 12
_IS_ANSWER: Final = 0x8180
_NO_SUCH_NAME: Final = 3
_TYPE_A: Final = 1
_POINTER_TO_QUESTION: Final = 0xC00C
"""RFC 1035 section 4.1.4."""


class Temper(StrEnum):
    """How a name server answers."""

    FINE = "fine"
    DENIES = "denies"
    """There is no such name (NXDOMAIN)."""
    MUTE = "mute"
    """It hears, and says nothing."""


class NameServer(asyncio.DatagramProtocol):
    """Knows these names; ``temper`` may be changed at any time."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.temper = Temper.FINE
        self.asked: list[str] = []
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, end = _question(data)
        self.asked.append(name)
        assert self._transport is not None
        if self.temper is not Temper.MUTE:
            self._transport.sendto(self._answer(data, name, kind, end), addr)

    def _answer(self, query: bytes, name: str, kind: int, end: int) -> bytes:
        address = None if self.temper is Temper.DENIES else self._addresses.get(name)
        flags = _IS_ANSWER | (_NO_SUCH_NAME if address is None else 0)
        record = b""
        if address is not None and kind == _TYPE_A:
            packed = IPv4Address(address).packed
            record = struct.pack(">HHHIH", _POINTER_TO_QUESTION, _TYPE_A, 1, 0, 4) + packed
        head = query[:2] + struct.pack(">HHHHH", flags, 1, 1 if record else 0, 0, 0)
        return head + query[_HEADER_BYTES:end] + record


@asynccontextmanager
async def name_server(
    addresses: Mapping[str, str], namespace: Namespace
) -> AsyncIterator[NameServer]:
    """A name server in the namespace, which the running thread is in; it resolves to addresses."""
    for host in _asked_by_this_machine():
        namespace.run(partial(ip, "address", "replace", f"{host}/32", "dev", "lo"))
    server = NameServer(addresses)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, ("0.0.0.0", PORT))
    try:
        yield server
    finally:
        transport.close()


def _asked_by_this_machine() -> list[str]:
    text = Path("/etc/resolv.conf").read_text()
    return re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", text, re.MULTILINE)


def _question(query: bytes) -> tuple[str, int, int]:
    """The name and type asked for, and where the question ends."""
    labels, at = [], _HEADER_BYTES
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    (kind,) = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels).lower(), kind, at + 5
