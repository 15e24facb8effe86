"""Who waits, in which order, and for how long while the queue stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.httpkit.turns import SHORT, STANDING, ControlledDelay, Turns

LONGEST_S = 1.0
LONG_S = 2 * STANDING * LONGEST_S
NOTICEABLE_S = STANDING * LONGEST_S / 2


def observed(delay: ControlledDelay, waited_s: float, *, from_s: float, to_s: float) -> None:
    now_s = from_s
    while now_s < to_s:
        delay.observe(now_s, waited_s)
        now_s += LONGEST_S / 20


def test_a_burst_may_wait_to_its_end() -> None:
    delay = ControlledDelay(LONGEST_S)
    for tenth in range(10):
        assert delay.patience_s == LONGEST_S
        delay.observe(100 + tenth / 10, tenth / 10)


def test_waits_get_shorter_where_everybody_has_to_wait_long() -> None:
    delay = ControlledDelay(LONGEST_S)
    observed(delay, LONG_S, from_s=100, to_s=102.2)
    assert delay.patience_s == SHORT * LONGEST_S
    # Those that are let in just before that is over keep it so.
    observed(delay, 0.99 * SHORT * LONGEST_S, from_s=102.2, to_s=110)
    assert delay.patience_s == SHORT * LONGEST_S


def test_waits_are_as_before_once_somebody_waited_little_in_all_that_time() -> None:
    delay = ControlledDelay(LONGEST_S)
    observed(delay, LONG_S, from_s=100, to_s=103.2)
    delay.observe(103.3, NOTICEABLE_S)
    observed(delay, LONG_S, from_s=103.35, to_s=104.4)
    assert delay.patience_s == LONGEST_S


def test_a_short_wait_of_everybody_is_no_trouble() -> None:
    delay = ControlledDelay(LONGEST_S)
    observed(delay, NOTICEABLE_S, from_s=100, to_s=110)
    assert delay.patience_s == LONGEST_S


def test_what_was_long_ago_says_nothing() -> None:
    delay = ControlledDelay(LONGEST_S)
    observed(delay, LONG_S, from_s=100, to_s=103)
    delay.observe(200, 0.0)
    assert delay.patience_s == LONGEST_S


def test_turns_come_in_the_order_of_their_coming() -> None:
    turns: Turns[str] = Turns(3, LONGEST_S)
    for number, name in enumerate("abc"):
        assert not turns.is_full
        turns.join(name, 100 + number / 10)
    assert turns.is_full
    turns.give_up("b")
    turns.give_up("b")
    assert list(turns) == ["a", "c"]
    assert [turns.take_first(101), turns.take_first(101)] == ["a", "c"]
    with pytest.raises(StopIteration):
        turns.take_first(101)


def test_who_waits_in_vain_is_counted_as_delay() -> None:
    turns: Turns[int] = Turns(100, LONGEST_S)
    for number in range(40):
        now_s = 100 + number / 10
        turns.join(number, now_s)
        turns.end(number, now_s + turns.patience_s)
    assert turns.patience_s == SHORT * LONGEST_S
    turns.pass_by(110)
    assert turns.patience_s == LONGEST_S


def test_who_gives_up_is_not() -> None:
    turns: Turns[int] = Turns(100, LONGEST_S)
    for number in range(40):
        turns.join(number, 100 + number / 10)
        turns.give_up(number)
    turns.pass_by(104)
    assert turns.patience_s == LONGEST_S


_MOVES = st.lists(st.tuples(st.sampled_from("jteg"), st.floats(0, 0.5)), max_size=80)


@given(st.integers(0, 4), _MOVES)
def test_order_number_and_patience_hold_whatever_happens(
    at_most: int, moves: list[tuple[str, float]]
) -> None:
    turns: Turns[int] = Turns(at_most, LONGEST_S)
    waiting: list[int] = []
    now_s = 100.0
    for number, (move, step_s) in enumerate(moves):
        now_s += step_s
        if move == "j" and not turns.is_full:
            turns.join(number, now_s)
            waiting.append(number)
        elif move == "t" and waiting:
            assert turns.take_first(now_s) == waiting.pop(0)
        elif move == "e" and waiting:
            turns.end(waiting.pop(), now_s)
        elif move == "g" and waiting:
            turns.give_up(waiting.pop(len(waiting) // 2))
        assert list(turns) == waiting
        assert len(turns) == len(waiting) <= at_most
        assert turns.is_full == (len(waiting) == at_most)
        assert turns.patience_s in {LONGEST_S, SHORT * LONGEST_S}
