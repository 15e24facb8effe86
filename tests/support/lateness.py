"""How late the event loop is where a machine has other work to do, so that time can be asserted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TICK_S: Final = 0.01
"""Lateness is seen to about so much."""


class Lateness:
    """By how many seconds in all the loop was late: time that nobody here could make use of."""

    def __init__(self) -> None:
        self.total_s = 0.0

    async def watch(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.total_s += max(0.0, loop.time() - due)


@asynccontextmanager
async def measured_lateness() -> AsyncIterator[Lateness]:
    """Watch the loop until the block ends."""
    lateness = Lateness()
    task = asyncio.create_task(lateness.watch(), name="lateness")
    try:
        yield lateness
    finally:
        task.cancel()
        await asyncio.wait((task,))
