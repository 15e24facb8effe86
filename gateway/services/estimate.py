"""A dry run of a request: who would be asked, who not and why, and how long it would take them.

No node is asked and nothing is held; what is told is what is known here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from gateway.clock import Clock
from gateway.domain.discovery import speed_of, without_open_places
from gateway.domain.placeholders import Placeholder, open_places
from gateway.domain.track_record import WHOLE
from gateway.errors import NotPermittedError, OfferQuotaError, SessionQuotaError
from gateway.services.caller import Caller
from gateway.services.planning import OfferQuestion, Plan, Planner
from gateway.services.registry import NodeRegistry
from gateway.wire.documents import Document
from gateway.wire.problem import ProblemError


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would come of a request.

    There is either a ``plan`` or the ``refusal`` that the request would meet. ``open`` is what
    would have to be supplied first; the estimate is of the rest.
    """

    plan: Plan | None
    refusal: ProblemError | None
    open: tuple[Placeholder, ...]
    nodes: tuple[Document, ...] = ()

    @property
    def skipped(self) -> list[Document]:
        """The nodes that would not be asked, and why."""
        return [] if self.plan is None else [one.to_document() for one in self.plan.choice.skipped]


class EstimateService:
    """Estimates requests as the planner would plan them."""

    def __init__(
        self,
        planner: Planner,
        registry: NodeRegistry,
        clock: Clock,
        mint: Callable[[], UUID],
    ) -> None:
        self._planner = planner
        self._registry = registry
        self._clock = clock
        self._mint = mint

    async def estimate(self, question: OfferQuestion, caller: Caller) -> Estimate:
        """What would come of this request.

        Raises
        ------
        UnknownNodeError, UnknownPolicyError
            The question names what is not here.
        """
        places = open_places(question.document)
        certain = replace(question, document=without_open_places(question.document))
        try:
            plan = await self._planner.plan(certain, caller, self._mint())
        except (NotPermittedError, OfferQuotaError, SessionQuotaError) as refusal:
            return Estimate(None, refusal, places)
        return Estimate(plan, None, places, tuple(self._nodes(plan)))

    def _nodes(self, plan: Plan) -> list[Document]:
        """Everybody who would be asked, in the order of asking."""
        return [self._node(plan, place, name) for place, name in enumerate(plan.order.nodes)]

    def _node(self, plan: Plan, place: int, name: str) -> Document:
        node = self._registry.get(name)
        median_s, slow_s = node.latency.quantile(0.5), node.latency.quantile(0.95)
        placement = plan.placed.placements.get(name) if plan.placed else None
        share = node.track_record.share(self._clock.now())
        return {
            "node": name,
            "site": node.profile.site,
            "is_first": place < plan.order.first,
            "speed": speed_of(median_s).value,
            "answer_s": {"p50": median_s, "p95": slow_s},
            "kept_share": round(share / WHOLE, 3),
            "placement": placement.to_public() if placement else None,
        }
