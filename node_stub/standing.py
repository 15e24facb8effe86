"""Where a session stands, and what is decided about it; which moves are legal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.wire.phases import (
    COMPONENT_MOVES,
    ComponentPhase,
    SessionPhase,
    can_move,
    is_terminal,
)
from node_stub.reasons import Reason


class Component(StrEnum):
    """The parts of a session with own phases; all storage moves as one, and so does all data."""

    EXECUTABLE = "executable"
    COMPUTE = "compute"
    STORAGE = "storage"
    DATA = "data"


class Intent(StrEnum):
    """What the platform was last asked for. DONE: it will not be asked again."""

    NOTHING = "NOTHING"
    PREPARE = "PREPARE"
    LAUNCH = "LAUNCH"
    STOP = "STOP"
    RELEASE = "RELEASE"
    DONE = "DONE"


ComponentPhases = Mapping[Component, ComponentPhase]

UNTOUCHED: Final[ComponentPhases] = dict.fromkeys(Component, ComponentPhase.INITIALIZING)
"""The components of an offer."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an accepted session prepares, may run, and must have stopped."""

    prepare_at: datetime
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a platform may take to stop and to release a job."""

    stop: timedelta = timedelta(seconds=60)
    release: timedelta = timedelta(seconds=600)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands: phase reached, target wanted, what the platform was asked when."""

    phase: SessionPhase
    target: SessionPhase
    intent: Intent
    intent_at: datetime
    components: ComponentPhases = field(default_factory=lambda: UNTOUCHED)

    def moved(self, phase: SessionPhase) -> "Standing":
        """In another phase, if that is a legal move; otherwise as it is."""
        return replace(self, phase=phase) if can_move(self.phase, phase) else self

    def aimed(self, target: SessionPhase) -> "Standing":
        """With another end in view, unless it has come to one."""
        return self if is_terminal(self.phase) else replace(self, target=target)

    def asked(self, intent: Intent, now: datetime) -> "Standing":
        """With something else asked of the platform."""
        return replace(self, intent=intent, intent_at=now)

    def with_components(self, phase: ComponentPhase, *parts: Component) -> "Standing":
        """With these components, or all, in another phase, where that is a legal move."""
        components = {
            part: phase
            if (not parts or part in parts) and phase in COMPONENT_MOVES[before]
            else before
            for part, before in self.components.items()
        }
        return replace(self, components=components)


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the client: of one component, or of the session where that is None."""

    component: Component | None
    reason: Reason
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the session stands now, what to ask of the platform, and when to look again.

    ``wake`` None: nothing will change with time alone.
    """

    standing: Standing
    action: Intent | None = None
    wake: datetime | None = None
    notes: tuple[Note, ...] = ()
