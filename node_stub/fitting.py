"""Where an execution fits: from a request and a ledger to the slots that can be offered.

Pure and deterministic: the same request and bookings give the same slots. All instants are whole
seconds since 1970 (UTC). Starts are exact to the second; nothing is rounded to a grid.

Every slot keeps its full expiry where the allowed starts leave room for it; where they do not, it
expires sooner, and where even `min_expires_s` is not left, a later start is looked for. What
is booked never shortens an expiry.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from node_stub.ledger import Amounts, Ledger, Timeline
from node_stub.slots import Slot, Stages, hold_of

MAX_RANGES: Final = 100
"""Start intervals looked at, the earliest first; each may cost a walk through the bookings."""

_NEVER: Final = 2**61  # later than any booking, with room to add durations


class Fit(StrEnum):
    """By what the slots for one request are chosen."""

    EARLIEST = "earliest"
    MOST_CORES = "most_cores"
    MOST_MEMORY = "most_memory"
    LONGEST = "longest"
    MIXED = "mixed"
    """One slot by each of the others where it betters those before it, then the earliest."""


class NoFit(StrEnum):
    """Why nothing can be offered."""

    MAXIMUM_BELOW_MINIMUM = "maximum_below_minimum"
    TOO_LARGE = "too_large"
    """The minimum is above the limit for one request, or above all that the site has."""
    TOO_LONG = "too_long"
    NO_START = "no_start"
    """No allowed start leaves time to accept and to prepare, or none fits the daily window."""
    NO_CAPACITY = "no_capacity"
    """Booked out at every allowed start."""


@dataclass(frozen=True, slots=True)
class Maximum:
    """The most that a client wants, resource by resource; None is silence."""

    cores: int | None = None
    memory_gib: int | None = None
    storage_gib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingRequest:
    """What is wanted, and the site's rules for it.

    Parameters
    ----------
    now
        Rounded up to the second, so that nothing starts or expires a fraction too early.
    limits
        The most that one request may have here.
    duration_s
        The shortest run wanted, at least 1 s. Slots last exactly as long, except those chosen by
        `Fit.LONGEST`: up to `scale` times that, within `max_duration_s`, in whole steps of
        `step_s` (or all of it).
    prepare_s, compute_prepare_s
        From acceptance until available, and the last part of it, in which compute is held.
    release_s
        How long everything stays held after the run.
    windows
        Intervals of allowed starts, both ends allowed; already within the site's look-ahead.
        They may overlap. At most `MAX_RANGES` of them (after `daily`) are looked at.
    daily
        Spans one of which must contain the run from start to end, or None for any time.
    scale
        Without a maximum, up to this many times the minimum of cores and memory is offered where
        it is free; storage is never scaled.
    min_expires_s
        A slot that the windows would make expire sooner than this is not offered.
    """

    now: int
    minimum: Amounts
    limits: Amounts
    duration_s: int
    max_duration_s: int
    windows: Sequence[tuple[int, int]]
    maximum: Maximum = Maximum()
    daily: Sequence[tuple[int, int]] | None = None
    prepare_s: int = 0
    compute_prepare_s: int = 0
    release_s: int = 0
    count: int = 4
    fit: Fit = Fit.EARLIEST
    expires_s: int = 300
    min_expires_s: int = 10
    step_s: int = 60
    scale: float = 2

    def __post_init__(self) -> None:
        is_sound = (
            self.duration_s >= 1
            and self.count >= 1
            and self.expires_s >= 1
            and self.min_expires_s >= 1
            and self.step_s >= 1
            and self.scale >= 1
        )
        if not is_sound:
            raise ValueError(f"contradictory request for slots: {self}")

    @property
    def stages(self) -> Stages:
        """What comes before and after the run."""
        return Stages(self.prepare_s, self.compute_prepare_s, self.release_s)

    @property
    def ready(self) -> int:
        """The first instant at which a slot accepted at once could be available."""
        return self.now + self.prepare_s

    @property
    def open_until(self) -> int:
        """The latest start of a slot that starts as soon as it may and keeps its full expiry."""
        return self.ready + self.expires_s


@dataclass(frozen=True, slots=True)
class Fitting:
    """The slots, best first; with none, the reason.

    `next_free` is given with `NoFit.NO_CAPACITY`: the first start, from the first allowed one on,
    at which the minimum is free, whatever the windows say.
    """

    slots: tuple[Slot, ...]
    reason: NoFit | None = None
    next_free: int | None = None


def fit(request: FittingRequest, ledger: Ledger) -> Fitting:
    """Find up to `count` slots whose runs follow one another and which can all be held at once.

    The ledger is not changed: book `hold_of` each slot before anything else is booked.
    """
    reason = _refusal(request, ledger.capacity)
    if reason is not None:
        return Fitting((), reason)
    search = _Search(request, ledger.timeline.copy())
    if not search.ranges(request.duration_s):
        return Fitting((), NoFit.NO_START)
    slots = tuple(search.slots())
    if not slots:
        return Fitting((), NoFit.NO_CAPACITY, search.next_free())
    return Fitting(slots)


def _refusal(request: FittingRequest, capacity: Amounts) -> NoFit | None:
    """Why the request could not even be met by an empty ledger, as far as size tells."""
    least, most = request.minimum, request.maximum
    pairs = (
        (least.cores, most.cores),
        (least.memory_gib, most.memory_gib),
        (least.storage_gib, most.storage_gib),
    )
    if any(upper is not None and upper < lower for lower, upper in pairs):
        return NoFit.MAXIMUM_BELOW_MINIMUM
    if not least.fits_in(request.limits.capped(capacity)):
        return NoFit.TOO_LARGE
    if request.duration_s > request.max_duration_s:
        return NoFit.TOO_LONG
    return None


@dataclass(frozen=True, slots=True)
class _Range:
    """Starts allowed from `first` to `last`; an open start may reach `limit`."""

    first: int
    last: int
    limit: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A feasible slot before its amounts are known."""

    start: int
    latest: int
    duration_s: int


