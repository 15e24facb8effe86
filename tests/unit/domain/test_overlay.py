"""The overlay: terminal is final, no phase goes back, and what a node forgets stays true."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.overlay import Reported, Shown, Unread, merge_phase, show
from gateway.domain.reasons import ReasonCode
from gateway.wire.phases import (
    EXECUTION_PHASES,
    SessionPhase,
    can_client_move,
    can_move,
    is_terminal,
)
from tests.unit.domain.builders import NOW, at

P = SessionPhase
EXPIRES = at(300)

reports: st.SearchStrategy[Reported] = st.sampled_from([*SessionPhase, *Unread])
requests = st.none() | st.sampled_from([P.ACCEPTED, P.REJECTED, P.CANCELLED])


def code(shown: Shown) -> ReasonCode | None:
    """What is said about the phase."""
    return shown.reason.code if shown.reason else None


@given(st.lists(st.tuples(reports, requests, st.integers(0, 100)), max_size=12))
def test_whatever_a_node_says_no_phase_goes_back_and_an_end_is_final(
    happened: list[tuple[Reported, SessionPhase | None, int]],
) -> None:
    known, asked, now = P.OFFERED, None, NOW
    for reported, wish, later_s in happened:
        now += timedelta(seconds=later_s)
        if wish is not None and can_client_move(known, wish):
            asked = wish
        phase = show(known, asked, reported, EXPIRES, now).phase
        assert phase is known or can_move(known, phase)
        if is_terminal(known):
            assert phase is known
        known = phase


@given(
    st.sampled_from([P.REJECTED, P.CANCELLED]),
    st.lists(reports, max_size=6),
    st.integers(0, 900),
)
def test_what_was_rejected_or_cancelled_stays_so(
    asked: SessionPhase, reported: list[Reported], later_s: int
) -> None:
    known = P.OFFERED
    for one in reported:
        known = show(known, asked, one, EXPIRES, at(later_s)).phase
        assert known is asked


@pytest.mark.parametrize("phase", EXECUTION_PHASES)
def test_a_cancelled_session_that_its_node_goes_on_with_is_said_to(phase: SessionPhase) -> None:
    known = P.CANCELLED
    shown = show(known, P.CANCELLED, phase, EXPIRES, NOW)
    assert shown.phase is P.CANCELLED
    assert code(shown) is ReasonCode.NODE_STILL_ACTIVE
    assert shown.reason is not None
    assert phase.value in shown.reason.text()


def test_a_session_that_ended_otherwise_at_its_node_is_said_to() -> None:
    shown = show(P.AVAILABLE, P.CANCELLED, P.COMPLETED, EXPIRES, NOW)
    assert shown.phase is P.CANCELLED
    assert code(shown) is ReasonCode.NODE_ENDED_DIFFERENTLY


def test_an_offer_that_a_node_forgot_to_let_go_is_nothing_to_speak_of() -> None:
    assert show(P.REJECTED, P.REJECTED, P.OFFERED, EXPIRES, NOW) == Shown(P.REJECTED)
    assert show(P.EXPIRED, None, P.OFFERED, EXPIRES, at(301)) == Shown(P.EXPIRED)


@pytest.mark.parametrize("reported", [P.OFFERED, P.INITIAL, *Unread])
def test_an_offer_ends_at_its_time_whatever_its_node_says(reported: Reported) -> None:
    assert show(P.OFFERED, None, reported, EXPIRES, EXPIRES).phase is P.EXPIRED


def test_before_its_time_an_offer_is_shown_as_it_is() -> None:
    assert show(P.OFFERED, None, P.OFFERED, EXPIRES, at(299)) == Shown(P.OFFERED)
    assert show(P.OFFERED, None, Unread.SILENT, EXPIRES, at(299)) == Shown(P.OFFERED)
    assert show(P.OFFERED, None, P.OFFERED, None, at(10**6)) == Shown(P.OFFERED)


@pytest.mark.parametrize("reported", [P.OFFERED, Unread.SILENT])
@pytest.mark.parametrize("now_s", [0, 301])
def test_an_accept_on_its_way_neither_shows_nor_expires(reported: Reported, now_s: int) -> None:
    shown = show(P.OFFERED, P.ACCEPTED, reported, EXPIRES, at(now_s))
    assert shown.phase is P.OFFERED
    assert code(shown) is ReasonCode.ACCEPT_PENDING


def test_an_accept_that_the_node_shows_is_shown_also_after_the_offer_would_have_ended() -> None:
    assert show(P.OFFERED, P.ACCEPTED, P.ACCEPTED, EXPIRES, at(301)) == Shown(P.ACCEPTED)
    assert show(P.OFFERED, P.ACCEPTED, P.RUNNING, EXPIRES, at(301)) == Shown(P.RUNNING)
    assert show(P.ACCEPTED, P.ACCEPTED, Unread.SILENT, EXPIRES, at(301)) == Shown(P.ACCEPTED)


@pytest.mark.parametrize("known", [*EXECUTION_PHASES, P.OFFERED])
def test_a_session_that_its_node_does_not_know_has_failed(known: SessionPhase) -> None:
    shown = show(known, P.ACCEPTED, Unread.MISSING, EXPIRES, NOW)
    assert shown.phase is P.FAILED
    assert code(shown) is ReasonCode.SESSION_UNKNOWN


def test_an_offer_that_its_node_lost_before_its_time_has_failed() -> None:
    assert show(P.OFFERED, None, Unread.MISSING, EXPIRES, NOW).phase is P.FAILED


@pytest.mark.parametrize("known", [p for p in SessionPhase if is_terminal(p)])
def test_a_session_that_ended_may_be_forgotten_by_its_node(known: SessionPhase) -> None:
    assert show(known, None, Unread.MISSING, EXPIRES, NOW) == Shown(known)


def test_a_node_that_goes_back_is_not_followed_and_said_to() -> None:
    shown = show(P.RELEASING, P.ACCEPTED, P.PREPARING, EXPIRES, NOW)
    assert shown.phase is P.RELEASING
    assert code(shown) is ReasonCode.NODE_WENT_BACK


@given(st.sampled_from(SessionPhase), requests, reports)
def test_merging_the_same_again_changes_nothing(
    known: SessionPhase, asked: SessionPhase | None, reported: Reported
) -> None:
    once = merge_phase(known, asked, reported)
    assert merge_phase(once, asked, reported) is once
