"""Asking many nodes at once, under one deadline.

Every asked node ends up in the result exactly once. A call that may have made holds is never
dropped in silence: it goes on after the deadline, and what it brings is handed to ``on_late``; what
it can no longer bring is counted.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import structlog

from gateway.clients.broker import CallContext, OffersReply, ReceivedOffer
from gateway.clients.exchange import TIMEOUT_REASONS, NodeError, NodeStatusError, Progress
from gateway.domain.coverage import CoverageEntry, Outcome
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.errors import StoreUnavailableError
from gateway.services.fanout_metrics import FanoutMetrics
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.services.tasks import SupervisedTasks
from gateway.wire.documents import Document

MAX_LATE_PER_NODE: Final = 32
"""Calls to one node still read after their deadline; a node that hangs may not collect more."""

_MAX_DETAIL: Final = 500
"""Characters of a node's own words in a reason."""

_FAILURES: Final = frozenset({Outcome.TIMEOUT, Outcome.REFUSED, Outcome.ERROR, Outcome.INVALID})
_TELLING: Final = frozenset({Outcome.ANSWERED, Outcome.NO, Outcome.TIMEOUT})
"""Outcomes that say how fast a node is; a timeout gives a lower bound."""

_HEARD: Final = frozenset({Outcome.ANSWERED, Outcome.NO, Outcome.ERROR, Outcome.INVALID})
"""Outcomes for which the node said something, sense or not."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeQuestion:
    """What one node is asked."""

    node: str
    body: bytes
    call: CallContext = field(default_factory=CallContext)


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

    def to_coverage(self) -> CoverageEntry:
        """The line about this node in the answer's coverage."""
        took_ms = round(self.took_s * 1000)
        return CoverageEntry(self.node, self.outcome, self.reason, took_ms, len(self.offers))


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


class Ended(StrEnum):
    """Why the fan-out stopped waiting."""

    ALL_ANSWERED = "all_answered"
    COMPLETE = "complete"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class FanoutResult:
    """One answer for each node asked, in the order of the questions."""

    answers: tuple[NodeAnswer, ...]
    ended: Ended
    took_s: float


OnLate = Callable[[NodeAnswer], Awaitable[None]]
"""Takes an answer that nobody waits for any longer: its offers are kept or let go there."""


@dataclass(frozen=True, slots=True)
class _Until:
    """Event loop times: until when the client waits, and until when late answers are read."""

    deadline: float
    late: float


class _Call:
    """One node being asked."""

    __slots__ = ("began", "has_place", "is_due", "node", "progress", "question", "sent", "task")

    def __init__(self, question: NodeQuestion, node: RegisteredNode, began: float) -> None:
        self.question = question
        self.node = node
        self.began = began
        self.progress = Progress()
        self.sent: float | None = None
        self.has_place = False
        self.is_due = False
        self.task: asyncio.Task[None] | None = None

    def release(self) -> None:
        """Give the node's place to the next; idempotent."""
        if self.has_place:
            self.has_place = False
            self.node.release()


class _Gathering:
    """The answers to one request, as they come in; ``settled`` when waiting can stop."""

    def __init__(
        self, names: Sequence[str], completeness: Completeness, settled: asyncio.Future[Ended]
    ) -> None:
        self.answers: dict[str, NodeAnswer] = {}
        self.settled = settled
        self.is_open = True
        self._waiting = set(names)
        self._completeness = completeness
        self._missing = set(completeness.required)
        self._good_enough = 0

    def add(self, answer: NodeAnswer) -> None:
        self.answers[answer.node] = answer
        self._waiting.discard(answer.node)
        self._missing.discard(answer.node)
        if self.settled.done():
            return
        if not self._waiting:
            self.settled.set_result(Ended.ALL_ANSWERED)
            return
        rule = self._completeness
        if rule.min_offers is None:
            return
        self._good_enough += sum(rule.is_good_enough(answer.node, o) for o in answer.offers)
        if self._good_enough >= rule.min_offers and not self._missing:
            self.settled.set_result(Ended.COMPLETE)


