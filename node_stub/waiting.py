"""Sleeping until something is due or has changed."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Final

from node_stub.clock import Clock

MAX_WAIT_S: Final = 60.0
"""The longest sleep until a time on the wall clock, which may be set meanwhile."""


async def wait_until(due: datetime | None, changed: asyncio.Event, clock: Clock) -> None:
    """Return when the time has come, when the event is set (it is cleared), or after a while."""
    wait_s = MAX_WAIT_S
    if due is not None:
        wait_s = min(wait_s, max(0.0, (due - clock.now()).total_seconds()))
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await changed.wait()
    changed.clear()
