"""Sessions and their components: reading them, and changing their phase."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from marshmallow import Schema

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url, present_session
from gateway.clock import Clock
from gateway.domain.showing import COMPONENT_PATHS, show_component, with_message
from gateway.errors import UnknownComponentError, UpdateRefusedError
from gateway.httpkit.bodies import answer, read_body, read_uuid
from gateway.httpkit.conversation import UpdateHeadersSchema, preferences_of
from gateway.httpkit.operations import (
    docs,
    headers_schema,
    problem_responses,
    request_schema,
    response_schema,
)
from gateway.services.acceptance import AcceptanceService
from gateway.services.sessions import SessionReading, SessionService
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_SESSION
from gateway.wire.documents import Document
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase
from gateway.wire.schemas.data import DataSchema
from gateway.wire.schemas.executable import ExecutableSchema
from gateway.wire.schemas.resources import ComputeSchema, StorageSchema, VolumeSchema
from gateway.wire.schemas.session import SessionSchema
from gateway.wire.schemas.update import UpdateSchema

SESSIONS = web.AppKey("sessions", SessionService)
"""Reads sessions."""

ACCEPTANCE = web.AppKey("acceptance", AcceptanceService)
"""Changes sessions."""

CLOCK = web.AppKey("clock", Clock)
"""The time that messages carry."""

_PHASE_PATHS: Final = frozenset({"phase", "/phase"})
_COMPONENTS: Final[Mapping[str, Schema]] = {
    COMPONENT_PATHS["executable"]: ExecutableSchema(),
    COMPONENT_PATHS["compute"]: ComputeSchema(),
    COMPONENT_PATHS["storage"]: StorageSchema(),
    COMPONENT_PATHS["data"]: DataSchema(),
    COMPONENT_PATHS["volumes"]: VolumeSchema(),
}


@docs(tags=["sessions"], summary="A session as it is now", responses=problem_responses(404))
@response_schema(SessionSchema(), 200, description="The session")
async def get_session(request: web.Request) -> web.Response:
    """Read a session."""
    reading = await request.app[SESSIONS].read(read_uuid(request), caller_of(request))
    return answer(request, present_session(reading, own_base_url(request)), root=ROOT_SESSION)


@docs(
    tags=["sessions"],
    summary="Accept, reject or cancel a session",
    description="An update that cannot be made leaves the session as it is and says why in "
    "`meta.messages`; with `Prefer: handling=strict` it is answered 409.",
    responses=problem_responses(403, 404, 409, 503),
)
@headers_schema(UpdateHeadersSchema())
@request_schema(UpdateSchema())
@response_schema(SessionSchema(), 200, description="The session after, or without, the change")
async def post_session(request: web.Request) -> web.Response:
    """Change the phase of a session."""
    uuid, caller = read_uuid(request), caller_of(request)
    update = await read_body(request)
    notes: tuple[Document, ...] = ()
    try:
        row = await request.app[ACCEPTANCE].update(uuid, wanted_phase(update), caller)
        reading = await request.app[SESSIONS].reading_of(row, caller)
    except UpdateRefusedError as refusal:
        if preferences_of(request).strict:
            raise
        notes = (_note(refusal, request),)
        reading = await request.app[SESSIONS].read_saved(uuid, caller)
    return answer(request, _with_notes(reading, notes, request), root=ROOT_SESSION)


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
