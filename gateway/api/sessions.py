"""Sessions and their components: reading them, and changing their phase."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler
from marshmallow import Schema, ValidationError, fields, validate, validates, validates_schema

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url, present_session
from gateway.clock import Clock
from gateway.domain.falling_through import FallThrough
from gateway.domain.showing import COMPONENT_PATHS, show_component, with_message
from gateway.errors import PreconditionFailedError, UnknownComponentError, UpdateRefusedError
from gateway.httpkit.bodies import answer, read_body, read_query, read_uuid
from gateway.httpkit.conditional import (
    ReadConditionSchema,
    WriteConditionSchema,
    answer_tagged,
    has_condition,
    is_as_seen,
)
from gateway.httpkit.conversation import UpdateHeadersSchema, preferences_of
from gateway.httpkit.operations import (
    NOT_MODIFIED,
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.services.sessions import SessionReading, SessionService
from gateway.services.updates import UpdateService
from gateway.stores.sessions import SessionRow
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_SESSION
from gateway.wire.documents import Document
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase
from gateway.wire.schemas.data import DataSchema
from gateway.wire.schemas.executable import ExecutableSchema
from gateway.wire.schemas.fields import Instant
from gateway.wire.schemas.resources import ComputeSchema, StorageSchema, VolumeSchema
from gateway.wire.schemas.session import SessionSchema
from gateway.wire.schemas.update import UpdateSchema
from gateway.wire.times import TimeSyntaxError, parse_instant

SESSIONS = web.AppKey("sessions", SessionService)
"""Reads sessions."""

UPDATES = web.AppKey("updates", UpdateService)
"""Changes sessions."""

CLOCK = web.AppKey("clock", Clock)
"""The time that messages carry."""

MAX_FALL: Final = 10
"""Most offers that are tried beside the one asked for: as many as a set has by default."""

_PHASE_PATHS: Final = frozenset({"phase", "/phase"})
_COMPONENTS: Final[Mapping[str, Schema]] = {
    COMPONENT_PATHS["executable"]: ExecutableSchema(),
    COMPONENT_PATHS["compute"]: ComputeSchema(),
    COMPONENT_PATHS["storage"]: StorageSchema(),
    COMPONENT_PATHS["data"]: DataSchema(),
    COMPONENT_PATHS["volumes"]: VolumeSchema(),
}


class UpdateQuerySchema(Schema):
    """How far an acceptance may fall: to which other offers of the same set."""

    fall_through = fields.Integer(
        validate=validate.Range(min=1, max=MAX_FALL),
        metadata={
            "description": "When the node does not keep to its offer, accept the next best in its "
            "place; at most so many are tried. None is dearer, starts later or has its data "
            "farther away than the one asked for, unless the other parameters allow it."
        },
    )
    max_cost = fields.Float(
        validate=validate.Range(min=0, max=1e12),
        metadata={"description": "Only offers that are sure to cost no more money than this."},
    )
    start_before = Instant(
        metadata={"description": "Only offers that start by then, in UTC (ISO 8601)."}
    )
    max_staging_s = fields.Float(
        validate=validate.Range(min=0, max=1e9),
        metadata={"description": "Only offers that have the data in place in so many seconds."},
    )

    @validates("start_before")
    def check_start(self, text: str, **_: Any) -> None:
        """Some texts have the form of an instant and name none."""
        try:
            parse_instant(text)
        except TimeSyntaxError as error:
            raise ValidationError(str(error)) from error

    @validates_schema
    def check_fall(self, data: dict[str, Any], **_: Any) -> None:
        """Limits mean something only where there is something to limit."""
        if data and "fall_through" not in data:
            raise ValidationError({name: ["Needs fall_through."] for name in data})


@docs(
    tags=["sessions"],
    summary="A session as it is now",
    responses={304: NOT_MODIFIED, **problem_responses(404)},
)
@headers_schema(ReadConditionSchema())
@response_schema(SessionSchema(), 200, description="The session")
async def get_session(request: web.Request) -> web.Response:
    """Read a session."""
    reading = await request.app[SESSIONS].read(read_uuid(request), caller_of(request))
    document = present_session(reading, own_base_url(request))
    return answer_tagged(request, document, root=ROOT_SESSION)


@docs(
    tags=["sessions"],
    summary="Accept, reject or cancel a session",
    description="An update that cannot be made leaves the session as it is and says why in "
    "`meta.messages`; with `Prefer: handling=strict` it is answered 409. With `fall_through` the "
    "session in the answer may be another one of the same offer set: `Content-Location` and its "
    "`meta` say which. With `Prefer: resubmit` the work is asked for elsewhere when the node is "
    "lost before it runs. With `If-Match` nothing is done to a session that is not as it was read.",
    responses=problem_responses(403, 404, 409, 412, 503),
)
@querystring_schema(UpdateQuerySchema())
@headers_schema(UpdateHeadersSchema())
@headers_schema(WriteConditionSchema())
@request_schema(UpdateSchema())
@response_schema(SessionSchema(), 200, description="The session after, or without, the change")
async def post_session(request: web.Request) -> web.Response:
    """Change the phase of a session."""
    uuid, caller, wish = read_uuid(request), caller_of(request), read_fall_through(request)
    update, prefers = await read_body(request), preferences_of(request)
    seen = await _seen(request, uuid)
    notes: tuple[Document, ...] = ()
    try:
        reading = await _updated(request, uuid, wanted_phase(update), wish, seen)
    except UpdateRefusedError as refusal:
        if prefers.strict:
            raise
        notes = (_note(refusal, request), *refusal.attempts)
        reading = await request.app[SESSIONS].read_saved(refusal.session or uuid, caller)
    location = f"{own_base_url(request)}/sessions/{reading.row.uuid}"
    headers = {"Content-Location": location} if wish is not None else {}
    if prefers.resubmit and not notes:
        headers["Preference-Applied"] = "resubmit"
    document = _with_notes(reading, notes, request)
    return answer(request, document, root=ROOT_SESSION, headers=headers)


async def _seen(request: web.Request, uuid: UUID) -> SessionRow | None:
    """The session that the client has seen; None where it does not say.

    Raises
    ------
    PreconditionFailedError
        It is not as the client has seen it.
    """
    if not has_condition(request):
        return None
    reading = await request.app[SESSIONS].read(uuid, caller_of(request))
    if not is_as_seen(request, present_session(reading, own_base_url(request))):
        raise PreconditionFailedError
    return reading.row


async def _updated(
    request: web.Request,
    uuid: UUID,
    phase: SessionPhase,
    wish: FallThrough | None,
    seen: SessionRow | None,
) -> SessionReading:
    updates, caller = request.app[UPDATES], caller_of(request)
    resubmits = preferences_of(request).resubmit
    if wish is not None and phase is SessionPhase.ACCEPTED:
        return await updates.accept_within(uuid, wish, caller, resubmits=resubmits, seen=seen)
    return await updates.update(uuid, phase, caller, resubmits=resubmits, seen=seen)


def read_fall_through(request: web.Request) -> FallThrough | None:
    """How far the acceptance may fall, as the query says it; None: not at all.

    Raises
    ------
    QueryProblem
        The query says something else.
    """
    query = read_query(request)
    if not query:
        return None
    return FallThrough(
        offers=query["fall_through"],
        max_cost=query.get("max_cost"),
        start_before=parse_instant(query["start_before"]) if "start_before" in query else None,
        max_staging_s=query.get("max_staging_s"),
    )


def component_handler(path: str, schema: Schema) -> Handler:
    """The handler that shows an executable, a compute, storage or data resource, or a volume."""

    @docs(tags=["sessions"], summary=f"A component ({path})", responses=problem_responses(404))
    @response_schema(schema, 200, description="The component")
    async def get_component(request: web.Request) -> web.Response:
        uuid = read_uuid(request)
        reading = await request.app[SESSIONS].read_component(uuid, caller_of(request))
        component = show_component(present_session(reading, own_base_url(request)), uuid)
        if component is None:
            raise UnknownComponentError(uuid)
        return answer(request, component, root=ROOT_DOCUMENT)

    return get_component


def wanted_phase(update: Document) -> SessionPhase:
    """The phase that an update asks for.

    Raises
    ------
    UpdateRefusedError
        It asks for something else, which no session of this service allows.
    """
    if update["kind"] != ENUM_UPDATE or update["path"] not in _PHASE_PATHS:
        raise UpdateRefusedError(
            f"Nothing at {update['path']!r} can be changed by a {update['kind']}; "
            f"only the phase can, by a {ENUM_UPDATE} at 'phase'."
        )
    try:
        return SessionPhase(update["value"])
    except ValueError as error:
        raise UpdateRefusedError(f"There is no phase {update['value']!r}.") from error


def add_session_routes(app: web.Application) -> None:
    """Serve sessions and components."""
    app.router.add_get("/sessions/{uuid}", get_session)
    app.router.add_post("/sessions/{uuid}", post_session)
    for path, schema in _COMPONENTS.items():
        app.router.add_get(f"/{path}/{{uuid}}", component_handler(path, schema))


def _note(refusal: UpdateRefusedError, request: web.Request) -> Document:
    now = request.app[CLOCK].now()
    return message(refusal.code, MessageLevel.WARN, "${why}", {"why": refusal.detail}, now)


def _with_notes(
    reading: SessionReading, notes: tuple[Document, ...], request: web.Request
) -> Document:
    document = present_session(reading, own_base_url(request))
    for note in notes:
        document = with_message(document, note)
    return document
