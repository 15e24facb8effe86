"""Asking again for what failed for now."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from node_stub.staging.errors import TransientError
from node_stub.staging.settings import StagingSettings

T = TypeVar("T")


async def repeated(call: Callable[[], Awaitable[T]], settings: StagingSettings) -> T:
    """What the call gives, after so many attempts as the settings say, each waited for longer.

    Raises
    ------
    TransientError
        The last attempt failed like those before.
    """
    failures = 0
    while True:
        try:
            return await call()
        except TransientError as error:
            failures += 1
            if failures >= settings.attempts:
                raise
            asked_s = min(error.retry_after_s, settings.max_backoff_s)
            await asyncio.sleep(max(settings.wait_s(failures), asked_s))
