"""Whose turn it is to be asked, where there are too many nodes to ask them all."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from gateway.domain.placement import NodePlacement
from gateway.domain.waves import Order, Standing, WaveRule, YieldMemory, order
from gateway.services.registry import RegisteredNode


class Turns:
    """Puts nodes in order by what is known of them, and remembers who was asked when.

    In the memory of this process only: another gateway, or this one after a restart, finds out
    anew.
    """

    def __init__(self, rule: WaveRule) -> None:
        self._rule = rule
        self._yields = YieldMemory()
        self._turns: dict[str, int] = {}
        self._requests = 0

    def order(
        self,
        nodes: Sequence[RegisteredNode],
        *,
        kinds: frozenset[str],
        placements: Mapping[str, NodePlacement],
        named: AbstractSet[str],
        at_once: int,
        now: datetime,
    ) -> Order:
        """Whom to ask first for a request of these ``kinds``, and who comes after.

        ``at_once`` bounds how many are asked at once, ``named`` ones apart.
        """
        self._requests += 1
        rule = self._rule.within(at_once)
        if len(nodes) <= rule.all_up_to:
            return Order(tuple(node.name for node in nodes), len(nodes))
        standings = [
            Standing(
                node.name,
                yields=self._yields.share(node.name, kinds),
                kept_share=node.track_record.share(now),
                mean_s=node.latency.mean_s,
                proximity=placements[node.name].proximity if node.name in placements else None,
                turn=self._turns.get(node.name, 0),
                weight=node.profile.weight,
            )
            for node in nodes
        ]
        return order(standings, named=named, rule=rule)

    def learn(self, node: str, kinds: frozenset[str], *, has_offers: bool) -> None:
        """The node was asked, and had offers or not."""
        self._turns[node] = self._requests
        self._yields.learn(node, kinds, has_offers=has_offers)
