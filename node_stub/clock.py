"""The clock, handed in wherever the time matters."""

import math
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


def whole_second(instant: datetime) -> int:
    """Seconds since 1970, rounded up, so that nothing is promised a fraction too early."""
    return math.ceil(instant.timestamp())
