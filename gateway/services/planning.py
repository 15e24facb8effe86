"""Everything about a request for offers that is settled before the first node is asked."""

import asyncio
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from gateway.clients.broker import CallContext
from gateway.clock import Clock
from gateway.domain.candidates import Choice, Hops, RefusalMemory, choose
from gateway.domain.coverage import CoverageEntry, Outcome
from gateway.domain.deadlines import FUTILE, hedge_after_s, own_limit_s
from gateway.domain.enrichment import Enriched
from gateway.domain.hops import hop_of
from gateway.domain.permissions import Allowance
from gateway.domain.policies import Policy
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.domain.restoring import restoring_of
from gateway.domain.waves import Order, WaveRule
from gateway.errors import NotPermittedError, UnknownNodeError, UnknownPolicyError
from gateway.services.answers import FanoutResult, NodeAnswer, NodeQuestion, Pace
from gateway.services.appraisal import Terms, read_request
from gateway.services.caller import Caller
from gateway.services.installation import Installation
from gateway.services.permissions import PermissionService
from gateway.services.placing import Placed, PlacingService
from gateway.services.quotas import Quota, QuotaService
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.services.turns import Turns
from gateway.settings import AskingSettings, FederationSettings, PlacementSettings
from gateway.wire.documents import Document, to_canonical_json, to_json
from gateway.wire.kinds import COMPONENT_KINDS
from gateway.wire.views import RequestView

_DIGEST: Final = 16
"""Hexadecimal digits that tell two bodies of one request apart."""

_USUAL_HOLDS: Final = 4
"""Offers that a node of this project makes for one request, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class OfferQuestion:
    """One request for offers. None is the default of the federation.

    ``path`` is the endpoint, which idempotency keys belong to. ``hops`` are the gateways passed
    before this one, ``budget_s`` what the last of them has left; ``root`` is the client's request
    that they all stand for. Of all these waits ``waited_s`` went by before the question was read.
    It ``is_second`` when the request came here by another way before. It ``accepts`` where the best
    offer is accepted at once; the offer set that it ``replaces`` is let go of once this one stands.
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
    waited_s: float = 0.0
    root: UUID | None = None
    is_second: bool = False
    accepts: bool = False
    replaces: UUID | None = None

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
class Plan:
    """What was settled. ``deadline`` and ``late_until`` are event loop times.

    ``quota`` bounds what may be handed out; ``groups`` are the caller's, as far as any rule or node
    speaks of them; ``notes`` are about the offer set as a whole. ``path`` are the gateways that the
    request has passed when it leaves this one.
    """

    uuid: UUID
    question: OfferQuestion
    caller: Caller
    view: RequestView
    choice: Choice
    order: Order
    policy: Policy
    now: datetime
    deadline: float
    late_until: float
    per_node: int
    limit: int
    placed: Placed | None
    path: tuple[str, ...]
    quota: Quota | None = None
    groups: frozenset[str] = frozenset()
    notes: tuple[Reason, ...] = ()
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def unasked(self, result: FanoutResult) -> tuple[CoverageEntry, ...]:
        """The lines about nodes that could have been asked and were not."""
        if result.unasked is None:
            return ()
        asked, said = {answer.node for answer in result.answers}, reason(result.unasked)
        return tuple(
            CoverageEntry(node.name, Outcome.SKIPPED, said)
            for node in self.choice.nodes
            if node.name not in asked
        )


