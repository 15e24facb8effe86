"""What came out of sessions: lists of results, and logs and files passed through from the nodes."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import hdrs, web

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url
from gateway.domain.showing import show_results
from gateway.httpkit.bodies import answer, read_uuid
from gateway.httpkit.errors import NotFoundProblem
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
from gateway.httpkit.ranges import RangeNotSatisfiableError
from gateway.httpkit.streaming import (
    EVENT_HEADERS,
    EVENT_STREAM,
    LAST_EVENT_ID,
    SAFE_HEADERS,
    BrokenPieceError,
    ReadingLimit,
    send_pieces,
    while_serving,
)
from gateway.services.outputs import NodeOutput, OutputBrokenError, OutputsService, WantedOutput
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.outputs import STREAMS, file_url, is_file_path, stream_url
from gateway.wire.schemas.results import ResultsSchema

READERS: Final = 256
"""Logs and files passed through at the same time: each holds two connections and 256 KiB."""

OUTPUTS = web.AppKey("outputs", OutputsService)
"""Fetches what came out."""

_LIMIT = web.AppKey("outputs_limit", ReadingLimit)
_TAGS: Final = ("outputs",)
_ELSEWHERE: Final = (502, 503, 504)
_ASKED: Final = (hdrs.RANGE, hdrs.IF_RANGE, hdrs.IF_NONE_MATCH)
_TOLD: Final = (hdrs.CONTENT_LENGTH, hdrs.CONTENT_RANGE, hdrs.ETAG, hdrs.ACCEPT_RANGES)
_UNSATISFIED: Final = re.compile(r"bytes \*/([0-9]{1,18})", re.ASCII)


@docs(
    tags=_TAGS,
    summary="What came out of a session",
    description="Exit, usage, logs and files, as its node lists them. Before the end,"
    " `is_complete` is false and there are no files.",
    responses=problem_responses(404, 410, *_ELSEWHERE),
)
@response_schema(ResultsSchema(), 200, description="What came out so far")
async def get_results(request: web.Request) -> web.Response:
    """List what came out."""
    results = await request.app[OUTPUTS].results(read_uuid(request), caller_of(request))
    base = own_base_url(request)

    def answered() -> web.Response:
        return answer(request, show_results(results, base), root=ROOT_DOCUMENT)

    # Ten thousand files are a second's work in YAML.
    return await asyncio.to_thread(answered)


@docs(
    tags=_TAGS,
    summary="A log of a session",
    responses={**LOG_SEEN, **problem_responses(*_ELSEWHERE)},
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
        raise NotFoundProblem(f"There are the logs {' and '.join(STREAMS)} only.")
    path = stream_url("", uuid, name)
    if not is_event_stream:
        return await _pass_on(request, path, LOG_HEADERS)
    sent = {LAST_EVENT_ID: str(event_offset_of(request)), "Accept": EVENT_STREAM}
    wanted = WantedOutput(f"{path}?follow=true", request.method, sent, EVENT_STREAM)
    with request.app[_LIMIT].reader():
        async with request.app[OUTPUTS].opened(uuid, caller_of(request), wanted) as output:
            response = web.StreamResponse(headers=EVENT_HEADERS)
            return await send_pieces(request, response, while_serving(request, _pieces(output)))


@docs(
    tags=_TAGS,
    summary="A file that came out of a session",
    description="The entity tag is the file's SHA-256.",
    responses={**FILE_SEEN, **problem_responses(*_ELSEWHERE)},
    parameters=[PATH_PARAMETER],
    media_types=("application/octet-stream",),
)
@headers_schema(FileHeadersSchema())
async def get_file(request: web.Request) -> web.StreamResponse:
    """Read one file."""
    uuid, path = read_uuid(request), request.match_info["path"]
    if not is_file_path(path):
        raise NotFoundProblem("This is the path of no file.")
    return await _pass_on(request, file_url("", uuid, path), file_headers(path))


def add_output_routes(app: web.Application) -> None:
    """Serve logs and results."""
    app[_LIMIT] = ReadingLimit(READERS)
    app.router.add_get("/sessions/{uuid}/results", get_results)
    app.router.add_get("/streams/{uuid}/{stream}", get_stream)
    app.router.add_get("/results/{uuid}/{path:.+}", get_file)


async def _pass_on(
    request: web.Request, path: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """What the node gives, under headers of ours: what it is, a node does not decide for us."""
    sent: dict[str, str] = {n: request.headers[n] for n in _ASKED if n in request.headers}
    wanted = WantedOutput(path, request.method, sent)
    with request.app[_LIMIT].reader():
        caller = caller_of(request)
        async with request.app[OUTPUTS].opened(read_uuid(request), caller, wanted) as output:
            if output.status == 416:
                size = _UNSATISFIED.fullmatch(output.headers.get(hdrs.CONTENT_RANGE, ""))
                raise RangeNotSatisfiableError(int(size[1]) if size else None)
            told: dict[str, str] = {n: output.headers[n] for n in _TOLD if n in output.headers}
            response = web.StreamResponse(
                status=output.status, headers={**SAFE_HEADERS, **headers, **told}
            )
            return await send_pieces(request, response, _pieces(output))


async def _pieces(output: NodeOutput) -> AsyncGenerator[bytes]:
    """The body, broken off as the node's was."""
    try:
        async with aclosing(output.pieces) as pieces:
            async for piece in pieces:
                yield piece
    except OutputBrokenError as error:
        raise BrokenPieceError(str(error)) from error
