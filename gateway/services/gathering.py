"""The answers to one request as they come in, and whether waiting for more can stop."""

import asyncio
import math

from gateway.services.answers import Completeness, Ended, NodeAnswer


class Gathering:
    """Takes in one answer for each node that is expected, until it is closed.

    ``wake`` is done as soon as there may be something to decide; set a new one to wait again.
    """

    def __init__(self, completeness: Completeness, *, per_node: int | None) -> None:
        """``per_node``: so many good enough offers count of each node, None to count none."""
        self.answers: dict[str, NodeAnswer] = {}
        self.wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = True
        self.kept = 0
        """Good enough offers, of each node as many as an answer may show."""
        self.holds = 0
        """What the nodes hold, as far as they said."""
        self._limits: dict[str, float] = {}
        self._first_limit = math.inf
        self._completeness = completeness
        self._missing = set(completeness.required)
        self._per_node = per_node
        self._good_enough = 0
        self._has_offers = False

    @property
    def waiting(self) -> int:
        """How many nodes have not answered."""
        return len(self._limits)

    @property
    def last_limit(self) -> float:
        """When everyone still waited for will have had their own time, as event loop time."""
        return max(self._limits.values(), default=-math.inf)

    def expect(self, node: str, limit: float) -> None:
        """An answer is to come; after ``limit`` (event loop time) it holds no other back."""
        self._limits[node] = limit
        self._first_limit = min(self._first_limit, limit)

    def add(self, answer: NodeAnswer, now: float) -> None:
        """An answer came, of whatever outcome."""
        self.answers[answer.node] = answer
        del self._limits[answer.node]
        self._missing.discard(answer.node)
        self.holds += answer.holds
        self._has_offers |= bool(answer.offers)
        if self._completeness.min_offers is not None or self._per_node is not None:
            self._count(answer)
        if self._is_complete() or self._is_overdue(now):
            self.decide()

    def decide(self) -> None:
        """Let whoever waits look again."""
        if not self.wake.done():
            self.wake.set_result(None)

    def ended(self, now: float) -> Ended | None:
        """Why waiting can stop, if it can."""
        if not self._limits:
            return Ended.ALL_ANSWERED
        if self._is_complete():
            return Ended.COMPLETE
        if self._has_offers and self._is_overdue(now):
            return Ended.OWN_LIMITS
        return None

    def is_in(self, now: float) -> bool:
        """Whether all have answered, but for those that had their own time."""
        return self._is_overdue(now)

    def _is_overdue(self, now: float) -> bool:
        if not self._limits:
            return True
        return now >= self._first_limit and now >= self.last_limit

    def _is_complete(self) -> bool:
        wanted = self._completeness.min_offers
        return wanted is not None and self._good_enough >= wanted and not self._missing

    def _count(self, answer: NodeAnswer) -> None:
        is_good_enough = self._completeness.is_good_enough
        good = sum(is_good_enough(answer.node, offer) for offer in answer.offers)
        self._good_enough += good
        self.kept += good if self._per_node is None else min(good, self._per_node)