class Planner:
    """Settles whom to ask, what, until when, and how the answers will be ranked."""

    def __init__(
        self,
        *,
        registry: NodeRegistry,
        placing: PlacingService,
        refusals: RefusalMemory,
        policies: Mapping[str, Policy],
        clock: Clock,
        settings: FederationSettings,
        asking: AskingSettings,
        placement: PlacementSettings,
        permissions: PermissionService,
        quotas: QuotaService,
        installation: Installation,
    ) -> None:
        self._installation = installation
        self._registry = registry
        self._placing = placing
        self._refusals = refusals
        self._policies = policies
        self._clock = clock
        self._settings = settings
        self._asking = asking
        self._placement = placement
        self._permissions = permissions
        self._quotas = quotas
        self._turns = Turns(WaveRule(asking.all_up_to, asking.wave_size, asking.wave_explored))

    def _hop(self) -> str:
        """How the path of a request names this gateway."""
        return hop_of(self._settings.name, str(self._installation.identity))

    def policy(self, name: str | None) -> Policy:
        """The policy of that name, or the default one.

        Raises
        ------
        UnknownPolicyError
        """
        name = name or self._settings.policy
        policy = self._policies.get(name)
        if policy is None:
            raise UnknownPolicyError(name, sorted(self._policies))
        return policy

    async def plan(self, question: OfferQuestion, caller: Caller, uuid: UUID) -> Plan:
        """Settle everything; the data are located meanwhile, within their own budget.

        Raises
        ------
        UnknownNodeError, UnknownPolicyError
            The question names what is not here.
        NotPermittedError, OfferQuotaError, SessionQuotaError
            The caller may not ask this, or has as much as it may.
        """
        settings, now = self._settings, self._clock.now()
        policy = self.policy(question.policy)
        view = read_request(question.document)
        allowance = self._permissions.allowance_of(caller)
        if refused := allowance.refused_request(view.kinds):
            raise NotPermittedError([why.to_document() for why in refused])
        choice = self._choice(question, view, now, allowance)
        quota = self._quotas.quota_of(caller, replaces=question.replaces)
        room = await self._quotas.check_before_asking(quota, accepts=question.accepts)
        limit = min(question.limit or settings.limit, settings.max_limit)
        wait_s = self._wait_s(question)
        deadline = self._clock.monotonic() + wait_s
        placed = await self._placing.place(view.data, self._registry, wait_s=wait_s, now=now)
        per_node = question.per_node or settings.per_node
        order = self._turns.order(
            [self._registry.get(node.name) for node in choice.nodes],
            kinds=view.kinds,
            placements=placed.placements if placed else {},
            named=_named(question),
            at_once=self._asking.max_holds // min(per_node, _USUAL_HOLDS),
            now=now,
        )
        return Plan(
            uuid=uuid,
            question=question,
            caller=caller,
            view=view,
            choice=choice,
            order=order,
            policy=policy,
            now=now,
            deadline=deadline,
            late_until=deadline + settings.late_s,
            per_node=per_node,
            limit=limit if room is None else min(limit, room),
            notes=() if room is None or room >= limit else (_limited(room, limit),),
            placed=placed,
            quota=quota,
            path=(*question.hops, self._hop()),
            groups=self._groups_that_count(caller),
        )

    def questions(self, plan: Plan) -> Iterator[NodeQuestion]:
        """What each node is asked, made when it is its turn."""
        plain = plan.question.document
        bodies: dict[int, bytes] = {}
        wait_s = max(0.0, plan.deadline - self._clock.monotonic())
        every_s = self._wave_s(plan)
        for name in plan.order.nodes:
            node = self._registry.get(name)
            sent = _sent(plan, node)
            document = sent.document if sent else plain
            if id(document) not in bodies:  # nodes in the same place share theirs
                bodies[id(document)] = to_json(document)
            usual_s = node.latency.usual_s(FUTILE * wait_s)
            yield NodeQuestion(
                name,
                bodies[id(document)],
                self._call(plan, name, bodies[id(document)], is_plain=document is plain),
                own_limit_s=self._own_limit_s(plan, node, usual_s, wait_s, every_s),
                hedge_after_s=hedge_after_s(usual_s) if node.honours_idempotency else None,
            )

    def pace(self, plan: Plan) -> Pace | None:
        """How fast to go through the questions; None for all at once."""
        if plan.order.is_whole:
            return None
        return Pace(
            first=plan.order.first,
            every_s=self._wave_s(plan),
            wanted=plan.question.min_offers or plan.limit,
            per_node=plan.per_node,
            max_holds=self._asking.max_holds,
            holds_each=min(plan.per_node, _USUAL_HOLDS),
        )

    def learn(self, plan: Plan, answer: NodeAnswer) -> None:
        """Remember who was asked and had offers, for whom to ask first next time."""
        self._turns.learn(answer.node, plan.view.kinds, has_offers=bool(answer.offers))

    def terms(self, plan: Plan, asked: Iterable[str] | None = None) -> Terms:
        """What the answers are held against, where these were asked or else all that may be."""
        placed = plan.placed
        chosen = plan.order.nodes if asked is None else asked
        return Terms(
            plan.view,
            plan.now,
            plan.policy,
            plan.per_node,
            plan.limit,
            placements={name: placed.placements[name] for name in chosen} if placed else {},
            messages=(
                *(note.to_message(plan.now) for note in plan.notes),
                *(placed.messages(plan.now) if placed else ()),
            ),
            restoring=partial(self._restoring, plan),
        )

    def _restoring(self, plan: Plan, node: str) -> bytes | None:
        sent = _sent(plan, self._registry.get(node))
        if sent is None:
            return None
        shows = self._placement.shows_replicas
        restoring = restoring_of(plan.question.document, sent, shows_replicas=shows)
        return None if restoring is None else restoring.to_json()

    def _call(self, plan: Plan, node: str, body: bytes, *, is_plain: bool) -> CallContext:
        # Asked again after a crash, under the same offer set, a node that honours the key gives
        # the same holds again; replicas may have moved by then, and another body needs another key.
        key = f"{plan.uuid}:{node}"
        if not is_plain:
            key = f"{key}:{hashlib.sha256(body).hexdigest()[:_DIGEST]}"
        return CallContext(
            request_id=plan.caller.request_id,
            authorization=plan.caller.authorization,
            idempotency_key=key,
            path=plan.path,
            root=plan.question.root or plan.uuid,
            known_kinds=plan.view.kinds - COMPONENT_KINDS,
            # More than these would be let go at once; nodes that know no limit ignore it.
            query={"limit": str(plan.per_node)},
        )

    def _own_limit_s(
        self,
        plan: Plan,
        node: RegisteredNode,
        usual_s: float | None,
        wait_s: float,
        every_s: float,
    ) -> float | None:
        """How long the node may hold the answer back; None: until the deadline.

        Who says how long to wait, or names the node, means it.
        """
        if plan.question.wait_s is not None or node.name in _named(plan.question):
            return None
        floor_s = self._asking.own_limit_floor_s
        if node.name in plan.order.explored:
            return floor_s
        limit_s = own_limit_s(usual_s, node.latency.mean_s, wait_s=wait_s, floor_s=floor_s)
        return every_s if limit_s is None and not plan.order.is_whole else limit_s

    def _wave_s(self, plan: Plan) -> float:
        """An equal share of the time for each wave that there may be."""
        nodes, first = len(plan.order.nodes), plan.order.first
        waves = max(1, math.ceil(math.log2(nodes / max(1, first) + 1)))
        return max(0.0, plan.deadline - self._clock.monotonic()) / waves

    def _groups_that_count(self, caller: Caller) -> frozenset[str]:
        if not caller.groups:
            return caller.groups
        named = {group for node in self._registry for group in node.profile.groups}
        return caller.groups & (named | self._permissions.groups)

    def _choice(
        self, question: OfferQuestion, view: RequestView, now: datetime, allowance: Allowance
    ) -> Choice:
        choice = choose(
            [node.state() for node in self._registry],
            kinds=view.kinds,
            refusals=self._refusals,
            now=now,
            wanted=question.nodes,
            required=question.require,
            hops=Hops(
                own=self._hop(),
                path=question.hops,
                limit=self._settings.hop_limit,
                is_second=question.is_second,
            ),
            barred=allowance.refused_node,
            needs=view,
        )
        registered = sorted(node.name for node in self._registry)
        unknown = sorted({*choice.unknown_names, *(question.require - set(registered))})
        if unknown:
            raise UnknownNodeError(unknown, registered)
        return choice

    def _wait_s(self, question: OfferQuestion) -> float:
        """How long the client waits, and a gateway above leaves."""
        settings = self._settings
        asked_s = settings.deadline_s if question.wait_s is None else question.wait_s
        wait_s = min(asked_s, settings.max_wait_s)
        if question.budget_s is not None:
            wait_s = min(wait_s, question.budget_s - settings.margin_s)
        return max(wait_s - question.waited_s, 0.0)


def _limited(room: int, limit: int) -> Reason:
    return reason(ReasonCode.LIMITED_BY_QUOTA, room=room, limit=limit)


def _named(question: OfferQuestion) -> frozenset[str]:
    return question.require | (question.nodes or frozenset())


def _sent(plan: Plan, node: RegisteredNode) -> Enriched | None:
    """The request as this node gets it, where its data were located."""
    if plan.placed is None:
        return None
    return plan.placed.enriched(plan.question.document, node.profile)