class _Search:
    """The slots found so far for one request, and what is free beside them."""

    def __init__(self, request: FittingRequest, free: Timeline) -> None:
        self._request = request
        self._free = free
        self._slots: list[Slot] = []
        self._target = _target(request, free.capacity)
        # No slot can start sooner: what does not fit for the minimum fits for nothing larger or
        # longer, nor beside more slots. So the walk through all that is booked is made once.
        self._first = request.ready

    def slots(self) -> Iterator[Slot]:
        """Each slot is found beside the holds of those before it."""
        request = self._request
        if self._place_by(Fit.EARLIEST) is None:
            return
        for wanted in _order(request.fit, request.count):
            if len(self._slots) == request.count:
                return
            place = self._place_by(wanted)
            if place is None:
                if wanted is Fit.EARLIEST:
                    return  # no other can fit either
                continue
            slot = self._slot(place)
            if request.fit is Fit.MIXED and not self._is_new(wanted, slot):
                continue
            self._slots.append(slot)
            for span in hold_of(slot, "").spans:
                self._free.take(span)
            yield slot

    def next_free(self) -> int | None:
        """The first start with the minimum free, from the first allowed one on."""
        request = self._request
        first = self.ranges(request.duration_s)[0].first
        parts = request.stages.parts(request.minimum, request.duration_s)
        return self._free.earliest(first, _NEVER, parts, request.open_until)

    def ranges(self, duration_s: int) -> list[_Range]:
        """The starts allowed for a run of this length, in order of time.

        A slot expires `prepare_s` before its latest start, so a range that closes too early for
        the shortest expiry is none.
        """
        request = self._request
        must_reach = request.ready + min(request.min_expires_s, request.expires_s)
        bounds = {
            (max(first, since, request.ready), min(last, till - duration_s))
            for first, last in request.windows
            for since, till in (request.daily if request.daily is not None else [(first, _NEVER)])
        }
        allowed = (
            _Range(first, last, last) for first, last in bounds if max(first, must_reach) <= last
        )
        return sorted(allowed, key=_by_time)[:MAX_RANGES]

    def _place_by(self, wanted: Fit) -> _Place | None:
        """The slot that is best by one measure; the earliest among the best."""
        least, duration_s = self._request.minimum, self._request.duration_s
        if wanted is Fit.MOST_CORES:
            return _largest(
                range(least.cores, self._target.cores + 1),
                lambda cores: self._place(replace(least, cores=cores), duration_s),
            )
        if wanted is Fit.MOST_MEMORY:
            return _largest(
                range(least.memory_gib, self._target.memory_gib + 1),
                lambda memory: self._place(replace(least, memory_gib=memory), duration_s),
            )
        if wanted is Fit.LONGEST:
            return _largest(self._durations(), lambda longer_s: self._place(least, longer_s))
        earliest = self._place(least, duration_s)
        if earliest is not None:
            self._first = earliest.start
        return earliest

    def _durations(self) -> list[int]:
        """The lengths that can be offered as the longest, ascending."""
        request = self._request
        longest_s = max(
            request.duration_s,
            min(int(request.scale * request.duration_s), request.max_duration_s),
        )
        return [*range(request.duration_s, longest_s, request.step_s), longest_s]

    def _place(self, amounts: Amounts, duration_s: int) -> _Place | None:
        """The earliest slot with these amounts free, clear of the runs already found."""
        request = self._request
        parts = request.stages.parts(amounts, duration_s)
        best: _Place | None = None
        for allowed in self._clear_ranges(duration_s):
            if best is not None and best.start <= allowed.first:
                break
            last = allowed.last if best is None else min(allowed.last, best.start - 1)
            until = min(request.open_until, allowed.limit)
            start = self._free.earliest(allowed.first, last, parts, until)
            if start is not None:
                best = _Place(start, max(start, until), duration_s)
        return best

    def _clear_ranges(self, duration_s: int) -> list[_Range]:
        """The allowed starts whose run overlaps none of the slots found so far."""
        ranges = [
            replace(allowed, first=max(allowed.first, self._first))
            for allowed in self.ranges(duration_s)
            if self._first <= allowed.last
        ]
        for slot in self._slots:
            ends, begins = slot.start_earliest - duration_s, slot.start_earliest + slot.duration_s
            ranges = [
                _Range(first, last, allowed.limit)
                for allowed in ranges
                for first, last in (
                    (allowed.first, min(allowed.last, ends)),
                    (max(allowed.first, begins), allowed.last),
                )
                if first <= last
            ]
        return sorted(ranges, key=_by_time)

    def _slot(self, place: _Place) -> Slot:
        """Fill a place with as much as is free there, up to the target."""
        request = self._request
        slot = Slot(
            start_earliest=place.start,
            start_latest=place.latest,
            duration_s=place.duration_s,
            amounts=self._target,
            expires=min(request.now + request.expires_s, place.latest - request.prepare_s),
            stages=request.stages,
        )
        amounts = Amounts()
        for span in hold_of(slot, "").spans:
            granted = span.amounts.capped(self._free.free_between(span.start, span.end))
            amounts = amounts.plus(granted)
        return replace(slot, amounts=amounts)

    def _is_new(self, wanted: Fit, slot: Slot) -> bool:
        """Whether a slot chosen by one measure betters the ones before it in that measure."""
        return wanted is Fit.EARLIEST or all(
            _measure(wanted, slot) > _measure(wanted, other) for other in self._slots
        )


