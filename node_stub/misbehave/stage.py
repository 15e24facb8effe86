"""What a fault has to work with: the broker behind it, its own time, and what it remembers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias
from uuid import UUID, uuid4

from node_stub.misbehave.broker import MemoryBroker
from node_stub.misbehave.exchange import Asked


@dataclass(slots=True)
class Stage:
    """One fault's own. Faults of one node share its broker.

    ``delay_s`` is the fault's time, what it is the time of says the fault. ``answers`` counts the
    questions answered, ``began`` is monotonic.
    """

    broker: MemoryBroker
    delay_s: float = 0.0
    answers: int = 0
    uuid: UUID = field(default_factory=uuid4)
    began: float = field(default_factory=monotonic)

    async def answer_well(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer as a node should."""
        writer.write(self.broker.answer(asked))


Fault: TypeAlias = Callable[[Stage, Asked, asyncio.StreamWriter], Awaitable[None]]
"""How a node with this fault answers a request. Its docstring's first line is its description."""
