"""The health of all nodes together: who may be ejected, and who stands out among the others.

A ceiling protects the whole from a wrong judgement: a share of the nodes is always left, nobody is
judged right after the start, and nobody while no node at all is heard, as then the fault may be
this gateway's own. Envoy ejects a tenth at most; of five to thirty sites that is too coarse.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from gateway.domain.health import Cause, Finding, HealthState, NodeHealth
from gateway.settings import HealthSettings

MIN_COMPARED: Final = 5
"""Nodes of which the share must be known before one can stand out: Envoy's own number."""

OUTLIER: Final = 0.5
"""A node whose share of good answers is below so much of the median stands out.

Envoy's measure, the mean less 1.9 standard deviations, finds nobody when a quarter of the nodes are
bad: none can then be farther out than 1.73. The median does not move until half of them are.
"""


class Withheld(StrEnum):
    """Why a node that ought to be ejected is not."""

    GRACE = "grace"
    """This gateway has only just begun."""
    ALL_SILENT = "all_silent"
    """No node was heard since this one began to fail: the fault may be here."""
    TOO_FEW_LEFT = "too_few_left"
    """Too few others would be left to ask."""


@dataclass(frozen=True, slots=True)
class Change:
    """A node's state or its cause has changed. Times are those of the monotonic clock."""

    node: str
    before: HealthState
    state: HealthState
    cause: Cause
    at: float
    until: float | None


class FleetHealth:
    """The health of every node by name. ``draw`` gives random numbers from 0 to 1.

    Whatever is taken in gives the change that it brought about, if any.
    """

    def __init__(self, settings: HealthSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._draw = draw
        self._nodes: dict[str, NodeHealth] = {}
        self._counted: set[str] = set()
        self._began: float | None = None
        self.withheld: Withheld | None = None
        """Why the last ejection that was due did not happen; None once any node comes or goes."""

    def add(self, name: str, *, is_enabled: bool) -> NodeHealth:
        """Follow one more node; one that is never asked counts for nothing."""
        node = self._nodes[name] = NodeHealth(self._settings)
        self.count(name, is_enabled=is_enabled)
        return node

    def count(self, name: str, *, is_enabled: bool) -> None:
        """From now on the node counts for something, or for nothing."""
        if is_enabled:
            self._counted.add(name)
        else:
            self._counted.discard(name)

    def remove(self, name: str) -> None:
        """Follow the node no more."""
        self._counted.discard(name)
        del self._nodes[name]

    @property
    def floor(self) -> int:
        """So many nodes are never ejected."""
        return max(1, math.ceil(len(self._counted) * self._settings.min_askable_share))

    @property
    def askable(self) -> int:
        """Nodes that count and are not ejected."""
        return sum(self._nodes[name].state is not HealthState.EJECTED for name in self._counted)

    def asked(self, name: str, finding: Finding, now: float) -> Change | None:
        """Take in what became of a request for offers."""
        node = self._known(name, now)
        before = node.state, node.cause
        self._judge(node, node.asked(finding, now), now)
        return self._change(name, before, now)

    def heard(self, name: str, now: float) -> Change | None:
        """A call about one session was answered, whatever the answer."""
        node = self._known(name, now)
        before = node.state, node.cause
        node.heard(now)
        return self._change(name, before, now)

    def missed(self, name: str, now: float) -> Change | None:
        """A call about one session found no connection."""
        node = self._known(name, now)
        before = node.state, node.cause
        self._judge(node, node.missed(now), now)
        return self._change(name, before, now)

    def probed(self, name: str, now: float, *, is_well: bool) -> Change | None:
        """Take in a probe: an ejected node returns by it, or rests again."""
        node = self._nodes[name]
        if node.state is not HealthState.EJECTED:
            return self.heard(name, now) if is_well else self.missed(name, now)
        before = node.state, node.cause
        if is_well:
            node.put_on_trial(now)
        else:
            node.rest_again(now, self._draw())
        return self._change(name, before, now)

    def sweep(self, now: float) -> list[Change]:
        """Eject those that fail much more often than the others."""
        shares = {
            name: share
            for name, node in self._nodes.items()
            if node.state is not HealthState.EJECTED and (share := node.share(now)) is not None
        }
        if len(shares) < MIN_COMPARED:
            return []
        bound = OUTLIER * median(shares.values())
        changes = []
        for name in sorted(shares, key=lambda name: (shares[name], name)):
            node = self._nodes[name]
            if shares[name] < bound and self._withheld(node, now, is_outlier=True) is None:
                before = node.state, node.cause
                node.eject(Cause.UNRELIABLE, now, self._draw())
                changes.append(self._change(name, before, now))
        return [change for change in changes if change is not None]

    def _known(self, name: str, now: float) -> NodeHealth:
        """The node; whatever is first heard or missed begins the grace."""
        if self._began is None:
            self._began = now
        return self._nodes[name]

    def _judge(self, node: NodeHealth, cause: Cause | None, now: float) -> None:
        if cause is None:
            return
        self.withheld = self._withheld(node, now)
        if self.withheld is None:
            node.eject(cause, now, self._draw())
        else:
            node.withhold(cause, now)

    def _withheld(
        self, node: NodeHealth, now: float, *, is_outlier: bool = False
    ) -> Withheld | None:
        if self._began is None or now - self._began < self._settings.grace_s:
            return Withheld.GRACE
        if not is_outlier and self._all_silent_since(node.failing_since):
            return Withheld.ALL_SILENT
        if self.askable - 1 < self.floor:
            return Withheld.TOO_FEW_LEFT
        return None

    def _all_silent_since(self, moment: float) -> bool:
        return all(node.well_at < moment for node in self._nodes.values())

    def _change(
        self, name: str, before: tuple[HealthState, Cause | None], now: float
    ) -> Change | None:
        node = self._nodes[name]
        if (node.state, node.cause) == before or node.cause is None:
            return None
        if node.state is HealthState.UP or before[0] is HealthState.EJECTED:
            self.withheld = None
        return Change(name, before[0], node.state, node.cause, now, node.until)