def _by_time(allowed: _Range) -> tuple[int, int]:
    """In order of time; of ranges that open together, the one that leaves more time first."""
    return allowed.first, -allowed.limit


def _target(request: FittingRequest, capacity: Amounts) -> Amounts:
    """The most to offer where it is free."""
    least, most = request.minimum, request.maximum

    def scaled(lower: int, upper: int | None) -> int:
        return int(request.scale * lower) if upper is None else upper

    wanted = Amounts(
        scaled(least.cores, most.cores),
        scaled(least.memory_gib, most.memory_gib),
        least.storage_gib if most.storage_gib is None else most.storage_gib,
    )
    return wanted.capped(request.limits).capped(capacity)


def _order(wanted: Fit, count: int) -> Iterator[Fit]:
    """By what to choose the first slot, the second, and so on."""
    if wanted is Fit.MIXED:
        yield from (Fit.EARLIEST, Fit.MOST_CORES, Fit.MOST_MEMORY, Fit.LONGEST)
        wanted = Fit.EARLIEST
    for _ in range(count):
        yield wanted


def _measure(wanted: Fit, slot: Slot) -> int:
    if wanted is Fit.MOST_CORES:
        return slot.amounts.cores
    if wanted is Fit.MOST_MEMORY:
        return slot.amounts.memory_gib
    return slot.duration_s


def _largest(choices: Sequence[int], find: Callable[[int], _Place | None]) -> _Place | None:
    """What is found for the largest choice that finds anything.

    Whatever fits one choice fits every smaller one, so halving is exact. The largest goes first:
    in a ledger that is not full, it usually fits.
    """
    best = find(choices[-1])
    if best is not None:
        return best
    low, high = 0, len(choices) - 1  # everything below low fits, high does not
    while low < high:
        middle = (low + high) // 2
        found = find(choices[middle])
        if found is None:
            high = middle
        else:
            best, low = found, middle + 1
    return best
