"""What the store says now, read once after every commit, for the explorer and the judge alike."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from gateway.domain.resubmission import Stage
from gateway.stores.database import from_micros
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_move
from tests.model.gateways import SESSIONS
from tests.model.nodes import SimNode, seconds
from tests.model.store import SharedStore

_MICRO_S: Final = 1e-6
"""Just after: what is looked at when it is older than a time, is not when it is that old."""


_MOVES: Final = (
    "SELECT session, stage, successor, offerset, attempts, due, silent_since, silent_until "
    "FROM resubmissions ORDER BY session"
)

_KEYS: Final = (
    "SELECT key, offerset, session, holder, "
    "EXISTS (SELECT 1 FROM offersets WHERE uuid = idempotency.offerset) "
    "FROM idempotency ORDER BY key"
)


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
        if self.phase not in EXECUTION_PHASES or nodes[self.node].is_lost:
            return False
        held = nodes[self.node].sessions.get(self.uuid)
        return held is None or can_move(self.phase, held.phase)


@dataclass(frozen=True, slots=True)
class Moving:
    """A resubmission as the store has it; times are the loop's seconds."""

    session: UUID
    stage: Stage
    successor: UUID | None
    offerset: UUID | None
    attempts: int
    due_s: float | None
    silent_s: tuple[float, float] | None

    def seen_from(self, now_s: float) -> tuple[object, ...]:
        """What is to be known of it at a time, with its own times counted from there."""
        due_s = None if self.due_s is None else round(self.due_s - now_s, 6)
        silent_s = tuple(round(now_s - at, 6) for at in self.silent_s or ())
        whose = (self.session, self.successor, self.offerset)
        return (*whose, self.stage, self.attempts, due_s, silent_s)


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key as the store has it; ``is_answered`` once there is its offer set."""

    key: str
    offerset: str
    session: str | None
    holder: str | None
    is_answered: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All sessions and resubmissions, and when the next command to a node is due.

    ``unkept_s`` is when the next hold is due that nobody was shown.
    """

    sessions: tuple[Known, ...]
    moves: tuple[Moving, ...]
    command_s: float | None
    unkept_s: float | None
    keys: tuple[Key, ...]

    @property
    def is_being_asked(self) -> bool:
        """Whether a key belongs to a request that is not answered yet."""
        return not all(key.is_answered for key in self.keys)

    @property
    def resubmit_s(self) -> float | None:
        """When the next resubmission is to be looked at."""
        return min((one.due_s for one in self.moves if one.due_s is not None), default=None)

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
    due, unkept, asked, moved = store.rows(
        "SELECT (SELECT min(due) FROM commands), (SELECT min(due) FROM unkept_holds), "
        "(SELECT count(*) FROM idempotency), (SELECT count(*) FROM resubmissions)"
    )[0]
    rows = store.rows(
        "SELECT uuid, offerset, node, phase, asked, expires, observed FROM sessions ORDER BY uuid"
    )
    return Survey(
        sessions=tuple(_known(*row) for row in rows),
        moves=tuple(_moving(*row) for row in store.rows(_MOVES)) if moved else (),
        command_s=None if due is None else _seconds(due),
        unkept_s=None if unkept is None else _seconds(unkept),
        keys=tuple(Key(*row) for row in store.rows(_KEYS)) if asked else (),
    )


@lru_cache(4096)
def _moving(
    session: str,
    stage: str,
    successor: str | None,
    offerset: str | None,
    attempts: int,
    due: int | None,
    silent_since: int | None,
    silent_until: int | None,
) -> Moving:
    is_silent = silent_since is not None and silent_until is not None
    return Moving(
        UUID(session),
        Stage(stage),
        UUID(successor) if successor else None,
        UUID(offerset) if offerset else None,
        attempts,
        None if due is None else _seconds(due),
        (_seconds(silent_since), _seconds(silent_until)) if is_silent else None,
    )


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
