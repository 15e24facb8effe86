"""One lock a key, gone when nobody holds or awaits it."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLocks:
    """Gives everybody who names the same key the same lock."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: Hashable) -> asyncio.Lock:
        """The lock of that key; keep it while it is used."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    @asynccontextmanager
    async def holding(self, key: Hashable, deadline: float) -> AsyncIterator[None]:
        """Hold the lock of that key, waited for until ``deadline`` (event loop time) at most.

        Raises
        ------
        TimeoutError
            Somebody else holds it still.
        """
        lock = self.of(key)
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
