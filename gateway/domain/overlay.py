"""The overlay: what the gateway knows of a session and was asked for, laid over what a node says.

Nodes forget: some never expire an offer, show one again that was rejected, or go on with a session
that was cancelled. Here a terminal phase is final and no phase ever goes back.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.phases import SessionPhase, can_move, is_terminal


class Unread(StrEnum):
    """Why there is no phase from the node."""

    SILENT = "silent"
    """It gave no answer, or was not asked."""
    MISSING = "missing"
    """It says that it knows no such session (404)."""


Reported: TypeAlias = SessionPhase | Unread
"""What the node says now."""

_FINAL_REQUESTS: Final = frozenset({SessionPhase.REJECTED, SessionPhase.CANCELLED})
_UNANSWERED: Final = frozenset({SessionPhase.INITIAL, SessionPhase.OFFERED})


@dataclass(frozen=True, slots=True)
class Shown:
    """The phase that clients see, and what they are told about it."""

    phase: SessionPhase
    reason: Reason | None = None


def show(
    known: SessionPhase,
    asked: SessionPhase | None,
    reported: Reported,
    expires: datetime | None,
    now: datetime,
) -> Shown:
    """The phase to show, to be saved as the next ``known``.

    ``known`` is the phase shown last. ``asked`` is what the client asked for and was granted or is
    still on its way to the node; an accept that the node refused for good is no longer asked. While
    an accept is on its way the offer does not expire here: whether it came in time, the node knows.
    """
    phase = merge_phase(known, asked, reported)
    if phase in _UNANSWERED and asked is not SessionPhase.ACCEPTED and _is_over(expires, now):
        phase = SessionPhase.EXPIRED
    elif reported is Unread.MISSING and not is_terminal(phase):
        return Shown(SessionPhase.FAILED, reason(ReasonCode.SESSION_UNKNOWN))
    return Shown(phase, _remark(phase, asked, reported))


def merge_phase(
    known: SessionPhase, asked: SessionPhase | None, reported: Reported
) -> SessionPhase:
    """The phase that what was asked and what the node says lead to, the time left aside."""
    if is_terminal(known):
        return known
    if asked in _FINAL_REQUESTS and can_move(known, asked):
        return asked
    if isinstance(reported, SessionPhase) and can_move(known, reported):
        return reported
    return known


def _is_over(expires: datetime | None, now: datetime) -> bool:
    return expires is not None and expires <= now


def _remark(phase: SessionPhase, asked: SessionPhase | None, reported: Reported) -> Reason | None:
    """What a client should know where the node shows something else."""
    if phase in _UNANSWERED and asked is SessionPhase.ACCEPTED:
        return reason(ReasonCode.ACCEPT_PENDING)
    if isinstance(reported, Unread) or reported is phase:
        return None
    values = {"phase": phase.value, "reported": reported.value}
    if not is_terminal(phase):
        return reason(ReasonCode.NODE_WENT_BACK, **values)
    if reported in _UNANSWERED:
        # An offer that is not taken holds resources until its node lets it go, and runs nothing.
        return None
    code = (
        ReasonCode.NODE_ENDED_DIFFERENTLY if is_terminal(reported) else ReasonCode.NODE_STILL_ACTIVE
    )
    return reason(code, **values)
