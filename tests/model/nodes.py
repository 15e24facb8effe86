"""Simulated nodes: what the contract says of offers and of a session's phases at a site, and
nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

from gateway.clients.exchange import Reply
from gateway.wire.documents import from_json, to_json
from gateway.wire.headers import IDEMPOTENCY_KEY
from gateway.wire.kinds import OFFERSET, SCHEDULED_SESSION
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_client_move
from gateway.wire.times import format_instant

START_S: Final = 1_000.0
"""The loop's time when a schedule begins."""

OFFERED_FOR_S: Final = 300.0
"""How long offers last: upstream's time (contract §3.1)."""

_OFFERED_BY: Final = {"n1": 0xC1, "n2": 0xD1}
"""What the UUIDs of a node's own offers begin with."""

_EPOCH: Final = datetime(2026, 8, 3, 9, tzinfo=UTC)

_JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}


def instant(time_s: float) -> datetime:
    """The loop's time as people read it."""
    return _EPOCH + timedelta(seconds=time_s - START_S)


def seconds(at: datetime) -> float:
    """A moment on the loop's scale."""
    return START_S + (at - _EPOCH).total_seconds()


@dataclass(slots=True)
class Held:
    """A session at its node."""

    uuid: UUID
    expires_s: float
    phase: SessionPhase = SessionPhase.OFFERED

    @property
    def is_running(self) -> bool:
        return self.phase in EXECUTION_PHASES


@dataclass(slots=True)
class SimNode:
    """A node broker (contract §1 and §3.1).

    It accepts what is on offer until that expires, by its own clock, which is ``ahead_s`` of the
    others'; what it may not do leaves the session as it is, with 200, or with 409 when it
    ``is_strict``. ``refusals`` is how often it will still refuse to accept what stays on offer.
    Asked for offers it makes one, and under the same of its ``keys`` it is that one again. While it
    ``is_lost`` nobody reaches it; what is there goes on.
    """

    name: str
    ahead_s: float = 0.0
    is_strict: bool = False
    refusals: int = 0
    is_lost: bool = False
    sessions: dict[UUID, Held] = field(default_factory=dict)
    keys: dict[str, UUID] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def offer(self, uuid: UUID, expires_s: float) -> None:
        """Hold something for somebody."""
        self.sessions[uuid] = Held(uuid, expires_s)

    def state(self) -> tuple[object, ...]:
        """All that its answers depend on, besides the time."""
        held = tuple((one.uuid, one.phase) for one in self.sessions.values())
        return (held, self.refusals, self.is_lost, tuple(sorted(self.keys)))

    def accept(self, uuid: UUID) -> None:
        """Have accepted what was offered."""
        self.sessions[uuid].phase = SessionPhase.ACCEPTED

    def forget(self) -> None:
        """Lose its memory, and with it everything that runs."""
        self.sessions.clear()

    def expire(self, now_s: float) -> None:
        """Let go of the offers whose time is over."""
        for held in self.sessions.values():
            if held.phase is SessionPhase.OFFERED and held.expires_s <= now_s + self.ahead_s:
                held.phase = SessionPhase.EXPIRED

    def answer(
        self, method: str, path: str, body: bytes | None, now_s: float, key: str | None = None
    ) -> Reply:
        """Carry out one request."""
        self.expire(now_s)
        if path.startswith("/requests"):
            return self._offered(key or "", now_s)
        held = self.sessions.get(UUID(path.removeprefix("/sessions/")))
        if held is None:
            return Reply(404, {}, b"")
        if method == "GET":
            if held.phase is SessionPhase.ACCEPTED:
                held.phase = SessionPhase.RUNNING  # time has passed since it was accepted
            return _shown(held)
        wanted = SessionPhase(from_json(body or b"")["value"])
        if not self._moves(held, wanted) and self.is_strict and held.phase is not wanted:
            problem = {"title": "Update refused", "status": 409, "detail": f"it is {held.phase}"}
            return Reply(409, {"Content-Type": "application/problem+json"}, to_json(problem))
        return _shown(held)

    def _offered(self, key: str, now_s: float) -> Reply:
        if key not in self.keys:
            kind = bytes([_OFFERED_BY[self.name] + len(self.keys)])
            self.keys[key] = UUID(bytes=kind.ljust(16, b"\0"))
            self.offer(self.keys[key], now_s + OFFERED_FOR_S)
        held = self.sessions[self.keys[key]]
        is_open = held.phase is SessionPhase.OFFERED
        document = {
            "kind": OFFERSET,
            "result": "YES" if is_open else "NO",
            "offers": [from_json(_shown(held).body)] if is_open else [],
        }
        return Reply(303, {**_JSON, IDEMPOTENCY_KEY: key}, to_json(document))

    def _moves(self, held: Held, wanted: SessionPhase) -> bool:
        if not can_client_move(held.phase, wanted):
            return False
        if wanted is SessionPhase.ACCEPTED and self.refusals:
            self.refusals -= 1
            return False
        held.phase = wanted
        return True


def _shown(held: Held) -> Reply:
    return Reply(200, _JSON, document_of(held.uuid, held.phase, held.expires_s))


@lru_cache(256)
def document_of(uuid: UUID, phase: SessionPhase, expires_s: float) -> bytes:
    """A session as its node sends it."""
    return to_json(
        {
            "kind": SCHEDULED_SESSION,
            "meta": {"uuid": str(uuid)},
            "phase": phase.value,
            "expires": format_instant(instant(expires_s)),
        }
    )
