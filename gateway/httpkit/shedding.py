"""Turning requests away while there is still time to answer the others.

What costs most goes first: requests that make work at every node. A burst of those waits its turn
for a moment. Reading, accepting and cancelling never wait, and are turned away only when the
process could not keep up with refusing, health never.
"""

import asyncio
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.httpkit.answering import count_with
from gateway.httpkit.conversation import budget_ms_of, preferences_of
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.shedding_settings import WAIT_SHARE, SheddingSettings
from gateway.httpkit.telemetry import route_of
from gateway.httpkit.turns import Turns

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

_SETTLE_SHARE: Final = 0.75
"""Of the time that requests for offers take, so much is left to what they cost when all that are at
work have to be answered one after the other, as when nodes let all of them wait."""

_COUNTED: Final = 8
"""Requests that have to have come or gone before what one costs is worked out anew."""

_WAIT_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

_NEVER: Final = frozenset({"/livez", "/readyz", "/metrics"})

_WAITED_S: Final = web.RequestKey("waited_s", float)


class Cause(StrEnum):
    """Why a request was turned away."""

    IN_FLIGHT = "in_flight"
    EVENT_LOOP_LAG = "event_loop_lag"
    QUEUE_FULL = "queue_full"
    WAITED_TOO_LONG = "waited_too_long"


_OF_WAITING: Final = frozenset({Cause.QUEUE_FULL, Cause.WAITED_TOO_LONG})


class Cost:
    """What one heavy request costs, in seconds of CPU. Other work done meanwhile counts too."""

    def __init__(self) -> None:
        self._used_s = 0.0
        self._moves = 0
        self.each_s: float | None = None
        """None until enough have been seen."""

    def moved(self) -> None:
        """One has begun, which is half of its way, or ended, which is the other half."""
        self._moves += 1

    def used(self, cpu_s: float) -> None:
        """So much was used while there were any."""
        self._used_s += cpu_s
        if self._moves < 2 * _COUNTED:
            return
        newest_s = 2 * self._used_s / self._moves
        known_s = newest_s if self.each_s is None else self.each_s
        self.each_s = known_s + (newest_s - known_s) * _SMOOTH
        self._used_s, self._moves = 0.0, 0


