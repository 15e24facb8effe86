"""A service's connections: what comes and is no request that can be read gets a problem too.

aiohttp answers it by itself, before any application: 400 in plain text, whatever is wrong.
"""

from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.httpkit.errors import (
    HeaderFieldTooLongProblem,
    InternalProblem,
    MalformedRequestProblem,
    RequestLineTooLongProblem,
)
from gateway.httpkit.problems import problem_response
from gateway.httpkit.telemetry import new_request_id
from gateway.wire.headers import REQUEST_ID
from gateway.wire.problem import ProblemError

MAX_LINE_BYTES: Final = 8192
"""Of a request line, or of its URI; 8,000 are recommended at least (RFC 9112 §3)."""

MAX_FIELD_BYTES: Final = 8190
"""Of a header field, aiohttp's default. It must not be the other limit: aiohttp says only which
limit was passed, and not by what."""

_log = structlog.stdlib.get_logger(__name__)


class ProblemRunner(web.AppRunner):
    """Serves an application over connections on which every failure is a problem."""

    __slots__ = ()

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
        )

    @property
    def has_newcomers(self) -> bool:
        """Whether a connection was taken on which no request has come yet."""
        connections = self.server.connections if self.server else ()
        return any(isinstance(one, _Connection) and one.is_new for one in connections)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001  # the application's arguments for each connection
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    @property
    def is_new(self) -> bool:
        """Whether no request has come yet."""
        return self._request_count == 0

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read; it always closes the connection."""
        request_id = new_request_id()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # A defect outside of the middleware: aiohttp logs it, and knows if an answer is out.
            super().handle_error(request, status, exc, message)
            problem: ProblemError = InternalProblem()
        else:
            problem = _problem_of(exc)
            _log.info(
                "request_unreadable",
                request_id=request_id,
                status=problem.status,
                why=type(exc).__name__,
            )
        response = problem_response(problem, request_id)
        response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response


def _problem_of(error: BaseException | None) -> ProblemError:
    if isinstance(error, LineTooLong):
        _, limit, _ = error.args
        if int(limit) == MAX_LINE_BYTES:
            return RequestLineTooLongProblem(MAX_LINE_BYTES)
        return HeaderFieldTooLongProblem(MAX_FIELD_BYTES)
    return MalformedRequestProblem("This is not a request as HTTP/1.1 has it (RFC 9112).")
