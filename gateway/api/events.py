"""What happened: as pages, or as server-sent events that go on as it happens."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Final

from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.domain.cloud_events import Occurrence, is_wanted, to_cloud_event
from gateway.errors import StoreUnavailableError
from gateway.httpkit.auth import require_principal
from gateway.httpkit.bodies import answer, read_query, read_uuid
from gateway.httpkit.errors import MalformedRequestProblem
from gateway.httpkit.event_stream import EventStreams
from gateway.httpkit.operations import (
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
)
from gateway.httpkit.streaming import EVENT_STREAM, LAST_EVENT_ID, wants_events
from gateway.services.caller import Caller
from gateway.services.event_feed import Watch
from gateway.services.event_reading import EventService
from gateway.stores.events import EventScope
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document, to_json

EVENTS = web.AppKey("events", EventService)
"""Reads events."""

EVENT_ROUTES: Final = frozenset({"/events", "/sessions/{uuid}/events", "/offersets/{uuid}/events"})
"""Route templates of streams of events, which stay open once they are let in."""

EVENT_STREAMS = web.AppKey("event_streams", EventStreams)
"""Keeps the open streams of events."""

EVENT_SOURCE = web.AppKey("event_source", str)
"""Who says what happened: this gateway's identity as a URI."""

MAX_POSITION: Final = 2**63 - 1
"""The greatest position that a database could hold."""

_LIMIT: Final = 100
_FRAMES: Final = 2048
_PIECE_BYTES: Final = 32 << 10  # half of what aiohttp lets wait before it makes the writer wait
_POSITION_DIGITS: Final = 19
_HELP: Final = (
    "With `Accept: text/event-stream` they are sent as they happen; a reader that comes back with"
    " `Last-Event-ID` misses none and gets none twice. An event `overrun` is the last of a reader"
    " that was too slow. The status 204 says that nothing more will come."
)


class EventQuerySchema(Schema):
    """Which events are read."""

    after = fields.Integer(
        validate=validate.Range(min=0, max=MAX_POSITION),
        metadata={"description": "Only those behind this one: the `id` of an event, or `next`."},
    )
    limit = fields.Integer(
        load_default=_LIMIT,
        validate=validate.Range(min=1, max=1000),
        metadata={"description": f"Events on a page at most; the default is {_LIMIT}."},
    )
    type = fields.List(
        fields.String(),
        metadata={
            "description": "Only these types, separated by commas; `session.phase.*` is all that"
            " begin so. What every type begins with may be left out."
        },
    )


class AllEventsQuerySchema(EventQuerySchema):
    """Which of all events are read."""

    owner = fields.String(
        validate=validate.Length(max=1000),
        metadata={"description": "Only those that concern this owner; for the administrator."},
    )


class EventHeadersSchema(Schema):
    """Headers that a reader of events may send."""

    last_event_id = fields.String(
        data_key=LAST_EVENT_ID,
        validate=validate.Regexp(f"^[0-9]{{0,{_POSITION_DIGITS - 1}}}$"),
        metadata={"description": "Where a stream was left off; counts before `after`."},
    )


class EventsSchema(Schema):
    """A page of events: CloudEvents 1.0, oldest first."""

    events = fields.List(fields.Dict(keys=fields.String()), required=True)
    next = fields.String(
        required=True, metadata={"description": "The next page is `after` this position."}
    )


_ANSWERS: Final[dict[int, Document]] = {
    200: {
        "description": "A page of events, or a stream of them",
        "content": {
            **{
                media_type: {"schema": EventsSchema()}
                for media_type in ("application/json", "application/yaml", "application/xml")
            },
            EVENT_STREAM: {"schema": {"type": "string"}},
        },
    },
    204: {"description": "It is over: nothing will come behind that event"},
    **problem_responses(400, 404, 429),
}


@docs(tags=["events"], summary="What happens to a session", description=_HELP, responses=_ANSWERS)
@querystring_schema(EventQuerySchema())
@headers_schema(EventHeadersSchema())
async def get_session_events(request: web.Request) -> web.StreamResponse:
    """Read or follow the events of one session."""
    caller = caller_of(request)
    scope = await request.app[EVENTS].of_session(read_uuid(request), caller)
    return await _answer(request, caller, scope, begins_at=0)


