"""A session followed live: its phases, and what it writes, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from rich.console import Console

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.telling import Timeline
from gateway.cli.errors import messages_of
from gateway.wire.documents import Document
from gateway.wire.outputs import STREAMS
from gateway.wire.phases import SessionPhase

RUN_S: Final = 200.0
"""How long the session may take to its end."""


async def follow(to: Console, client: ExecutionBrokerClient, session: UUID) -> None:
    """Tell phases and logs of a session until it has ended.

    Raises
    ------
    DemoError
        It did not end in time, or not well.
    BrokerError
    """
    timeline = Timeline(to)
    try:
        async with asyncio.timeout(RUN_S), asyncio.TaskGroup() as tasks:
            for stream in STREAMS:
                tasks.create_task(_tell_log(timeline, client, session, stream))
            watching = tasks.create_task(_tell_phases(timeline, client, session))
    except TimeoutError as error:
        raise DemoError(f"the session has not ended within {RUN_S:g} s") from error
    except ExceptionGroup as group:
        raise group.exceptions[0] from group  # the others are consequences
    ended = watching.result()
    if ended.get("phase") != SessionPhase.COMPLETED:
        reasons = "; ".join(messages_of(ended))
        raise DemoError(f"the session ended as {ended.get('phase')}: {reasons}")


async def _tell_phases(timeline: Timeline, client: ExecutionBrokerClient, uuid: UUID) -> Document:
    """The session as it ended."""
    session: Document = {}
    phase = None
    async for session in client.watch(uuid):
        if session.get("phase") != phase:
            phase = session.get("phase")
            timeline.phase(str(phase))
    return session


async def _tell_log(
    timeline: Timeline, client: ExecutionBrokerClient, uuid: UUID, stream: str
) -> None:
    async for line in lines_of(client.logs(uuid, stream, follow=True)):
        if line.strip():
            timeline.line(stream, line)


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Whole lines out of pieces; the last may lack its end."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
