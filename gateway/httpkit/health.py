"""Whether the process lives and whether it should be sent requests."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import structlog
from aiohttp import web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer_json
from gateway.httpkit.errors import NotReadyProblem
from gateway.httpkit.operations import JSON_ONLY, docs, problem_responses, response_schema

ReadinessCheck: TypeAlias = Callable[[], Awaitable[bool]]
"""Says whether one thing that the service cannot do without is there; False is a failure."""

CHECK_TIMEOUT_S: Final = 2.0
"""One readiness check may take this long; orchestrators ask every few seconds."""

_log = structlog.get_logger()


class HealthSchema(Schema):
    """The answer of a probe."""

    status = fields.String(required=True)


class Lifecycle:
    """Where a process stands between its start and its end, and what ``GET /readyz`` says.

    Parameters
    ----------
    checks
        What the service cannot do without, by name. Other services do not belong here: when one
        is away, this one must still answer and say so.
    """

    def __init__(self, checks: Mapping[str, ReadinessCheck] | None = None) -> None:
        self._checks = dict(checks or {})
        self._is_draining = False
        self._listening_at: str | None = None
        self._watchers: list[Callable[[], None]] = []
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this when connections are taken, and when draining begins."""
        self._watchers.append(changed)

    def begin_listening(self, url: str) -> None:
        """From now on connections are taken, at this URL."""
        self._listening_at = url
        self._changed()

    @property
    def listening_at(self) -> str | None:
        """Where connections are taken; None while they are not yet."""
        return self._listening_at

    def begin_draining(self) -> None:
        """From now on not ready: the process is about to end."""
        self._is_draining = True
        self._changed()

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end."""
        return self._is_draining

    @contextmanager
    def work(self) -> Iterator[None]:
        """One thing that the end waits for, such as a request being answered."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return once there is nothing that the end waits for."""
        await self._idle.wait()

    async def failures(self) -> dict[str, str]:
        """What is missing and why, by the name of the check; empty is ready."""
        if self._is_draining:
            return {"service": "draining"}
        outcomes = await asyncio.gather(*(self._run(name) for name in self._checks))
        return {name: text for name, text in zip(self._checks, outcomes, strict=True) if text}

    async def _run(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                is_there = await self._checks[name]()
        except TimeoutError:
            is_there, text = False, f"no answer within {CHECK_TIMEOUT_S:g} s"
        else:
            text = "" if is_there else "failed"
        if not is_there:
            _log.warning("readiness_check_failed", check=name, reason=text)
        return text


LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
"""Where an application keeps its lifecycle; serving sets it draining."""


@docs(tags=["operation"], summary="Whether the process lives", media_types=JSON_ONLY)
@response_schema(HealthSchema(), 200, description="It lives")
async def get_livez(_request: web.Request) -> web.Response:
    """Answer as long as the event loop turns."""
    return _status("ok")


@docs(
    tags=["operation"],
    summary="Whether to send requests here",
    responses=problem_responses(503),
    media_types=JSON_ONLY,
)
@response_schema(HealthSchema(), 200, description="Ready")
async def get_readyz(request: web.Request) -> web.Response:
    """Answer 200 while this process should be sent requests."""
    failures = await request.app[LIFECYCLE].failures()
    if failures:
        raise NotReadyProblem(failures)
    return _status("ready")


def add_health_routes(app: web.Application, lifecycle: Lifecycle) -> None:
    """Serve ``/livez`` and ``/readyz``."""
    app[LIFECYCLE] = lifecycle
    app.router.add_get("/livez", get_livez)
    app.router.add_get("/readyz", get_readyz)


def _status(text: str) -> web.Response:
    return answer_json({"status": text})
