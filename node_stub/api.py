"""The ExecutionBroker API of a node: HTTP in, HTTP out, nothing decided here."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog
from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.httpkit.auth import principal_of, require_principal
from gateway.httpkit.bodies import answer, answer_json, base_url, read_body, read_query, read_uuid
from gateway.httpkit.conversation import (
    OfferHeadersSchema,
    UpdateHeadersSchema,
    budget_ms_of,
    created,
    echoed_key,
    federation_path_of,
    federation_request_of,
    idempotency_key_of,
    preferences_of,
)
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.httpkit.shedding import waited_s_of
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_OFFERSET, ROOT_SESSION
from gateway.wire.documents import Document, to_canonical_json
from gateway.wire.schemas.data import DataSchema
from gateway.wire.schemas.executable import ExecutableSchema
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.resources import ComputeSchema, StorageSchema, VolumeSchema
from gateway.wire.schemas.session import OfferSetSchema, SessionSchema
from gateway.wire.schemas.update import UpdateSchema
from node_stub.documents import Collection, url_of
from node_stub.errors import (
    UnknownDocumentError,
    UpdateRefusedError,
)
from node_stub.outputs import Outputs
from node_stub.presenting import present_component, present_offerset, present_session
from node_stub.scheduler import Order, Scheduler
from node_stub.sessions import Caller, Sessions

_API_TAGS: Final = ("execution",)
_COMPONENTS: Final = {
    Collection.EXECUTABLES: ExecutableSchema(),
    Collection.COMPUTE: ComputeSchema(),
    Collection.STORAGE: StorageSchema(),
    Collection.DATA: DataSchema(),
    Collection.VOLUMES: VolumeSchema(),
}
MAX_LIMIT: Final = 1000
"""Highest ``limit`` that a request may name: more than any site offers at once."""


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeServices:
    """What the handlers call."""

    scheduler: Scheduler
    sessions: Sessions
    outputs: Outputs
    public_url: str | None


SERVICES = web.AppKey("node_services", NodeServices)
"""Where the application keeps what its handlers call."""


class RequestQuerySchema(Schema):
    """What can be asked of a request for offers beyond the document."""

    limit = fields.Integer(
        validate=validate.Range(min=1, max=MAX_LIMIT),
        metadata={
            "description": "Offers to make at most, each of which is a hold; never more than the"
            " site makes by itself."
        },
    )


class ActuatorSchema(Schema):
    """The answer of the upstream service's health probe."""

    status = fields.String(required=True)


_OFFERSET_SEEN: Final[dict[int, Document]] = {
    303: {"description": "The offer set, and where it can be read", "schema": OfferSetSchema()},
    **problem_responses(422),
}
_SESSION_SEEN: Final[dict[int, Document]] = {
    303: {"description": "The session, and where it can be read", "schema": SessionSchema()},
    400: {"description": "Why no session is possible", "schema": SessionSchema()},
    **problem_responses(422),
}


@docs(tags=_API_TAGS, summary="Ask for offers", responses=_OFFERSET_SEEN)
@querystring_schema(RequestQuerySchema())
@headers_schema(OfferHeadersSchema())
@request_schema(ExecutionRequestSchema())
@response_schema(OfferSetSchema(), 200, description="The offer set, where that is preferred")
async def post_requests(request: web.Request) -> web.Response:
    """Answer a request with an offer set."""
    services, base = request.app[SERVICES], _base_of(request)
    limit: int | None = read_query(request).get("limit")
    order = replace(await _read_order(request), limit=limit)
    uuid = await services.scheduler.offer(order)
    caller = _caller_of(request)
    record, sessions = await services.sessions.offerset(uuid, caller)
    document = present_offerset(record, sessions, caller, base, frozenset())
    location = url_of(base, Collection.OFFERSETS, uuid)
    return created(request, document, root=ROOT_OFFERSET, location=location)


@docs(tags=_API_TAGS, summary="Execute at once", responses=_SESSION_SEEN)
@headers_schema(OfferHeadersSchema())
@request_schema(ExecutionRequestSchema())
@response_schema(SessionSchema(), 200, description="The session, where that is preferred")
async def post_direct(request: web.Request) -> web.Response:
    """Answer a request with an accepted session, or a FAILED one that says why not."""
    services, base = request.app[SERVICES], _base_of(request)
    order = await _read_order(request)
    uuid = await services.scheduler.direct(order)
    caller = _caller_of(request)
    record = await services.sessions.session(uuid, caller)
    document = present_session(record, caller, base, frozenset())
    if record.slot is None:
        return answer(request, document, root=ROOT_SESSION, status=400, headers=echoed_key(request))
    location = url_of(base, Collection.SESSIONS, uuid)
    return created(request, document, root=ROOT_SESSION, location=location)


