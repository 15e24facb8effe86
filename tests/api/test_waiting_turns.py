"""A small application that lets four in at a time: who comes after that waits its turn."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.httpkit.errors import UnauthorizedProblem
from gateway.httpkit.health import Lifecycle
from gateway.httpkit.problems import problem_middleware
from gateway.httpkit.shedding import FEWEST, Shedding, waited_s_of
from gateway.httpkit.shedding_settings import SheddingSettings
from gateway.httpkit.telemetry import HttpMetrics, make_request_middleware
from tests.support.waiting import until

LATE_S = 10.0
"""How late the loop is said to be where it drowns."""

LONG_S = 30.0
"""Longer than any test takes."""

SHORT_S = 0.04


@dataclass
class Work:
    """What the application does: it works at each number until that is let go."""

    shedding: Shedding
    metrics: HttpMetrics
    url: str = ""
    at_work: list[int] = field(default_factory=list)
    waited_s: dict[int, float] = field(default_factory=dict)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    requests: dict[str, web.Request] = field(default_factory=dict)

    async def post(self, request: web.Request) -> web.Response:
        """One piece of work."""
        number = int(request.query["number"])
        self.at_work.append(number)
        self.waited_s[number] = waited_s_of(request)
        await self.gates.setdefault(number, asyncio.Event()).wait()
        self.at_work.remove(number)
        return web.json_response({"number": number})

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Remember each request by its number."""
        self.requests[request.query_string] = request
        return await handler(request)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who says nothing of itself may ask nothing."""
        if hdrs.AUTHORIZATION not in request.headers and request.method == hdrs.METH_POST:
            raise UnauthorizedProblem("Credentials are needed for this.")
        return await handler(request)

    async def get(self, _request: web.Request) -> web.Response:
        """What costs nothing."""
        return web.json_response({})

    def finish(self, number: int) -> None:
        """That number is done."""
        self.gates.setdefault(number, asyncio.Event()).set()

    def is_at(self, number: int) -> bool:
        """Whether it works at that number."""
        return number in self.at_work

    def has_waiting(self, count: int) -> bool:
        """Whether so many are said to wait."""
        return self.waiting == count

    def counted(self, name: str, **labels: str) -> float:
        """One of the metrics."""
        value = self.metrics.registry.get_sample_value(f"work_{name}", labels)
        assert value is not None
        return value

    @property
    def waiting(self) -> int:
        """How many are said to wait."""
        return int(self.counted("heavy_requests_waiting"))

    def shed(self, cause: str) -> float:
        """How many heavy ones were turned away for this cause."""
        return self.counted("requests_shed_total", weight="heavy", cause=cause)


Call = Callable[..., Coroutine[Any, Any, aiohttp.ClientResponse]]


@asynccontextmanager
async def working(**more: Any) -> AsyncIterator[tuple[Work, Call]]:
    """The application and what calls it; as few as can be are let in."""
    settings = SheddingSettings(**{"start_heavy": FEWEST, "max_wait_s": LONG_S} | more)
    metrics = HttpMetrics("work_", "1")
    shedding = Shedding(settings, {("POST", "/work")}, "work_", metrics.registry)
    work = Work(shedding, metrics)
    app = web.Application(
        middlewares=[
            work.note,
            make_request_middleware(metrics, Lifecycle()),
            problem_middleware,
            shedding.guard(),
            work.check,
            shedding.turns(),
        ]
    )
    app.router.add_post("/work", work.post)
    app.router.add_get("/work", work.get)
    # As it is served: aiohttp's own test server cancels handlers whose clients have gone.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    work.url = f"http://127.0.0.1:{site.port}/work"
    async with aiohttp.ClientSession() as session:

        async def call(number: int, **headers: str) -> aiohttp.ClientResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            named.setdefault(hdrs.AUTHORIZATION, "as it should be")
            url = f"{work.url}?number={number}"
            async with session.post(url, headers=named) as response:
                await response.read()
                return response

        try:
            yield work, call
        finally:
            for gate in work.gates.values():
                gate.set()
            await session.close()
            await runner.cleanup()


@asynccontextmanager
async def full(work: Work, call: Call) -> AsyncIterator[asyncio.TaskGroup]:
    """Every place taken, by the numbers 0 to 3; they end with the block."""
    async with asyncio.TaskGroup() as group:
        for number in range(FEWEST):
            group.create_task(_answered(call, number))
            await until(partial(work.is_at, number))
        try:
            yield group
        finally:
            for number in range(FEWEST):
                work.finish(number)


async def _answered(call: Call, number: int, **headers: str) -> None:
    response = await call(number, **headers)
    assert response.status == 200


async def test_turns_come_one_by_one_as_places_get_free() -> None:
    async with working() as (work, call), full(work, call) as group:
        for number in (10, 11, 12):
            group.create_task(_answered(call, number))
            await until(partial(work.has_waiting, number - 9))
            work.finish(number)
        assert work.at_work == [0, 1, 2, 3]
        work.gates[10].clear()
        work.finish(2)
        await until(lambda: 10 in work.at_work)
        assert sorted(work.at_work) == [0, 1, 3, 10]
        assert work.waiting == 2
        work.finish(10)
        await until(lambda: work.waiting == 0)
        await until(lambda: len(work.waited_s) == FEWEST + 3)
        assert list(work.waited_s)[FEWEST:] == [10, 11, 12]
        assert work.waited_s[0] == 0.0
        assert 0.0 < work.waited_s[10] < LONG_S
        assert work.counted("heavy_requests_waited_seconds_count") == 3
        assert work.shed("waited_too_long") == work.shed("queue_full") == 0


async def test_all_that_wait_are_let_in_where_there_proves_to_be_room() -> None:
    async with working() as (work, call), full(work, call) as group:
        for number in range(10, 10 + FEWEST):
            group.create_task(_answered(call, number))
        await until(lambda: work.waiting == FEWEST)
        work.shedding.observe_lag(0.0)
        await until(lambda: len(work.at_work) == 2 * FEWEST)
        for number in range(10, 10 + FEWEST):
            work.finish(number)


async def test_what_costs_little_never_waits() -> None:
    async with working() as (work, call), full(work, call) as group:
        group.create_task(_answered(call, 10))
        work.finish(10)
        await until(lambda: work.waiting == 1)
        async with aiohttp.ClientSession() as session, session.get(work.url) as response:
            assert response.status == 200
        assert work.waiting == 1


async def test_who_has_waited_long_enough_is_turned_away() -> None:
    async with working(max_wait_s=SHORT_S) as (work, call), full(work, call):
        response = await call(10)
        assert response.status == 503
        assert 1 <= int(response.headers["Retry-After"]) <= 3
        assert work.shed("waited_too_long") == 1
        assert work.waiting == 0
        assert work.counted("heavy_requests_waited_seconds_sum") >= SHORT_S
        assert 10 not in work.waited_s


async def test_who_finds_the_queue_full_is_turned_away_at_once() -> None:
    async with working(max_waiting=1) as (work, call), full(work, call) as group:
        group.create_task(_answered(call, 10))
        work.finish(10)
        await until(lambda: work.waiting == 1)
        response = await call(11)
        assert response.status == 503
        assert work.shed("queue_full") == 1
        assert work.waiting == 1


async def test_who_may_not_ask_takes_no_place_in_the_queue() -> None:
    async with working(max_waiting=1) as (work, call), full(work, call) as group:
        async with aiohttp.ClientSession() as stranger:
            for number in range(20, 23):
                async with stranger.post(f"{work.url}?number={number}") as refused:
                    assert refused.status == 401
        assert work.waiting == 0
        group.create_task(_answered(call, 10))
        work.finish(10)
        await until(lambda: work.waiting == 1)


async def test_nobody_waits_for_long_where_the_client_would_not() -> None:
    async with working() as (work, call), full(work, call):
        began = time.monotonic()
        assert (await call(10, Prefer=f"wait={4 * SHORT_S:g}")).status == 503
        assert (await call(11, Federation_Budget_Ms=f"{4000 * SHORT_S:.0f}")).status == 503
        assert 2 * SHORT_S <= time.monotonic() - began < LONG_S / 2
        assert work.shed("waited_too_long") == 2
        assert (await call(12, Federation_Budget_Ms="soon")).status == 400
        assert work.waiting == 0


async def test_nobody_waits_while_the_loop_drowns() -> None:
    async with working() as (work, call), full(work, call):
        for _ in range(5):
            work.shedding.observe_lag(LATE_S)
        assert (await call(10)).status == 503
        assert work.shed("event_loop_lag") == 1


async def test_who_has_gone_leaves_the_queue() -> None:
    async with working(max_waiting=2) as (work, call), full(work, call) as group:
        left = group.create_task(call(10))
        await until(lambda: work.waiting == 1)
        group.create_task(_answered(call, 11))
        work.finish(11)
        await until(lambda: work.waiting == 2)
        left.cancel()

        def has_left() -> bool:
            # Each tick of the loop's watch looks whom nobody waits for any more.
            work.shedding.observe_lag(0.07)
            return work.waiting == 1

        await until(has_left)
        assert (10 in work.waited_s, 11 in work.waited_s) == (False, False)
        group.create_task(_answered(call, 12))
        work.finish(12)
        await until(lambda: work.waiting == 2)


async def test_the_turn_of_who_has_gone_is_the_next_ones() -> None:
    async with working() as (work, call), full(work, call) as group:
        left = group.create_task(call(10))
        await until(lambda: work.waiting == 1)
        group.create_task(_answered(call, 11))
        await until(lambda: work.waiting == 2)
        left.cancel()
        await until(lambda: work.requests["number=10"].transport is None)
        assert work.waiting == 2
        work.finish(0)
        await until(lambda: 11 in work.at_work)
        await until(lambda: work.waiting == 0)
        work.finish(11)
        await until(lambda: 11 not in work.at_work)
        assert 10 not in work.at_work


async def test_a_place_given_to_who_is_just_leaving_comes_back() -> None:
    async with working() as (work, call), full(work, call) as group:
        left = group.create_task(call(10))
        await until(lambda: work.waiting == 1)
        # The limit doubles and 10 has a place, of which it hears only when the loop turns.
        work.shedding.observe_lag(0.0)
        work.requests["number=10"].task.cancel()
        left.cancel()
        await until(lambda: work.waiting == 0)
        for number in range(20, 20 + FEWEST):
            group.create_task(_answered(call, number))
            await until(partial(work.is_at, number))
        assert 10 not in work.waited_s
        for number in range(20, 20 + FEWEST):
            work.finish(number)


async def test_places_come_back_whatever_becomes_of_those_who_wait() -> None:
    async with working(max_wait_s=0.2) as (work, call):
        async with full(work, call) as group:
            calls = [group.create_task(call(number)) for number in range(10, 40)]
            for number in range(10, 40):
                work.finish(number)
            await until(lambda: work.waiting == 30)
            for one in calls[::3]:
                one.cancel()
            for number in range(FEWEST):
                work.finish(number)
        await until(lambda: work.waiting == 0)
        await until(lambda: not work.at_work)
        work.gates.clear()
        # All places are there again, and no more of them than there were.
        async with full(work, call) as group:
            group.create_task(_answered(call, 50))
            await until(lambda: work.waiting == 1)
            work.finish(50)
            assert len(work.at_work) == FEWEST
