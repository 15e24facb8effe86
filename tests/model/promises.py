"""The promises that every schedule must keep (design §1, promises 3, 4 and 7), as checks.

One of an offer set runs at most; of a session and the one asked for in its place, one in the end;
and of a key comes one answer, whoever is asked under it, and how often.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway.domain.resubmission import BEFORE_RUNNING, Stage
from gateway.errors import KeyReusedError, NodeRefusedAcceptError
from gateway.services.sessions import SessionReading
from gateway.stores.sessions import SessionRow
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_move, is_terminal
from tests.model.nodes import Held
from tests.model.survey import Known, Moving
from tests.model.world import World

TAKEN: Final = frozenset(EXECUTION_PHASES) | {SessionPhase.COMPLETED}
"""What was accepted is in one of these, unless it came to another end."""

_OUTLOOKS: Final = frozenset(
    {"urn:resubmission-waiting", "urn:resubmission-asking", "urn:resubmission-given-up"}
)
_STAYS: Final = "urn:not-resubmitted"
_MOVED: Final = "urn:resubmitted-as"
"""What is said of a session that has not run and whose node does not answer, where its owner wishes
to have it elsewhere then, where not, and where it is elsewhere."""

_REPLACEABLE: Final = BEFORE_RUNNING | {SessionPhase.FAILED, SessionPhase.EXPIRED}

_NEVER_RAN: Final = frozenset({SessionPhase.REJECTED, SessionPhase.EXPIRED})


@dataclass(slots=True)
class Ledger:
    """What clients asked for and what they were told, in order.

    ``refused`` are sessions of which somebody was told that they were not accepted, and that nobody
    tried to accept since; ``wished`` those that their owner wants elsewhere if need be. ``let_go``
    are those that a client rejected or cancelled, ``ended`` those of them of which nothing was said
    that takes their place. ``keyed`` is what was asked under the key, and ``answer`` what that has
    been answered with: which request, and the UUID.
    """

    accepted: dict[UUID, str] = field(default_factory=dict)
    refused: dict[UUID, str] = field(default_factory=dict)
    wished: set[UUID] = field(default_factory=set)
    let_go: set[UUID] = field(default_factory=set)
    ended: set[UUID] = field(default_factory=set)
    keyed: set[str] = field(default_factory=set)
    answer: tuple[str, UUID] | None = None
    shown: dict[tuple[str, UUID], SessionPhase] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def state(self) -> tuple[object, ...]:
        """All that a judgement yet to come depends on."""
        return (
            tuple(sorted(self.accepted.items())),
            tuple(sorted(self.refused.items())),
            tuple(sorted(self.wished)),
            tuple(sorted(self.let_go)),
            tuple(sorted(self.ended)),
            tuple(sorted(self.shown.items())),
            tuple(sorted(self.keyed)),
            self.answer,
        )

    def asks(
        self, client: str, uuid: UUID, phase: SessionPhase, *, resubmits: bool = False
    ) -> None:
        """A client asks for a phase."""
        if resubmits:
            self.wished.add(uuid)
        self.log.append(f"{client} asks {uuid.hex[:2]} to be {phase.value}")
        if phase is SessionPhase.ACCEPTED:
            self.refused.pop(uuid, None)
        else:
            self.let_go.add(uuid)

    def told(self, client: str, uuid: UUID, asked: SessionPhase, row: SessionRow) -> None:
        """A client was given the session after its update."""
        self.log.append(f"{client} is told that {uuid.hex[:2]} is {row.phase.value}")
        self.showed(client, row)
        if asked is SessionPhase.ACCEPTED and row.phase in TAKEN:
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

    def said(self, client: str, reading: SessionReading, now: SessionPhase) -> None:
        """A client has seen what is said of a session: it tells what becomes of the work.

        What others have heard of it meanwhile, so that it is in phase ``now``, need not be said.
        """
        row, kinds = reading.row, {note["kind"] for note in reading.messages}
        is_moved = any(link.kind == _MOVED for link in reading.links)
        if row.phase is SessionPhase.CANCELLED and not is_moved:
            self.ended.add(row.uuid)
            if row.uuid not in self.let_go:
                self.broken.append(f"{client} is not told why {row.uuid.hex[:2]} was ended")
        is_waited_for = row.phase in BEFORE_RUNNING and row.asked is SessionPhase.ACCEPTED
        if is_waited_for and "urn:last-known" in kinds:
            right = _OUTLOOKS if row.uuid in self.wished else {_STAYS}
            said = (kinds & (_OUTLOOKS | {_STAYS})) | ({_MOVED} if is_moved else set())
            if not said <= right | {_MOVED} or (not said and now in BEFORE_RUNNING):
                self.broken.append(f"{client} is told of {row.uuid.hex[:2]}: {sorted(said)}")

    # -- under the key --------------------------------------------------------------------------

    def asks_under(self, client: str, request: str) -> None:
        """A client asks something under the key."""
        self.log.append(f"{client} asks for {request}")
        self.keyed.add(request)

    def answered(self, client: str, request: str, uuid: UUID) -> None:
        """A client got an answer: there is one request, and one answer, to a key."""
        self.log.append(f"{client} is answered {uuid.hex[:4]} for {request}")
        before = self.answer or (request, uuid)
        if before != (request, uuid):
            self.broken.append(
                f"the key was answered {before[1].hex[:4]} for {before[0]}, "
                f"and {uuid.hex[:4]} for {request}"
            )
        self.answer = before

    def unanswered(self, client: str, request: str, error: Exception) -> None:
        """A client got no answer; that the key is another's is said where there is another."""
        self.log.append(f"{client} is not answered for {request}: {type(error).__name__}")
        if isinstance(error, KeyReusedError) and len(self.keyed) == 1:
            self.broken.append(f"{client} is refused its own key")


