"""Offers, requests and candidates for the tests of the domain, and strategies that make them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from gateway.domain.policies import POLICIES, YARDSTICKS, Policy
from gateway.domain.quantities import Amount, Candidate, Placement, Quantity, Whereabouts
from gateway.wire.phases import SessionPhase
from gateway.wire.times import Interval
from gateway.wire.views import Bounds, SessionView

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)

MEASURED = tuple(q for q in Quantity if q not in {Quantity.BEGIN, Quantity.STAGING})
"""The quantities that are read off an offer one by one."""


def uuid(number: int) -> UUID:
    """A UUID that is easy to tell from others."""
    return UUID(int=number)


def at(seconds: float) -> datetime:
    """The instant that long after NOW."""
    return NOW + timedelta(seconds=seconds)


def interval(start_s: float, end_s: float) -> Interval:
    """From and to so many seconds after NOW."""
    return Interval(at(start_s), at(end_s))


OFFER = SessionView(
    uuid=uuid(1),
    phase=SessionPhase.OFFERED,
    expires=at(300),
    start=interval(60, 360),
    duration=timedelta(minutes=30),
    cores=Bounds(4, 4),
    memory_gib=Bounds(8, 8),
    storage_gib=Bounds(10, 10),
)
"""An offer with nothing wrong."""

_AMOUNTS = st.builds(Amount, st.integers(0, 10**12), st.booleans())
_SHARES = st.builds(Amount, st.integers(0, 10**6))

_MILLISECONDS = st.integers(0, 10 * 86_400_000)


def amounts() -> st.SearchStrategy[dict[Quantity, Amount]]:
    """Any of the quantities, any of them missing."""
    return st.fixed_dictionaries(
        {},
        optional={q: _SHARES if q is Quantity.TRACK_RECORD else _AMOUNTS for q in MEASURED},
    )


def placements() -> st.SearchStrategy[Placement | None]:
    """Nothing to place, not known where, or so long to stage."""
    return st.none() | st.builds(
        Placement,
        st.none() | _MILLISECONDS,
        at_least_ms=_MILLISECONDS,
        whereabouts=st.sampled_from(Whereabouts),
    )


candidates: st.SearchStrategy[Candidate] = st.builds(
    Candidate,
    node=st.sampled_from(["alpha", "beta", "gamma", "delta"]),
    uuid=st.uuids(version=4),
    start_delay_ms=st.none() | _MILLISECONDS,
    placement=placements(),
    amounts=amounts(),
)

candidate_sets: st.SearchStrategy[list[Candidate]] = st.lists(
    candidates, max_size=8, unique_by=lambda candidate: candidate.uuid
)

policies: st.SearchStrategy[Policy] = st.sampled_from(list(POLICIES.values())) | st.builds(
    Policy,
    name=st.just("own"),
    weights=st.dictionaries(st.sampled_from(list(Quantity)), st.integers(0, 1000)),
    yardsticks=st.just(YARDSTICKS),
)
