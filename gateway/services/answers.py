"""What nodes are asked and what they answer, and when there are answers enough."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.clients.broker import CallContext
from gateway.clients.offers_reply import OffersReply, ReceivedOffer
from gateway.domain.coverage import CoverageEntry, Outcome
from gateway.domain.reasons import Reason, ReasonCode
from gateway.wire.documents import Document


@dataclass(frozen=True, slots=True)
class NodeQuestion:
    """What one node is asked.

    ``own_limit_s`` is how long it may hold an answer back that is complete but for such nodes,
    ``hedge_after_s`` when it is asked a second time under the same key; None for never.
    """

    node: str
    body: bytes
    call: CallContext = field(default_factory=CallContext)
    own_limit_s: float | None = None
    hedge_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What became of asking one node. ``reply`` only if one was read."""

    node: str
    outcome: Outcome
    reason: Reason | None
    took_s: float
    reply: OffersReply | None = None
    problem: Document | None = None

    @property
    def offers(self) -> tuple[ReceivedOffer, ...]:
        """The offers that can be passed on."""
        return () if self.reply is None else self.reply.offers

    @property
    def holds(self) -> int:
        """How much the node holds for the request, as far as it said."""
        reply = self.reply
        return 0 if reply is None else len(reply.offers) + len(reply.dropped) + reply.surplus

    def to_coverage(self) -> CoverageEntry:
        """The line about this node in the answer's coverage."""
        took_ms = round(self.took_s * 1000)
        below = self.reply.below if self.reply else None
        return CoverageEntry(
            self.node,
            self.outcome,
            self.reason,
            took_ms,
            len(self.offers),
            below.to_document() if below else None,
        )


OnLate = Callable[[NodeAnswer], Awaitable[None]]
"""Takes an answer that nobody waits for any longer: its offers are kept or let go there."""


def _is_any(_node: str, _offer: ReceivedOffer) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Completeness:
    """When there is enough to answer the client before all nodes or the deadline came.

    ``min_offers`` of None: never. Otherwise so many offers that are good enough, and an answer of
    any outcome from every node in ``required``.
    """

    min_offers: int | None = None
    required: frozenset[str] = frozenset()
    is_good_enough: Callable[[str, ReceivedOffer], bool] = _is_any


@dataclass(frozen=True, slots=True)
class Pace:
    """Asking in waves: ``first`` nodes at once, then twice as many as the last time, and so on.

    The next wave goes out when the last is in, or after ``every_s``, as long as fewer than
    ``wanted`` good enough offers are there, of which ``per_node`` count of each node. Nodes that
    may together hold more than ``max_holds`` are not asked; one is taken to hold ``holds_each``
    until it has answered.
    """

    first: int
    every_s: float
    wanted: int
    per_node: int
    max_holds: int
    holds_each: int


class Ended(StrEnum):
    """Why the fan-out stopped waiting."""

    ALL_ANSWERED = "all_answered"
    COMPLETE = "complete"
    OWN_LIMITS = "own_limits"
    """There are offers, and who is missing has had longer than its own answers usually take."""
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class FanoutResult:
    """One answer for each node asked, in the order of the questions.

    ``unasked`` says why no more nodes were asked, if there were more.
    """

    answers: tuple[NodeAnswer, ...]
    ended: Ended
    took_s: float
    unasked: ReasonCode | None = None
