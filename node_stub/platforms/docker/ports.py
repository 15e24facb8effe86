"""Whether anybody answers at a published port, and what users are told of it.

An engine's proxy takes connections as soon as the container runs, long before the program in it
listens, and then closes them: only an answer, or a connection that stays open, tells.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from node_stub.platforms.base import Reachable
from node_stub.platforms.docker.records import Port

PROBE_S: Final = 2.0
"""What one question may take."""

STAYS_OPEN_S: Final = 0.3
"""A connection to a program that waits for its client is still open after this."""

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where those are asked


def location_of(port: Port, host: str, number: int) -> str:
    """Where users find a port."""
    named = f"[{host}]" if ":" in host else host
    if port.protocol in {"HTTP", "HTTPS"}:
        path = port.path if port.path.startswith("/") else f"/{port.path}"
        return f"{port.protocol.lower()}://{named}:{number}{path}"
    return f"{port.protocol.lower()}://{named}:{number}"


async def wait_for_answer(port: Port, address: str, number: int) -> None:
    """Return when the program behind a port answers; UDP has nobody to ask."""
    wait_s = FIRST_WAIT_S
    while port.protocol != "UDP" and not await answers(port, address, number):
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def answers(port: Port, address: str, number: int) -> bool:
    """Whether the program behind a port answers now."""
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(
                _EVERYWHERE.get(address, address), number
            )
    except OSError:
        return False
    try:
        if port.protocol == "HTTP":
            return await _speaks_http(reader, writer, port.path)
        return await _stays_open(reader)
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _speaks_http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> bool:
    target = path if path.startswith("/") else "/"
    writer.write(f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PROBE_S):
        return (await reader.read(5)).startswith(b"HTTP")


async def _stays_open(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(STAYS_OPEN_S):
            return bool(await reader.read(1))
    except TimeoutError:
        return True


def found(ports: Sequence[Port], host: str, numbers: Sequence[int]) -> tuple[Reachable, ...]:
    """Ports that answer, with their places among the executable's."""
    return tuple(
        Reachable(port.index, location_of(port, host, number))
        for port, number in zip(ports, numbers, strict=True)
    )