class Admission:
    """How many requests may be answered at the same time, learned from how late the loop is.

    Slow start, then additive increase and multiplicative decrease, as TCP does it with segments.
    Where nodes keep requests waiting the loop is early until all of them are due: so there are also
    no more than can be paid for in their time. Knows no clock.
    """

    def __init__(self, settings: SheddingSettings) -> None:
        self._settings = settings
        self._limit = min(settings.start_heavy, settings.max_heavy)
        self._grow = 1
        self._heavy = 0
        self._all = 0
        self._lag_s = 0.0
        self._was_reached = False
        self._cost = Cost()

    @property
    def limit(self) -> int:
        """How many heavy requests may be answered at the same time, as of now."""
        return self._limit

    @property
    def lag_s(self) -> float:
        """How late the loop was lately."""
        return self._lag_s

    def observe(self, lag_s: float, cpu_s: float = 0.0) -> None:
        """The loop was so late, and the process used so much; told at regular times."""
        settings = self._settings
        if self._heavy:
            self._cost.used(cpu_s)
        self._lag_s += (lag_s - self._lag_s) * _SMOOTH
        if min(lag_s, self._lag_s) > settings.high_lag_s:
            at_work = min(self._limit, self._heavy)
            self._limit = min(self._limit, max(FEWEST, int(at_work * _CUT)))
            self._grow = _GROW
        elif max(lag_s, self._lag_s) < settings.low_lag_s and self._was_reached:
            grown = self._limit + max(1, self._limit // self._grow)
            self._limit = min(settings.max_heavy, grown)
        if each_s := self._cost.each_s:
            payable = int(_SETTLE_SHARE * settings.answer_s / each_s)
            self._limit = min(self._limit, max(FEWEST, payable))
        self._was_reached = self._heavy >= self._limit

    def refuses(self, *, is_heavy: bool) -> Cause | None:
        """Why one more request is turned away without waiting; None if it is not.

        A heavy one that is not may still have to wait: see ``has_room``.
        """
        settings = self._settings
        if self._all >= settings.max_requests:
            return Cause.IN_FLIGHT
        is_late = self._lag_s > _LIGHT_TIMES * settings.high_lag_s
        if is_late and not (is_heavy and self._heavy < self._limit):
            return Cause.EVENT_LOOP_LAG
        return None

    def has_room(self) -> bool:
        """Whether one more heavy request may be answered now; notes it where none may."""
        if self._heavy < self._limit:
            return True
        self._was_reached = True
        return False

    def begin(self) -> None:
        """A request is looked at."""
        self._all += 1

    def end(self) -> None:
        """It has been answered."""
        self._all -= 1

    def begin_heavy(self) -> None:
        """A heavy one is let in."""
        self._heavy += 1
        self._cost.moved()

    def end_heavy(self) -> None:
        """It has been answered."""
        self._heavy -= 1
        self._cost.moved()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A request that waits. ``turn`` is done with why it is turned away; None: it has a place."""

    request: web.Request
    turn: "asyncio.Future[Cause | None]"

    @property
    def is_gone(self) -> bool:
        """Whether nobody would read the answer."""
        return self.turn.done() or self.request.transport is None


def waited_s_of(request: web.Request) -> float:
    """How long the request waited for its turn, in seconds; its deadline did not."""
    waited_s: float = request.get(_WAITED_S, 0.0)
    return waited_s


def _patience_s(request: web.Request) -> float:
    """How long the request may wait as far as the client says.

    Raises
    ------
    MalformedRequestProblem
    """
    budget_ms = budget_ms_of(request)
    stated = (preferences_of(request).wait_s, None if budget_ms is None else budget_ms / 1000)
    return WAIT_SHARE * min((it for it in stated if it is not None), default=float("inf"))


class Shedding:
    """Lets requests in, has them wait or turns them away, and counts; one per process and registry.

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
        self._turns: Turns[_Waiter] = Turns(settings.max_waiting, settings.max_wait_s)
        self._heavy = heavy
        self._turn = 0
        self._used_s = time.process_time()
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
            if is_heavy or cause not in _OF_WAITING
        }
        self._limit = Gauge(
            f"{prefix}heavy_requests_limit",
            "Requests for offers that may be answered at the same time.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._limit.set(self._admission.limit)
        self._waiting = Gauge(
            f"{prefix}heavy_requests_waiting",
            "Requests for offers that wait their turn.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waited = Histogram(
            f"{prefix}heavy_requests_waited_seconds",
            "How long requests for offers waited that had to, for their turn or in vain.",
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )

    def observe_lag(self, lag_s: float) -> None:
        """The loop was so late; told at regular times."""
        used_s = time.process_time()
        self._admission.observe(lag_s, used_s - self._used_s)
        self._used_s = used_s
        self._limit.set(self._admission.limit)
        for waiter in self._turns:
            if waiter.is_gone:
                waiter.turn.cancel()
        self._let_in()

    def guard(self) -> Middleware:
        """Turns away before anything is read, checked or asked. Belongs inside of problems.

        Raises
        ------
        OverloadedProblem
        """

        @web.middleware
        async def guard_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in _NEVER:
                return await handler(request)
            is_heavy = self._is_heavy(request)
            cause = self._admission.refuses(is_heavy=is_heavy)
            if cause is None and is_heavy and self._is_full():
                cause = Cause.QUEUE_FULL
            if cause is not None:
                raise self._turned_away(cause, is_heavy=is_heavy)
            self._admission.begin()
            count_with(request).callback(self._admission.end)
            return await handler(request)

        return guard_middleware

    def turns(self) -> Middleware:
        """Has heavy requests wait their turn. Belongs behind everything that can refuse them.

        Who may not ask, or asks too often, takes no place in the queue from those who may.

        Raises
        ------
        OverloadedProblem
        """

        @web.middleware
        async def turns_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._is_heavy(request):
                return await handler(request)
            cause = await self._begin(request)
            if cause is not None:
                raise self._turned_away(cause, is_heavy=True)
            count_with(request).callback(self._end)
            return await handler(request)

        return turns_middleware

    def _is_heavy(self, request: web.Request) -> bool:
        return (request.method, route_of(request)) in self._heavy

    def _is_full(self) -> bool:
        """Whether nobody more can even wait."""
        return self._turns.is_full and self._must_wait()

    def _must_wait(self) -> bool:
        """Whether one more heavy request has to wait its turn."""
        return bool(self._turns) or not self._admission.has_room()

    def _turned_away(self, cause: Cause, *, is_heavy: bool) -> OverloadedProblem:
        self._shed[is_heavy, cause].inc()
        self._turn += 1
        return OverloadedProblem(
            "There is more to do than can be done in time; nothing was begun.",
            retry_after_s=_RETRY_AFTER_S[self._turn % len(_RETRY_AFTER_S)],
        )

    async def _begin(self, request: web.Request) -> Cause | None:
        """Let a heavy request in, when it is its turn; or why it is not."""
        if self._must_wait():
            return await self._wait(request)
        self._turns.pass_by(asyncio.get_running_loop().time())
        self._admission.begin_heavy()
        return None

    def _end(self) -> None:
        self._admission.end_heavy()
        self._let_in()

    async def _wait(self, request: web.Request) -> Cause | None:
        """Let a heavy request in when it is its turn; or why that does not come."""
        patience_s = min(self._turns.patience_s, _patience_s(request))
        if self._turns.is_full:
            return Cause.QUEUE_FULL
        loop = asyncio.get_running_loop()
        waiter = _Waiter(request, loop.create_future())
        began_s = loop.time()
        self._turns.join(waiter, began_s)
        self._let_in()
        timer = loop.call_later(patience_s, self._give_up, waiter)
        self._waiting.inc()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self._turns.give_up(waiter)
            if not waiter.turn.cancelled() and waiter.turn.result() is None:
                # It was given its place and has gone before it could take it.
                self._end()
            raise
        finally:
            timer.cancel()
            self._waiting.dec()
            request[_WAITED_S] = loop.time() - began_s
            self._waited.observe(request[_WAITED_S])

    def _let_in(self) -> None:
        """Give places to those whose turn it is, as far as there are any.

        The place is theirs from here on: who comes before they go on finds it taken.
        """
        while self._turns and self._admission.has_room():
            waiter = self._turns.take_first(asyncio.get_running_loop().time())
            if waiter.is_gone:
                waiter.turn.cancel()
                continue
            self._admission.begin_heavy()
            waiter.turn.set_result(None)

    def _give_up(self, waiter: _Waiter) -> None:
        """It has waited as long as it may."""
        if not waiter.turn.done():
            self._turns.end(waiter, asyncio.get_running_loop().time())
            waiter.turn.set_result(Cause.WAITED_TOO_LONG)
