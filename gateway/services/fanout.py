"""Asking many nodes at once, under one deadline.

Every asked node ends up in the result exactly once. A call that may have made holds is never
dropped in silence: it goes on after the client has its answer, and what it brings is handed to
``on_late``; what it can no longer bring is counted.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from gateway.clients.exchange import TIMEOUT_REASONS
from gateway.domain.coverage import Outcome
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.errors import StoreUnavailableError
from gateway.services.answers import (
    Completeness,
    Ended,
    FanoutResult,
    NodeAnswer,
    NodeQuestion,
    OnLate,
    Pace,
)
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.fanout_round import Round
from gateway.services.node_asking import NodeCall, Try, Until
from gateway.services.registry import NodeRegistry
from gateway.services.tasks import SupervisedTasks

MAX_LATE_PER_NODE: Final = 32
"""Calls to one node still read after their deadline; a node that hangs may not collect more."""

HEDGE_SHARE: Final = 0.25
"""Part of the nodes asked that may be asked a second time: with one in fifty slow, five of sixteen
are slow at once in one request of a hundred thousand."""

_FAILURES: Final = frozenset({Outcome.TIMEOUT, Outcome.REFUSED, Outcome.ERROR, Outcome.INVALID})
_TELLING: Final = frozenset({Outcome.ANSWERED, Outcome.NO, Outcome.TIMEOUT})
"""Outcomes that say how fast a node is; a timeout gives a lower bound."""

_HEARD: Final = frozenset({Outcome.ANSWERED, Outcome.NO, Outcome.ERROR, Outcome.INVALID})
"""Outcomes for which the node said something, sense or not."""

_log = structlog.stdlib.get_logger(__name__)


class FanoutService:
    """Asks nodes for offers. Owns the calls that go on after their deadline; close it."""

    def __init__(
        self, registry: NodeRegistry, metrics: FanoutMetrics, *, hedge_share: float = HEDGE_SHARE
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._hedge_share = hedge_share
        self._tasks = SupervisedTasks()
        self._late: dict[str, dict[NodeCall, None]] = {}

    @property
    def calls_under_way(self) -> int:
        """Calls that have not ended, late ones included."""
        return len(self._tasks)

    async def aclose(self) -> None:
        """Stop reading late answers; those that may stand for holds are counted as lost."""
        await self._tasks.aclose()

    async def ask(
        self,
        questions: Iterable[NodeQuestion],
        *,
        deadline: float,
        late_until: float,
        on_late: OnLate,
        completeness: Completeness | None = None,
        pace: Pace | None = None,
    ) -> FanoutResult:
        """Ask the nodes, all at once or at a ``pace``, until ``deadline`` (loop time) at most.

        Questions are taken as they are needed. Late answers are read until ``late_until`` and
        handed to ``on_late``. If the caller is cancelled, all answers are late.

        Raises
        ------
        KeyError
            A question is for a node that is not registered.
        ValueError
            A node is asked twice.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = Until(deadline, late_until)
        rule = completeness or Completeness()
        round_ = Round(questions, self._registry, until, on_late, rule, pace)
        ended: Ended | None = None
        try:
            ended = await self._wait(round_)
        finally:
            if ended is None:
                self._abandon(round_)
        self._stop_waiting(round_, ended)
        answers = tuple(round_.gathering.answers[call.node.name] for call in round_.calls)
        self._metrics.ended(ended, len(answers))
        took_s = loop.time() - began
        # One line for all: with one for each node, logging costs as much as asking.
        outcomes = Counter(answer.outcome.value for answer in answers)
        offers = sum(len(answer.offers) for answer in answers)
        _log.info(
            "nodes_asked",
            ended=ended.value,
            took_ms=round(took_s * 1000),
            offers=offers,
            **outcomes,
        )
        return FanoutResult(answers, ended, took_s, round_.unasked(ended))

    async def _wait(self, round_: Round) -> Ended:
        """Ask, and ask again, until waiting is over. One timer for all that can fall due."""
        loop = asyncio.get_running_loop()
        gathering = round_.gathering
        while True:
            now = loop.time()
            for call in round_.next_wave(now):
                self._try(call, round_)
            ended = round_.ended(now)
            if ended is not None:
                return ended
            for call in round_.hedges(now, self._hedge_share):
                self._try(call, round_, is_hedge=True)
            gathering.wake = loop.create_future()
            await asyncio.wait([gathering.wake], timeout=round_.wake_at(now) - now)

    def _try(self, call: NodeCall, round_: Round, *, is_hedge: bool = False) -> None:
        one = Try(is_hedge=is_hedge)
        call.is_hedged |= is_hedge
        call.tries.append(one)
        one.task = self._tasks.spawn(self._run(call, one, round_), name=f"ask {call.node.name}")

    def _stop_waiting(self, round_: Round, ended: Ended) -> None:
        """Give each node that has not answered its outcome; their calls go on as late ones."""
        gathering = round_.gathering
        gathering.is_open = False
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call in round_.calls:
            name = call.node.name
            if name in gathering.answers:
                continue
            outcome, why = _unheard(call, ended)
            call.is_due = ended is not Ended.COMPLETE
            call.is_silent = outcome is Outcome.TIMEOUT
            answer = NodeAnswer(name, outcome, why, now - call.began)
            gathering.answers[name] = answer
            self._note(call, answer)
            self._continue_late(call)
            if not call.is_silent:
                # The node was told the deadline: what it says by then is in time for itself.
                loop.call_at(round_.until.deadline, self._note_silence, call)

    def _continue_late(self, call: NodeCall) -> None:
        """Let the call go on in the bounded company of its node's other late ones."""
        if not call.leave_late():
            return
        late = self._late.setdefault(call.node.name, {})
        late[call] = None
        if len(late) > MAX_LATE_PER_NODE:
            oldest = next(iter(late))
            del late[oldest]
            oldest.cancel()

    def _abandon(self, round_: Round) -> None:
        """Nobody waits any longer: what came already is late, like what is still to come."""
        came = tuple(round_.gathering.answers.values())
        self._stop_waiting(round_, Ended.COMPLETE)
        self.hand_over(came, round_.on_late)

    async def _run(self, call: NodeCall, one: Try, round_: Round) -> None:
        """Make one try, to the end. The first answer counts, a failure where no try is left."""
        answer: NodeAnswer | None = None
        try:
            answer = await call.answer(one, round_.until)
        finally:
            call.release(one)
            call.tries.remove(one)
            if answer is None:
                self._cut_short(call, one, round_)
        if call.is_ended or (answer.reply is None and call.tries):
            return
        self._end(call)
        if call.is_hedged:
            won = "none" if answer.reply is None else "second" if one.is_hedge else "first"
            self._metrics.hedged(answer.node, won=won)
        self._count_lost(call, answer)
        if round_.gathering.is_open:
            round_.gathering.add(answer, asyncio.get_running_loop().time())
            self._note(call, answer)
        else:
            await self._take_late(call, answer, round_)

    def _end(self, call: NodeCall) -> None:
        call.is_ended = True
        call.cancel()  # the other try: under the same key, it would only say the same
        self._late.get(call.node.name, {}).pop(call, None)

    def _cut_short(self, call: NodeCall, one: Try, round_: Round) -> None:
        """The try was stopped: it failed here, nobody may wait longer, or the program stops."""
        call.may_have_acted |= one.progress.may_have_acted
        if call.is_ended or call.tries:
            return
        self._end(call)
        if call.may_have_acted:
            self._metrics.lost(call.node.name)
        if round_.gathering.is_open:
            detail = "this gateway could not finish reading it"
            why = reason(ReasonCode.INVALID_ANSWER, detail=detail)
            now = asyncio.get_running_loop().time()
            name = call.node.name
            round_.gathering.add(NodeAnswer(name, Outcome.ERROR, why, now - call.began), now)

    def _count_lost(self, call: NodeCall, answer: NodeAnswer) -> None:
        if answer.reply is None:
            if call.may_have_acted:
                self._metrics.lost(answer.node)
            return
        reply = answer.reply
        if unnamed := reply.surplus + sum(offer.uuid is None for offer in reply.dropped):
            self._metrics.lost(answer.node, unnamed)

    async def _take_late(self, call: NodeCall, answer: NodeAnswer, round_: Round) -> None:
        """The client has its answer; this one may still join it."""
        if answer.reply is None:
            if not call.is_silent:
                call.is_silent = True
                was_heard = answer.outcome in _HEARD
                call.node.note(answer.outcome, answer.reason, took_s=None, was_heard=was_heard)
            return
        is_over = asyncio.get_running_loop().time() >= round_.until.deadline
        self._metrics.answered_late(answer.node)
        _log.info("node_answered_late", node=answer.node, offers=len(answer.offers))
        call.node.note(Outcome.LATE, answer.reason, took_s=answer.took_s, was_heard=True)
        if call.is_due and is_over and answer.offers:
            call.node.note_offers(was_late=True)
        await self._hand_over(answer, round_.on_late)

    def hand_over(self, answers: Sequence[NodeAnswer], on_late: OnLate) -> None:
        """Treat answers that came in time as late: whoever asked has gone."""
        for answer in answers:
            if answer.reply is not None:
                self._tasks.spawn(self._hand_over(answer, on_late), name=f"late {answer.node}")

    async def _hand_over(self, answer: NodeAnswer, on_late: OnLate) -> None:
        late = replace(answer, outcome=Outcome.LATE, reason=reason(ReasonCode.ARRIVED_LATE))
        try:
            await on_late(late)
        except (asyncio.CancelledError, StoreUnavailableError):
            if answer.offers:
                self._metrics.lost(answer.node, len(answer.offers))
            raise

    def _note_silence(self, call: NodeCall) -> None:
        """The deadline came, and nobody waited for it: a silent node is silent all the same."""
        if call.is_ended or call.is_silent:
            return
        call.is_silent = True
        took_s = None if call.sent is None else asyncio.get_running_loop().time() - call.sent
        why = reason(TIMEOUT_REASONS[call.progress.stage])
        call.node.note(Outcome.TIMEOUT, why, took_s=took_s, was_heard=False)

    def _note(self, call: NodeCall, answer: NodeAnswer) -> None:
        """The call has its outcome: learn, count, log what failed. Once for each node asked."""
        took_s = None
        if answer.outcome in _TELLING and call.sent is not None:
            took_s = asyncio.get_running_loop().time() - call.sent
        was_heard = answer.outcome in _HEARD
        call.node.note(answer.outcome, answer.reason, took_s=took_s, was_heard=was_heard)
        if answer.outcome is Outcome.ANSWERED:
            call.node.note_offers(was_late=False)
        self._metrics.node_asked(answer.node, answer.outcome, answer.took_s)
        if answer.outcome in _FAILURES:
            _log.warning(
                "node_failed",
                node=answer.node,
                outcome=answer.outcome.value,
                reason=answer.reason.code.value if answer.reason else None,
                took_ms=round(answer.took_s * 1000),
            )


def _unheard(call: NodeCall, ended: Ended) -> tuple[Outcome, Reason]:
    """What to say of a node that has not answered when waiting stops."""
    if ended is Ended.COMPLETE:
        return Outcome.LATE, reason(ReasonCode.NOT_WAITED_FOR)
    limit_s = call.question.own_limit_s
    if ended is Ended.OWN_LIMITS and limit_s is not None and call.has_acted:
        why = reason(ReasonCode.BEYOND_OWN_LIMIT, limit_ms=round(limit_s * 1000))
        return Outcome.LATE, why
    return Outcome.TIMEOUT, reason(TIMEOUT_REASONS[call.progress.stage])
