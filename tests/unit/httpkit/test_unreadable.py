"""What fails outside of every middleware is a problem too, and says nothing of its inside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.httpkit.connections import ProblemRunner


async def fails(_request: web.Request) -> web.StreamResponse:
    raise RuntimeError("the secret of the inside")


async def fails_half_way(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 100
    await response.prepare(request)
    await response.write(b"the first half")
    raise RuntimeError("the secret of the inside")


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = ProblemRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}/"
    finally:
        await runner.cleanup()


async def test_a_defect_outside_of_the_middleware_is_a_problem_without_its_inside() -> None:
    async with serving(fails) as url, aiohttp.ClientSession() as http, http.get(url) as answer:
        text = await answer.text()
        document = await answer.json(content_type="application/problem+json")
    assert (answer.status, document["status"]) == (500, 500)
    assert document["type"].endswith("/internal-error")
    assert document["instance"] == answer.headers["X-Request-Id"]
    assert "secret" not in text


async def test_half_an_answer_is_not_followed_by_another() -> None:
    async with serving(fails_half_way) as url, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with http.get(url) as answer:
                await answer.read()
