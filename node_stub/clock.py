"""The clock, handed in wherever the time matters."""

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

SLEW: Final = 0.01
"""The share of the time that passes by which a steady clock comes nearer to the machine's: what is
measured meanwhile is off by no more. Three seconds are made up for in five minutes."""


class Clock(Protocol):
    """Tells the time, which need not be the machine's."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...

    def behind_s(self) -> float:
        """Seconds by which the machine's clock is ahead of this one."""
        ...

    def settle(self) -> float:
        """Take over the machine's time: when nothing is measured; seconds by which it was ahead."""
        ...

    def on_machine(self, instant: datetime) -> datetime:
        """What the machine's clock will show at an instant, for those who only have that one."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)

    def behind_s(self) -> float:
        """Never."""
        return 0.0

    def settle(self) -> float:
        """It is the machine's time already."""
        return 0.0

    def on_machine(self, instant: datetime) -> datetime:
        """That instant."""
        return instant


class SteadyClock:
    """The machine's clock without its jumps: offers live and sessions run as long as was said.

    Where the machine's clock is set, this one goes on as before and comes nearer only by ``SLEW``,
    until nothing is measured by it: then ``settle`` takes over the machine's. Threads may share it.

    Parameters
    ----------
    wall
        Tells the machine's time, in UTC; its clock may be set.
    ticks
        Seconds since some fixed moment, which never jump.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] | None = None,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._wall = wall or SystemClock().now
        self._ticks = ticks or seconds_since_boot
        self._lock = threading.Lock()
        self._ticked = self._ticks()
        self._now = self._wall()

    def now(self) -> datetime:
        """The present instant, in UTC; never earlier than the last one that was told."""
        with self._lock:
            ticks = self._ticks()
            passed_s = ticks - self._ticked
            self._ticked = ticks
            behind_s = (self._wall() - self._now).total_seconds() - passed_s
            nearer_s = max(-SLEW * passed_s, min(behind_s, SLEW * passed_s))
            self._now += timedelta(seconds=passed_s + nearer_s)
            return self._now

    def settle(self) -> float:
        """Take over the machine's time: when nothing is measured; seconds by which it was ahead."""
        before = self.now()
        with self._lock:
            self._now = self._wall()
            return (self._now - before).total_seconds()

    def behind_s(self) -> float:
        """Seconds by which the machine's clock is ahead of this one."""
        now = self.now()
        return (self._wall() - now).total_seconds()

    def on_machine(self, instant: datetime) -> datetime:
        """What the machine's clock will show at an instant, if neither is set until then."""
        return instant + timedelta(seconds=self.behind_s())


def seconds_since_boot() -> float:
    """Goes on while the machine is suspended, where there is such a clock (Linux)."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def whole_second(instant: datetime) -> int:
    """Seconds since 1970, rounded up, so that nothing is promised a fraction too early."""
    return math.ceil(instant.timestamp())
