"""What a site has promised: cores, memory and storage over time.

Pure: no clock, no I/O. Instants are whole seconds since 1970 (UTC), spans are half open.
The amounts in use are kept as a step function in sorted lists, so that a search walks only the
steps behind its start, once, and an addition touches only the steps inside its own spans.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_BEGINNING: Final = -(2**62)  # earlier than any instant: where the step before all bookings begins
_ANY_AMOUNT: Final = 2**62  # more than can be in use


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each resource, in whole cores and GiB, none of them negative."""

    cores: int = 0
    memory_gib: int = 0
    storage_gib: int = 0

    def __post_init__(self) -> None:
        if self.cores < 0 or self.memory_gib < 0 or self.storage_gib < 0:
            raise ValueError(f"negative amount in {self}")

    def __bool__(self) -> bool:
        return bool(self.cores or self.memory_gib or self.storage_gib)

    def fits_in(self, other: "Amounts") -> bool:
        """Whether no resource exceeds that of the other."""
        return (
            self.cores <= other.cores
            and self.memory_gib <= other.memory_gib
            and self.storage_gib <= other.storage_gib
        )

    def plus(self, other: "Amounts") -> "Amounts":
        """Both together."""
        return Amounts(
            self.cores + other.cores,
            self.memory_gib + other.memory_gib,
            self.storage_gib + other.storage_gib,
        )

    def capped(self, ceiling: "Amounts") -> "Amounts":
        """The smaller of both, resource by resource."""
        return Amounts(
            min(self.cores, ceiling.cores),
            min(self.memory_gib, ceiling.memory_gib),
            min(self.storage_gib, ceiling.storage_gib),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Amounts taken from `start` until just before `end`."""

    start: int
    end: int
    amounts: Amounts

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"a span must end after its start: {self.start}..{self.end}")

    def is_within(self, other: "Span") -> bool:
        """Whether this takes nothing, at no time, that the other does not take."""
        return (
            other.start <= self.start
            and self.end <= other.end
            and self.amounts.fits_in(other.amounts)
        )


@dataclass(frozen=True, slots=True)
class Booking:
    """A hold or a booking: the spans that one offer or session takes, under its own key.

    The spans may differ in length (compute is taken later than storage) and may overlap, in
    which case they add up.
    """

    key: str
    spans: tuple[Span, ...]

    @property
    def end(self) -> int:
        """When the last of it is free again."""
        return max((span.end for span in self.spans), default=_BEGINNING)

    def prolonged(self, until: int) -> "Booking":
        """The same, none of it free before this instant."""
        spans = (Span(s.start, max(s.end, until), s.amounts) for s in self.spans)
        return Booking(self.key, tuple(spans))

    def is_within(self, other: "Booking") -> bool:
        """Whether each span lies within the other's span of the same position."""
        return len(self.spans) == len(other.spans) and all(
            mine.is_within(theirs) for mine, theirs in zip(self.spans, other.spans, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What a search needs around a start t: amounts over [t - before_s, t + after_s)."""

    before_s: int
    after_s: int
    amounts: Amounts

    def __post_init__(self) -> None:
        if self.before_s + self.after_s <= 0:
            raise ValueError("a part must have a length")


class OverCapacityError(Exception):
    """A booking would take more than is free; nothing of it was booked."""

    def __init__(self, booking: Booking, span: Span, free: Amounts) -> None:
        super().__init__(
            f"booking {booking.key!r}: {span.amounts} in {span.start}..{span.end}, free is {free}"
        )
        self.span = span
        self.free = free


class DuplicateBookingError(Exception):
    """The key is taken."""

    def __init__(self, key: str) -> None:
        super().__init__(f"booking {key!r} exists already")


class UnknownBookingError(Exception):
    """No booking has the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no booking {key!r}")


class Timeline:
    """The amounts in use as a step function of time, and the searches on it.

    Step i lasts from `_times[i]` until `_times[i + 1]`, the last one for ever. Neighbouring steps
    differ, so the lists depend on what is booked only, not on the order in which it was.
    """

    def __init__(self, capacity: Amounts) -> None:
        self.capacity: Final = capacity
        self._times = [_BEGINNING]
        self._cores = [0]
        self._memory = [0]
        self._storage = [0]

    def copy(self) -> "Timeline":
        """An independent copy, to try bookings on."""
        other = Timeline(self.capacity)
        other._times = self._times.copy()
        other._cores = self._cores.copy()
        other._memory = self._memory.copy()
        other._storage = self._storage.copy()
        return other

    def free_between(self, start: int, end: int) -> Amounts:
        """What is free through the whole of [start, end); never negative."""
        if start >= end:
            raise ValueError(f"a span must end after its start: {start}..{end}")
        first = bisect_right(self._times, start) - 1
        stop = bisect_left(self._times, end, first)
        capacity = self.capacity
        return Amounts(
            max(0, capacity.cores - max(self._cores[first:stop])),
            max(0, capacity.memory_gib - max(self._memory[first:stop])),
            max(0, capacity.storage_gib - max(self._storage[first:stop])),
        )

    def earliest(
        self, start: int, latest: int, parts: Sequence[Part], until: int | None = None
    ) -> int | None:
        """The first t in [start, latest] with every part free around it, or None.

        With `until`, a start is open between t and `until` (where that is later than t), and each
        part must be free over [t - before_s, max(t, until) + after_s).

        The parts must not ask for the same resource twice. The cost is at most linear in the
        steps between the first and the last instant looked at.
        """
        _refuse_shared_resources(parts)
        needed = [part for part in parts if part.amounts]
        if any(not part.amounts.fits_in(self.capacity) for part in needed):
            return None
        cursors = [0] * len(needed)
        open_until = start if until is None else until
        t = start
        settled = 0  # how many parts in a row agree with t
        turn = 0
        while t <= latest and settled < len(needed):
            moved, cursors[turn] = self._advance(needed[turn], cursors[turn], t, latest, open_until)
            settled = settled + 1 if moved == t else 1
            t = moved
            turn = (turn + 1) % len(needed)
        return t if t <= latest else None

    def _advance(self, part: Part, cursor: int, t: int, latest: int, until: int) -> tuple[int, int]:
        """Move t on to where this one part is free.

        The steps before the cursor, as far as they matter to t, are known to be free: t only ever
        grows, and so does the end of what it needs, so no step is looked at twice.
        """
        times, cores, memory, storage = self._times, self._cores, self._memory, self._storage
        most_cores = _spare(part.amounts.cores, self.capacity.cores)
        most_memory = _spare(part.amounts.memory_gib, self.capacity.memory_gib)
        most_storage = _spare(part.amounts.storage_gib, self.capacity.storage_gib)
        before, after = part.before_s, part.after_s
        step = max(cursor, bisect_right(times, t - before) - 1)
        count = len(times)
        end = max(t, until) + after
        is_blocked = False
        while step < count and (is_blocked or times[step] < end):
            if (
                cores[step] > most_cores
                or memory[step] > most_memory
                or storage[step] > most_storage
            ):
                is_blocked = True
            elif is_blocked:
                is_blocked = False
                t = times[step] + before
                if t > latest:
                    break
                end = max(t, until) + after
            step += 1
        return t, step

    def take(self, span: Span) -> None:
        """Put a span in use, without asking whether it is free."""
        self._change(span, 1)

    def give_back(self, span: Span) -> None:
        """Free a span that was taken."""
        self._change(span, -1)

    def _change(self, span: Span, sign: int) -> None:
        first, stop = self._cut(span.start), self._cut(span.end)
        for levels, amount in (
            (self._cores, span.amounts.cores),
            (self._memory, span.amounts.memory_gib),
            (self._storage, span.amounts.storage_gib),
        ):
            if amount:
                levels[first:stop] = [level + sign * amount for level in levels[first:stop]]
        # The steps inside moved together; only at the two ends can neighbours have become equal.
        self._join(stop)
        self._join(first)

    def _cut(self, instant: int) -> int:
        """The step that begins at this instant, made where there is none."""
        step = bisect_left(self._times, instant)
        if step == len(self._times) or self._times[step] != instant:
            self._times.insert(step, instant)
            for levels in (self._cores, self._memory, self._storage):
                levels.insert(step, levels[step - 1])
        return step

    def _join(self, step: int) -> None:
        """Merge a step with the one before it where they are alike."""
        if (
            self._cores[step] == self._cores[step - 1]
            and self._memory[step] == self._memory[step - 1]
            and self._storage[step] == self._storage[step - 1]
        ):
            del self._times[step], self._cores[step], self._memory[step], self._storage[step]


class Ledger:
    """The holds and bookings of a site by key; together they never exceed its capacity.

    Every change is made whole or not at all. Not for several threads. `timeline`, what is in use
    when, is there to be read and copied, not to be changed.
    """

    def __init__(self, capacity: Amounts) -> None:
        self.timeline: Final = Timeline(capacity)
        self._bookings: dict[str, Booking] = {}

    @property
    def capacity(self) -> Amounts:
        """What the site has in all."""
        return self.timeline.capacity

    def __len__(self) -> int:
        return len(self._bookings)

    def __contains__(self, key: str) -> bool:
        return key in self._bookings

    def get(self, key: str) -> Booking | None:
        """The booking with this key, if there is one."""
        return self._bookings.get(key)

    def free_between(self, start: int, end: int) -> Amounts:
        """What is free through the whole of [start, end)."""
        return self.timeline.free_between(start, end)

    def add(self, booking: Booking) -> None:
        """Book, or refuse.

        Raises
        ------
        OverCapacityError
            More than is free; the ledger is as before.
        DuplicateBookingError
            The key is taken.
        """
        if booking.key in self._bookings:
            raise DuplicateBookingError(booking.key)
        taken: list[Span] = []
        for span in booking.spans:
            free = self.timeline.free_between(span.start, span.end)
            if not span.amounts.fits_in(free):
                for done in taken:
                    self.timeline.give_back(done)
                raise OverCapacityError(booking, span, free)
            self.timeline.take(span)
            taken.append(span)
        self._bookings[booking.key] = booking

    def restore(self, booking: Booking) -> None:
        """Enter what is in use in fact, whether or not it fits, instead of what the key has.

        For sessions found again after a restart, which run on although the site's capacity was
        made smaller meanwhile, and for those that have not gone in time: nothing more is promised
        until they have. In order of start, many are entered fastest.
        """
        self.remove(booking.key)
        for span in booking.spans:
            self.timeline.take(span)
        self._bookings[booking.key] = booking

    def remove(self, key: str) -> Booking | None:
        """Free what the booking took; repeating it, or an unknown key, does nothing."""
        booking = self._bookings.pop(key, None)
        if booking is not None:
            for span in booking.spans:
                self.timeline.give_back(span)
        return booking

    def replace(self, booking: Booking) -> None:
        """Shrink, move or extend the booking of the same key.

        What lies within the old booking is never refused.

        Raises
        ------
        UnknownBookingError
            There is none with this key.
        OverCapacityError
            More than would be free without the old booking, which stays as it was.
        """
        old = self.remove(booking.key)
        if old is None:
            raise UnknownBookingError(booking.key)
        if booking.is_within(old):
            self.restore(booking)
            return
        try:
            self.add(booking)
        except OverCapacityError:
            self.restore(old)
            raise

    def prune(self, before: int) -> tuple[str, ...]:
        """Remove the bookings that ended at or before an instant; their keys.

        Nothing behind the instant changes: this only keeps the ledger short.
        """
        ended = tuple(key for key, booking in self._bookings.items() if booking.end <= before)
        for key in ended:
            self.remove(key)
        return ended


def _spare(needed: int, capacity: int) -> int:
    """How much may be in use where this is needed: anything, where nothing is."""
    return capacity - needed if needed else _ANY_AMOUNT


def _refuse_shared_resources(parts: Sequence[Part]) -> None:
    for of in ("cores", "memory_gib", "storage_gib"):
        if sum(1 for part in parts if getattr(part.amounts, of)) > 1:
            raise ValueError(f"two parts of a search ask for {of}")
