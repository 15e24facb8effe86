"""The nodes' health as this process sees it: judged in one place, told and remembered once."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.domain.fleet_health import Change, FleetHealth, Withheld
from gateway.domain.health import Cause, Finding, HealthState, NodeHealth
from gateway.services.health_metrics import HealthMetrics
from gateway.settings import HealthSettings
from gateway.wire.documents import Document
from gateway.wire.times import format_instant

MAX_CHANGES: Final = 20
"""Changes of a node that are remembered: some hours of a node that comes and goes."""

_BAD: Final = frozenset({HealthState.DEGRADED, HealthState.EJECTED})

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeChange:
    """One change of a node's state, with the time of day."""

    at: datetime
    state: HealthState
    cause: Cause
    until: datetime | None

    def to_document(self) -> Document:
        """The change for ``GET /nodes``."""
        return {
            "at": format_instant(self.at),
            "state": self.state.value,
            "cause": self.cause.value,
            "until": format_instant(self.until) if self.until else None,
        }


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """A node's health at one moment.

    ``good_share`` is how many of its latest requests went well, 0..1; ``ejections`` how many times
    longer than the first its last ejection was, less as it stays well; ``changes`` the last first.
    """

    state: HealthState
    cause: Cause | None
    since: datetime | None
    until: datetime | None
    good_share: float | None
    ejections: int
    changes: tuple[NodeChange, ...]

    def to_document(self) -> Document:
        """The health for ``GET /nodes``; what is not known is null."""
        return {
            "state": self.state.value,
            "cause": self.cause.value if self.cause else None,
            "since": format_instant(self.since) if self.since else None,
            "until": format_instant(self.until) if self.until else None,
            "good_share": None if self.good_share is None else round(self.good_share, 3),
            "ejections": self.ejections,
            "changes": [change.to_document() for change in self.changes],
        }


class HealthWatch:
    """Follows every node. ``clock`` is the time of day in UTC, ``monotonic`` never jumps.

    What is told of a node that is followed no more, by a call that was under way, is let go.
    """

    def __init__(
        self,
        settings: HealthSettings,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        metrics: HealthMetrics,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._metrics = metrics
        # Chance only spreads load here: gateways started together must not draw the same.
        self._fleet = FleetHealth(settings, random.random)
        self._withheld: Withheld | None = None
        self._changes: dict[str, deque[NodeChange]] = {}

    def add(self, node: str, *, is_enabled: bool) -> NodeHealth:
        """Follow one more node."""
        self._changes[node] = deque(maxlen=MAX_CHANGES)
        self._metrics.added(node)
        return self._fleet.add(node, is_enabled=is_enabled)

    def count(self, node: str, *, is_enabled: bool) -> None:
        """Whether the node counts among those that may be asked has changed."""
        self._fleet.count(node, is_enabled=is_enabled)

    def remove(self, node: str) -> None:
        """Follow the node no more."""
        self._fleet.remove(node)
        del self._changes[node]
        self._metrics.removed(node)

    def asked(self, node: str, finding: Finding, now: float) -> None:
        """Take in what became of a request for offers; ``now`` is of the monotonic clock."""
        if node in self._changes:
            self._tell(self._fleet.asked(node, finding, now))

    def heard(self, node: str, now: float) -> None:
        """A call about one session was answered, whatever the answer."""
        if node in self._changes:
            self._tell(self._fleet.heard(node, now))

    def missed(self, node: str, now: float) -> None:
        """A call about one session found no connection."""
        if node in self._changes:
            self._tell(self._fleet.missed(node, now))

    def probed(self, node: str, outcome: str, now: float, *, is_well: bool) -> None:
        """Take in a probe; ``outcome`` is one of ``health_metrics.PROBES``."""
        if node in self._changes:
            self._metrics.probed(node, outcome)
            self._tell(self._fleet.probed(node, now, is_well=is_well))

    def sweep(self) -> None:
        """Hold the nodes against each other."""
        for change in self._fleet.sweep(self._monotonic()):
            self._tell(change)

    def snapshot(self, node: str, health: NodeHealth) -> HealthSnapshot:
        """The node's health now, in times of day."""
        now = self._monotonic()
        return HealthSnapshot(
            state=health.state,
            cause=health.cause,
            since=None if health.since is None else self.time_of(health.since),
            until=None if health.until is None else self.time_of(health.until),
            good_share=health.share(now),
            ejections=health.ejections(now),
            changes=tuple(reversed(self._changes.get(node, ()))),
        )

    def time_of(self, monotonic: float) -> datetime:
        """The time of day at a moment of the monotonic clock."""
        return self._clock() + timedelta(seconds=monotonic - self._monotonic())

    def _tell(self, change: Change | None) -> None:
        if self._fleet.withheld is not self._withheld:
            self._withheld = self._fleet.withheld
            if self._withheld is not None:
                _log.warning(
                    "node_ejections_withheld",
                    why=self._withheld.value,
                    askable=self._fleet.askable,
                    floor=self._fleet.floor,
                )
        if change is None:
            return
        until = None if change.until is None else self.time_of(change.until)
        self._changes[change.node].append(
            NodeChange(self.time_of(change.at), change.state, change.cause, until)
        )
        self._metrics.show_state(change.node, change.state)
        if change.state is HealthState.EJECTED:
            self._metrics.ejected(change.node, change.cause)
        is_bad = change.state in _BAD and change.cause is not Cause.RETURNED
        (_log.warning if is_bad else _log.info)(
            "node_state_changed",
            node=change.node,
            before=change.before.value,
            state=change.state.value,
            cause=change.cause.value,
            until=format_instant(until) if until else None,
        )
