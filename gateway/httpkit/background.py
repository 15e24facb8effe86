"""Loops that run as long as the application does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import web

RESTART_AFTER_S: Final = 1.0
"""A loop that broke waits this long: the log does not fill, and nobody misses it for long."""

_log = structlog.get_logger(__name__)


def supervised(
    name: str, run: Callable[[], Awaitable[None]]
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context that runs a loop, and again after a defect, until the application ends."""

    async def repeat() -> None:
        while True:
            try:
                await run()
            except Exception:  # noqa: BLE001 - the supervisor: logged, then tried again
                _log.exception("background_failed", loop=name)
            await asyncio.sleep(RESTART_AFTER_S)

    async def context(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(repeat(), name=name)
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return context