@docs(tags=_API_TAGS, summary="An offer set", responses=problem_responses(404))
@response_schema(OfferSetSchema(), 200)
async def get_offerset(request: web.Request) -> web.Response:
    """Show an offer set, its sessions as they stand now."""
    services, caller, uuid = request.app[SERVICES], _caller_of(request), read_uuid(request)
    record, sessions = await services.sessions.offerset(uuid, caller)
    kept = await services.outputs.kept(sessions)
    document = present_offerset(record, sessions, caller, _base_of(request), kept)
    return answer(request, document, root=ROOT_OFFERSET)


@docs(tags=_API_TAGS, summary="A session", responses=problem_responses(404))
@response_schema(SessionSchema(), 200)
async def get_session(request: web.Request) -> web.Response:
    """Show a session as it stands now."""
    services, caller, uuid = request.app[SERVICES], _caller_of(request), read_uuid(request)
    record = await services.sessions.session(uuid, caller)
    kept = await services.outputs.kept([record])
    document = present_session(record, caller, _base_of(request), kept)
    return answer(request, document, root=ROOT_SESSION)


@docs(tags=_API_TAGS, summary="Change a session", responses=problem_responses(403, 404, 409))
@headers_schema(UpdateHeadersSchema())
@request_schema(UpdateSchema())
@response_schema(SessionSchema(), 200, description="The session after the change, or without it")
async def post_session(request: web.Request) -> web.Response:
    """Accept, reject or cancel."""
    services, base, uuid = request.app[SERVICES], _base_of(request), read_uuid(request)
    require_principal(request)
    update = await read_body(request)
    caller = _caller_of(request)
    updated = await services.sessions.update(uuid, update, caller)
    preferences = preferences_of(request)
    if updated.refusal is not None and preferences.strict:
        raise UpdateRefusedError(updated.refusal["message"])
    kept = await services.outputs.kept([updated.record])
    document = present_session(updated.record, caller, base, kept, updated.refusal)
    headers = {"Preference-Applied": "handling=strict"} if preferences.strict else None
    return answer(request, document, root=ROOT_SESSION, headers=headers)


@docs(tags=("operation",), summary="Whether the service is up", media_types=JSON_ONLY)
@response_schema(ActuatorSchema(), 200)
async def get_actuator_health(_request: web.Request) -> web.Response:
    """Answer like the upstream service's probe."""
    return answer_json({"status": "UP"})


def _component_handler(
    collection: Collection, schema: Schema
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler that shows one component as its session has it."""

    @docs(tags=_API_TAGS, summary=f"A component ({collection})", responses=problem_responses(404))
    @response_schema(schema, 200)
    async def get_component(request: web.Request) -> web.Response:
        services, caller, uuid = request.app[SERVICES], _caller_of(request), read_uuid(request)
        record = await services.sessions.session_of_component(uuid, caller)
        document = present_component(record, collection, uuid, caller, _base_of(request))
        if document is None:
            raise UnknownDocumentError("component", uuid)
        return answer(request, document, root=ROOT_DOCUMENT)

    return get_component


def add_api_routes(app: web.Application, services: NodeServices) -> None:
    """Serve the ExecutionBroker API."""
    app[SERVICES] = services
    app.router.add_post("/requests", post_requests)
    app.router.add_post("/direct", post_direct)
    app.router.add_get("/offersets/{uuid}", get_offerset)
    app.router.add_get("/sessions/{uuid}", get_session)
    app.router.add_post("/sessions/{uuid}", post_session)
    for collection, schema in _COMPONENTS.items():
        app.router.add_get(f"/{collection}/{{uuid}}", _component_handler(collection, schema))
    app.router.add_get("/actuator/health", get_actuator_health)


async def _read_order(request: web.Request) -> Order:
    if passed := federation_path_of(request):
        _log.info("federated_request", path=passed)
    principal = require_principal(request)
    document = await read_body(request)
    budget_ms = budget_ms_of(request)
    if budget_ms is not None:
        # What went by until it was its turn is gone for whoever asks, too.
        budget_ms -= round(waited_s_of(request) * 1000)
    return Order(
        document=document,
        owner=principal.owner,
        path=request.path,
        digest=hashlib.sha256(to_canonical_json(document)).digest(),
        key=idempotency_key_of(request),
        budget_ms=budget_ms,
        root=federation_request_of(request),
    )


def _caller_of(request: web.Request) -> Caller:
    principal = principal_of(request)
    return Caller() if principal is None else Caller(principal.owner, principal.is_admin)


def _base_of(request: web.Request) -> str:
    return base_url(request, request.app[SERVICES].public_url)
