"""How long a node takes to answer: a moving mean and rough quantiles, in constant space."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Final

_TENTHS_OF_A_DECADE: Final = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)

BOUNDS_S: Final = tuple(
    round(step * 10.0**power, 6) for power in range(-3, 2) for step in _TENTHS_OF_A_DECADE
)[:46]
"""Upper bounds of the buckets in seconds, 1 ms to 31.5 s: preferred numbers (ISO 3, series R10).

A quantile is at most a quarter too high. What is decided by it is decided in milliseconds for a
quick node and in seconds for a slow one.
"""

FEWEST: Final = 8
"""So many answers make a habit. Of fewer than twenty the longest stands for what is usual, and of
fewer than these it says too little."""

_WEIGHT: Final = 1 / 8
"""Share of the newest answer in the mean: TCP's own smoothing of round trips (RFC 6298)."""

_HALVE_AT: Final = 512
"""Beyond this many answers all counts are halved, so that old behaviour fades."""

_RENEW_AFTER: Final = 16
"""Answers after which the habit is worked out anew: it moves slowly, and is read all the time."""


class LatencyRecord:
    """What one node's answers took."""

    __slots__ = ("_counts", "_new", "_total", "_usual_s", "_within", "mean_s")

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total = 0
        self._new = 0
        self._within = 0
        self._usual_s: float | None = None

    def add(self, took_s: float) -> None:
        """Take in one answer."""
        mean = self.mean_s
        self.mean_s = took_s if mean is None else mean + (took_s - mean) * _WEIGHT
        self._counts[bisect_left(BOUNDS_S, took_s)] += 1
        self._total += 1
        self._new += 1
        if self._total >= _HALVE_AT:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def usual_s(self, wait_s: float) -> float | None:
        """What 19 of 20 answers took at most, of those that came in clearly less than ``wait_s``.

        Silence does not count: however often a node is silent, what it says comes so soon or not at
        all. None while there were too few to say. May be as old as the last sixteen answers.
        """
        within = bisect_right(BOUNDS_S, wait_s)
        if self._usual_s is None or within != self._within or self._new >= _RENEW_AFTER:
            self._within, self._new = within, 0
            total = sum(self._counts[:within])
            self._usual_s = None if total < FEWEST else self._bound_of(0.95 * total)
        return self._usual_s

    def quantile(self, share: float) -> float | None:
        """An upper bound of the ``share`` quantile in seconds.

        None while nothing was seen, and where the quantile lies beyond the last bucket.
        """
        return self._bound_of(share * self._total) if self._total else None

    def _bound_of(self, answers: float) -> float | None:
        """What so many of the answers took at most."""
        for bound, reached in zip(BOUNDS_S, accumulate(self._counts), strict=False):
            if reached >= answers:
                return bound
        return None
