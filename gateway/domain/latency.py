"""How long a node takes to answer: a moving mean and rough quantiles, in constant space."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0),
)
"""Upper bounds of the buckets in seconds, finest where a deadline of 5 s is decided."""

_WEIGHT: Final = 1 / 8
"""Share of the newest answer in the mean: TCP's own smoothing of round trips (RFC 6298)."""

_HALVE_AT: Final = 512
"""Beyond this many answers all counts are halved, so that old behaviour fades."""


class LatencyRecord:
    """What one node's answers took."""

    __slots__ = ("_counts", "_total", "mean_s")

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total = 0

    def add(self, took_s: float) -> None:
        """Take in one answer."""
        mean = self.mean_s
        self.mean_s = took_s if mean is None else mean + (took_s - mean) * _WEIGHT
        self._counts[bisect_left(BOUNDS_S, took_s)] += 1
        self._total += 1
        if self._total >= _HALVE_AT:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def quantile(self, share: float) -> float | None:
        """An upper bound of the ``share`` quantile in seconds.

        None while nothing was seen, and where the quantile lies beyond the last bucket.
        """
        if not self._total:
            return None
        for bound, reached in zip(BOUNDS_S, accumulate(self._counts), strict=False):
            if reached >= share * self._total:
                return bound
        return None
