"""From a request to its offer set: choose whom to ask, ask, judge, rank, save, answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.clients.broker import CallContext
from gateway.clock import Clock
from gateway.domain.candidates import Choice, Hops, NodeState, RefusalMemory, choose, unknown_kinds
from gateway.domain.coverage import (
    Outcome,
    coverage_of,
    is_unavailable,
)
from gateway.domain.judging import judge
from gateway.domain.policies import Policy
from gateway.errors import (
    NoNodeAnsweredError,
    RequiredNodeSilentError,
    StoreUnavailableError,
    UnknownNodeError,
    UnknownOfferSetError,
    UnknownPolicyError,
)
from gateway.services.appraisal import Appraisal, read_request
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.fanout import Completeness, FanoutService, NodeAnswer, NodeQuestion
from gateway.services.gateway_metrics import GatewayMetrics
from gateway.services.idempotency import IdempotencyService, Reservation
from gateway.services.node_calls import NodeCalls
from gateway.services.offer_book import OfferBook
from gateway.services.registry import NodeRegistry
from gateway.services.sessions import SessionReading
from gateway.settings import FederationSettings
from gateway.stores.offersets import OfferSetRow
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json, to_canonical_json, to_json
from gateway.wire.kinds import COMPONENT_KINDS
from gateway.wire.views import RequestView

RETRY_AFTER_S: Final = 5
"""When to come back after nobody answered: as long as one default deadline."""

_ANSWERING: Final = frozenset({Outcome.ANSWERED, Outcome.NO})


@dataclass(frozen=True, slots=True)
class OfferQuestion:
    """One request for offers. None is the default of the federation.

    ``path`` is the endpoint, which idempotency keys belong to. ``hops`` are the gateways passed
    before this one, ``budget_s`` what the last of them has left.
    """

    document: Document
    path: str
    limit: int | None = None
    per_node: int | None = None
    policy: str | None = None
    nodes: frozenset[str] | None = None
    min_offers: int | None = None
    require: frozenset[str] = frozenset()
    wait_s: float | None = None
    key: str | None = None
    hops: tuple[str, ...] = ()
    budget_s: float | None = None

    def fingerprint(self) -> bytes:
        """What must be equal for an idempotency key to mean the same request.

        The order of members means nothing: a client may write them in another one next time.
        """
        return to_canonical_json(
            [
                self.document,
                self.limit,
                self.per_node,
                self.policy,
                sorted(self.nodes) if self.nodes is not None else None,
                self.min_offers,
                sorted(self.require),
            ]
        )


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


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything settled before the first node is asked."""

    uuid: UUID
    question: OfferQuestion
    caller: Caller
    view: RequestView
    choice: Choice
    policy: Policy
    now: datetime
    deadline: float
    late_until: float
    per_node: int
    limit: int
    settled: asyncio.Event


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
        refusals: RefusalMemory,
        policies: Mapping[str, Policy],
        clock: Clock,
        settings: FederationSettings,
        metrics: GatewayMetrics,
        mint: Callable[[], UUID],
    ) -> None:
        self._registry = registry
        self._fanout = fanout
        self._book = book
        self._idempotency = idempotency
        self._node_calls = node_calls
        self._refusals = refusals
        self._policies = policies
        self._clock = clock
        self._settings = settings
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

    async def _ask(
        self, question: OfferQuestion, caller: Caller, reservation: Reservation
    ) -> OfferSetReading:
        plan = self._plan(question, caller, reservation.offerset)

        async def take_late(answer: NodeAnswer) -> None:
            await self._take_late(plan, answer)

        try:
            result = await self._fanout.ask(
                self._questions(plan),
                deadline=plan.deadline,
                late_until=plan.late_until,
                on_late=take_late,
                completeness=Completeness(
                    min_offers=question.min_offers,
                    required=question.require,
                    is_good_enough=lambda node, offer: (
                        judge(
                            offer.view,
                            plan.view,
                            plan.now,
                            reports_memory=self._registry.get(node).profile.reports_memory,
                        ).is_kept
                    ),
                ),
            )
            try:
                return await self._settle(plan, result.answers)
            except (asyncio.CancelledError, StoreUnavailableError):
                # What the nodes hold by now is let go as if it had come too late.
                self._fanout.hand_over(result.answers, take_late)
                raise
        finally:
            plan.settled.set()

    async def _settle(self, plan: _Plan, answers: Sequence[NodeAnswer]) -> OfferSetReading:
        """Judge, rank, save; what comes after this is late."""
        question, caller = plan.question, plan.caller
        appraisal = self._appraisal(plan)
        known = await self._book.known(answers)
        for answer in answers:
            self._learn(plan, answer)
            appraisal.add(answer, self._registry.get(answer.node), known)
        coverage = coverage_of(
            (*plan.choice.skipped, *(appraisal.coverage_of(a) for a in answers)),
            [node.name for node in self._registry],
        )
        silent = sorted(
            entry.node
            for entry in coverage
            if entry.node in question.require and entry.outcome not in _ANSWERING
        )
        is_open = not silent and not is_unavailable(coverage)
        row, sessions = await self._book.add(
            appraisal,
            uuid=plan.uuid,
            owner=caller.owner or ADMIN_OWNER,
            who=caller.who,
            request=question.document,
            coverage=coverage,
            gateway=self._settings.name,
            is_open=is_open,
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

    def _plan(self, question: OfferQuestion, caller: Caller, uuid: UUID) -> _Plan:
        settings = self._settings
        now = self._clock.now()
        policy_name = question.policy or settings.policy
        policy = self._policies.get(policy_name)
        if policy is None:
            raise UnknownPolicyError(policy_name, sorted(self._policies))
        view = read_request(question.document)
        choice = choose(
            [NodeState(node.profile) for node in self._registry],
            kinds=view.kinds,
            refusals=self._refusals,
            now=now,
            wanted=question.nodes,
            required=question.require,
            hops=Hops(own=settings.name, path=question.hops, limit=settings.hop_limit),
        )
        registered = sorted(node.name for node in self._registry)
        unknown = sorted({*choice.unknown_names, *(question.require - set(registered))})
        if unknown:
            raise UnknownNodeError(unknown, registered)
        wait_s = min(
            settings.deadline_s if question.wait_s is None else question.wait_s,
            settings.max_wait_s,
        )
        if question.budget_s is not None:
            wait_s = min(wait_s, max(question.budget_s - settings.margin_s, 0.0))
        deadline = self._clock.monotonic() + wait_s
        return _Plan(
            uuid=uuid,
            question=question,
            caller=caller,
            view=view,
            choice=choice,
            policy=policy,
            now=now,
            deadline=deadline,
            late_until=deadline + settings.late_s,
            per_node=question.per_node or settings.per_node,
            limit=min(question.limit or settings.limit, settings.max_limit),
            settled=asyncio.Event(),
        )

    def _questions(self, plan: _Plan) -> list[NodeQuestion]:
        body = to_json(plan.question.document)
        hops = (*plan.question.hops, self._settings.name)
        return [
            NodeQuestion(
                node.name,
                body,
                CallContext(
                    request_id=plan.caller.request_id,
                    authorization=plan.caller.authorization,
                    # Asked again after a crash, under the same offer set, a node that honours the
                    # key gives the same holds again.
                    idempotency_key=f"{plan.uuid}:{node.name}",
                    path=hops,
                    known_kinds=plan.view.kinds - COMPONENT_KINDS,
                    # More than these would be let go at once; nodes that know no limit ignore it.
                    query={"limit": str(plan.per_node)},
                ),
            )
            for node in plan.choice.nodes
        ]

    def _learn(self, plan: _Plan, answer: NodeAnswer) -> None:
        """Remember which kinds a node does not know, and that it knows them after all."""
        if answer.reply is None:
            return
        if answer.offers:
            self._refusals.forget(answer.node, plan.view.kinds)
        elif answer.outcome is Outcome.NO:
            unknown = unknown_kinds(answer.reply.messages, plan.view.kinds)
            self._refusals.learn(answer.node, unknown, self._clock.now())

    async def _take_late(self, plan: _Plan, answer: NodeAnswer) -> None:
        """A late answer joins the offer set where there is still room, or is let go."""
        await plan.settled.wait()
        self._learn(plan, answer)
        node = self._registry.get(answer.node)
        known = await self._book.known([answer])
        if await self._book.add_late(plan.uuid, plan.view, answer, node, known):
            return
        if plan.question.key is not None:
            # Whoever comes back with the key is given these holds; else they expire.
            return
        # The request came to no offer set, but its holds are there all the same.
        appraisal = self._appraisal(plan)
        appraisal.add(answer, node, known)
        await self._book.add(
            appraisal,
            uuid=self._mint(),
            owner=plan.caller.owner or ADMIN_OWNER,
            who="gateway",
            request=plan.question.document,
            coverage=[appraisal.coverage_of(answer)],
            gateway=self._settings.name,
            is_open=False,
        )

    def _appraisal(self, plan: _Plan) -> Appraisal:
        return Appraisal(plan.view, plan.now, plan.policy, plan.per_node, plan.limit)

    def _reading(
        self, row: OfferSetRow, sessions: list[SessionRow], caller: Caller
    ) -> OfferSetReading:
        is_owner = caller.owns(row.owner)
        return OfferSetReading(
            row=row,
            sessions=tuple(SessionReading(session, is_owner) for session in sessions),
            federation=from_json(row.federation),
        )
