"""What is broken when: the whole plan of a soak, made from its seed before it begins."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from node_stub.misbehave.catalogue import ENTRIES

EVERY_S: Final = 4.0
"""Mean time between two disturbances: starting a program costs more than a second of a core."""

WARM_S: Final = 3.0
"""Traffic before the first disturbance."""

GATEWAY_EVERY_S: Final = 45.0
"""Mean time between two deaths of the gateway, in the part of the soak in which it dies."""

GATEWAY_UNTIL: Final = 0.4
"""Part of the soak in which the gateway dies; what it holds is measured where it does not."""

NODE_SHARE: Final = 0.25
"""Part of all disturbances that are the death of a real node."""

DOWN_S: Final = (0.2, 2.0)
"""How long something that died stays down."""

PAIR_SHARE: Final = 0.2
"""Part of the misbehaving nodes that misbehave in two ways by turns."""


class What(StrEnum):
    """What is disturbed."""

    GATEWAY_DIES = "gateway dies"
    NODE_DIES = "node dies"
    NODE_STOPS = "node stops"
    NODE_MISBEHAVES = "node misbehaves"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """At ``at_s`` from the begin; ``which`` is the number of the node that it meets.

    ``behaviour`` is for ``execbroker-node misbehave``; ``down_s`` is how long it is away before.
    """

    at_s: float
    what: What
    which: int = 0
    behaviour: str = ""
    down_s: float = 0.0


def plan(seconds: float, *, nodes: int, slots: int, seed: int) -> tuple[Disturbance, ...]:
    """What happens in so many seconds to so many real nodes and slots of misbehaving ones.

    The gateway dies at least once, and so does a node.
    """
    random = Random(seed)
    gateway_at = seconds * GATEWAY_UNTIL / 2
    found = [
        _disturb_gateway(random, gateway_at),
        _disturb_node(random, seconds * GATEWAY_UNTIL, nodes),
    ]
    gateway_at += random.uniform(0.5, 1.5) * GATEWAY_EVERY_S
    while gateway_at < seconds * GATEWAY_UNTIL:
        found.append(_disturb_gateway(random, gateway_at))
        gateway_at += random.uniform(0.5, 1.5) * GATEWAY_EVERY_S
    at_s = WARM_S
    while at_s < seconds:
        if random.random() < NODE_SHARE:
            found.append(_disturb_node(random, at_s, nodes))
        else:
            found.append(_misbehave(random, at_s, slots))
        at_s += random.uniform(0.5, 1.5) * EVERY_S
    return tuple(sorted(found, key=lambda it: it.at_s))


def behaviours(random: Random) -> str:
    """One or two behaviours, as ``--as`` takes them."""
    count = 2 if random.random() < PAIR_SHARE else 1
    return ",".join(random.sample(sorted(ENTRIES), count))


def _disturb_gateway(random: Random, at_s: float) -> Disturbance:
    return Disturbance(at_s, What.GATEWAY_DIES, down_s=random.uniform(*DOWN_S))


def _disturb_node(random: Random, at_s: float, nodes: int) -> Disturbance:
    what = random.choice((What.NODE_DIES, What.NODE_STOPS))
    which, down_s = random.randrange(nodes), random.uniform(*DOWN_S)
    return Disturbance(at_s, what, which, down_s=down_s)


def _misbehave(random: Random, at_s: float, slots: int) -> Disturbance:
    which, down_s = random.randrange(slots), random.choice((0.0, random.uniform(*DOWN_S)))
    return Disturbance(at_s, What.NODE_MISBEHAVES, which, behaviours(random), down_s)
