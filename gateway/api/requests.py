"""Asking for offers, reading what was offered, and executing directly."""

from http import HTTPStatus
from typing import Final

from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url, present_offerset, present_session
from gateway.api.sessions import UPDATES
from gateway.httpkit.bodies import answer, read_body, read_query, read_uuid
from gateway.httpkit.conversation import (
    OfferHeadersSchema,
    budget_ms_of,
    created,
    federation_path_of,
    idempotency_key_of,
    preferences_of,
)
from gateway.httpkit.operations import (
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.services.direct import DirectService, FailedDirect
from gateway.services.offers import OffersService
from gateway.services.planning import OfferQuestion
from gateway.wire.codecs.roots import ROOT_OFFERSET, ROOT_SESSION
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema

OFFERS = web.AppKey("offers", OffersService)
"""Asks the nodes and remembers what they offered."""

DIRECT = web.AppKey("direct", DirectService)
"""Asks the nodes and accepts the best."""

HEAVY: Final = frozenset({("POST", "/requests"), ("POST", "/direct")})
"""Method and path of what makes work at every node: turned away first when there is too much."""

_COUNT = validate.Range(min=1, max=1000)


class OfferQuerySchema(Schema):
    """What a client can ask for beyond the document."""

    limit = fields.Integer(
        validate=_COUNT, metadata={"description": "Offers to return at most; the default is 10."}
    )
    per_node = fields.Integer(
        validate=_COUNT, metadata={"description": "Offers kept of each node; the default is 2."}
    )
    policy = fields.String(metadata={"description": "The ranking policy; the default is balanced."})
    nodes = fields.List(
        fields.String(), metadata={"description": "Ask these nodes only, separated by commas."}
    )
    min_offers = fields.Integer(
        validate=_COUNT,
        metadata={"description": "Answer as soon as so many good offers are there."},
    )
    require = fields.List(
        fields.String(),
        metadata={"description": "Nodes that must have answered, separated by commas."},
    )


@docs(
    tags=["requests"],
    summary="Ask every node for offers and get the best",
    responses={
        303: {"description": "See the offer set", "schema": OfferSetSchema()},
        **problem_responses(409, 422, 503),
    },
)
@querystring_schema(OfferQuerySchema())
@headers_schema(OfferHeadersSchema())
@request_schema(ExecutionRequestSchema())
@response_schema(OfferSetSchema(), 200, description="With `Prefer: return=representation`")
async def post_request(request: web.Request) -> web.Response:
    """Ask for offers."""
    question = await read_question(request)
    reading = await request.app[OFFERS].ask(question, caller_of(request))
    document = present_offerset(reading, own_base_url(request))
    location = f"{own_base_url(request)}/offersets/{reading.row.uuid}"
    return created(request, document, root=ROOT_OFFERSET, location=location)


@docs(tags=["requests"], summary="An offer set as it is now", responses=problem_responses(404))
@response_schema(OfferSetSchema(), 200, description="The offer set")
async def get_offerset(request: web.Request) -> web.Response:
    """Read an offer set."""
    reading = await request.app[OFFERS].read(read_uuid(request), caller_of(request))
    return answer(request, present_offerset(reading, own_base_url(request)), root=ROOT_OFFERSET)


@docs(
    tags=["requests"],
    summary="Execute at the best node without choosing",
    responses={
        303: {"description": "See the session", "schema": SessionSchema()},
        400: {"description": "Nobody can execute it, and why", "schema": SessionSchema()},
        **problem_responses(409, 422, 503),
    },
)
@querystring_schema(OfferQuerySchema())
@headers_schema(OfferHeadersSchema())
@request_schema(ExecutionRequestSchema())
@response_schema(SessionSchema(), 200, description="With `Prefer: return=representation`")
async def post_direct(request: web.Request) -> web.Response:
    """Ask for offers and accept the best."""
    question = await read_question(request)
    step = request.app[UPDATES].wish if preferences_of(request).resubmit else None
    result = await request.app[DIRECT].execute(question, caller_of(request), step=step)
    if isinstance(result, FailedDirect):
        return answer(request, result.document, root=ROOT_SESSION, status=HTTPStatus.BAD_REQUEST)
    document = present_session(result, own_base_url(request))
    location = f"{own_base_url(request)}/sessions/{result.row.uuid}"
    return created(request, document, root=ROOT_SESSION, location=location)


def add_request_routes(app: web.Application) -> None:
    """Serve requests, offer sets and direct execution."""
    app.router.add_post("/requests", post_request)
    app.router.add_get("/offersets/{uuid}", get_offerset)
    app.router.add_post("/direct", post_direct)


async def read_question(request: web.Request) -> OfferQuestion:
    """The document and everything that was asked besides it."""
    document = await read_body(request)
    query = read_query(request)
    budget_ms = budget_ms_of(request)
    nodes = query.get("nodes")
    return OfferQuestion(
        document=document,
        path=request.path,
        limit=query.get("limit"),
        per_node=query.get("per_node"),
        policy=query.get("policy"),
        nodes=frozenset(nodes) if nodes else None,
        min_offers=query.get("min_offers"),
        require=frozenset(query.get("require", ())),
        wait_s=preferences_of(request).wait_s,
        key=idempotency_key_of(request),
        hops=federation_path_of(request),
        budget_s=None if budget_ms is None else budget_ms / 1000,
    )
