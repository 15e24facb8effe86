"""Waiting for something that happens elsewhere, never longer than said."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

LOOK_EVERY_S: Final = 0.01

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], within_s: float = 5.0) -> T:
    """What ``look`` gives as soon as that is true; it is asked again and again.

    Raises
    ------
    AssertionError
        It was not within the time; the last answer is in the text.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        found = await look()
        if found:
            return found
        if asyncio.get_running_loop().time() >= deadline:
            raise AssertionError(f"not within {within_s} s; last: {found!r}")
        await asyncio.sleep(LOOK_EVERY_S)


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Look every few milliseconds until it holds.

    Raises
    ------
    AssertionError
        It did not within the time.
    """

    async def look() -> bool:
        return condition()

    await eventually(look, within_s)
