"""The feed of events: everything once and in order, whenever a watch begins, and nobody waits."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.clock import SystemClock
from gateway.domain.cloud_events import Occurrence
from gateway.services.event_feed import QUEUE, EventFeed, Watch
from gateway.services.event_metrics import EventMetrics
from gateway.stores.database import Database
from gateway.stores.events import Event, EventScope, EventStore
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)

NEXT_S = 5.0
"""What is read from a database of this machine is there in milliseconds."""

Batches = AsyncGenerator[Sequence[Occurrence]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A feed, and the database that it reads."""

    database: Database
    events: EventStore
    feed: EventFeed

    async def add(self, count: int = 1, owner: str = "ann") -> None:
        """So many events, with their positions given by another gateway."""
        other = EventStore()
        async with self.database.transaction() as tx:
            for _ in range(count):
                await other.add(tx, Event(NOW, "noted", "gateway", owner=owner))
        async with self.database.transaction() as tx:
            await other.place(tx, count)

    def watch(self, after: int | None, owner: str | None = None) -> tuple[Watch, Batches]:
        """Somebody who watches, from that position on."""

        async def is_over(_position: int) -> bool:
            return False

        watch = Watch(EventScope(owner=owner))
        return watch, self.feed.watch(watch, after=after, is_over=is_over)


@pytest.fixture
async def scene(store: Store, tmp_path: Path) -> AsyncIterator[Scene]:
    async with store.opened(tmp_path) as database:
        events = EventStore()
        metrics = EventMetrics(CollectorRegistry())
        yield Scene(
            database,
            events,
            EventFeed(database, events, SystemClock(), metrics, placed=asyncio.Event()),
        )


async def some(batches: Batches) -> list[int]:
    """The positions in the next batch that has any."""
    async with asyncio.timeout(NEXT_S):
        while True:
            if found := [one.position for one in await anext(batches)]:
                return found


async def begun(batches: Batches) -> None:
    """It has caught up, and is handed what comes."""
    async with asyncio.timeout(NEXT_S):
        assert await anext(batches) == ()


async def test_what_happens_while_a_watch_catches_up_is_not_missed(scene: Scene) -> None:
    await scene.add()
    watch, batches = scene.watch(0)
    async with aclosing(batches):
        assert await some(batches) == [1]
        # It has read all there was, and is not being handed anything yet.
        await scene.add()
        assert await some(batches) == [2]
        await begun(batches)
        await scene.add()
        await scene.feed.run()
        assert await some(batches) == [3]
        assert watch.position == 3


async def test_a_second_who_watches_misses_nothing_that_the_first_has_had(scene: Scene) -> None:
    _, first = scene.watch(None)
    async with aclosing(first):
        await begun(first)
        await scene.add(2)
        _, second = scene.watch(0)
        async with aclosing(second):
            assert await some(second) == [1, 2]
            await scene.feed.run()
            assert await some(first) == [1, 2]
            await scene.add()
            await scene.feed.run()
            assert await some(first) == [3]
            assert await some(second) == [3]


async def test_who_is_ahead_of_the_feed_is_told_nothing_twice(scene: Scene) -> None:
    """Another gateway has told it of more than this one has seen."""
    _, first = scene.watch(None)
    async with aclosing(first):
        await begun(first)
        await scene.add(2)
        _, ahead = scene.watch(2)
        async with aclosing(ahead):
            await begun(ahead)
            await scene.feed.run()
            await scene.add()
            await scene.feed.run()
            assert await some(ahead) == [3]


async def test_nobody_is_handed_what_is_anothers(scene: Scene) -> None:
    _, batches = scene.watch(None, owner="bob")
    async with aclosing(batches):
        await begun(batches)
        await scene.add(2)
        await scene.add(owner="bob")
        await scene.feed.run()
        assert await some(batches) == [3]


async def test_one_whose_queue_is_full_is_cut_off_and_nobody_else(scene: Scene) -> None:
    slow, slow_batches = scene.watch(None)
    quick, quick_batches = scene.watch(None)
    async with aclosing(slow_batches), aclosing(quick_batches):
        await begun(slow_batches)
        await begun(quick_batches)
        await scene.add(QUEUE)
        await scene.feed.run()
        assert len(await some(quick_batches)) == QUEUE
        await scene.add()
        await scene.feed.run()
        assert await some(quick_batches) == [QUEUE + 1]
        assert (slow.is_cut_off, quick.is_cut_off) == (True, False)
        with pytest.raises(StopAsyncIteration):
            await some(slow_batches)


async def test_a_poke_gives_the_place_that_was_reached(scene: Scene) -> None:
    watch, batches = scene.watch(None, owner="bob")
    async with aclosing(batches):
        await begun(batches)
        await scene.add(5)
        await scene.feed.run()
        watch.poke()
        assert await anext(batches) == []
        assert watch.position == 5


async def test_closing_ends_every_watch_also_those_to_come(scene: Scene) -> None:
    await scene.add()
    _, before = scene.watch(None)
    async with aclosing(before):
        await begun(before)
        scene.feed.close()
        with pytest.raises(StopAsyncIteration):
            await some(before)
    _, after = scene.watch(0)
    async with aclosing(after):
        assert await some(after) == [1]
        with pytest.raises(StopAsyncIteration):
            await some(after)


async def test_events_are_given_positions_also_when_nobody_watches(scene: Scene) -> None:
    async with scene.database.transaction() as tx:
        await scene.events.add(tx, Event(NOW, "noted", "gateway"))
    await scene.feed.run()
    async with scene.database.reading() as reader:
        assert await scene.events.last(reader) == 1
