"""Everything about a request for offers that is settled before the first node is asked."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from gateway.clients.broker import CallContext
from gateway.clock import Clock
from gateway.domain.candidates import Choice, Hops, NodeState, RefusalMemory, choose
from gateway.domain.enrichment import Enriched
from gateway.domain.policies import Policy
from gateway.domain.restoring import restoring_of
from gateway.errors import UnknownNodeError, UnknownPolicyError
from gateway.services.appraisal import Terms, read_request
from gateway.services.caller import Caller
from gateway.services.fanout import NodeQuestion
from gateway.services.placing import Placed, PlacingService
from gateway.services.registry import NodeRegistry
from gateway.settings import FederationSettings, PlacementSettings
from gateway.wire.documents import Document, to_canonical_json, to_json
from gateway.wire.kinds import COMPONENT_KINDS
from gateway.wire.views import RequestView

_DIGEST: Final = 16
"""Hexadecimal digits that tell two bodies of one request apart."""


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
class Plan:
    """What was settled. ``deadline`` and ``late_until`` are event loop times."""

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
    placed: Placed | None
    sent: Mapping[str, Enriched]
    settled: asyncio.Event = field(default_factory=asyncio.Event)


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
        placement: PlacementSettings,
    ) -> None:
        self._registry = registry
        self._placing = placing
        self._refusals = refusals
        self._policies = policies
        self._clock = clock
        self._settings = settings
        self._placement = placement

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
        """
        settings, now = self._settings, self._clock.now()
        policy = self.policy(question.policy)
        view = read_request(question.document)
        choice = self._choice(question, view, now)
        wait_s = self._wait_s(question)
        deadline = self._clock.monotonic() + wait_s
        placed = await self._placing.place(view.data, self._registry, wait_s=wait_s, now=now)
        return Plan(
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
            placed=placed,
            sent=self._sent(question, choice, placed),
        )

    def questions(self, plan: Plan) -> list[NodeQuestion]:
        """What each chosen node is asked."""
        plain = plan.question.document
        bodies: dict[int, bytes] = {}
        made = []
        for node in plan.choice.nodes:
            sent = plan.sent.get(node.name)
            document = sent.document if sent else plain
            if id(document) not in bodies:  # nodes in the same place share theirs
                bodies[id(document)] = to_json(document)
            body = bodies[id(document)]
            made.append(self._question(plan, node.name, body, is_plain=document is plain))
        return made

    def terms(self, plan: Plan) -> Terms:
        """What the answers are held against."""
        placed = plan.placed
        chosen = [node.name for node in plan.choice.nodes]
        return Terms(
            plan.view,
            plan.now,
            plan.policy,
            plan.per_node,
            plan.limit,
            placements={name: placed.placements[name] for name in chosen} if placed else {},
            data_messages=placed.messages(plan.now) if placed else (),
            restoring=partial(self._restoring, plan),
        )

    def _restoring(self, plan: Plan, node: str) -> bytes | None:
        sent = plan.sent.get(node)
        if sent is None:
            return None
        shows = self._placement.shows_replicas
        restoring = restoring_of(plan.question.document, sent, shows_replicas=shows)
        return None if restoring is None else restoring.to_json()

    def _question(self, plan: Plan, node: str, body: bytes, *, is_plain: bool) -> NodeQuestion:
        # Asked again after a crash, under the same offer set, a node that honours the key gives
        # the same holds again; replicas may have moved by then, and another body needs another key.
        key = f"{plan.uuid}:{node}"
        if not is_plain:
            key = f"{key}:{hashlib.sha256(body).hexdigest()[:_DIGEST]}"
        return NodeQuestion(
            node,
            body,
            CallContext(
                request_id=plan.caller.request_id,
                authorization=plan.caller.authorization,
                idempotency_key=key,
                path=(*plan.question.hops, self._settings.name),
                known_kinds=plan.view.kinds - COMPONENT_KINDS,
                # More than these would be let go at once; nodes that know no limit ignore it.
                query={"limit": str(plan.per_node)},
            ),
        )

    def _sent(
        self, question: OfferQuestion, choice: Choice, placed: Placed | None
    ) -> dict[str, Enriched]:
        if placed is None:
            return {}
        return {
            node.name: placed.enriched(question.document, node.profile) for node in choice.nodes
        }

    def _choice(self, question: OfferQuestion, view: RequestView, now: datetime) -> Choice:
        choice = choose(
            [NodeState(node.profile) for node in self._registry],
            kinds=view.kinds,
            refusals=self._refusals,
            now=now,
            wanted=question.nodes,
            required=question.require,
            hops=Hops(own=self._settings.name, path=question.hops, limit=self._settings.hop_limit),
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
        if question.budget_s is None:
            return wait_s
        return min(wait_s, max(question.budget_s - settings.margin_s, 0.0))