@docs(
    tags=["events"],
    summary="What happens to an offer set and its sessions",
    description=_HELP,
    responses=_ANSWERS,
)
@querystring_schema(EventQuerySchema())
@headers_schema(EventHeadersSchema())
async def get_offerset_events(request: web.Request) -> web.StreamResponse:
    """Read or follow the events of one offer set."""
    caller = caller_of(request)
    scope = await request.app[EVENTS].of_offerset(read_uuid(request), caller)
    return await _answer(request, caller, scope, begins_at=0)


@docs(
    tags=["events"],
    summary="What happens to all that is yours",
    description=f"The administrator sees everybody's. {_HELP} A stream without a place to go on"
    " from begins with what happens next.",
    responses={**_ANSWERS, **problem_responses(403)},
)
@querystring_schema(AllEventsQuerySchema())
@headers_schema(EventHeadersSchema())
async def get_events(request: web.Request) -> web.StreamResponse:
    """Read or follow the caller's events."""
    require_principal(request)
    caller = caller_of(request)
    scope = request.app[EVENTS].of_caller(caller, read_query(request).get("owner"))
    return await _answer(request, caller, scope, begins_at=None)


def add_event_routes(app: web.Application) -> None:
    """Serve events."""
    app.router.add_get("/events", get_events)
    app.router.add_get("/sessions/{uuid}/events", get_session_events)
    app.router.add_get("/offersets/{uuid}/events", get_offerset_events)


async def _answer(
    request: web.Request, caller: Caller, scope: EventScope, *, begins_at: int | None
) -> web.StreamResponse:
    query = read_query(request)
    after = _left_off(request, query)
    filters: Sequence[str] = query.get("type", ())
    if wants_events(request):
        return await _stream(request, caller, scope, begins_at if after is None else after, filters)
    page = await request.app[EVENTS].page(scope, after or 0, query["limit"], filters)
    source = request.app[EVENT_SOURCE]
    document: Document = {
        "events": [to_cloud_event(one, source) for one in page.events],
        "next": str(page.next),
    }
    return answer(request, document, root=ROOT_DOCUMENT)


def _left_off(request: web.Request, query: dict[str, Any]) -> int | None:
    """The position behind which to go on, if there is one."""
    text = request.headers.get(LAST_EVENT_ID)
    if not text:
        after: int | None = query.get("after")
        return after
    if not (text.isascii() and text.isdigit() and len(text) < _POSITION_DIGITS):
        raise MalformedRequestProblem(f"The header {LAST_EVENT_ID} must be the id of an event.")
    return int(text)


async def _stream(
    request: web.Request,
    caller: Caller,
    scope: EventScope,
    after: int | None,
    filters: Sequence[str],
) -> web.StreamResponse:
    service = request.app[EVENTS]
    if not await service.can_follow(scope, after):
        return web.Response(status=204)
    watch = Watch(scope)
    frames = _frames(watch, service.follow(watch, after), request.app[EVENT_SOURCE], tuple(filters))
    reader = caller.who if caller.owner is not None else f"address:{caller.origin}"
    return await request.app[EVENT_STREAMS].send(request, reader, frames, watch.poke)


async def _frames(
    watch: Watch,
    batches: AsyncGenerator[Sequence[Occurrence]],
    source: str,
    filters: Sequence[str],
) -> AsyncGenerator[bytes]:
    """The text of the stream, with a comment and the place reached where there is nothing to say.

    It begins with the place, so that who loses the connection at once misses nothing either.
    """
    try:
        async with aclosing(batches):
            async for batch in batches:
                wanted = [_frame(one, source) for one in batch if is_wanted(one, filters)]
                for piece in _pieces(wanted):
                    yield piece
                if not wanted:
                    yield b": here\nid: %d\n\n" % watch.position
    except StoreUnavailableError:
        # It has been logged. The reader comes back, and is told with 503 until it is there again.
        return
    if watch.is_cut_off:
        yield b"event: overrun\ndata: {}\n\n"


def _pieces(frames: Sequence[bytes]) -> Iterator[bytes]:
    """The frames together, in pieces of some ``_PIECE_BYTES``."""
    piece = bytearray()
    for frame in frames:
        piece += frame
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


@lru_cache(_FRAMES)
def _frame(occurrence: Occurrence, source: str) -> bytes:
    """One event as it is sent: made once for all who watch it."""
    data = to_json(to_cloud_event(occurrence, source))
    return b"id: %d\ndata: %b\n\n" % (occurrence.position, data)
