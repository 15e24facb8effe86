"""The server of a misbehaving node: bytes over TCP, each connection served until it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from node_stub.misbehave.exchange import Asked, Behaviour, read_request

LIMIT_BYTES: Final = 1 << 16
"""The longest head of a request, and what is read ahead: what asyncio takes by default."""


class _Protocol(asyncio.StreamReaderProtocol):
    """Closes the connection once its client has, so that nobody waits for one who has gone."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


class _Serving:
    """The connections of one server. ``on_asked`` sees each request before it is answered."""

    def __init__(self, behaviour: Behaviour, on_asked: Callable[[Asked], None]) -> None:
        self.connections: set[asyncio.Task[None]] = set()
        self._behaviour = behaviour
        self._on_asked = on_asked

    def protocol(self) -> asyncio.Protocol:
        """A protocol for one more connection."""
        reader = asyncio.StreamReader(LIMIT_BYTES)
        return _Protocol(reader, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            await self._converse(reader, writer)
        except asyncio.CancelledError:
            return  # the server ends; asyncio would report a cancelled connection as a defect
        finally:
            self.connections.discard(task)
            if not writer.is_closing():
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 1
        while (asked := await read_request(reader, turn)) is not None:
            self._on_asked(asked)
            with suppress(ConnectionError):
                await self._behaviour(asked, writer)
                await writer.drain()
            if writer.is_closing():
                break
            turn += 1


@asynccontextmanager
async def serving(
    behaviour: Behaviour,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    on_asked: Callable[[Asked], None] = lambda _: None,
) -> AsyncIterator[str]:
    """A node that behaves so, until the block ends: its URL. Port 0 picks a free one.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """
    serves = _Serving(behaviour, on_asked)
    server = await asyncio.get_running_loop().create_server(serves.protocol, host, port)
    try:
        yield url_of(server.sockets[0].getsockname())
    finally:
        server.close()
        connections = tuple(serves.connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections)


@contextmanager
def refusing(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """A port that is taken and not listened on, so that every connection is refused: its URL.

    Raises
    ------
    OSError
        The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        if port:  # connections of who listened there before may still be dying (TIME-WAIT)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        yield url_of(taken.getsockname())


def url_of(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """The URL of a server at a socket's address."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
