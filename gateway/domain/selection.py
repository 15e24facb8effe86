"""Selection: which of the ranked offers are handed out."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from gateway.domain.ranking import Scored
from gateway.domain.reasons import Reason, ReasonCode, reason


@dataclass(frozen=True, slots=True)
class Selection:
    """The offers to keep, in ranked order, and the others with the reason why not."""

    kept: tuple[Scored, ...]
    dropped: tuple[tuple[Scored, Reason], ...]


def select(
    ordered: Sequence[Scored],
    *,
    per_node: int,
    limit: int,
    handed_out: AbstractSet[UUID] = frozenset(),
) -> Selection:
    """Keep the best, at most ``per_node`` of one node and ``limit`` in all.

    What was ``handed_out`` before is a promise and stays, whatever better came in since; it takes
    up its room.
    """
    of_node = Counter(scored.node for scored in ordered if scored.uuid in handed_out)
    total = of_node.total()
    kept: list[Scored] = []
    dropped: list[tuple[Scored, Reason]] = []
    over_limit = reason(ReasonCode.OVER_LIMIT, limit=limit)
    over_per_node: dict[str, Reason] = {}
    for scored in ordered:
        if scored.uuid in handed_out:
            kept.append(scored)
        elif of_node[scored.node] >= per_node:
            why = over_per_node.get(scored.node)
            if why is None:
                why = reason(ReasonCode.OVER_PER_NODE, per_node=per_node, node=scored.node)
                over_per_node[scored.node] = why
            dropped.append((scored, why))
        elif total >= limit:
            dropped.append((scored, over_limit))
        else:
            kept.append(scored)
            of_node[scored.node] += 1
            total += 1
    return Selection(tuple(kept), tuple(dropped))
