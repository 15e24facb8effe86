"""What came out of sessions, over HTTP: logs with ranges and as events, results, single files."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from aiohttp import hdrs, web

from gateway.httpkit.auth import principal_of
from gateway.httpkit.bodies import answer, base_url, read_uuid
from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.operations import (
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    response_schema,
)
from gateway.httpkit.output_operations import (
    FILE_SEEN,
    LOG_HEADERS,
    LOG_SEEN,
    PATH_PARAMETER,
    STREAM_PARAMETER,
    FileHeadersSchema,
    LogHeadersSchema,
    LogQuerySchema,
    event_offset_of,
    file_headers,
    is_followed,
)
from gateway.httpkit.ranges import RangeNotSatisfiableError, Span
from gateway.httpkit.streaming import (
    SAFE_HEADERS,
    EventStream,
    ReadingLimit,
    has_left,
    range_of,
    send_file,
    send_pieces,
)
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.outputs import CHUNK_EVENT, END_EVENT, STREAMS, to_piece
from gateway.wire.schemas.results import ResultsSchema
from node_stub.output_documents import end_document, results_document
from node_stub.outputs import LogEnd, LogPart, Outputs, OutputsGoneError, UnknownOutputError
from node_stub.platforms.base import Stream
from node_stub.sessions import Caller

READERS: Final = 200
"""Logs and files read at the same time: each holds a connection and a piece of 256 KiB at most."""

RANGE_BYTES: Final = 1 << 20
"""Most that is given of a log that still grows, of whatever range."""

_TAGS: Final = ("outputs",)

OUTPUTS = web.AppKey("outputs", Outputs)
"""Reads what came out."""

_log = structlog.get_logger(__name__)
_LIMIT = web.AppKey("outputs_limit", ReadingLimit)
_PUBLIC_URL = web.AppKey("outputs_public_url", str)


@docs(
    tags=_TAGS,
    summary="What came out of a session",
    description="Exit, usage, logs and files. Before the end, `is_complete` is false and there are"
    " no files.",
    responses=problem_responses(404, 410),
)
@response_schema(ResultsSchema(), 200, description="What came out so far")
async def get_results(request: web.Request) -> web.Response:
    """List what came out."""
    uuid = read_uuid(request)
    found = await request.app[OUTPUTS].results(uuid, _caller_of(request))
    base = base_url(request, request.app.get(_PUBLIC_URL))
    phase, expires = found.record.phase, found.expires

    def answered() -> web.Response:
        document = results_document(uuid, phase, found.report, found.log_sizes, base, expires)
        return answer(request, document, root=ROOT_DOCUMENT)

    # Ten thousand files are a second's work in YAML.
    return await asyncio.to_thread(answered)


@docs(
    tags=_TAGS,
    summary="A log of a session",
    responses=LOG_SEEN,
    parameters=[STREAM_PARAMETER],
    media_types=("text/plain",),
)
@querystring_schema(LogQuerySchema())
@headers_schema(LogHeadersSchema())
async def get_stream(request: web.Request) -> web.StreamResponse:
    """Read a log, or follow it."""
    uuid, name = read_uuid(request), request.match_info["stream"]
    is_event_stream = is_followed(request)
    if name not in STREAMS:
        raise UnknownOutputError(f"log of that name, only {' and '.join(STREAMS)}", uuid)
    stream = Stream(name)
    with request.app[_LIMIT].reader():
        if is_event_stream:
            return await _follow(request, uuid, stream)
        log = await request.app[OUTPUTS].log(uuid, stream, _caller_of(request))
        if log is None:
            return await _send_so_far(request, uuid, stream)
        return await _send_kept(request, uuid, log, LOG_HEADERS)


@docs(
    tags=_TAGS,
    summary="A file that came out of a session",
    description="The entity tag is the file's SHA-256.",
    responses=FILE_SEEN,
    parameters=[PATH_PARAMETER],
    media_types=("application/octet-stream",),
)
@headers_schema(FileHeadersSchema())
async def get_file(request: web.Request) -> web.StreamResponse:
    """Read one file."""
    uuid, path = read_uuid(request), request.match_info["path"]
    with request.app[_LIMIT].reader():
        place, file = await request.app[OUTPUTS].file(uuid, path, _caller_of(request))
        return await _send_kept(request, uuid, place, file_headers(path), etag=file.sha256)


def add_output_routes(app: web.Application, outputs: Outputs, public_url: str | None) -> None:
    """Serve logs and results."""
    app[OUTPUTS] = outputs
    app[_LIMIT] = ReadingLimit(READERS)
    if public_url is not None:
        app[_PUBLIC_URL] = public_url
    app.router.add_get("/sessions/{uuid}/results", get_results)
    app.router.add_get("/streams/{uuid}/{stream}", get_stream)
    app.router.add_get("/results/{uuid}/{path:.+}", get_file)


async def _send_kept(
    request: web.Request,
    uuid: UUID,
    place: Path,
    headers: Mapping[str, str],
    etag: str | None = None,
) -> web.StreamResponse:
    """What the archive has, unless it is forgotten in this very moment."""
    try:
        return await send_file(request, place, headers, etag=etag)
    except FileNotFoundError as error:
        raise OutputsGoneError(uuid) from error


async def _send_so_far(request: web.Request, uuid: UUID, stream: Stream) -> web.StreamResponse:
    """A log that still grows: all there is now, or a range of it, whose end is not known yet."""
    outputs, wanted = request.app[OUTPUTS], range_of(request)
    headers = {**SAFE_HEADERS, **LOG_HEADERS, hdrs.ACCEPT_RANGES: "bytes"}
    if wanted is None or wanted.first is None:
        response = web.StreamResponse(headers=headers)
        return await send_pieces(request, response, outputs.so_far(uuid, stream))
    last = wanted.first + RANGE_BYTES - 1
    limit = min(last, last if wanted.last is None else wanted.last) - wanted.first + 1
    chunk = await outputs.piece(uuid, stream, wanted.first, limit)
    if chunk is None or not chunk.data:
        raise RangeNotSatisfiableError(None)
    span = Span(wanted.first, wanted.first + len(chunk.data))
    headers[hdrs.CONTENT_RANGE] = span.content_range(None)
    return web.Response(status=206, body=chunk.data, headers=headers)


async def _follow(request: web.Request, uuid: UUID, stream: Stream) -> web.StreamResponse:
    """A log as events, to its end, or until the reader leaves or the service is to end."""
    offset = event_offset_of(request)
    items = request.app[OUTPUTS].follow(uuid, stream, _caller_of(request), offset)
    async with aclosing(items):
        # What is wrong with the request shows here, while there still is a status to say it by.
        first = await anext(items)
        events = EventStream(request)
        response = await events.open()
        if request.method != hdrs.METH_HEAD:
            try:
                offset = await _send_item(events, first, offset)
                await _send_items(request, events, items, offset)
                await response.write_eof()
            except ConnectionError:
                _log.info("reader_left", path=request.path)
        return response


async def _send_items(
    request: web.Request,
    events: EventStream,
    items: AsyncGenerator[LogPart | LogEnd | None],
    offset: int,
) -> None:
    lifecycle = request.app[LIFECYCLE]
    async for item in items:
        offset = await _send_item(events, item, offset)
        if lifecycle.is_draining or has_left(request):
            return


async def _send_item(events: EventStream, item: LogPart | LogEnd | None, offset: int) -> int:
    """Send what there is, or a sign of life; the offset after it."""
    match item:
        case LogPart():
            await events.send(CHUNK_EVENT, to_piece(item.offset, item.data), item.next)
            return item.next
        case LogEnd():
            await events.send(END_EVENT, end_document(item.phase, item.report), offset)
        case None:
            await events.beat()
    return offset


def _caller_of(request: web.Request) -> Caller:
    principal = principal_of(request)
    return Caller() if principal is None else Caller(principal.owner, principal.is_admin)
