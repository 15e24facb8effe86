"""A slot: a place in the ledger that can be offered, and what is booked for it.

No offer strands its client. A slot may start anywhere from `start_earliest` to `start_latest`,
and it expires early enough that one accepted at the last moment can still be prepared before
`start_latest`; what it needs is held for every start in between. Accepted sooner, it starts
sooner. Instants are whole seconds since 1970 (UTC).
"""

from dataclasses import dataclass

from node_stub.ledger import Amounts, Booking, Part, Span


@dataclass(frozen=True, slots=True)
class Stages:
    """How long a session takes before and after its run.

    Parameters
    ----------
    prepare_s
        From acceptance until available; storage is held from its beginning.
    compute_prepare_s
        The last part of it; compute is held only from there.
    release_s
        After the run; everything is held until its end.
    """

    prepare_s: int = 0
    compute_prepare_s: int = 0
    release_s: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.compute_prepare_s <= self.prepare_s or self.release_s < 0:
            raise ValueError(f"contradictory stages: {self}")

    def parts(self, amounts: Amounts, duration_s: int) -> tuple[Part, ...]:
        """What a run of this length takes, around its start."""
        after_s = duration_s + self.release_s
        compute = Amounts(cores=amounts.cores, memory_gib=amounts.memory_gib)
        storage = Amounts(storage_gib=amounts.storage_gib)
        return tuple(
            Part(before_s, after_s, part)
            for before_s, part in ((self.compute_prepare_s, compute), (self.prepare_s, storage))
            if part
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place in the ledger that can be offered.

    It starts between `start_earliest` and `start_latest`, both included, runs for `duration_s`,
    and can be accepted up to `expires`; `expires + stages.prepare_s <= start_latest` always.
    """

    start_earliest: int
    start_latest: int
    duration_s: int
    amounts: Amounts
    expires: int
    stages: Stages

    def __post_init__(self) -> None:
        if self.start_latest < max(self.start_earliest, self.expires + self.stages.prepare_s):
            raise ValueError(f"a slot that would strand its client: {self}")

    def start_if_accepted(self, at: int) -> int:
        """The start of the run when accepted at this instant: as soon as it is allowed.

        Raises
        ------
        ValueError
            The slot has expired.
        """
        if at > self.expires:
            raise ValueError(f"accepted at {at}, but the slot expired at {self.expires}")
        return max(self.start_earliest, at + self.stages.prepare_s)


def hold_of(slot: Slot, key: str) -> Booking:
    """What an offer of this slot holds: enough for every start that it allows."""
    return _booking(slot, key, slot.start_earliest, slot.start_latest)


def run_booking(slot: Slot, start: int, key: str) -> Booking:
    """What an accepted slot takes that starts at this instant; it lies within the hold.

    Raises
    ------
    ValueError
        The slot does not allow this start.
    """
    if not slot.start_earliest <= start <= slot.start_latest:
        raise ValueError(
            f"start {start} is outside {slot.start_earliest}..{slot.start_latest} of the slot"
        )
    return _booking(slot, key, start, start)


def _booking(slot: Slot, key: str, first: int, last: int) -> Booking:
    parts = slot.stages.parts(slot.amounts, slot.duration_s)
    return Booking(
        key,
        tuple(Span(first - part.before_s, last + part.after_s, part.amounts) for part in parts),
    )
