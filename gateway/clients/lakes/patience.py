"""Asking again a server that says it is overloaded. Only for work that no client waits for."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from gateway.clients.lakes.errors import LakeBusyError

TRIES: Final = 4

T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What ``ask`` gives; while the server is busy it is asked again, later each time.

    ``ask`` keeps its own deadline: after that it fails otherwise.

    Raises
    ------
    LakeError
        As ``ask`` does, ``LakeBusyError`` only after the last try.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(LakeBusyError),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )

    async def once() -> T:
        return await ask()

    return await retrying(once)  # which awaits what it can tell to be a coroutine function
