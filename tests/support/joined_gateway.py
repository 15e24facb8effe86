"""A small gateway that others can join, and that fails as it is told to.

It proves URLs as a real one does; tests of a real one are in ``tests/faults/test_leases.py``.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from gateway.httpkit.tls import TlsSettings
from gateway.wire.documents import Document, from_json

TOKEN: Final = "ebr_" + "t" * 43
"""A token that is good for one registration."""


@dataclass(slots=True)
class JoinedGateway:
    """What it knows, and how it behaves.

    ``fault`` is a status that it answers everything with; ``told`` are the renewals that it took.
    A token is used up by the first renewal, since the answer to a registration may be lost:
    ``loses_answer`` says that the next one is. ``hangs``: it lets nobody leave. ``says`` is what it
    says to registrations instead.
    """

    url: str = ""
    renew_s: float = 30.0
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    credentials: dict[str, str] = field(default_factory=dict)
    fault: int | None = None
    loses_answer: bool = False
    hangs: bool = False
    says: bytes | None = None
    calls: int = 0
    registered: list[Document] = field(default_factory=list)
    capabilities: list[Document] = field(default_factory=list)
    told: list[Document] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    bearers: list[str] = field(default_factory=list)
    session: aiohttp.ClientSession | None = None
    _token_of: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Who is registered."""
        return set(self.credentials)

    def forget(self) -> None:
        """Know nothing of any registration; credentials are good still."""
        self.registered.clear()

    def _answer(self, status: int, document: Document) -> web.Response:
        return web.json_response(document, status=status)

    def _refused(self, request: web.Request) -> web.Response | None:
        self.calls += 1
        self.bearers.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if self.fault is None:
            return None
        answer = self._answer(self.fault, {"title": "fault", "detail": "as it was told to"})
        answer.headers["Location"] = "/elsewhere"
        return answer

    async def register(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.says is not None:
            return web.Response(body=self.says, status=201)
        bearer, document = self.bearers[-1], from_json(await request.read())
        name, url = document["name"], document["url"]
        is_own = self.credentials.get(name) == bearer
        if bearer not in self.tokens and not is_own:
            return self._answer(401, {"detail": "the credentials are wrong"})
        is_again = self._token_of.get(name) == bearer
        if name in self.credentials and not (is_own or is_again):
            return self._answer(409, {"detail": "the name is taken"})
        if not await self._is_proven(url, document["challenge_key"]):
            return self._answer(422, {"detail": "the challenge failed"})
        credential = bearer if is_own else f"ebn_{secrets.token_urlsafe(32)}"
        if not is_own:
            self._token_of[name] = bearer
        self.credentials[name] = credential
        self.registered.append(document)
        if self.loses_answer:
            self.loses_answer = False
            assert request.transport is not None
            request.transport.close()
        return self._answer(
            201, {"name": name, "url": url, "credential": credential, **self._lease()}
        )

    def _lease(self) -> Document:
        return {
            "state": "up",
            "lease": {"renew_s": self.renew_s, "expires_s": 3 * self.renew_s, "expires": "?"},
        }

    async def _is_proven(self, url: str, key_text: str) -> bool:
        assert self.session is not None
        nonce = secrets.token_urlsafe(32)
        route = f"{url}/.well-known/execbroker-challenge/{nonce}"
        async with self.session.get(route) as answer:
            said = from_json(await answer.read())
        key = base64.urlsafe_b64decode(key_text + "=")
        assert len(key) == 32
        text = f"execbroker-challenge:{nonce}:{url}".encode()
        digest = hmac.digest(key, text, hashlib.sha256)
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        async with self.session.get(f"{url}/capabilities") as answer:
            self.capabilities.append(from_json(await answer.read()))
        return answer.status == 200 and said.get("response") == proof

    async def renew(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        name = request.match_info["name"]
        if self.credentials.get(name) != self.bearers[-1]:
            return self._answer(401, {"detail": "the credential does not hold"})
        if not any(document["name"] == name for document in self.registered):
            return self._answer(404, {"detail": "not registered"})
        self.tokens.discard(self._token_of.pop(name, ""))
        self.told.append(from_json(await request.read()))
        return self._answer(200, {"is_draining": self.told[-1]["draining"], **self._lease()})

    async def leave(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.hangs:
            await asyncio.sleep(60)
        self.left.append(request.match_info["name"])
        self.forget()
        return web.Response(status=204)


@asynccontextmanager
async def joined_gateway(
    renew_s: float = 30.0, certificate: Path | None = None
) -> AsyncIterator[JoinedGateway]:
    """One on loopback; over TLS if it has a certificate."""
    gateway = JoinedGateway(renew_s=renew_s)
    app = web.Application()
    app.router.add_post("/nodes", gateway.register)
    app.router.add_put("/nodes/{name}/lease", gateway.renew)
    app.router.add_delete("/nodes/{name}", gateway.leave)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    context = None if certificate is None else TlsSettings(certificate=certificate).context()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    gateway.url = f"http{'s' if context else ''}://127.0.0.1:{site.port}"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
            gateway.session = session
            yield gateway
    finally:
        await runner.cleanup()
