"""Asking for offers, reading what was offered, and executing directly."""

from http import HTTPStatus
from typing import Final

from aiohttp import web
from marshmallow import INCLUDE, Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url, present_offerset, present_session
from gateway.api.sessions import UPDATES
from gateway.httpkit.bodies import answer, read_body, read_json_body, read_query, read_uuid
from gateway.httpkit.conditional import ReadConditionSchema, answer_tagged
from gateway.httpkit.conversation import (
    OfferHeadersSchema,
    budget_ms_of,
    created,
    federation_path_of,
    federation_request_of,
    idempotency_key_of,
    preferences_of,
)
from gateway.httpkit.operations import (
    JSON_ONLY,
    MERGE_PATCH,
    NOT_MODIFIED,
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.httpkit.shedding import waited_s_of
from gateway.services.direct import DirectService, FailedDirect
from gateway.services.offers import OfferSetReading, OffersService
from gateway.services.planning import OfferQuestion
from gateway.services.reasking import ReaskingService
from gateway.wire.codecs.roots import ROOT_OFFERSET, ROOT_SESSION
from gateway.wire.documents import Document
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema

OFFERS = web.AppKey("offers", OffersService)
"""Asks the nodes and remembers what they offered."""

DIRECT = web.AppKey("direct", DirectService)
"""Asks the nodes and accepts the best."""

REASKING = web.AppKey("reasking", ReaskingService)
"""Asks anew, and knows which offer set came of which."""

HEAVY: Final = frozenset(
    {
        ("POST", "/requests"),
        ("POST", "/direct"),
        ("POST", "/drafts/{uuid}/submit"),
        ("PATCH", "/offersets/{uuid}/request"),
        ("POST", "/discovery/estimate"),
    }
)
"""Method and path of what makes work at every node, or as much here: turned away first when there
is too much."""

_COUNT = validate.Range(min=1, max=1000)


class MergePatchSchema(Schema):
    """Members to be changed; null removes one (RFC 7396)."""

    class Meta:
        """Any member may be changed."""

        unknown = INCLUDE


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
        metadata={
            "description": "Nodes that must have answered, separated by commas; 503 if one has "
            "not. One that need not be asked is no failure, and the coverage says why: the caller "
            "may not use it, or the request has passed it, or came here, by another way already, "
            "or has passed too many gateways."
        },
    )


@docs(
    tags=["requests"],
    summary="Ask every node for offers and get the best",
    responses={
        303: {"description": "See the offer set", "schema": OfferSetSchema()},
        **problem_responses(403, 409, 422, 503),
    },
)
@querystring_schema(OfferQuerySchema())
@headers_schema(OfferHeadersSchema())
@request_schema(ExecutionRequestSchema())
@response_schema(OfferSetSchema(), 200, description="With `Prefer: return=representation`")
async def post_request(request: web.Request) -> web.Response:
    """Ask for offers."""
    question = await read_question(request)
    return offered(request, await request.app[OFFERS].ask(question, caller_of(request)))


@docs(
    tags=["requests"],
    summary="An offer set as it is now",
    responses={304: NOT_MODIFIED, **problem_responses(404)},
)
@headers_schema(ReadConditionSchema())
@response_schema(OfferSetSchema(), 200, description="The offer set")
async def get_offerset(request: web.Request) -> web.Response:
    """Read an offer set."""
    reading = await request.app[REASKING].read(read_uuid(request), caller_of(request))
    document = present_offerset(reading, own_base_url(request))
    return answer_tagged(request, document, root=ROOT_OFFERSET)


@docs(
    tags=["requests"],
    summary="Ask again with changes",
    description="The body is a merge patch (RFC 7396) of the request that the offer set answers; "
    "what the query does not say is as it was. Once there are offers, those of the old set are let "
    "go. If nobody answers, or nobody has an offer, it stays as it is.",
    responses={
        303: {"description": "See the new offer set", "schema": OfferSetSchema()},
        **problem_responses(403, 404, 409, 422, 503),
    },
    media_types=JSON_ONLY,
    more_bodies={MERGE_PATCH: MergePatchSchema()},
)
@querystring_schema(OfferQuerySchema())
@headers_schema(OfferHeadersSchema())
@request_schema(MergePatchSchema())
@response_schema(OfferSetSchema(), 200, description="With `Prefer: return=representation`")
async def patch_request(request: web.Request) -> web.Response:
    """Ask anew in place of an old offer set."""
    question = question_of(request, await read_json_body(request))
    uuid, caller = read_uuid(request), caller_of(request)
    return offered(request, await request.app[REASKING].ask_again(uuid, question, caller))


@docs(
    tags=["requests"],
    summary="Execute at the best node without choosing",
    responses={
        303: {"description": "See the session", "schema": SessionSchema()},
        400: {"description": "Nobody can execute it, and why", "schema": SessionSchema()},
        **problem_responses(403, 409, 422, 503),
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
    app.router.add_patch("/offersets/{uuid}/request", patch_request)
    app.router.add_post("/direct", post_direct)


def offered(request: web.Request, reading: OfferSetReading) -> web.Response:
    """The answer to whoever asked for offers."""
    document = present_offerset(reading, own_base_url(request))
    location = f"{own_base_url(request)}/offersets/{reading.row.uuid}"
    return created(request, document, root=ROOT_OFFERSET, location=location)


async def read_question(request: web.Request) -> OfferQuestion:
    """The document in the body and everything that was asked besides it."""
    return question_of(request, await read_body(request))


def question_of(request: web.Request, document: Document) -> OfferQuestion:
    """A document and everything that was asked besides it."""
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
        root=federation_request_of(request),
        budget_s=None if budget_ms is None else budget_ms / 1000,
        waited_s=waited_s_of(request),
    )
