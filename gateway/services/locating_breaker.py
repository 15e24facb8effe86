"""The circuit breaker of one data lake: what fails again and again is left alone for a while."""

from dataclasses import dataclass
from enum import StrEnum


class BreakerPhase(StrEnum):
    """Whether the lake is asked: CLOSED always, OPEN not, PROBING by one look-up alone."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """After ``failures`` in a row the lake rests for ``rest_s`` seconds; then one may try."""

    failures: int = 5
    rest_s: float = 15.0


class CircuitBreaker:
    """Decides whether a look-up may be made. Times are those of one monotonic clock."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._phase = BreakerPhase.CLOSED
        self._failures = 0
        self._rests_until = 0.0

    @property
    def phase(self) -> BreakerPhase:
        """Whether the lake is asked."""
        return self._phase

    def allows(self, now: float) -> bool:
        """Whether to ask. After the rest the first to ask is the probe, and must tell its end."""
        if self._phase is BreakerPhase.OPEN and now >= self._rests_until:
            self._phase = BreakerPhase.PROBING
            return True
        return self._phase is BreakerPhase.CLOSED

    def rest_s(self, now: float) -> float:
        """Seconds until it is asked again; a probe that is under way may shorten that to none."""
        return max(0.0, self._rests_until - now)

    def succeeded(self) -> None:
        """It answered: it is asked again like any other."""
        self._phase = BreakerPhase.CLOSED
        self._failures = 0

    def failed(self, now: float) -> None:
        """It did not answer, or made no sense."""
        self._failures += 1
        if self._phase is BreakerPhase.PROBING or self._failures >= self._limits.failures:
            self._phase = BreakerPhase.OPEN
            self._rests_until = now + self._limits.rest_s
