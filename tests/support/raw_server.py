"""A server that says bytes: what a transport makes of them is part of the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Line:
    """One connection as the server has it; ``number`` counts from 1."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "RawServer"

    async def request(self) -> bytes:
        """The next request, head and body.

        Raises
        ------
        asyncio.IncompleteReadError, ConnectionError
            The other side has ended the connection.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"\r\ncontent-length:")
        body = await self.reader.readexactly(int(rest.partition(b"\r")[0] or 0))
        self.server.requests.append(head + body)
        return head + body

    async def say(self, *pieces: bytes) -> None:
        """Send these, each in a segment of its own where the network lets it be."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)


Talk = Callable[[Line], Awaitable[None]]
"""What the server does with a connection, which ends with it."""


@dataclass(slots=True)
class RawServer:
    """A running server: where it is, and what became of each connection."""

    url: str
    connections: int = 0
    ended: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def speaking(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server that talks so on each connection, on a free port, until the block ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await talk(Line(server.connections, reader, writer, server))
        except asyncio.CancelledError:
            return  # the block ended while this connection was open
        finally:
            server.ended += 1
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server = RawServer(f"http{'s' if tls else ''}://127.0.0.1:{port}")
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks)


def answering(*answers: bytes) -> Talk:
    """Each request on a connection gets the next of these, and then the connection ends."""

    async def talk(line: Line) -> None:
        for answer in answers:
            await line.request()
            await line.say(answer)

    return talk
