"""Work that must come to its end also when whoever waits for it is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def finished(work: Awaitable[T]) -> T:
    """What the work gives; who is cancelled meanwhile waits until it has ended, however it does."""
    call = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait({call})
        if not call.cancelled():
            call.exception()  # seen: nobody will ask for it any more
        raise


async def settled(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call in a thread; who is cancelled waits until the call has ended.

    A thread cannot be stopped, so its file must not be closed, moved or removed under it.
    """
    return await finished(asyncio.to_thread(function, *args, **kwargs))
