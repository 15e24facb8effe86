"""Who waits for a place, in which order and for how long. Knows no clock and nothing of requests.

First come, first served. Serving the newest first under load (Facebook's adaptive LIFO,
https://queue.acm.org/detail.cfm?id=2839461; Netflix's ``LifoBlockingLimiter``) saves some whose
clients would else have gone when their turn comes; here nobody waits that long, and it would leave
the first of a burst without an answer (https://github.com/dotnet/aspnetcore/issues/29910).
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

STANDING: Final = 0.25
"""A queue stands when even the luckiest waited longer than this share of the longest wait."""

SHORT: Final = 0.5
"""Share of the longest wait that there is while the queue stands: twice ``STANDING``, as in
folly's ``Codel``. Shorter, those let in could not show any more that it still stands."""

_Turn = TypeVar("_Turn")


class ControlledDelay:
    """How long one may wait, learned from how long others did: CoDel (RFC 8289 §3).

    A queue that a burst makes comes to its end, and somebody soon finds it short: that is what it
    is for. One in which nobody does for as long as the longest wait is only delay.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._until_s = 0.0
        self._least_s = 0.0
        self._is_standing = False

    @property
    def patience_s(self) -> float:
        """How long one who comes now may wait."""
        return self._longest_s * (SHORT if self._is_standing else 1.0)

    def observe(self, now_s: float, waited_s: float) -> None:
        """Somebody has waited so long, whether for a place or in vain; 0 is not at all."""
        if now_s < self._until_s:
            self._least_s = min(self._least_s, waited_s)
            return
        is_recent = now_s < self._until_s + self._longest_s
        self._is_standing = is_recent and self._least_s > self._longest_s * STANDING
        self._until_s = now_s + self._longest_s
        self._least_s = waited_s


class Turns(Generic[_Turn]):
    """At most ``at_most`` that wait, each for ``longest_s`` at most. Times are monotonic seconds.

    Turns are told apart by their identity or their hash.
    """

    def __init__(self, at_most: int, longest_s: float) -> None:
        self._at_most = at_most
        self._delay = ControlledDelay(longest_s)
        self._since_s: dict[_Turn, float] = {}

    def __len__(self) -> int:
        return len(self._since_s)

    def __iter__(self) -> Iterator[_Turn]:
        """Those who wait, in the order of their turns."""
        return iter(self._since_s)

    @property
    def is_full(self) -> bool:
        """Whether nobody more may wait."""
        return len(self._since_s) >= self._at_most

    @property
    def patience_s(self) -> float:
        """How long one who comes now may wait."""
        return self._delay.patience_s

    def pass_by(self, now_s: float) -> None:
        """Somebody had no need to wait."""
        self._delay.observe(now_s, 0.0)

    def join(self, turn: _Turn, now_s: float) -> None:
        """Wait behind all others."""
        self._since_s[turn] = now_s

    def take_first(self, now_s: float) -> _Turn:
        """Whose turn it is; waits no longer.

        Raises
        ------
        StopIteration
            Nobody waits.
        """
        turn = next(iter(self._since_s))
        self.end(turn, now_s)
        return turn

    def end(self, turn: _Turn, now_s: float) -> None:
        """It was given its place, or has waited in vain."""
        self._delay.observe(now_s, now_s - self._since_s.pop(turn))

    def give_up(self, turn: _Turn) -> None:
        """It wants its turn no more, if it still waits; how long it waited says nothing."""
        self._since_s.pop(turn, None)
