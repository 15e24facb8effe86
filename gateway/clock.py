"""Where the gateway's time comes from: an argument, so that tests may turn it."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The two times there are: the one people read and the one that never jumps."""

    def now(self) -> datetime:
        """The present, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, on the running loop's scale: that of deadlines."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of the running loop's own clock."""
        return asyncio.get_running_loop().time()
