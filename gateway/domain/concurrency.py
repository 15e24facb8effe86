"""How many requests one node is given at once, found from how long its answers take.

Source: the Gradient2 limit of Netflix's concurrency-limits: the limit is multiplied by how much
longer answers take now than they usually do, and a few more are tried as long as that costs
nothing. Its numbers are taken over where nothing else is said.
"""

from typing import Final

TOLERANCE: Final = 1.5
"""Answers may take so much longer than usual before the limit shrinks."""

STEEPEST: Final = 0.5
"""One answer asks for no less than half the limit."""

HEADROOM: Final = 4
"""Requests tried beyond what goes well: they find out that the node got faster."""

_SMOOTHING: Final = 0.2
"""Share of the newest answer in the limit."""

_NOW_WEIGHT: Final = 1 / 8
"""Share of the newest answer in what answers take now: TCP's own smoothing (RFC 6298)."""

_USUAL_WEIGHT: Final = 1 / 600
"""The same in what they usually take."""

_FORGET: Final = 0.95
"""A usual time that is more than twice the present one is history, and shrinks so fast."""

_BACK_OFF: Final = 0.9
"""What is left of the limit after an answer that did not come in time."""


class ConcurrencyLimit:
    """The limit of one node, from ``least`` to ``most``, where it begins."""

    __slots__ = ("_cut", "_least", "_limit", "_most", "_now_s", "_usual_s", "value")

    def __init__(self, least: int, most: int) -> None:
        self._most = most
        self._least = min(least, most)
        self._limit = float(most)
        self._now_s: float | None = None
        self._usual_s = 0.0
        self._cut = float("-inf")
        self.value = most
        """The limit now, whole."""

    def answered(self, took_s: float, in_flight: int) -> None:
        """Take in an answer; ``in_flight`` requests were under way, this one included.

        A limit that nobody needs says nothing about the node, and stays.
        """
        if self._now_s is None:
            self._now_s = self._usual_s = took_s
        self._now_s += (took_s - self._now_s) * _NOW_WEIGHT
        self._usual_s += (took_s - self._usual_s) * _USUAL_WEIGHT
        if self._usual_s > 2 * self._now_s:
            self._usual_s *= _FORGET
        if 2 * in_flight < self._limit:
            return
        gradient = 1.0
        if self._now_s > 0:
            gradient = min(1.0, max(STEEPEST, TOLERANCE * self._usual_s / self._now_s))
        wanted = self._limit * gradient + HEADROOM
        self._set(self._limit + (wanted - self._limit) * _SMOOTHING)

    def dropped(self, sent: float, now: float) -> None:
        """Take in that the node did not keep up with a request that was ``sent`` then.

        What was sent before the limit was last cut knew nothing of the cut, and is not held
        against the node again.
        """
        if sent >= self._cut:
            self._cut = now
            self._set(self._limit * _BACK_OFF)

    def restart(self) -> None:
        """Begin with the least: the node comes back, and may not bear everyone at once."""
        self._now_s = None
        self._set(float(self._least))

    def _set(self, limit: float) -> None:
        self._limit = min(float(self._most), max(float(self._least), limit))
        self.value = int(self._limit)
