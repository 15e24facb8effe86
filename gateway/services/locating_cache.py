"""What was found out about data, kept for a while: how long depends on what it is."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.domain.holdings import Did, Holding
from gateway.domain.reasons import Reason

SPREAD: Final = 0.1
"""Times vary by so much, so that what was asked together is not asked again together."""

_ENTRY_BYTES: Final = 500
_PART_BYTES: Final = 200
_COPY_BYTES: Final = 300
_URL_BYTES: Final = 60
"""Rough sizes in memory, beside the texts themselves (CPython 3.11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """Seconds that answers count as fresh, by what they are, and how many are kept.

    ``negative_s``: not there, or no copy that can be read. ``stale_s``: when there is nothing
    newer, a positive answer is used until it is so old.
    """

    closed_s: float = 300.0
    open_s: float = 60.0
    negative_s: float = 30.0
    stale_s: float = 86_400.0
    entries: int = 50_000
    max_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """One answer and how old it is in seconds. It is used only where ``is_fresh`` or for want."""

    outcome: Holding | Reason
    age_s: float
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: Holding | Reason
    since: float
    fresh_until: float
    usable_until: float
    bytes: int


class AnswerCache:
    """Answers by identifier; the least lately used go first.

    Parameters
    ----------
    random
        Gives numbers in 0..1, to spread the times.
    """

    def __init__(self, limits: CacheLimits, random: Callable[[], float]) -> None:
        self._limits = limits
        self._random = random
        self._entries: OrderedDict[Did, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return self._bytes

    def get(self, did: Did, now: float) -> CachedAnswer | None:
        """What is known, also if it is stale; not what is of no use any more."""
        entry = self._entries.get(did)
        if entry is None:
            return None
        if now >= entry.usable_until:
            self._drop(did)
            return None
        self._entries.move_to_end(did)
        return CachedAnswer(entry.outcome, now - entry.since, now < entry.fresh_until)

    def put(self, did: Did, outcome: Holding | Reason, now: float, *, is_open: bool) -> None:
        """Keep it, instead of what was known before."""
        self._drop(did)
        is_negative = isinstance(outcome, Reason) or _is_nowhere(outcome)
        if is_negative:
            life_s = self._limits.negative_s
        else:
            life_s = self._limits.open_s if is_open else self._limits.closed_s
        life_s *= 1 + SPREAD * (2 * self._random() - 1)
        entry = _Entry(
            outcome,
            now,
            now + life_s,
            now + (life_s if is_negative else max(life_s, self._limits.stale_s)),
            _size(outcome),
        )
        self._entries[did] = entry
        self._bytes += entry.bytes
        while len(self._entries) > self._limits.entries or self._bytes > self._limits.max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, did: Did) -> None:
        entry = self._entries.pop(did, None)
        if entry is not None:
            self._bytes -= entry.bytes


def _is_nowhere(holding: Holding) -> bool:
    """Whether no copy of anything in it can be read, though there is something in it."""
    return (
        bool(holding.parts)
        and holding.files != 0
        and not any(copy.is_readable for part in holding.parts for copy in part.copies)
    )


def _size(outcome: Holding | Reason) -> int:
    if isinstance(outcome, Reason):
        return _ENTRY_BYTES
    size = _ENTRY_BYTES
    for part in outcome.parts:
        size += _PART_BYTES + len(part.name)
        for copy in part.copies:
            size += _COPY_BYTES + sum(_URL_BYTES + len(url) for url in copy.urls)
    return size
