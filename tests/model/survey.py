"""What the store says now, read once after every commit, for the explorer and the judge alike."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from gateway.stores.database import from_micros
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_move
from tests.model.gateways import SESSIONS
from tests.model.nodes import SimNode, seconds
from tests.model.store import SharedStore

_MICRO_S: Final = 1e-6
"""Just after: what is looked at when it is older than a time, is not when it is that old."""


@dataclass(frozen=True, slots=True)
class Known:
    """A session as the store has it; times are the loop's seconds."""

    uuid: UUID
    offerset: UUID
    node: str
    phase: SessionPhase
    asked: SessionPhase | None
    expires_s: float
    observed_s: float

    @property
    def is_open(self) -> bool:
        """Whether it is on offer, and nobody is accepting it."""
        return self.phase is SessionPhase.OFFERED and self.asked is None

    def seen_from(self, now_s: float) -> tuple[object, ...]:
        """What is to be known of it at a time, with its own times counted from there."""
        left_s = round(self.expires_s - now_s, 6)
        age_s = round(now_s - self.observed_s, 6)
        return (self.uuid, self.phase, self.asked, left_s, age_s)

    def has_news(self, nodes: dict[str, SimNode]) -> bool:
        """Whether it is on its way and its node shows what it can move to."""
        if self.phase not in EXECUTION_PHASES:
            return False
        held = nodes[self.node].sessions.get(self.uuid)
        return held is None or can_move(self.phase, held.phase)


@dataclass(frozen=True, slots=True)
class Survey:
    """All sessions, and when the next command to a node is due."""

    sessions: tuple[Known, ...]
    command_s: float | None

    @property
    def expiry_s(self) -> float | None:
        """When the next offer expires that nobody is accepting."""
        return min((one.expires_s for one in self.sessions if one.is_open), default=None)

    def follow_s(self, nodes: dict[str, SimNode]) -> float | None:
        """When a session is looked at of which its node has news; else it would be for ever."""
        times = [
            one.observed_s + SESSIONS.follow_s + _MICRO_S
            for one in self.sessions
            if one.has_news(nodes)
        ]
        return min(times, default=None)


def survey_of(store: SharedStore) -> Survey:
    """What is committed now."""
    due = store.rows("SELECT min(due) FROM commands")[0][0]
    rows = store.rows(
        "SELECT uuid, offerset, node, phase, asked, expires, observed FROM sessions ORDER BY uuid"
    )
    return Survey(tuple(_known(*row) for row in rows), None if due is None else _seconds(due))


@lru_cache(4096)
def _known(
    uuid: str,
    offerset: str,
    node: str,
    phase: str,
    asked: str | None,
    expires: int,
    observed: int,
) -> Known:
    """The row's meaning; the same rows come again in thousands of schedules."""
    return Known(
        UUID(uuid),
        UUID(offerset),
        node,
        SessionPhase(phase),
        SessionPhase(asked) if asked else None,
        _seconds(expires),
        _seconds(observed),
    )


@lru_cache(1024)
def _seconds(micros: int) -> float:
    return seconds(from_micros(micros))
