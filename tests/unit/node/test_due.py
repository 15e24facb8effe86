"""What is due when: each session once, never in two hands."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from node_stub.due import DueQueue

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_sessions_come_when_they_are_due() -> None:
    queue = DueQueue()
    queue.put(B, at(2))
    queue.put(A, at(1))

    assert queue.next_due() == at(1)
    assert queue.take(at(0)) == []
    assert queue.take(at(1)) == [A]
    assert queue.next_due() == at(2)


def test_a_session_that_is_wanted_twice_comes_once_at_the_sooner_time() -> None:
    queue = DueQueue()
    for seconds in (3, 1, 2):
        queue.put(A, at(seconds))

    assert queue.take(at(1)) == [A]
    queue.done(A, None)
    assert queue.next_due() is None


def test_when_the_clock_is_set_back_everything_can_be_made_due() -> None:
    queue = DueQueue()
    queue.put(A, at(3600))
    queue.put(B, at(-1))

    queue.put_all(at(0))

    assert queue.take(at(0)) == [B, A]


def test_a_session_that_is_wanted_while_busy_comes_again_afterwards() -> None:
    queue = DueQueue()
    queue.put(A, at(0))
    assert queue.take(at(0)) == [A]
    queue.put(A, at(0))
    assert queue.take(at(0)) == []
    assert queue.next_due() is None

    queue.done(A, at(10))

    assert queue.take(at(0)) == [A]


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "take", "done"]), st.integers(0, 4), st.integers(0, 20)),
        max_size=60,
    )
)
def test_nobody_is_lost_and_nobody_is_given_twice(steps: list[tuple[str, int, int]]) -> None:
    queue = DueQueue()
    busy: set[UUID] = set()
    wanted: dict[UUID, int] = {}
    for step, number, seconds in steps:
        session = UUID(int=number)
        if step == "put":
            queue.put(session, at(seconds))
            wanted[session] = min(seconds, wanted.get(session, seconds))
        elif step == "take":
            taken = queue.take(at(seconds))
            assert len(set(taken)) == len(taken)
            due = {s for s, when in wanted.items() if when <= seconds and s not in busy}
            assert set(taken) == due
            busy |= due
            for s in due:
                del wanted[s]
        elif session in busy:
            queue.done(session, None)
            busy.remove(session)
