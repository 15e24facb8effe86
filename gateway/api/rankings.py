"""Why an offer set is ranked as it is, and how it would be ranked otherwise."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.httpkit.bodies import answer, read_json_body, read_uuid
from gateway.httpkit.conversation import budget_ms_of
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    problem_responses,
    request_schema,
    response_schema,
)
from gateway.services.explanations import ExplanationService, RankingQuestion
from gateway.wire.codecs.roots import ROOT_DOCUMENT

EXPLANATIONS = web.AppKey("explanations", ExplanationService)
"""Reads the saved inputs of rankings."""

_COUNT = validate.Range(min=1, max=1000)
_OBJECTS = fields.Dict(keys=fields.String())


class PolicyReplaySchema(Schema):
    """How to rank instead; what is left out is as it was."""

    policy = fields.String(metadata={"description": "A policy by its name."})
    weights = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(strict=True, validate=validate.Range(min=0, max=10**9)),
        metadata={"description": "A policy of your own: how much each quantity counts."},
    )
    references = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={"description": "With weights: what is worth one half, in the quantity's unit."},
    )
    priors = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={"description": "With weights: what the unknown counts as."},
    )
    per_node = fields.Integer(strict=True, validate=_COUNT)
    limit = fields.Integer(strict=True, validate=_COUNT)


class RankingSchema(Schema):
    """An order of the offers, beside the one that was given out."""

    offerset = fields.String(required=True)
    policy = fields.Dict(keys=fields.String(), required=True)
    was = fields.String(required=True, metadata={"description": "The policy it was ranked by."})
    is_same = fields.Boolean(required=True)
    per_node = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    candidates = fields.List(_OBJECTS, required=True)


class ExplanationSchema(Schema):
    """Everything that decided an offer set."""

    offerset = fields.String(required=True)
    asked = fields.String(required=True)
    versions = fields.Dict(keys=fields.String(), required=True)
    policy = fields.Dict(keys=fields.String(), required=True)
    per_node = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    coverage = fields.List(_OBJECTS, required=True)
    clauses = fields.List(_OBJECTS, required=True)
    placements = fields.List(_OBJECTS, required=True)
    candidates = fields.List(_OBJECTS, required=True)
    rejected = fields.List(_OBJECTS, required=True)
    below = fields.List(
        _OBJECTS, metadata={"description": "What gateways among the nodes say of their part."}
    )


@docs(
    tags=["federation"],
    summary="Why the offers are ranked as they are",
    description="Every offer that came, kept or not: quantities, what they are worth, the weights "
    "of the policy, and the reasons; for each clause of the request how many offers pass it.",
    responses=problem_responses(400, 404, 409),
)
@response_schema(ExplanationSchema(), 200, description="The explanation")
async def get_explanation(request: web.Request) -> web.Response:
    """Explain an offer set."""
    budget_ms = budget_ms_of(request)
    document = await request.app[EXPLANATIONS].explain(
        read_uuid(request),
        caller_of(request),
        budget_s=None if budget_ms is None else budget_ms / 1000,
    )
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(
    tags=["federation"],
    summary="How another policy would rank the same offers",
    description="The saved inputs are ranked again. No node is asked, and nothing changes.",
    responses=problem_responses(404, 409, 422),
    media_types=JSON_ONLY,
)
@request_schema(PolicyReplaySchema())
@response_schema(RankingSchema(), 200, description="The order, beside the one given out")
async def post_ranking(request: web.Request) -> web.Response:
    """Rank the saved offers again."""
    body = await read_json_body(request)
    question = RankingQuestion(**PolicyReplaySchema().load(body))
    document = await request.app[EXPLANATIONS].rank(
        read_uuid(request), question, caller_of(request)
    )
    return answer(request, document, root=ROOT_DOCUMENT)


def add_ranking_routes(app: web.Application) -> None:
    """Serve explanations and replays."""
    app.router.add_get("/offersets/{uuid}/explanation", get_explanation)
    app.router.add_post("/offersets/{uuid}/ranking", post_ranking)
