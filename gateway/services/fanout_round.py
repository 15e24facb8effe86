"""One request on its way to the nodes: who was asked, whom to ask next, and when to look again."""

import math
from collections.abc import Iterable

from gateway.domain.deadlines import may_hedge
from gateway.domain.reasons import ReasonCode
from gateway.services.answers import Completeness, Ended, NodeQuestion, OnLate, Pace
from gateway.services.gathering import Gathering
from gateway.services.node_asking import NodeCall, Until
from gateway.services.registry import NodeRegistry


class Round:
    """Decides, and does nothing: the fan-out asks whom it says. Times are event loop times."""

    def __init__(
        self,
        questions: Iterable[NodeQuestion],
        registry: NodeRegistry,
        until: Until,
        on_late: OnLate,
        completeness: Completeness,
        pace: Pace | None,
    ) -> None:
        self.calls: list[NodeCall] = []
        """Everyone asked so far, in the order of the questions."""
        self.gathering = Gathering(completeness, per_node=pace.per_node if pace else None)
        self.until = until
        self.on_late = on_late
        self._registry = registry
        self._questions = iter(questions)
        self._next = next(self._questions, None)
        self._pace = pace
        self._size = pace.first if pace else None
        self._wave_ends = -math.inf
        self._hedged = 0

    def next_wave(self, now: float) -> list[NodeCall]:
        """The nodes to ask now, whoever takes longest first; none while no more are needed.

        Raises
        ------
        KeyError
            A question is for a node that is not registered.
        ValueError
            A node is asked twice.
        """
        if self._next is None or not self._is_next_due(now):
            return []
        room = self._room()
        wave: list[NodeCall] = []
        known = {call.node.name for call in self.calls}
        while self._next is not None and len(wave) < room:
            question = self._next
            if question.node in known:
                message = "a node is asked once only"
                raise ValueError(message)
            known.add(question.node)
            wave.append(NodeCall(question, self._registry.get(question.node), now))
            self._next = next(self._questions, None)
        for call in wave:
            self.gathering.expect(call.node.name, self._limit_of(call))
        self.calls += wave
        if self._pace is not None and self._size is not None:
            self._wave_ends = now + self._pace.every_s
            self._size *= 2
        # Of whom nothing is known may take longest.
        return sorted(wave, key=_mean_s, reverse=True)

    def ended(self, now: float) -> Ended | None:
        """Why waiting is over, if it is."""
        why = self.gathering.ended(now)
        return Ended.DEADLINE if why is None and now >= self.until.deadline else why

    def hedges(self, now: float, share: float) -> list[NodeCall]:
        """Whom to ask a second time now, ``share`` of all at most."""
        chosen = []
        for call in self._silent():
            if call.hedge_at is None or call.hedge_at > now:
                continue
            call.hedge_at = None
            is_sent = call.sent is not None and bool(call.tries)
            if is_sent and may_hedge(self._hedged, len(self.calls), share) and call.may_repeat():
                self._hedged += 1
                chosen.append(call)
        return chosen

    def wake_at(self, now: float) -> float:
        """When to look again if no answer decides anything before."""
        times = [self.until.deadline]
        times += [call.hedge_at for call in self._silent() if call.hedge_at is not None]
        times.append(self.gathering.last_limit)
        if self._next is not None and self._wants_more():
            times.append(self._wave_ends)
        return min((time for time in times if time > now), default=now)

    def unasked(self, ended: Ended) -> ReasonCode | None:
        """Why no more nodes were asked, if there were more."""
        if self._next is None:
            return None
        if ended is Ended.COMPLETE or self._is_enough():
            return ReasonCode.NOT_NEEDED
        return ReasonCode.HOLD_LIMIT if self._room() < 1 else ReasonCode.NO_TIME_LEFT

    def _silent(self) -> list[NodeCall]:
        answers = self.gathering.answers
        return [call for call in self.calls if call.node.name not in answers]

    def _limit_of(self, call: NodeCall) -> float:
        limit_s = call.question.own_limit_s
        return math.inf if limit_s is None else call.began + limit_s

    def _is_next_due(self, now: float) -> bool:
        if not self.calls:
            return True
        is_over = self.gathering.is_in(now) or now >= self._wave_ends
        return is_over and now < self.until.deadline and self._wants_more()

    def _wants_more(self) -> bool:
        return not self._is_enough() and self._room() >= 1

    def _is_enough(self) -> bool:
        return self._pace is None or self.gathering.kept >= self._pace.wanted

    def _room(self) -> float:
        """How many more nodes may be asked at once."""
        pace = self._pace
        if pace is None or self._size is None:
            return math.inf
        held = self.gathering.holds + self.gathering.waiting * pace.holds_each
        may_hold = max(0, pace.max_holds - held) // pace.holds_each
        return min(self._size, may_hold)


def _mean_s(call: NodeCall) -> float:
    mean_s = call.node.latency.mean_s
    return math.inf if mean_s is None else mean_s
