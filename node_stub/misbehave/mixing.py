"""Several behaviours in one node: which of them a request meets."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from node_stub.misbehave.bounds import DEFAULT_OFFERS
from node_stub.misbehave.broker import MemoryBroker
from node_stub.misbehave.catalogue import ENTRIES
from node_stub.misbehave.exchange import Asked, Behaviour
from node_stub.misbehave.stage import Fault, Stage

DEFAULT: Final = "healthy"
"""What a node is when no other behaviour's turn has come."""


class UnknownBehaviourError(ValueError):
    """The text names no behaviours, or their shares cannot be."""


@dataclass(frozen=True, slots=True)
class Share:
    """A behaviour by name and the part of all requests that meets it; None: as others leave."""

    name: str
    part: float | None = None


def parse_shares(text: str) -> tuple[Share, ...]:
    """The behaviours in ``NAME[:PART][,NAME[:PART]…]``.

    Raises
    ------
    UnknownBehaviourError
        There is no such behaviour, or the parts are not above 0 or come to more than 1.
    """
    shares = tuple(_share(item.strip()) for item in text.split(","))
    total = sum(share.part or 0.0 for share in shares)
    if total > 1.0 + 1e-9:
        raise UnknownBehaviourError(f"the parts come to {total:g}, which is more than 1")
    return shares


class Mixture:
    """A behaviour of many. Those with a part come by chance, the others take turns.

    A look at the node's health meets whose turn it is, and uses no turn up. The same seed gives
    the same order.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        *,
        offers: int = DEFAULT_OFFERS,
        delay_s: float | None = None,
        seed: int = 0,
    ) -> None:
        broker = MemoryBroker(offers)
        stages = {share.name: _stage(share.name, broker, delay_s) for share in shares}
        stages.setdefault(DEFAULT, Stage(broker))
        self._stages = stages
        self._by_chance = [(s.name, s.part) for s in shares if s.part is not None]
        self._in_turn = [s.name for s in shares if s.part is None] or [DEFAULT]
        self._random = Random(seed)  # noqa: S311  # repeats what was rehearsed, no secret
        self._turns = 0
        self._next = self._choose()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request in the way whose turn it is."""
        name = self._next
        if not asked.is_health:
            self._next = self._choose()
        await ENTRIES[name].fault(self._stages[name], asked, writer)

    def _choose(self) -> str:
        chance = self._random.random()
        for name, part in self._by_chance:
            if chance < part:
                return name
            chance -= part
        self._turns += 1
        return self._in_turn[(self._turns - 1) % len(self._in_turn)]


def behaving(fault: Fault, stage: Stage) -> Behaviour:
    """The behaviour of a node with this fault alone."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await fault(stage, asked, writer)

    return behave


def _share(item: str) -> Share:
    name, colon, part = item.partition(":")
    if name not in ENTRIES:
        raise UnknownBehaviourError(f"there is no behaviour {name!r}; --list names them all")
    if not colon:
        return Share(name)
    try:
        value = float(part)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise UnknownBehaviourError(f"the part in {item!r} must be above 0 and at most 1")
    return Share(name, value)


def _stage(name: str, broker: MemoryBroker, delay_s: float | None) -> Stage:
    return Stage(broker, ENTRIES[name].delay_s if delay_s is None else delay_s)
