"""Somebody's server that webhooks call: it notes what comes, checks it, and answers as told."""

import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.wire.documents import Document, from_json


@dataclass(slots=True)
class Receiver:
    """What has come so far. ``statuses`` are given in turn, the last of them from then on."""

    url: str = ""
    secret: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    ids: list[str] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """One call."""
        body = await request.read()
        self._check(request, body)
        self.ids.append(request.headers["webhook-id"])
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status < 300:
            self.events.append(from_json(body))
        headers = {"Location": f"{self.url}/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    def _check(self, request: web.Request, body: bytes) -> None:
        """As the libraries of Standard Webhooks do it."""
        stamp = request.headers["webhook-timestamp"]
        signed = f"{request.headers['webhook-id']}.{stamp}.".encode() + body
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        if request.headers["webhook-signature"] != f"v1,{right}":
            self.faults.append("wrong signature")
        if abs(time.time() - int(stamp)) > 300:
            self.faults.append("wrong time")
        if request.content_type != "application/cloudevents+json":
            self.faults.append(request.content_type)
        if request.path != "/hook":
            self.faults.append(request.path)

    def positions(self) -> list[int]:
        """The ids of the events it has, as they came."""
        return [int(event["id"]) for event in self.events]


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{site.port}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
