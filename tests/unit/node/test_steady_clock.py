"""The node's clock: as the machine's, without its jumps."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from node_stub.clock import SLEW, SteadyClock, SystemClock

EPOCH = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)


@dataclass(slots=True)
class Machine:
    """A machine whose time passes when it is told to, and whose clock can be set."""

    ticks: float = 0.0
    shift: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.ticks) + self.shift

    def clock(self) -> SteadyClock:
        return SteadyClock(self.now, lambda: self.ticks)


STEPS = st.lists(
    st.tuples(st.floats(0, 3600), st.floats(-86_400, 86_400) | st.just(0.0)), max_size=20
)
"""Seconds that pass, and then by how many the machine's clock is set."""


@given(STEPS)
def test_time_never_goes_back_and_never_jumps(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    told = clock.now()
    for passed_s, set_by_s in steps:
        machine.ticks += passed_s
        before, told = told, clock.now()
        assert abs((told - before).total_seconds() - passed_s) <= SLEW * passed_s + 1e-5
        machine.shift += timedelta(seconds=set_by_s)
        assert clock.now() == told


def test_a_machine_that_is_not_set_is_followed_to_the_microsecond() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(1000):
        machine.ticks += 0.25
        assert clock.now() == machine.now()


def test_a_small_correction_is_made_up_for_and_not_overdone() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.shift = timedelta(seconds=-2)
    for _ in range(400):
        machine.ticks += 1
        assert clock.now() >= machine.now()
    assert clock.now() == machine.now()


def test_the_machines_own_clock_is_never_behind_and_has_nothing_to_take_over() -> None:
    clock = SystemClock()
    assert clock.behind_s() == clock.settle() == 0
    assert clock.on_machine(EPOCH) == EPOCH


@given(STEPS, st.integers(0, 86_400))
def test_what_is_due_in_a_while_is_due_in_that_while_on_the_machine(
    steps: list[tuple[float, float]], due_in_s: int
) -> None:
    machine = Machine()
    clock = machine.clock()
    for passed_s, set_by_s in steps:
        machine.ticks += passed_s
        machine.shift += timedelta(seconds=set_by_s)
    due = clock.now() + timedelta(seconds=due_in_s)
    assert abs((clock.on_machine(due) - machine.now()).total_seconds() - due_in_s) <= 1e-5


def test_settled_it_tells_the_machines_time_and_by_how_much_that_was_ahead() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.shift = timedelta(hours=-3)
    assert clock.behind_s() == -3 * 3600
    assert clock.settle() == -3 * 3600
    assert clock.now() == machine.now()
    assert clock.behind_s() == 0
