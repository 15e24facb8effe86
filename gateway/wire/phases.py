"""Phases of sessions and components, and the moves between them.

A phase may be skipped but never run backwards, and a terminal phase is final.
Source: the phase enums of the public OpenAPI document; the moves of the draft standard.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class SessionPhase(StrEnum):
    """Where a session stands."""

    INITIAL = "INITIAL"
    OFFERED = "OFFERED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    WAITING = "WAITING"
    PREPARING = "PREPARING"
    AVAILABLE = "AVAILABLE"
    RUNNING = "RUNNING"
    RELEASING = "RELEASING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ComponentPhase(StrEnum):
    """Where an executable, compute, storage or data resource stands."""

    INITIALIZING = "INITIALIZING"
    WAITING = "WAITING"
    PREPARING = "PREPARING"
    AVAILABLE = "AVAILABLE"
    RUNNING = "RUNNING"
    RELEASING = "RELEASING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ConnectorStatus(StrEnum):
    """Whether a connector can be used."""

    PREPARING = "PREPARING"
    AVAILABLE = "AVAILABLE"
    FINISHED = "FINISHED"


class MessageLevel(StrEnum):
    """How serious a message is."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    OTHER = "OTHER"


TERMINAL_SESSION_PHASES: Final = frozenset(
    {
        SessionPhase.REJECTED,
        SessionPhase.EXPIRED,
        SessionPhase.COMPLETED,
        SessionPhase.FAILED,
        SessionPhase.CANCELLED,
    }
)
"""No way out of these."""

TERMINAL_COMPONENT_PHASES: Final = frozenset(
    {ComponentPhase.COMPLETED, ComponentPhase.FAILED, ComponentPhase.CANCELLED}
)
"""No way out of these."""

EXECUTION_PHASES: Final = (
    SessionPhase.ACCEPTED,
    SessionPhase.WAITING,
    SessionPhase.PREPARING,
    SessionPhase.AVAILABLE,
    SessionPhase.RUNNING,
    SessionPhase.RELEASING,
)
"""An accepted session on its way to its end, in order."""

_AFTER_ACCEPT = frozenset({SessionPhase.COMPLETED, SessionPhase.FAILED, SessionPhase.CANCELLED})

SESSION_MOVES: Final[Mapping[SessionPhase, frozenset[SessionPhase]]] = {
    SessionPhase.INITIAL: frozenset(SessionPhase) - {SessionPhase.INITIAL},
    SessionPhase.OFFERED: frozenset(SessionPhase) - {SessionPhase.INITIAL, SessionPhase.OFFERED},
    **{
        phase: frozenset(EXECUTION_PHASES[i + 1 :]) | _AFTER_ACCEPT
        for i, phase in enumerate(EXECUTION_PHASES)
    },
    **{phase: frozenset() for phase in TERMINAL_SESSION_PHASES},
}
"""From each session phase, the phases it may move to."""

_COMPONENT_ORDER = (
    ComponentPhase.INITIALIZING,
    ComponentPhase.WAITING,
    ComponentPhase.PREPARING,
    ComponentPhase.AVAILABLE,
    ComponentPhase.RUNNING,
    ComponentPhase.RELEASING,
)

COMPONENT_MOVES: Final[Mapping[ComponentPhase, frozenset[ComponentPhase]]] = {
    **{
        phase: frozenset(_COMPONENT_ORDER[i + 1 :]) | TERMINAL_COMPONENT_PHASES
        for i, phase in enumerate(_COMPONENT_ORDER)
    },
    **{phase: frozenset() for phase in TERMINAL_COMPONENT_PHASES},
}
"""From each component phase, the phases it may move to."""

CLIENT_MOVES: Final[Mapping[SessionPhase, tuple[SessionPhase, ...]]] = {
    SessionPhase.OFFERED: (SessionPhase.ACCEPTED, SessionPhase.REJECTED),
    **{
        phase: (SessionPhase.CANCELLED,)
        for phase in EXECUTION_PHASES
        if phase is not SessionPhase.RELEASING
    },
}
"""What the owner may ask for, as ``meta.options`` shows it; a missing phase allows nothing."""


def can_move(now: SessionPhase, then: SessionPhase) -> bool:
    """Whether a session in phase ``now`` may go to phase ``then``; staying is no move."""
    return then in SESSION_MOVES[now]


def can_client_move(now: SessionPhase, then: SessionPhase) -> bool:
    """Whether the owner of a session in phase ``now`` may ask for phase ``then``.

    An offer may also be cancelled, which is not advertised: the upstream service takes it too.
    """
    if now is SessionPhase.OFFERED and then is SessionPhase.CANCELLED:
        return True
    return then in CLIENT_MOVES.get(now, ())


def is_terminal(phase: SessionPhase) -> bool:
    """Whether a session in this phase has come to its end."""
    return phase in TERMINAL_SESSION_PHASES
