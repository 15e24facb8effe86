"""An explanation and replays of it, made as a gateway makes them; and a broker that gives them."""

from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from gateway.domain.explaining import compare, explain
from gateway.domain.policies import POLICIES, policies_from_settings
from gateway.domain.quantities import Amount, Candidate, Quantity
from gateway.domain.reasons import ReasonCode, reason
from gateway.domain.record import RankingRecord, Rejected, replay
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.kinds import STAGING_TIME
from gateway.wire.views import Bounds, Quote, RequestView
from tests.support.canned_broker import CannedBroker, problem
from tests.unit.domain.builders import NOW, uuid
from tests.unit.domain.maps import TB, found, holding, part, placed

OFFERSET: Final = uuid(9)
PLACEMENTS: Final = placed(found(holding(part(TB, "uk"))))
REQUEST: Final = RequestView(
    cores=Bounds(4, None),
    duration=timedelta(minutes=10),
    metric_limits=(Quote(STAGING_TIME, None, 600.0),),
)
COVERAGE: Final[list[Document]] = [
    *({"node": node, "outcome": "answered", "offers": 1} for node in ("uk", "ca", "au")),
    {"node": "za", "outcome": "timeout", "offers": 0},
]
TOO_FAR: Final = reason(ReasonCode.ABOVE_METRIC_LIMIT, type=STAGING_TIME, offered=3000, limit=600)


def candidate(node: str, number: int, **amounts: int) -> Candidate:
    """An offer that starts at once, with amounts in millionths by quantity."""
    measured = {Quantity(name): Amount(value) for name, value in amounts.items()}
    return Candidate(node, uuid(number), 0, PLACEMENTS[node].to_ranking(), measured)


def record(*, near_price: int = 10_000, limit: int = 10) -> RankingRecord:
    """An offer near the data, one far away, a second one there, and one that is too far away."""
    return RankingRecord(
        NOW,
        POLICIES["balanced"],
        2,
        limit,
        (
            candidate("uk", 1, monetary=near_price, carbon=90_000_000),
            candidate("ca", 2, monetary=900_000, carbon=1_000_000),
            candidate("ca", 4, monetary=1_900_000, carbon=1_000_000),
        ),
        (Rejected("au", uuid(3), (TOO_FAR,)),),
        placements={site: PLACEMENTS[site] for site in ("uk", "ca", "au")},
    )


def sent(document: Document) -> Document:
    """As it comes over the wire."""
    read: Document = from_json(to_json(document))
    return read


def explanation(saved: RankingRecord | None = None, *, shows_sources: bool = False) -> Document:
    """What the gateway would send."""
    return sent(
        explain(
            replay(saved or record()),
            REQUEST,
            offerset=OFFERSET,
            coverage=COVERAGE,
            shows_sources=shows_sources,
        )
    )


def ranking(policy: str, saved: RankingRecord | None = None, **own: Any) -> Document:
    """What the gateway would send of another policy, or of one's ``own``."""
    policies = policies_from_settings({policy: own}) if own else POLICIES
    saved = saved or record()
    return sent(compare(replay(saved), replay(saved, policies[policy]), offerset=OFFERSET))


class ExplainingBroker(CannedBroker):
    """A canned gateway that has the same explanation for every offer set."""

    def app(self) -> web.Application:
        """With the two endpoints."""
        app = super().app()
        app.router.add_get("/offersets/{uuid}/explanation", self._explanation)
        app.router.add_post("/offersets/{uuid}/ranking", self._ranking)
        return app

    async def _explanation(self, _: web.Request) -> web.Response:
        return web.json_response(explanation())

    async def _ranking(self, request: web.Request) -> web.Response:
        policy = (await request.json()).get("policy", "balanced")
        if policy not in POLICIES:
            return problem(422, "Unknown policy", f"there is no policy {policy}")
        return web.json_response(ranking(policy))
