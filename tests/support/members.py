"""A service that registers itself: it proves its URL, says what it can do, and can misbehave."""

import asyncio
import base64
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from gateway.settings import RegistrationSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER, SIMPLE_COMPUTE
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import NOBODY

LOCAL: Final = RegistrationSettings(allow_private_addresses=True)
"""Nodes of tests are at 127.0.0.1."""

CAPABILITIES: Final[Document] = {
    "version": 1,
    "service": "execbroker-node",
    "release": "0.1.0",
    "identity": "0b0d4b0e-6c9c-4b7a-9d3f-2f1f4d2a9a11",
    "name": "alpha",
    "kinds": [DOCKER_CONTAINER, SIMPLE_COMPUTE],
    "platforms": ["local"],
    "limits": {"cores": 16, "memory_gib": 32, "storage_gib": 100},
    "storage": ["UKSRC"],
    "authentication": ["basic"],
    "idempotency": True,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Member:
    """One such service. ``key`` is that of the registration under way."""

    url: str = ""
    key: bytes = b""
    capabilities: Document = field(default_factory=lambda: dict(CAPABILITIES))
    etag: str = '"1"'
    asked: list[str] = field(default_factory=list)
    challenge: Handler | None = None
    """In place of the right answer."""

    async def prove(self, request: web.Request) -> web.StreamResponse:
        """Answer a challenge."""
        self.asked.append(request.path)
        if self.challenge is not None:
            return await self.challenge(request)
        text = f"execbroker-challenge:{request.match_info['nonce']}:{self.url}"
        proof = hmac.digest(self.key, text.encode(), "sha256")
        return web.json_response({"response": to_text(proof)})

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Say what it can do."""
        self.asked.append(request.path)
        return web.json_response(self.capabilities, headers={"ETag": self.etag})

    def registration(self, name: str = "alpha", key: bytes | None = None, **more: Any) -> Document:
        """A registration with a new key, unless one is given, which it will prove."""
        self.key = key or secrets.token_bytes(32)
        return {"name": name, "url": self.url, "challenge_key": to_text(self.key)} | more


def to_text(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@asynccontextmanager
async def running_member(host: str = "127.0.0.1") -> AsyncIterator[Member]:
    """A service on a free port."""
    member = Member()
    app = web.Application()
    app.router.add_get("/.well-known/execbroker-challenge/{nonce}", member.prove)
    app.router.add_get("/capabilities", member.show)
    app.router.add_get("/readyz", _ready)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    member.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield member
    finally:
        await asyncio.wait_for(runner.cleanup(), 5.0)


async def _ready(_request: web.Request) -> web.StreamResponse:
    return web.Response()


async def mint(gateway: GatewayUnderTest, **wishes: Any) -> str:
    """A registration token."""
    answer = await gateway.call("POST", "/admin/registration-tokens", wishes)
    assert answer.status == 201, answer.text
    token: str = answer.document["token"]
    return token


async def bearing(
    gateway: GatewayUnderTest, token: str, method: str, path: str, document: Any = None
) -> Answer:
    """One call with a bearer token."""
    return await gateway.call(
        method, path, document, account=NOBODY, Authorization=f"Bearer {token}"
    )


async def join(
    gateway: GatewayUnderTest, member: Member, name: str = "alpha", key: bytes | None = None
) -> str:
    """Register the member with a token of its own; its credential."""
    answer = await bearing(
        gateway, await mint(gateway), "POST", "/nodes", member.registration(name, key)
    )
    assert answer.status == 201, answer.text
    credential: str = answer.document["credential"]
    return credential
