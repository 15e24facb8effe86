"""The promises that every schedule must keep (design §1, promises 3 and 4), as checks."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway.errors import NodeRefusedAcceptError
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_move, is_terminal
from tests.model.nodes import Held
from tests.model.survey import Known
from tests.model.world import World

_TAKEN: Final = frozenset(EXECUTION_PHASES) | {SessionPhase.COMPLETED}

_NEVER_RAN: Final = frozenset({SessionPhase.REJECTED, SessionPhase.EXPIRED})


@dataclass(slots=True)
class Ledger:
    """What clients asked for and what they were told, in order.

    ``refused`` are sessions of which somebody was told that they were not accepted, and that nobody
    tried to accept since; ``let_go`` those that a client rejected or cancelled.
    """

    accepted: dict[UUID, str] = field(default_factory=dict)
    refused: dict[UUID, str] = field(default_factory=dict)
    let_go: set[UUID] = field(default_factory=set)
    shown: dict[tuple[str, UUID], SessionPhase] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def state(self) -> tuple[object, ...]:
        """All that a judgement yet to come depends on."""
        return (
            tuple(sorted(self.accepted.items())),
            tuple(sorted(self.refused.items())),
            tuple(sorted(self.let_go)),
            tuple(sorted(self.shown.items())),
        )

    def asks(self, client: str, uuid: UUID, phase: SessionPhase) -> None:
        """A client asks for a phase."""
        self.log.append(f"{client} asks {uuid.hex[:2]} to be {phase.value}")
        if phase is SessionPhase.ACCEPTED:
            self.refused.pop(uuid, None)
        else:
            self.let_go.add(uuid)

    def told(self, client: str, uuid: UUID, asked: SessionPhase, row: SessionRow) -> None:
        """A client was given the session after its update."""
        self.log.append(f"{client} is told that {uuid.hex[:2]} is {row.phase.value}")
        self.showed(client, row)
        if asked is SessionPhase.ACCEPTED and row.phase in _TAKEN:
            self.accepted[uuid] = client

    def refused_by(self, client: str, uuid: UUID, error: Exception, asked: SessionPhase) -> None:
        """A client was told that its update came to nothing, or nothing definite."""
        self.log.append(f"{client} is told of {uuid.hex[:2]}: {type(error).__name__} {error}")
        if asked is SessionPhase.ACCEPTED and isinstance(error, NodeRefusedAcceptError):
            self.refused[uuid] = client

    def showed(self, client: str, row: SessionRow) -> None:
        """A client has seen a session: it never goes back from there."""
        before = self.shown.get((client, row.uuid), row.phase)
        if before is not row.phase and not can_move(before, row.phase):
            self.broken.append(
                f"{client} saw {row.uuid.hex[:2]} {before.value}, and later {row.phase.value}"
            )
        self.shown[client, row.uuid] = row.phase


class Judge:
    """Looks at a world after every event, and again when all has come to rest."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._before = {one.uuid: one.phase for one in world.survey.sessions}

    def after_event(self) -> str | None:
        """What may never be, not even for a moment."""
        faults = self._world.failures + self._ledger.broken
        if faults:
            return faults[0]
        if not self._world.has_changed:
            return None
        sessions = self._world.survey.sessions
        return self._gone_back(sessions) or self._running_twice(sessions)

    def at_rest(self) -> str | None:
        """What must be in the end: no fault is left, and all the time there is has passed."""
        world = self._world
        open_calls = [name for name, task in world.clients.items() if not task.done()]
        if open_calls:
            return f"{open_calls[0]} never got an answer"
        for name, task in world.clients.items():
            if (error := task.exception()) is not None:
                return f"{name} failed: {error!r}"
        busy = [f"{d}@{n}" for n, g in world.gateways.items() for d in g.busy]
        if busy:
            return f"{busy[0]} never ends"
        if rows := world.store.rows("SELECT session, phase FROM commands"):
            return f"{rows[0]['session'][:2]} is still to be told {rows[0]['phase']}"
        for row in world.survey.sessions:
            if fault := self._disagreement(row, self._held(row)):
                return fault
        return None

    # -- one by one -----------------------------------------------------------------------------

    def _held(self, row: Known) -> Held | None:
        return self._world.nodes[row.node].sessions.get(row.uuid)

    def _gone_back(self, rows: Iterable[Known]) -> str | None:
        for row in rows:
            before = self._before.get(row.uuid, row.phase)
            if before is not row.phase:
                if not can_move(before, row.phase):
                    return f"{row.uuid.hex[:2]} went from {before.value} to {row.phase.value}"
                self._before[row.uuid] = row.phase
        return None

    def _running_twice(self, rows: Iterable[Known]) -> str | None:
        """Of what no client asked to end, one of a set runs at most, be it for a moment."""
        running: dict[UUID, list[UUID]] = defaultdict(list)
        for row in rows:
            held = self._held(row)
            if held is not None and held.is_running and row.uuid not in self._ledger.let_go:
                running[row.offerset].append(row.uuid)
        for uuids in running.values():
            if len(uuids) > 1:
                return f"{' and '.join(u.hex[:2] for u in uuids)} of one offer set run"
        return None

    def _disagreement(self, row: Known, held: Held | None) -> str | None:
        """What a session is here, at its node, and by what its client was told."""
        name, ledger = row.uuid.hex[:2], self._ledger
        runs = held is not None and held.is_running
        is_left = row.uuid in ledger.let_go or row.node in self._world.forgot
        refused, accepted = ledger.refused.get(row.uuid), ledger.accepted.get(row.uuid)
        wrongs = (
            (row.phase is SessionPhase.OFFERED, f"is on offer for ever, asked {row.asked}"),
            (
                runs and is_terminal(row.phase),
                f"runs at {row.node} and is shown as {row.phase.value}",
            ),
            (
                row.phase in EXECUTION_PHASES and not runs,
                f"is shown as {row.phase.value} and does not run at {row.node}",
            ),
            (runs and refused is not None, f"runs, and {refused} was told that it does not"),
            (
                accepted is not None and row.phase in _NEVER_RAN,
                f"was accepted as {accepted} knows, and is {row.phase.value}",
            ),
            (
                accepted is not None and not runs and not is_left,
                f"was accepted as {accepted} knows, and does not run",
            ),
            (
                held is not None and held.phase is SessionPhase.OFFERED,
                f"is held at {row.node} for ever",
            ),
        )
        return next((f"{name} {text}" for is_so, text in wrongs if is_so), None)
