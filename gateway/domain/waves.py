"""Whom to ask first when there are too many nodes to ask them all.

Nodes are asked in waves, the most promising first, each wave twice as large as the one before (an
expanding ring), until there are offers enough. Some places of each wave go to the nodes that were
not asked for longest, so that every node is found in the end, and a bad day is forgotten.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from gateway.domain.track_record import WHOLE

UNKNOWN: Final = 0.5
"""What counts for a quality of which nothing is known, 0 being worst and 1 best."""

_WEIGHT: Final = 1 / 3
"""Share of the newest answer in how often a node has offers: the first one lifts it to two thirds
or lowers it to one, as if it had been asked once before each way (Laplace's rule)."""

_MAX_KINDS: Final = 64
"""Combinations of kinds of which it is remembered who offers them; kinds come from clients."""

_QUICK_S: Final = 5.0
"""A node that takes so long, the default deadline, is half as good as one that answers at once."""

_UNTRIED_S: Final = 0.1
"""A node that was never asked is taken to be quick: between those that offer and those that do not.
"""

_BANDS: Final = 20
"""Nodes whose worth differs by less than this part of the whole count as equal, and take turns."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a node before it is asked.

    ``yields`` is how often it had offers for such requests, 0..1; ``kept_share`` how often it kept
    its word, in millionths. ``mean_s`` and ``proximity`` (of the data, in
    millionths) are None where not known. ``turn`` is the number of the last request it was asked
    for, 0 for never. ``weight`` is how much its operator wants it to be asked: twice the weight
    counts as twice as promising.
    """

    node: str
    yields: float = UNKNOWN
    kept_share: int = WHOLE
    mean_s: float | None = None
    proximity: int | None = None
    turn: int = 0
    weight: float = 1.0

    def worth(self) -> float:
        """How promising it is to ask, 0..1 at weight 1.

        Data far away halve it at most: they can be moved.
        """
        mean_s = _UNTRIED_S if self.mean_s is None else self.mean_s
        speed = _QUICK_S / (_QUICK_S + mean_s)
        near = UNKNOWN if self.proximity is None else self.proximity / WHOLE
        return self.weight * self.yields * (self.kept_share / WHOLE) * speed * (1 + near) / 2


@dataclass(frozen=True, slots=True)
class WaveRule:
    """So many nodes are asked at once ``all_up_to``; where there are more, ``size`` at first.

    ``explored`` of each ``size`` places are for those not asked for longest.
    """

    all_up_to: int
    size: int
    explored: int

    def within(self, at_once: int) -> "WaveRule":
        """The same where no more than ``at_once`` may be asked at once."""
        size = max(1, min(self.size, at_once))
        return WaveRule(min(self.all_up_to, at_once), size, min(self.explored, size - 1))


@dataclass(frozen=True, slots=True)
class Order:
    """The nodes in the order of asking. ``first`` are asked at once; ``explored`` are on trial."""

    nodes: tuple[str, ...]
    first: int
    explored: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether everyone is asked at once."""
        return self.first >= len(self.nodes)


def order(standings: Sequence[Standing], *, named: AbstractSet[str], rule: WaveRule) -> Order:
    """Whom to ask first, and who comes after. ``named`` by the client come first of all."""
    nodes = [standing.node for standing in standings if standing.node in named]
    rest = [standing for standing in standings if standing.node not in named]
    best = iter(sorted(rest, key=_by_worth))
    oldest = iter(sorted(rest, key=lambda standing: (standing.turn, standing.node)))
    first = max(rule.size, len(nodes))
    taken = set(nodes)
    explored: set[str] = set()
    while len(taken) < len(standings):
        for place in range(rule.size):
            is_trial = place >= rule.size - rule.explored
            standing = _next(oldest if is_trial else best, taken)
            if standing is None:
                break
            taken.add(standing.node)
            nodes.append(standing.node)
            if is_trial:
                explored.add(standing.node)
    return Order(tuple(nodes), first, frozenset(explored))


def _by_worth(standing: Standing) -> tuple[int, int, str]:
    return -int(standing.worth() * _BANDS), standing.turn, standing.node


def _next(standings: Iterable[Standing], taken: AbstractSet[str]) -> Standing | None:
    return next((standing for standing in standings if standing.node not in taken), None)


class YieldMemory:
    """How often each node had offers for requests of these kinds, lately. Bounded."""

    def __init__(self) -> None:
        self._shares: OrderedDict[frozenset[str], dict[str, float]] = OrderedDict()

    def learn(self, node: str, kinds: frozenset[str], *, has_offers: bool) -> None:
        """A node was asked, and had offers or not, for whatever reason."""
        shares = self._shares.setdefault(kinds, {})
        self._shares.move_to_end(kinds)
        before = shares.get(node, UNKNOWN)
        shares[node] = before + (has_offers - before) * _WEIGHT
        if len(self._shares) > _MAX_KINDS:
            self._shares.popitem(last=False)

    def share(self, node: str, kinds: frozenset[str]) -> float:
        """How often the node had offers for these kinds, 0..1; ``UNKNOWN`` if never asked."""
        return self._shares.get(kinds, {}).get(node, UNKNOWN)
