"""How a node's transfers went compared with their estimates: what corrects the next estimates."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.wire.documents import Document

HALF_LIFE: Final = timedelta(days=7)
"""After this long a correction is half of what it was: links are mended and fill up."""

AS_ESTIMATED: Final = 1000
"""Rates are as estimated, in thousandths."""

SLOWEST: Final = 250
FASTEST: Final = 4000
"""A node's word changes an estimate fourfold at most: it may count wrongly, or lie."""

MIN_BYTES: Final = 100_000_000
"""Less than this says more of starting a transfer than of the link."""

_NEWEST_OF: Final = 4
"""Each report moves the correction a quarter of the way."""

_STEP: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Report:
    """One staging as it was estimated and as the node reports it.

    ``per_mille`` is the correction that the estimate had in it already.
    """

    estimated_bytes: int
    estimated_ms: int
    per_mille: int
    seen_bytes: int
    seen_ms: int

    @property
    def reached(self) -> int | None:
        """The rate that was reached, in thousandths of the uncorrected estimate.

        None where the report says nothing about rates.
        """
        if min(self.estimated_ms, self.seen_ms) <= 0:
            return None
        if min(self.estimated_bytes, self.seen_bytes) < MIN_BYTES:
            return None
        reached = (self.per_mille * self.seen_bytes * self.estimated_ms) // (
            self.estimated_bytes * self.seen_ms
        )
        return min(max(reached, SLOWEST), FASTEST)


@dataclass(frozen=True, slots=True)
class StagingRecord:
    """The correction of one node's rates as it stood ``at`` that time, from ``reports`` so far."""

    per_mille: int
    reports: int
    at: datetime

    def as_of(self, now: datetime) -> int:
        """The correction now, in thousandths: it fades with time to ``AS_ESTIMATED``."""
        age = max(now - self.at, timedelta(0))
        halvings, rest = divmod(age, HALF_LIFE)
        away = self.per_mille - AS_ESTIMATED
        size = abs(away) >> min(halvings, 64)
        size -= size * (rest // _STEP) // (2 * (HALF_LIFE // _STEP))
        return AS_ESTIMATED + (size if away > 0 else -size)

    def with_report(self, report: Report, now: datetime) -> "StagingRecord":
        """The record with one report more; the same one where that says nothing about rates."""
        reached = report.reached
        if reached is None:
            return self
        before = self.as_of(now)
        corrected = before + (reached - before) // _NEWEST_OF
        return StagingRecord(corrected, self.reports + 1, max(now, self.at))

    def to_document(self, now: datetime) -> Document:
        """For people: the correction as a factor, what it rests on, and its age in seconds."""
        return {
            "rate_factor": self.as_of(now) / AS_ESTIMATED,
            "reports": self.reports,
            "age_s": round(max((now - self.at).total_seconds(), 0)) if self.reports else None,
        }
