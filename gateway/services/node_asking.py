"""Asking one node: at most two tries at the same time, of which the first answer counts."""

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.clients.exchange import NodeError, NodeStatusError, Progress
from gateway.clients.offers_reply import OffersReply
from gateway.domain.coverage import Outcome
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.services.answers import NodeAnswer, NodeQuestion
from gateway.services.registry import RegisteredNode

_MAX_DETAIL: Final = 500
"""Characters of a node's own words in a reason."""


@dataclass(frozen=True, slots=True)
class Until:
    """Event loop times: until when the client waits, and until when late answers are read."""

    deadline: float
    late: float


class Try:
    """One exchange with a node, in a task of its own. The node's place is given back by it."""

    __slots__ = ("has_place", "is_hedge", "progress", "task")

    def __init__(self, *, is_hedge: bool) -> None:
        self.progress = Progress()
        self.is_hedge = is_hedge
        self.has_place = False
        self.task: asyncio.Task[None] | None = None


class NodeCall:
    """One node being asked. Its tries are under the same idempotency key: they make one hold.

    ``may_have_acted`` is of the tries that ended without an answer.
    ``is_due`` once the client has waited for it as long as it should; ``is_silent`` once that was
    noted.
    """

    __slots__ = (
        *("began", "hedge_at", "is_due", "is_ended", "is_hedged", "is_silent"),
        *("may_have_acted", "node", "question", "sent", "tries"),
    )

    def __init__(self, question: NodeQuestion, node: RegisteredNode, began: float) -> None:
        self.question = question
        self.node = node
        self.began = began
        self.sent: float | None = None
        after_s = question.hedge_after_s
        self.hedge_at = None if after_s is None else began + after_s
        self.tries: list[Try] = []
        self.may_have_acted = False
        self.is_due = False
        self.is_silent = False
        self.is_ended = False
        self.is_hedged = False

    @property
    def progress(self) -> Progress:
        """How far the first of its tries is, for whoever stops waiting; never started if none."""
        return self.tries[0].progress if self.tries else Progress()

    @property
    def has_acted(self) -> bool:
        """Whether the node may have read the request, and so hold something for it."""
        return self.may_have_acted or any(one.progress.may_have_acted for one in self.tries)

    def release(self, one: Try) -> None:
        """Give the node's place of this try to the next; idempotent."""
        if one.has_place:
            one.has_place = False
            self.node.release()

    def cancel(self) -> None:
        """Stop every try."""
        for one in self.tries:
            if one.task is not None:
                one.task.cancel()

    def leave_late(self) -> bool:
        """Go on only with what may bring holds, without a place; whether anything goes on."""
        for one in self.tries:
            if not one.progress.may_have_acted and one.task is not None:
                one.task.cancel()
            self.release(one)
        return any(one.progress.may_have_acted for one in self.tries)

    async def answer(self, one: Try, until: Until) -> NodeAnswer:
        """The node's answer to one try, or what became of it."""
        loop = asyncio.get_running_loop()
        node, question = self.node, self.question
        try:
            await node.acquire(until.deadline)
            one.has_place = True
            if self.sent is None:
                self.sent = loop.time()
            reply = await node.client.request_offers(
                question.body,
                question.call,
                deadline=until.deadline,
                until=until.late,
                # A second try is none to be repeated.
                honours_idempotency=not one.is_hedge and self.may_repeat(),
                progress=one.progress,
            )
        except NodeError as error:
            node.heed(error)
            self.may_have_acted |= _has_acted(one, error)
            problem = error.problem if isinstance(error, NodeStatusError) else None
            took_s = loop.time() - self.began
            return NodeAnswer(node.name, error.outcome, error.reason, took_s, problem=problem)
        if question.call.idempotency_key is not None:
            node.note_idempotency(was_echoed=reply.echoes_idempotency_key)
        outcome, why = _outcome(reply)
        return NodeAnswer(node.name, outcome, why, loop.time() - self.began, reply)

    def may_repeat(self) -> bool:
        """Whether asking again is safe, and the node has earned it."""
        node = self.node
        has_key = self.question.call.idempotency_key is not None
        return has_key and node.honours_idempotency is True and node.may_retry()


def _has_acted(one: Try, error: NodeError) -> bool:
    """Whether the node may hold something that its answer did not tell."""
    if isinstance(error, NodeStatusError):
        return error.has_acted
    return one.progress.may_have_acted


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
