"""How often a node kept its word: accepts that became sessions, against those that did not."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

HALF_LIFE: Final = timedelta(days=7)
"""After this long an event counts half: a site that was mended last month is not held guilty."""

WHOLE: Final = 1_000_000
"""One event, and the share of a node that always keeps its word, in millionths."""

_STEP = timedelta(seconds=1)
_PRIOR_KEPT = 4 * WHOLE
_PRIOR_BROKEN = 1 * WHOLE

PRIOR_SHARE: Final = WHOLE * _PRIOR_KEPT // (_PRIOR_KEPT + _PRIOR_BROKEN)
"""The share of a node that nothing is known about: as though it had kept its word 4 times in 5."""


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Decayed counts of one node in millionths of an event, as they stood ``at`` that time."""

    kept: int
    broken: int
    at: datetime

    def with_kept(self, now: datetime) -> "TrackRecord":
        """The record after an accept that became a session."""
        decayed = self.as_of(now)
        return replace(decayed, kept=decayed.kept + WHOLE)

    def with_broken(self, now: datetime) -> "TrackRecord":
        """The record after an accept that the node did not honour."""
        decayed = self.as_of(now)
        return replace(decayed, broken=decayed.broken + WHOLE)

    def as_of(self, now: datetime) -> "TrackRecord":
        """The record decayed to ``now``; a clock that went back decays nothing."""
        age = max(now - self.at, timedelta(0))
        return TrackRecord(_decayed(self.kept, age), _decayed(self.broken, age), max(now, self.at))

    def share(self, now: datetime) -> int:
        """How often the node kept its word, in millionths; ``PRIOR_SHARE`` if nothing is known."""
        age = max(now - self.at, timedelta(0))
        kept = _decayed(self.kept, age) + _PRIOR_KEPT
        return WHOLE * kept // (kept + _decayed(self.broken, age) + _PRIOR_BROKEN)


def _decayed(count: int, age: timedelta) -> int:
    """Halved for each half-life and straight in between: integers, so the same on any machine."""
    if not count:
        return 0
    halvings, rest = divmod(age, HALF_LIFE)
    remaining = count >> min(halvings, 64)
    return remaining - remaining * (rest // _STEP) // (2 * (HALF_LIFE // _STEP))
