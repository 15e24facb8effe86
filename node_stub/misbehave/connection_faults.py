"""Faults of time and of the connection: what is said is right, as far as it is said."""

import asyncio
import socket
import struct
from time import monotonic
from typing import Final, cast

from node_stub.misbehave.exchange import Asked, http_reply
from node_stub.misbehave.stage import Stage

HUGE_BYTES: Final = 1 << 30
"""Where an answer without end does end, for a client that would take it all."""

_PIECE: Final = b" " * (64 << 10)
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` on and 0 s: closing sends RST in place of FIN (socket(7))."""


async def healthy(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers at once and well; its sessions run for a second."""
    await stage.answer_well(asked, writer)


async def hung(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes every request and never answers."""
    del stage, asked
    await writer.wait_closed()


async def hung_mid_body(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says half of a good answer, and then nothing more."""
    reply = stage.broker.answer(asked)
    writer.write(reply[: len(reply) // 2])
    await writer.wait_closed()


async def slow(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers well, but only after its delay."""
    await asyncio.sleep(stage.delay_s)
    await stage.answer_well(asked, writer)


async def drip(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Sends a good answer one byte at a time, its delay between two."""
    await trickle(writer, stage.broker.answer(asked), stage.delay_s)


async def refuse(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Does not listen: every connection is refused; among other behaviours it resets instead."""
    await reset(stage, asked, writer)


async def reset(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and resets the connection (RST)."""
    del stage, asked
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


async def closes(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and closes the connection without a word."""
    del stage, asked
    writer.close()


async def cut(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Closes the connection in the middle of a good answer's body."""
    head, gap, body = stage.broker.answer(asked).partition(b"\r\n\r\n")
    writer.write(head + gap + body[: len(body) // 2])
    await writer.drain()
    writer.close()


async def stale_keepalive(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers the first request on a connection, and closes it when it is used again."""
    if asked.turn > 1:
        writer.close()
    else:
        await stage.answer_well(asked, writer)


async def half_open(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers the first request on a connection; then it reads, says and closes nothing there."""
    if asked.turn == 1:
        await stage.answer_well(asked, writer)
        return
    cast("asyncio.Transport", writer.transport).pause_reading()
    await asyncio.sleep(stage.delay_s)  # it does not see the client close: so it does not for ever
    writer.close()


async def flapping(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Is well for its delay, closes every connection at use for as long, and so on in turn."""
    if (monotonic() - stage.began) // stage.delay_s % 2:
        writer.close()
    else:
        await stage.answer_well(asked, writer)


async def garbage(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers in another protocol than HTTP."""
    del stage, asked
    writer.write(b"\x00\x01SSH-2.0-broken\r\n\r\n")


async def wrong_length(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Promises half of the body that it sends; the rest lies about on the connection."""
    _, _, body = stage.broker.answer(asked).partition(b"\r\n\r\n")
    writer.write(http_reply(body, length=len(body) // 2))


async def desync(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Sends two answers to one request, so that the next would be given the second."""
    writer.write(stage.broker.answer(asked) + stage.broker.answer(asked))


async def huge(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers with a body that does not end."""
    del stage, asked
    await pour(writer, HUGE_BYTES, says_length=False)


async def pour(writer: asyncio.StreamWriter, size: int, *, says_length: bool) -> None:
    """Answer with so many blanks; without their number they come in chunks."""
    if says_length:
        writer.write(http_reply(b"", length=size))
    else:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(size // len(_PIECE)):
        writer.write(_PIECE if says_length else b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE))
        await writer.drain()
    if not says_length:
        writer.write(b"0\r\n\r\n")


async def trickle(writer: asyncio.StreamWriter, reply: bytes, interval_s: float) -> None:
    """Send this one byte at a time."""
    for byte in reply:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(interval_s)
