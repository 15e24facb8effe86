"""How far a node can be relied on: accepts that it honoured or not, offers in time or late."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.wire.documents import Document

HALF_LIFE: Final = timedelta(days=7)
"""After this long an event counts half: a site that was mended last month is not held guilty."""

WHOLE: Final = 1_000_000
"""One event, and the share of a node that always keeps its word, in millionths."""

_STEP = timedelta(seconds=1)
_PAUSE = timedelta(minutes=1)
"""Younger counts stand as they are: decayed at every answer of a busy node, each time rounded to
nothing, they would never fade."""

_PRIOR_KEPT = 4 * WHOLE
_PRIOR_BROKEN = 1 * WHOLE
_PRIOR_TIMELY = 4 * WHOLE

PRIOR_SHARE: Final = WHOLE * _PRIOR_KEPT // (_PRIOR_KEPT + _PRIOR_BROKEN)
"""The share of a node that nothing is known about: as though it had kept its word 4 times in 5."""


class TrackRecord(msgspec.Struct, frozen=True):
    """Decayed counts of one node in millionths of an event, as they stood ``at`` that time.

    ``kept`` and ``broken`` count accepts, ``timely`` and ``late`` answers with offers.
    """

    kept: int
    broken: int
    at: datetime
    timely: int = 0
    late: int = 0

    def with_kept(self, now: datetime) -> "TrackRecord":
        """The record after an accept that became a session."""
        decayed = self.as_of(now)
        return replace(decayed, kept=decayed.kept + WHOLE)

    def with_broken(self, now: datetime) -> "TrackRecord":
        """The record after an accept that the node did not honour."""
        decayed = self.as_of(now)
        return replace(decayed, broken=decayed.broken + WHOLE)

    def with_timely(self, now: datetime) -> "TrackRecord":
        """The record after offers that came in time."""
        decayed = self.as_of(now)
        return replace(decayed, timely=decayed.timely + WHOLE)

    def with_late(self, now: datetime) -> "TrackRecord":
        """The record after offers that came when the client had its answer."""
        decayed = self.as_of(now)
        return replace(decayed, late=decayed.late + WHOLE)

    def as_of(self, now: datetime) -> "TrackRecord":
        """The record decayed to ``now``; a clock that went back decays nothing."""
        age = now - self.at
        if age < _PAUSE:
            return self
        return TrackRecord(
            _decayed(self.kept, age),
            _decayed(self.broken, age),
            now,
            _decayed(self.timely, age),
            _decayed(self.late, age),
        )

    def share(self, now: datetime) -> int:
        """How often an offer came in time and was kept, in millionths.

        ``PRIOR_SHARE`` if nothing is known.
        """
        record = self.as_of(now)
        kept, timely = record.kept + _PRIOR_KEPT, record.timely + _PRIOR_TIMELY
        accepts, answers = kept + record.broken + _PRIOR_BROKEN, timely + record.late
        return WHOLE * kept * timely // (accepts * answers)

    def to_document(self, now: datetime) -> Document:
        """The counts as they weigh now, and what they come to, for people."""
        record = self.as_of(now)
        return {
            "share": round(self.share(now) / WHOLE, 3),
            "kept": round(record.kept / WHOLE, 3),
            "broken": round(record.broken / WHOLE, 3),
            "timely": round(record.timely / WHOLE, 3),
            "late": round(record.late / WHOLE, 3),
            "half_life_days": HALF_LIFE.days,
        }


def _decayed(count: int, age: timedelta) -> int:
    """Halved for each half-life and straight in between: integers, so the same on any machine."""
    if not count:
        return 0
    halvings, rest = divmod(age, HALF_LIFE)
    remaining = count >> min(halvings, 64)
    return remaining - remaining * (rest // _STEP) // (2 * (HALF_LIFE // _STEP))
