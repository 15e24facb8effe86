"""What gives out tokens: an issuer's token endpoint and SRCNet's exchange, and a picky node."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.faulty_nodes import healthy_answer


@dataclass(slots=True)
class TokenService:
    """Gives out ``t1``, ``t2`` …; ``forms`` and ``queries`` are what it was asked with."""

    url: str = ""
    life_s: float | None = 3600
    delay_s: float = 0.0
    refusal: int | None = None
    is_nested: bool = False
    forms: list[dict[str, str]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    given: int = 0

    def _token(self) -> dict[str, Any]:
        self.given += 1
        answer: dict[str, Any] = {"access_token": f"t{self.given}", "token_type": "Bearer"}
        return answer if self.life_s is None else answer | {"expires_in": self.life_s}

    async def post(self, request: web.Request) -> web.Response:
        """RFC 6749 and RFC 8693."""
        await asyncio.sleep(self.delay_s)
        self.clients.append(request.headers.get("Authorization", ""))
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        if self.refusal is not None:
            return web.json_response({"error": "invalid_grant"}, status=self.refusal)
        return web.json_response(self._token())

    async def exchange(self, request: web.Request) -> web.Response:
        """SRCNet's authentication service."""
        self.queries.append(dict(request.query) | {"service": request.match_info["service"]})
        if self.refusal is not None:
            return web.json_response({"detail": "no"}, status=self.refusal)
        token = self._token()
        return web.json_response({"token": token} if self.is_nested else token)


@asynccontextmanager
async def running_token_service() -> AsyncIterator[TokenService]:
    """A token service on a free port: ``/token`` and ``/token/exchange/{service}``."""
    service = TokenService()
    app = web.Application()
    app.router.add_post("/token", service.post)
    app.router.add_get("/token/exchange/{service}", service.exchange)
    async with _served(app) as url:
        service.url = url
        yield service


@dataclass(slots=True)
class PickyNode:
    """Offers to whoever shows one of the ``good`` headers; remembers all it was shown."""

    url: str = ""
    good: set[str] = field(default_factory=set)
    seen: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """A good answer, or 401."""
        header = request.headers.get("Authorization")
        self.seen.append(header)
        if header not in self.good:
            return web.json_response({"title": "Unauthorized", "status": 401}, status=401)
        return web.json_response(json.loads(healthy_answer()))


@asynccontextmanager
async def running_picky_node(*good: str) -> AsyncIterator[PickyNode]:
    """A node on a free port."""
    node = PickyNode(good=set(good))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", node.answer)
    async with _served(app) as url:
        node.url = url
        yield node


@asynccontextmanager
async def _served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
