"""The one place where a failed request becomes a problem document (RFC 9457)."""

from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.httpkit.errors import (
    BodyTooLargeProblem,
    InternalProblem,
    MethodNotAllowedProblem,
    NotFoundProblem,
)
from gateway.httpkit.operations import PROBLEM_MEDIA_TYPE
from gateway.httpkit.telemetry import request_id_of
from gateway.wire.documents import Document, to_json
from gateway.wire.problem import ProblemError

_log = structlog.get_logger()


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem; nothing of a defect's inside gets out."""
    try:
        return await handler(request)
    except ProblemError as error:
        return _response(request, error)
    except web.HTTPMethodNotAllowed as error:
        return _answer_other_method(request, error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _response_to_aiohttp(request, error)
    except Exception:
        if request.writer.output_size > 0:
            # Part of an answer is out: a second one would be read as more of the first.
            # aiohttp logs the error and closes the connection.
            raise
        _log.exception("request_failed", method=request.method, path=request.path)
        return _response(request, InternalProblem())


def _answer_other_method(request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
    allowed = sorted({*error.allowed_methods, hdrs.METH_OPTIONS})
    if request.method == hdrs.METH_OPTIONS:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={hdrs.ALLOW: ", ".join(allowed)})
    return _response(request, MethodNotAllowedProblem(request.method, allowed))


def _response_to_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return _response(request, BodyTooLargeProblem(request.client_max_size))
    if isinstance(error, web.HTTPNotFound):
        return _response(request, NotFoundProblem("There is nothing at this path."))
    status = HTTPStatus(error.status)
    document: Document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": f"{status.phrase}.",
        "instance": request_id_of(request),
    }
    return _problem(document, {})


def _response(request: web.Request, error: ProblemError) -> web.Response:
    return problem_response(error, request_id_of(request))


def problem_response(error: ProblemError, request_id: str) -> web.Response:
    """The answer to a request that failed so."""
    return _problem(error.to_document(request_id), error.headers)


def _problem(document: Document, headers: dict[str, str]) -> web.Response:
    response = web.Response(
        body=to_json(document),
        status=document["status"],
        headers=headers,
        content_type=PROBLEM_MEDIA_TYPE,
    )
    if headers.get(hdrs.CONNECTION) == "close":
        response.force_close()
    return response
