"""Turning requests away while there is still time to answer the others.

What costs most goes first: requests that make work at every node. Reading, accepting and cancelling
are turned away only when the process could not keep up with refusing, health never.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.httpkit.answering import count_with
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.telemetry import route_of

FEWEST: Final = 4
"""Heavy requests that are let in whatever the lag: a machine that others make slow still works."""

_CUT: Final = 0.8
"""What is left of the limit each time the loop is late: between TCP's half (RFC 5681 §3.1) and
CUBIC's 0.7 (RFC 9438 §4.6) on one side, and keeping the loop busy while it recovers."""

_GROW: Final = 8
"""Later the limit grows by one in so many, and by one at least, each time it proves too low."""

_SMOOTH: Final = 0.5
"""Share of the newest lag in the mean: one late tick is an accident, two are load."""

_LIGHT_TIMES: Final = 10
"""Light requests are turned away at so many times the lag at which heavy ones are."""

_RETRY_AFTER_S: Final = (1, 2, 3)
"""Told in turn, so that those who were turned away together do not come back together."""

_NEVER: Final = frozenset({"/livez", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class SheddingSettings:
    """When requests are turned away with 503 and ``Retry-After``.

    At most ``max_heavy`` requests for offers are answered at the same time, and ``max_requests`` of
    any sort. ``start_heavy`` are let in at first, since a burst comes before the loop can be late;
    that doubles each time it proves to be no trouble, until there is trouble once (slow start, RFC
    5681 §3.1). When the event loop is late by more than ``high_lag_s`` fewer are let in, until it
    is late by less than ``low_lag_s``.
    """

    max_heavy: int = 256
    start_heavy: int = 16
    max_requests: int = 4096
    high_lag_s: float = 0.1
    low_lag_s: float = 0.05


class Cause(StrEnum):
    """Why a request was turned away."""

    IN_FLIGHT = "in_flight"
    EVENT_LOOP_LAG = "event_loop_lag"


class Admission:
    """How many requests may be answered at the same time, learned from how late the loop is.

    Slow start, then additive increase and multiplicative decrease, as TCP does it with segments.
    Knows no clock.
    """

    def __init__(self, settings: SheddingSettings) -> None:
        self._settings = settings
        self._limit = min(settings.start_heavy, settings.max_heavy)
        self._grow = 1
        self._heavy = 0
        self._all = 0
        self._lag_s = 0.0
        self._was_reached = False

    @property
    def limit(self) -> int:
        """How many heavy requests may be answered at the same time, as of now."""
        return self._limit

    @property
    def lag_s(self) -> float:
        """How late the loop was lately."""
        return self._lag_s

    def observe_lag(self, lag_s: float) -> None:
        """The loop was so late; told at regular times."""
        settings = self._settings
        self._lag_s += (lag_s - self._lag_s) * _SMOOTH
        if min(lag_s, self._lag_s) > settings.high_lag_s:
            at_work = min(self._limit, self._heavy)
            self._limit = min(self._limit, max(FEWEST, int(at_work * _CUT)))
            self._grow = _GROW
        elif max(lag_s, self._lag_s) < settings.low_lag_s and self._was_reached:
            grown = self._limit + max(1, self._limit // self._grow)
            self._limit = min(settings.max_heavy, grown)
        self._was_reached = self._heavy >= self._limit

    def refuses(self, *, is_heavy: bool) -> Cause | None:
        """Why one more request is turned away; None if it is not."""
        settings = self._settings
        if self._all >= settings.max_requests:
            return Cause.IN_FLIGHT
        if not is_heavy:
            is_late = self._lag_s > _LIGHT_TIMES * settings.high_lag_s
            return Cause.EVENT_LOOP_LAG if is_late else None
        if self._heavy < self._limit:
            return None
        self._was_reached = True
        return Cause.IN_FLIGHT if self._grow == 1 else Cause.EVENT_LOOP_LAG

    @contextmanager
    def answering(self, *, is_heavy: bool) -> Iterator[None]:
        """A request that was let in, until it is answered."""
        self._all += 1
        self._heavy += is_heavy
        try:
            yield
        finally:
            self._all -= 1
            self._heavy -= is_heavy


class Shedding:
    """Lets requests in or turns them away, and counts the latter; one per process and registry.

    ``heavy`` are method and route template of what makes most work.
    """

    def __init__(
        self,
        settings: SheddingSettings,
        heavy: AbstractSet[tuple[str, str]],
        prefix: str,
        registry: CollectorRegistry,
    ) -> None:
        self._admission = Admission(settings)
        self._heavy = heavy
        self._turn = 0
        shed = Counter(
            f"{prefix}requests_shed",
            "Requests turned away because of load.",
            ("weight", "cause"),
            registry=registry,
        )
        self._shed = {
            (is_heavy, cause): shed.labels("heavy" if is_heavy else "light", cause.value)
            for is_heavy in (True, False)
            for cause in Cause
        }
        self._limit = Gauge(
            f"{prefix}heavy_requests_limit",
            "Requests for offers that may be answered at the same time.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._limit.set(self._admission.limit)

    def observe_lag(self, lag_s: float) -> None:
        """The loop was so late; told at regular times."""
        self._admission.observe_lag(lag_s)
        self._limit.set(self._admission.limit)

    def middleware(self) -> Middleware:
        """Turns away before anything is read, checked or asked. Belongs inside of problems.

        Raises
        ------
        OverloadedProblem
        """

        @web.middleware
        async def shedding_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in _NEVER:
                return await handler(request)
            is_heavy = (request.method, route_of(request)) in self._heavy
            cause = self._admission.refuses(is_heavy=is_heavy)
            if cause is not None:
                self._shed[is_heavy, cause].inc()
                self._turn += 1
                raise OverloadedProblem(
                    "There is more to do than can be done in time; nothing was begun.",
                    retry_after_s=_RETRY_AFTER_S[self._turn % len(_RETRY_AFTER_S)],
                )
            count_with(request).enter_context(self._admission.answering(is_heavy=is_heavy))
            return await handler(request)

        return shedding_middleware