class Judge:
    """Looks at a world after every event, and again when all has come to rest."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._before = {one.uuid: one.phase for one in world.survey.sessions}
        self._moved: set[UUID] = set()

    def after_event(self) -> str | None:
        """What may never be, not even for a moment."""
        faults = self._world.failures + self._ledger.broken
        if faults:
            return faults[0]
        if not self._world.has_changed:
            return None
        sessions = self._world.survey.sessions
        moves = self._world.survey.moves
        return self._gone_back(sessions) or self._running_twice(sessions) or self._replaced(moves)

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
        return (
            self._unwished()
            or self._twice_elsewhere()
            or self._unknown()
            or self._twice_under_the_key()
        )

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

    def _replaced(self, moves: Iterable[Moving]) -> str | None:
        """What is seen to run is not replaced, and what replaces it counts when that is decided."""
        known = {row.uuid: row for row in self._world.survey.sessions}
        for move in moves:
            if move.stage is not Stage.MOVED:
                if move.session in self._moved:
                    return f"{move.session.hex[:2]} was moved, and is {move.stage.value}"
                new = known.get(move.successor) if move.successor else None
                if new is not None and new.phase in TAKEN:
                    name = new.uuid.hex[:2]
                    return f"{name} is {new.phase.value} in place of a session that stays"
            elif move.session not in self._moved:
                self._moved.add(move.session)
                old = known[move.session]
                if old.phase not in _REPLACEABLE:
                    return f"{old.uuid.hex[:2]} is replaced, and was {old.phase.value}"
        return None

    def _twice_elsewhere(self) -> str | None:
        """Of a session and the one in its place, the one runs that is to, and is shown so."""
        known = {row.uuid: row for row in self._world.survey.sessions}
        for move in self._world.survey.moves:
            if move.successor is None:
                continue
            old, new = known[move.session], known[move.successor]
            names = f"{old.uuid.hex[:2]} and {new.uuid.hex[:2]}"
            if self._runs(old) and self._runs(new):
                return f"{names} both run"
            if move.stage is not Stage.MOVED:
                continue
            is_left = new.uuid in self._moved | self._ledger.let_go
            wrongs = (
                (not is_terminal(old.phase), f"{names} are both shown as going on"),
                (not self._runs(new) and not is_left, f"{names} are moved, and nothing runs"),
                (
                    self._runs(new) and old.uuid in self._ledger.ended,
                    f"of {names} the first was ended, as was said, and the second runs",
                ),
            )
            if fault := next((text for is_so, text in wrongs if is_so), None):
                return fault
        return None

    def _unwished(self) -> str | None:
        """Only what its owner wants elsewhere is there, and what has taken the place of that."""
        moves = self._world.survey.moves
        wished = self._ledger.wished | {move.successor for move in moves}
        return next(
            (
                f"{move.session.hex[:2]} is {move.stage.value}, and nobody wished that"
                for move in moves
                if move.session not in wished
            ),
            None,
        )

    def _runs(self, row: Known) -> bool:
        held = self._held(row)
        return held is not None and held.is_running

    def _unknown(self) -> str | None:
        """Nothing runs anywhere that nobody here knows of."""
        known = {row.uuid for row in self._world.survey.sessions}
        for node in self._world.nodes.values():
            for held in node.sessions.values():
                if held.is_running and held.uuid not in known:
                    return f"{held.uuid.hex[:2]} runs at {node.name}, and nobody knows of it"
        return None

    def _twice_under_the_key(self) -> str | None:
        """One offer set comes of a key, and one hold at each node of each attempt at it."""
        if not self._ledger.keyed:
            return None
        sets = self._world.store.rows("SELECT uuid FROM offersets WHERE is_open")
        if len(sets) > 1:
            return f"{len(sets)} offer sets are made for one key"
        tries = self._world.store.rows(
            "SELECT uuid FROM offersets UNION SELECT offerset FROM idempotency"
        )
        for node in self._world.nodes.values():
            if len(node.sessions) > len(tries):
                return f"{node.name} holds {len(node.sessions)} for {len(tries)} requests"
        return None

    def _disagreement(self, row: Known, held: Held | None) -> str | None:
        """What a session is here, at its node, and by what its client was told."""
        name, ledger = row.uuid.hex[:2], self._ledger
        runs = held is not None and held.is_running
        is_left = (
            row.uuid in ledger.let_go or row.uuid in self._moved or row.node in self._world.forgot
        )
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
