"""From a request to its offer set: choose whom to ask, ask, judge, rank, save, answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from gateway.clock import Clock
from gateway.domain.candidates import RefusalMemory, unknown_kinds
from gateway.domain.coverage import Outcome, coverage_of, is_final, is_unavailable
from gateway.domain.enrichment import REPLACEABLE
from gateway.domain.record import replay
from gateway.errors import (
    NoNodeAnsweredError,
    RequiredNodeSilentError,
    StoreUnavailableError,
    UnknownOfferSetError,
)
from gateway.services.answers import Completeness, FanoutResult, NodeAnswer
from gateway.services.appraisal import Appraisal
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.fanout import FanoutService
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.idempotency import IdempotencyService, Reservation
from gateway.services.node_calls import NodeCalls
from gateway.services.offer_book import OfferBook
from gateway.services.planning import OfferQuestion, Plan, Planner
from gateway.services.registry import NodeRegistry
from gateway.services.sessions import SessionReading
from gateway.stores.database import RowConflictError
from gateway.stores.offersets import OfferSetRow
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json
from gateway.wire.views import RequestView

RETRY_AFTER_S: Final = 5
"""When to come back after nobody answered: as long as one default deadline."""

LATE_RETRY_S: Final = 2.0
"""How soon a late answer that could not be saved is tried again."""


@dataclass(frozen=True, slots=True)
class OfferSetReading:
    """An offer set as its client reads it: the sessions shown, best first."""

    row: OfferSetRow
    sessions: tuple[SessionReading, ...]
    federation: Document

    @property
    def coverage(self) -> list[Document]:
        """Every registered node, once, with its outcome."""
        coverage: list[Document] = self.federation["coverage"]
        return coverage


class OffersService:
    """Asks the nodes for offers, and remembers what they said."""

    def __init__(
        self,
        *,
        registry: NodeRegistry,
        fanout: FanoutService,
        book: OfferBook,
        idempotency: IdempotencyService,
        node_calls: NodeCalls,
        planner: Planner,
        refusals: RefusalMemory,
        clock: Clock,
        name: str,
        metrics: GatewayMetrics,
        mint: Callable[[], UUID],
    ) -> None:
        self._registry = registry
        self._fanout = fanout
        self._book = book
        self._idempotency = idempotency
        self._node_calls = node_calls
        self._planner = planner
        self._refusals = refusals
        self._clock = clock
        self._name = name
        self._metrics = metrics
        self._mint = mint

    async def ask(self, question: OfferQuestion, caller: Caller) -> OfferSetReading:
        """Ask for offers; with an idempotency key, at most once.

        Raises
        ------
        UnknownNodeError, UnknownPolicyError
            The question names what is not here.
        NoNodeAnsweredError, RequiredNodeSilentError
            There is no answer to give in time.
        KeyReusedError
            The idempotency key belongs to something else.
        NotPermittedError, OfferQuotaError, SessionQuotaError
            The caller may not ask this, or has as much as it may.
        """
        self._node_calls.remember(caller)
        async with self._idempotency.reserving(
            key=question.key,
            path=question.path,
            owner=caller.owner or ADMIN_OWNER,
            fingerprint=question.fingerprint(),
        ) as reservation:
            if reservation.is_answered:
                return await self.read(reservation.offerset, caller)
            if not await self._is_first(question.root, reservation.offerset):
                question = replace(question, is_second=True)
            return await self._ask(question, caller, reservation)

    async def read(self, uuid: UUID, caller: Caller) -> OfferSetReading:
        """The offer set as it is now.

        Raises
        ------
        UnknownOfferSetError
            There is none, or the caller may not read it.
        """
        found = await self._book.read(uuid)
        if found is None or not caller.can_read(found[0].owner):
            raise UnknownOfferSetError(uuid)
        return self._reading(*found, caller)

    async def _is_first(self, root: UUID | None, offerset: UUID) -> bool:
        """Whether the client's request has not come here by another way."""
        return root is None or await self._book.claim(root, offerset)

    async def _ask(
        self, question: OfferQuestion, caller: Caller, reservation: Reservation
    ) -> OfferSetReading:
        plan = await self._planner.plan(question, caller, reservation.offerset)
        terms = self._planner.terms(plan)

        async def take_late(answer: NodeAnswer) -> None:
            # Until its holds end by themselves there is use in saving it.
            ends = max((o.view.expires or plan.now for o in answer.offers), default=plan.now)
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(StoreUnavailableError),
                wait=wait_fixed(LATE_RETRY_S),
                stop=stop_after_delay((ends - plan.now).total_seconds()),
                reraise=True,
            ):
                with attempt:
                    await self._take_late(plan, answer)

        try:
            result = await self._fanout.ask(
                self._planner.questions(plan),
                deadline=plan.deadline,
                late_until=plan.late_until,
                on_late=take_late,
                pace=self._planner.pace(plan),
                completeness=Completeness(
                    min_offers=question.min_offers,
                    required=question.require,
                    is_good_enough=lambda node, offer: (
                        terms.judge(offer.view, self._registry.get(node).profile, plan.now).is_kept
                    ),
                ),
            )
            try:
                return await self._settle(plan, result)
            except (asyncio.CancelledError, StoreUnavailableError, RowConflictError):
                # What the nodes hold by now is let go as if it had come too late.
                self._fanout.hand_over(result.answers, take_late)
                raise
        finally:
            plan.settled.set()

    async def _settle(self, plan: Plan, result: FanoutResult) -> OfferSetReading:
        """Judge, rank, save; what comes after this is late."""
        question, caller, answers = plan.question, plan.caller, result.answers
        appraisal = Appraisal(self._planner.terms(plan, [answer.node for answer in answers]))
        for answer in answers:
            self._learn(plan, answer)
            self._planner.learn(plan, answer)
            appraisal.add(answer, self._registry.get(answer.node))
        appraisal.drop_longer_ways()
        decision = await self._book.decide(appraisal)
        coverage = coverage_of(
            (
                *plan.choice.skipped,
                *plan.unasked(result),
                *(appraisal.coverage_of(a) for a in answers),
            ),
            plan.choice.registered,
        )
        silent = sorted(
            entry.node
            for entry in coverage
            if entry.node in question.require and not is_final(entry)
        )
        is_open = not silent and not is_unavailable(coverage)
        row, sessions = await self._book.add(
            appraisal,
            decision,
            uuid=plan.uuid,
            owner=caller.owner or ADMIN_OWNER,
            who=caller.who,
            request=question.document,
            coverage=coverage,
            gateway=self._name,
            is_open=is_open,
            groups=plan.groups,
            quota=plan.quota,
        )
        if is_open:
            self._metrics.answered("yes" if sessions else "no", len(sessions))
        else:
            self._metrics.answered("nobody")
            documents = [entry.to_document() for entry in coverage]
            if silent:
                raise RequiredNodeSilentError(silent, documents, RETRY_AFTER_S)
            raise NoNodeAnsweredError(documents, RETRY_AFTER_S)
        return self._reading(row, sessions, caller)

    def _learn(self, plan: Plan, answer: NodeAnswer) -> None:
        """Remember which kinds a node does not know, and that it knows them after all."""
        if answer.reply is None:
            return
        if answer.offers:
            self._refusals.forget(answer.node, plan.view.kinds)
        elif answer.outcome is Outcome.NO and not self._is_sent_simply(answer.node, plan.view):
            unknown = unknown_kinds(answer.reply.messages, plan.view.kinds)
            self._refusals.learn(answer.node, unknown, self._clock.now())

    def _is_sent_simply(self, node: str, view: RequestView) -> bool:
        """Whether the node may have got other kinds of data than the client asked for."""
        is_simple = self._registry.get(node).profile.simple_data
        return is_simple and not view.kinds.isdisjoint(REPLACEABLE)

    async def _take_late(self, plan: Plan, answer: NodeAnswer) -> None:
        """A late answer joins the offer set where there is still room, or is let go."""
        await plan.settled.wait()
        self._learn(plan, answer)
        node = self._registry.get(answer.node)
        known = await self._book.known(answer)
        late = Appraisal(self._planner.terms(plan))
        if await self._book.add_late(plan.uuid, late, answer, node, known, quota=plan.quota):
            return
        if plan.question.key is not None:
            # Whoever comes back with the key is given these holds; else they expire.
            return
        # The request came to no offer set, but its holds are there all the same.
        appraisal = Appraisal(self._planner.terms(plan, [answer.node]))
        appraisal.add(answer, node, known)
        await self._book.add(
            appraisal,
            replay(appraisal.record()),
            uuid=self._mint(),
            owner=plan.caller.owner or ADMIN_OWNER,
            who="gateway",
            request=plan.question.document,
            coverage=[appraisal.coverage_of(answer)],
            gateway=self._name,
            is_open=False,
        )

    def _reading(
        self, row: OfferSetRow, sessions: list[SessionRow], caller: Caller
    ) -> OfferSetReading:
        is_owner = caller.owns(row.owner)
        return OfferSetReading(
            row=row,
            sessions=tuple(SessionReading(session, is_owner) for session in sessions),
            federation=from_json(row.federation),
        )
