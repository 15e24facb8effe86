"""Readers of events that come and go while other processes write: none is missed or repeated."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from gateway.settings import EventSettings
from gateway.wire.documents import Document
from tests.support.event_streams import watching
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.stores import Store

EVENTS = 200
"""That each of two processes writes."""

READERS = 6

pytestmark = pytest.mark.timeout(90)


async def write(store: Store, data_dir: Path, seed: int) -> None:
    """Another process writes events."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.event_writer"),
        *(store.url(data_dir), str(data_dir), str(EVENTS), str(seed)),
        cwd=Path(__file__).parents[2],
    )
    assert await process.wait() == 0


async def read_with_breaks(gateways: list[GatewayUnderTest], dice: random.Random) -> list[Document]:
    """All events, by streams that are left in the middle and gone on with at any gateway."""
    seen: list[Document] = []
    last_id = "0"
    while len(seen) < 2 * EVENTS:
        gateway = dice.choice(gateways)
        async with watching(gateway.session, f"{gateway.url}/events", last_id=last_id) as stream:
            count = min(dice.randint(0, 40), 2 * EVENTS - len(seen))
            seen += [await stream.cloud_event() for _ in range(count)]
            last_id = stream.id or last_id
    return seen


async def read_by_pages(gateway: GatewayUnderTest, dice: random.Random) -> list[Document]:
    """All events, by pages."""
    seen: list[Document] = []
    after = "0"
    while len(seen) < 2 * EVENTS:
        path = f"/events?after={after}&limit={dice.randint(1, 50)}"
        document = (await gateway.call("GET", path)).document
        seen += document["events"]
        after = document["next"]
        await asyncio.sleep(dice.uniform(0, 0.05))
    return seen


async def test_who_comes_back_misses_and_repeats_nothing(store: Store, tmp_path: Path) -> None:
    at = tmp_path / "gateway"
    settings = EventSettings(streams_per_owner=1000)
    async with (
        running_gateway({}, at, events=settings) as here,
        running_gateway({}, at, events=settings) as there,
        asyncio.TaskGroup() as group,
    ):
        readers = [
            group.create_task(read_with_breaks([here, there], random.Random(seed)))
            for seed in range(READERS)
        ]
        readers.append(group.create_task(read_by_pages(here, random.Random(READERS))))
        for seed in range(2):
            group.create_task(write(store, at, seed))
    seen = readers[0].result()
    assert [event["id"] for event in seen] == [str(n) for n in range(1, 2 * EVENTS + 1)]
    assert len({event["data"]["detail"] for event in seen}) == 2 * EVENTS
    assert all(reader.result() == seen for reader in readers)
