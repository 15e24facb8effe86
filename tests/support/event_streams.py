"""Streams of a gateway's events as readers see them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from gateway.cli.events import Event, EventReader
from gateway.wire.documents import Document, from_json
from tests.support.node import ADMIN, Account

PREFIX: Final = "int.skao.srcnet.execbroker."

NEXT_S: Final = 10.0
"""How long an event may take to come on a busy machine; usually some hundredths of a second."""


class EventsSeen:
    """A stream that is read; ``id`` is where it has got to."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self._reader = EventReader()
        self._waiting: list[Event] = []
        self._taken = ""

    @property
    def id(self) -> str:
        """What is to be sent as ``Last-Event-ID`` by who comes back."""
        return self._taken if self._waiting else self._reader.last_id

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        async with asyncio.timeout(NEXT_S):
            while not self._waiting:
                piece = await self.answer.content.readany()
                if not piece:
                    return None
                self._waiting = self._reader.feed(piece)
        event = self._waiting.pop(0)
        self._taken = event.id
        return event

    async def cloud_event(self) -> Document:
        """The next event, which must be a CloudEvent."""
        event = await self.next()
        assert event is not None, "the stream ended"
        assert event.name == "message", event
        document: Document = from_json(event.data)
        assert document["id"] == event.id
        return document

    async def until(self, kind: str) -> list[Document]:
        """All up to the next one of this type, which goes without what every type begins with."""
        seen: list[Document] = []
        while not seen or seen[-1]["type"] != PREFIX + kind:
            seen.append(await self.cloud_event())
        return seen

    async def rest(self) -> list[Document]:
        """All until the end of the stream."""
        seen: list[Document] = []
        while (event := await self.next()) is not None:
            seen.append(from_json(event.data))
        return seen


def kinds(events: list[Document]) -> list[str]:
    """Their types, without what every type begins with."""
    return [event["type"].removeprefix(PREFIX) for event in events]


@asynccontextmanager
async def watching(
    http: aiohttp.ClientSession,
    url: str,
    *,
    account: Account = ADMIN,
    last_id: str | None = None,
    status: int = 200,
) -> AsyncIterator[EventsSeen]:
    """Open a stream, and leave it at the end of the block."""
    headers = {"Accept": "text/event-stream", **account.headers}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with http.get(url, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        yield EventsSeen(answer)
