"""Another process that writes events, in transactions that begin and end in any order.

``python -m tests.support.event_writer DATABASE DIRECTORY COUNT SEED``
"""

import asyncio
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.stores.database import Database
from gateway.stores.engines import database_of
from gateway.stores.events import Event, EventStore

WRITERS: Final = 4
LONGEST_S: Final = 0.02


async def write_some(database: Database, name: str, count: int, dice: random.Random) -> None:
    """So many events, each transaction open for a while after it was given its numbers."""
    events = EventStore()
    written = 0
    while written < count:
        together = min(dice.randint(1, 3), count - written)
        async with database.transaction() as tx:
            for number in range(written, written + together):
                detail = f"{name}.{number}"
                await events.add(tx, Event(datetime.now(UTC), "noted", "gateway", detail=detail))
            await tx.fetch("SELECT 1")
            await asyncio.sleep(dice.uniform(0, LONGEST_S))
        written += together
        await asyncio.sleep(dice.uniform(0, LONGEST_S))


async def main(url: str, directory: str, count: int, seed: int) -> None:
    """Write with several at once."""
    database = database_of(url, Path(directory))
    await database.open()
    dice = random.Random(seed)
    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            own = random.Random(dice.random())
            group.create_task(write_some(database, f"{seed}.{number}", count // WRITERS, own))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
