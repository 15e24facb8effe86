"""What each request leaves behind: an id, one log event, counts and times."""

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.httpkit.access import UNMATCHED
from gateway.httpkit.answering import answering
from gateway.httpkit.health import Lifecycle
from gateway.httpkit.operations import docs
from gateway.wire.headers import REQUEST_ID

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client is told where processes add up what they count."""

CANCELLED: Final = 499
"""Logged and counted where a request was cancelled before it had an answer; never sent."""

_REQUEST_ID_KEY = web.RequestKey("request_id", str)
_SANE_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_METHODS = hdrs.METH_ALL
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_LAG_INTERVAL_S = 0.1

_TEXT = {"type": "string"}
_METRICS_ANSWER = {200: {"description": "Metrics", "content": {"text/plain": {"schema": _TEXT}}}}

_log = structlog.get_logger()


class HttpMetrics:
    """The counts and times of one application, in a registry of its own.

    Parameters
    ----------
    prefix
        What every metric name begins with, underscore included.
    version
        Of the running program, for ``build_info``.

    Attributes
    ----------
    registry
        Further metrics of the application belong in here too; ``/metrics`` shows it.
    """

    def __init__(self, prefix: str, version: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            f"{prefix}http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            f"{prefix}http_request_seconds",
            "Time from the head of a request to its answer.",
            ("method", "route"),
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            f"{prefix}http_requests_in_flight",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._lag = Histogram(
            f"{prefix}event_loop_lag_seconds",
            "How much later than asked the event loop woke a sleeper.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        python = ".".join(str(part) for part in sys.version_info[:3])
        # A gauge, as processes that serve together can have no info.
        Gauge(
            f"{prefix}build_info",
            "What is running.",
            ("version", "python"),
            registry=self.registry,
            multiprocess_mode="livemax",
        ).labels(version, python).set(1)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # Finding a child by its labels costs more than counting with it.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[tuple[str, str], Histogram] = {}

    def observe_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one request; ``route`` is a path template."""
        method = method if method in _METHODS else "other"
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self._requests.labels(method, route, str(status))
            self._counters[method, route, status] = counter
        timer = self._timers.get((method, route))
        if timer is None:
            timer = self._timers[method, route] = self._seconds.labels(method, route)
        counter.inc()
        timer.observe(took_s)

    def observe_lag(self, lag_s: float) -> None:
        """Note by how much the event loop was late once."""
        self._lag.observe(lag_s)


def request_id_of(request: web.Request) -> str:
    """The id of this request: the client's own if it sent a sane one."""
    return request[_REQUEST_ID_KEY]


def route_of(request: web.Request) -> str:
    """The path template of the route that takes this request, or ``"unmatched"``."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def new_request_id() -> str:
    """An id like that of ``uuid4``, which nobody need be unable to guess.

    Entropy of the system's would have this thread let go of the interpreter, and wait for it.
    """
    return f"{random.getrandbits(128):032x}"


def make_request_middleware(
    metrics: HttpMetrics, lifecycle: Lifecycle, clock: Callable[[], float] = time.perf_counter
) -> Middleware:
    """The outermost middleware: gives the request its id, counts it, times it, logs it."""

    @web.middleware
    async def request_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(REQUEST_ID, "")
        request_id = given if _SANE_REQUEST_ID.fullmatch(given) else new_request_id()
        request[_REQUEST_ID_KEY] = request_id
        # Requests on one connection share a task and so its context.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = clock()
        ended: list[float] = []
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            with answering(request) as counted:
                counted.callback(lambda: ended.append(clock()))
                counted.enter_context(metrics.in_flight.track_inprogress())
                counted.enter_context(lifecycle.work())
                response = await handler(request)
        except web.HTTPException as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = CANCELLED
            raise
        else:
            status = response.status
            if lifecycle.is_draining and not response.prepared:
                response.force_close()
            return response
        finally:
            took_s = ended[0] - started
            route = route_of(request)
            metrics.observe_request(request.method, route, status, took_s)
            _log_request(request, route, status, took_s)

    return request_middleware


def _log_request(request: web.Request, route: str, status: int, took_s: float) -> None:
    report = _log.debug if route in _QUIET_ROUTES else _log.info
    report(
        "request_done",
        method=request.method,
        route=route,
        status=status,
        took_ms=round(took_s * 1000, 1),
    )


async def echo_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the client its request id; an ``on_response_prepare`` signal, so streams have it too."""
    request_id = request.get(_REQUEST_ID_KEY)
    if request_id is not None:
        response.headers[REQUEST_ID] = request_id


def watch_event_loop(
    *observers: Callable[[float], None], interval_s: float = _LAG_INTERVAL_S
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context that measures event-loop lag as long as the application lives.

    Each observer is told the seconds by which the loop was late, every ``interval_s``.
    """

    async def measure() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            lag_s = max(0.0, loop.time() - due)
            for observe in observers:
                observe(lag_s)

    async def context(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(measure(), name="event_loop_lag")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return context


def _of_all_processes() -> CollectorRegistry | None:
    """What this process and those that serve beside it have counted, if there are any.

    What each process says of itself, its memory and garbage, is not in there: it would be that of
    whichever answers.
    """
    if METRICS_FOLDER not in os.environ:
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has none
    return registry


def add_metrics_route(app: web.Application, metrics: HttpMetrics) -> None:
    """Serve ``GET /metrics`` in the text format that every scraper reads."""

    @docs(tags=["operation"], summary="Counts and times for Prometheus", responses=_METRICS_ANSWER)
    async def get_metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(_of_all_processes() or metrics.registry),
            headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_PLAIN_0_0_4},
        )

    app.router.add_get("/metrics", get_metrics)