class FanoutService:
    """Asks nodes for offers. Owns the calls that go on after their deadline; close it."""

    def __init__(self, registry: NodeRegistry, metrics: FanoutMetrics) -> None:
        self._registry = registry
        self._metrics = metrics
        self._tasks = SupervisedTasks()
        self._late: dict[str, dict[_Call, None]] = {}

    @property
    def calls_under_way(self) -> int:
        """Calls that have not ended, late ones included."""
        return len(self._tasks)

    async def aclose(self) -> None:
        """Stop reading late answers; those that may stand for holds are counted as lost."""
        await self._tasks.aclose()

    async def ask(
        self,
        questions: Sequence[NodeQuestion],
        *,
        deadline: float,
        late_until: float,
        on_late: OnLate,
        completeness: Completeness | None = None,
    ) -> FanoutResult:
        """Ask every node at once and wait until ``deadline`` (event loop time) at most.

        Late answers are read until ``late_until`` and handed to ``on_late``. If the caller is
        cancelled, all answers are late.

        Raises
        ------
        KeyError
            A question is for a node that is not registered.
        ValueError
            A node is asked twice.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        names = [question.node for question in questions]
        if len(set(names)) < len(names):
            message = "a node is asked once only"
            raise ValueError(message)
        calls = [_Call(q, self._registry.get(q.node), began) for q in questions]
        gathering = _Gathering(names, completeness or Completeness(), loop.create_future())
        # Whoever takes longest is sent to first; of whom nothing is known may take longest.
        until = _Until(deadline, late_until)
        for call in sorted(calls, key=_mean_s, reverse=True):
            work = self._run(call, gathering, until, on_late)
            call.task = self._tasks.spawn(work, name=f"ask {call.node.name}")
        ended = Ended.ALL_ANSWERED
        if calls:
            try:
                await asyncio.wait([gathering.settled], timeout=deadline - loop.time())
            except asyncio.CancelledError:
                self._abandon(calls, gathering, on_late)
                raise
            settled = gathering.settled
            ended = settled.result() if settled.done() else Ended.DEADLINE
        self._stop_waiting(calls, gathering, ended)
        answers = tuple(gathering.answers[name] for name in names)
        return FanoutResult(answers, ended, loop.time() - began)

    def _stop_waiting(self, calls: Sequence[_Call], gathering: _Gathering, ended: Ended) -> None:
        """Give each node that has not answered its outcome; their calls go on as late ones."""
        gathering.is_open = False
        now = asyncio.get_running_loop().time()
        for call in calls:
            if call.node.name in gathering.answers:
                continue
            call.is_due = ended is Ended.DEADLINE
            if call.is_due:
                outcome, code = Outcome.TIMEOUT, TIMEOUT_REASONS[call.progress.stage]
            else:
                outcome, code = Outcome.LATE, ReasonCode.NOT_WAITED_FOR
            answer = NodeAnswer(call.node.name, outcome, reason(code), now - call.began)
            gathering.answers[answer.node] = answer
            self._note(call, answer)
            self._continue_late(call)

    def _continue_late(self, call: _Call) -> None:
        """Let the call go on in the bounded company of its node's other late ones."""
        if call.task is None or call.task.done():
            return
        if not call.progress.may_have_acted:
            call.task.cancel()
            return
        call.release()
        late = self._late.setdefault(call.node.name, {})
        late[call] = None
        if len(late) > MAX_LATE_PER_NODE:
            oldest = next(iter(late))
            del late[oldest]
            if oldest.task is not None:
                oldest.task.cancel()

    def _abandon(self, calls: Sequence[_Call], gathering: _Gathering, on_late: OnLate) -> None:
        """Nobody waits any longer: what came already is late, like what is still to come."""
        came = tuple(gathering.answers.values())
        self._stop_waiting(calls, gathering, Ended.COMPLETE)
        self.hand_over(came, on_late)

    async def _run(
        self, call: _Call, gathering: _Gathering, until: _Until, on_late: OnLate
    ) -> None:
        """Ask one node, to the end."""
        answer: NodeAnswer | None = None
        try:
            answer = await self._answer(call, until)
        finally:
            call.release()
            self._late.get(call.node.name, {}).pop(call, None)
            if answer is None:
                self._unanswered(call, gathering)
        if gathering.is_open:
            gathering.add(answer)
            self._note(call, answer)
        elif answer.reply is not None:
            self._metrics.answered_late(answer.node)
            _log.info("node_answered_late", node=answer.node, offers=len(answer.offers))
            call.node.note(Outcome.LATE, answer.reason, took_s=answer.took_s, was_heard=True)
            if call.is_due and answer.offers:
                call.node.note_offers(was_late=True)
            await self._hand_over(answer, on_late)

    def _unanswered(self, call: _Call, gathering: _Gathering) -> None:
        """The call was cut short: it failed here, nobody may wait longer, or the program stops."""
        if call.progress.may_have_acted:
            self._metrics.lost(call.node.name)
        if gathering.is_open:
            detail = "this gateway could not finish reading it"
            why = reason(ReasonCode.INVALID_ANSWER, detail=detail)
            took_s = asyncio.get_running_loop().time() - call.began
            gathering.add(NodeAnswer(call.node.name, Outcome.ERROR, why, took_s))

    async def _answer(self, call: _Call, until: _Until) -> NodeAnswer:
        loop = asyncio.get_running_loop()
        name = call.node.name
        try:
            await call.node.acquire(until.deadline)
            call.has_place = True
            call.sent = loop.time()
            reply = await call.node.client.request_offers(
                call.question.body,
                call.question.call,
                deadline=until.deadline,
                until=until.late,
                honours_idempotency=call.node.honours_idempotency is True,
                progress=call.progress,
            )
        except NodeError as error:
            problem = error.problem if isinstance(error, NodeStatusError) else None
            if _is_lost(call, error):
                self._metrics.lost(name)
            took_s = loop.time() - call.began
            return NodeAnswer(name, error.outcome, error.reason, took_s, problem=problem)
        if call.question.call.idempotency_key is not None:
            call.node.note_idempotency(was_echoed=reply.echoes_idempotency_key)
        if unnamed := reply.surplus + sum(offer.uuid is None for offer in reply.dropped):
            self._metrics.lost(name, unnamed)
        outcome, why = _outcome(reply)
        return NodeAnswer(name, outcome, why, loop.time() - call.began, reply)

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

    def _note(self, call: _Call, answer: NodeAnswer) -> None:
        """The call has its outcome: learn, count, log. Once for each node asked."""
        took_s = None
        if answer.outcome in _TELLING and call.sent is not None:
            took_s = asyncio.get_running_loop().time() - call.sent
        was_heard = answer.outcome in _HEARD
        call.node.note(answer.outcome, answer.reason, took_s=took_s, was_heard=was_heard)
        if answer.outcome is Outcome.ANSWERED:
            call.node.note_offers(was_late=False)
        self._metrics.node_asked(answer.node, answer.outcome, answer.took_s)
        _log.log(
            logging.WARNING if answer.outcome in _FAILURES else logging.INFO,
            "node_asked",
            node=answer.node,
            outcome=answer.outcome.value,
            reason=answer.reason.code.value if answer.reason else None,
            took_ms=round(answer.took_s * 1000),
            offers=len(answer.offers),
        )


def _mean_s(call: _Call) -> float:
    mean_s = call.node.latency.mean_s
    return math.inf if mean_s is None else mean_s


def _is_lost(call: _Call, error: NodeError) -> bool:
    """Whether the node may hold something that its answer did not tell."""
    if isinstance(error, NodeStatusError):
        return error.has_acted
    return call.progress.may_have_acted


def _outcome(reply: OffersReply) -> tuple[Outcome, Reason | None]:
    if reply.offers:
        return Outcome.ANSWERED, None
    if reply.dropped:
        return Outcome.INVALID, reason(ReasonCode.NO_USABLE_OFFER, offers=len(reply.dropped))
    if reply.result == "NO":
        texts = [str(m.get("message") or m.get("template") or "") for m in reply.messages]
        detail = "; ".join(text for text in texts if text) or "it does not say why"
        return Outcome.NO, reason(ReasonCode.NODE_SAID_NO, detail=detail[:_MAX_DETAIL])
    return Outcome.NO, reason(ReasonCode.NO_OFFERS_GIVEN)
