"""Phases go forward, and a terminal phase is final."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.phases import (
    CLIENT_MOVES,
    COMPONENT_MOVES,
    SESSION_MOVES,
    TERMINAL_COMPONENT_PHASES,
    ComponentPhase,
    SessionPhase,
    can_client_move,
    can_move,
    is_terminal,
)
from gateway.wire.problem import PROBLEM_BASE, Fault, ProblemError


@given(st.lists(st.sampled_from(SessionPhase), max_size=30))
def test_no_sequence_of_legal_moves_comes_back_or_leaves_its_end(
    wanted: list[SessionPhase],
) -> None:
    passed = [SessionPhase.INITIAL]
    for phase in wanted:
        if can_move(passed[-1], phase):
            assert not is_terminal(passed[-1])
            assert phase not in passed
            passed.append(phase)


def test_every_phase_has_moves_or_is_terminal() -> None:
    for phase in SessionPhase:
        assert bool(SESSION_MOVES[phase]) != is_terminal(phase)
    for component in ComponentPhase:
        assert bool(COMPONENT_MOVES[component]) != (component in TERMINAL_COMPONENT_PHASES)


def test_clients_ask_only_for_legal_moves() -> None:
    for now, moves in CLIENT_MOVES.items():
        for then in moves:
            assert can_client_move(now, then)
            assert can_move(now, then)
    assert can_client_move(SessionPhase.OFFERED, SessionPhase.CANCELLED)
    assert not can_client_move(SessionPhase.RELEASING, SessionPhase.CANCELLED)
    assert not any(can_client_move(now, SessionPhase.FAILED) for now in SessionPhase)


@pytest.mark.parametrize("phase", SessionPhase)
def test_staying_is_no_move(phase: SessionPhase) -> None:
    assert not can_move(phase, phase)


class TeapotError(ProblemError):
    slug = "teapot"
    title = "A teapot"
    status = 418


def test_a_problem_carries_its_faults_and_extensions() -> None:
    error = TeapotError("Short.", faults=[Fault("/a", "Stout.")], extensions={"upstream": {}})
    assert error.to_document("r-1") == {
        "type": PROBLEM_BASE + "teapot",
        "title": "A teapot",
        "status": 418,
        "detail": "Short.",
        "instance": "r-1",
        "errors": [{"pointer": "/a", "detail": "Stout."}],
        "upstream": {},
    }
    assert "errors" not in TeapotError("Stout.").to_document("r-2")
