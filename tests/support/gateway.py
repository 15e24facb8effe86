"""A real gateway: in this process for most tests, in one of its own for those that kill it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp
import yaml
from aiohttp import web

from gateway.app import build_app
from gateway.clock import Clock
from gateway.config import GatewaySettings, NodeSettings
from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.server_settings import AdminSettings, AuthenticationSettings
from gateway.httpkit.shedding_settings import SheddingSettings
from gateway.sections.credentials import BasicSettings
from gateway.settings import (
    CommandSettings,
    FederationSettings,
    HealthSettings,
    SessionSettings,
)
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.support.node import ADMIN, ALICE, BOB, CHEAP_HASHER, UNLIMITED, Account
from tests.support.stores import store_of_this_test

START_S: Final = 40.0
STOP_S: Final = 15.0

FEDERATION: Final = FederationSettings(deadline_s=10.0, connect_s=5.0, late_s=5.0)
"""Patient, as machines under load are slow; tests of time say themselves how long to wait."""

UNPROBED: Final = HealthSettings(probe_every_s=0)
"""Nodes of most tests count what they are asked; those of health say themselves what they need."""

UNSHED: Final = SheddingSettings(start_heavy=256, high_lag_s=60.0, low_lag_s=30.0)
"""Nobody is turned away because the machine of the tests is busy."""

QUICK_SESSIONS: Final = SessionSettings(
    fresh_s=0.0, read_deadline_s=0.5, update_deadline_s=0.5, follow_s=0.5
)
QUICK_COMMANDS: Final = CommandSettings(
    first_s=0.05, longest_s=0.2, deadline_s=0.5, lease_s=1.5, give_up_s=60.0
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    document: Any
    text: str


@dataclass(slots=True)
class GatewayUnderTest:
    """A running gateway and a client of it that follows no redirects."""

    url: str
    session: aiohttp.ClientSession
    app: web.Application | None = None
    account: Account = ADMIN

    async def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        account: Account | None = None,
        **headers: str,
    ) -> Answer:
        """One exchange, by default as the administrator; underscores in headers are hyphens."""
        who = (account or self.account).headers
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method,
            self.url + path,
            json=document,
            headers={**who, **more},
            allow_redirects=False,
        ) as response:
            text = await response.text()
            is_json = "json" in response.content_type and method != "HEAD"
            return Answer(
                response.status, response.headers, json.loads(text) if is_json else None, text
            )

    async def ask(self, document: Document, query: str = "", **headers: Any) -> Answer:
        """Ask for offers."""
        return await self.call("POST", f"/requests{query}", document, **headers)

    async def move(self, uuid: str, phase: str, **headers: Any) -> Answer:
        """Ask for another phase of a session."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": phase}
        return await self.call("POST", f"/sessions/{uuid}", update, **headers)

    async def read(self, uuid: str | UUID) -> Document:
        """A session as it is now."""
        answer = await self.call("GET", f"/sessions/{uuid}")
        assert answer.status == 200, answer.text
        document: Document = answer.document
        return document


def node_settings(name: str, url: str, **more: Any) -> NodeSettings:
    """A node with a service account."""
    credentials = (BasicSettings(username=ADMIN.login, password=Secret(ADMIN.password)),)
    given: dict[str, Any] = {"name": name, "url": url, "credentials": credentials} | more
    return NodeSettings(**given)


@asynccontextmanager
async def running_gateway(
    nodes: Mapping[str, str],
    data_dir: Path,
    *,
    clock: Clock | None = None,
    node_options: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over nodes given as names and URLs; ``more`` are settings."""
    options = node_options or {}
    given: dict[str, Any] = {
        "admin": AdminSettings(username=ADMIN.login, password=Secret(ADMIN.password)),
        "database": store_of_this_test().url(data_dir),
        "nodes": tuple(
            node_settings(name, url, **options.get(name, {})) for name, url in nodes.items()
        ),
        "federation": FEDERATION,
        "shedding": UNSHED,
        "health": UNPROBED,
        "rate_limits": UNLIMITED,
        "sessions": QUICK_SESSIONS,
        "commands": QUICK_COMMANDS,
    } | more
    authenticates = given.get("authentication", AuthenticationSettings()).enabled
    app = build_app(GatewaySettings(**given), data_dir, clock, Passwords(CHEAP_HASHER))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{site.port}"
            app[LIFECYCLE].begin_listening(url)
            gateway = GatewayUnderTest(url, session, app)
            for person in (ALICE, BOB) if authenticates else ():
                document = {"username": person.login, "password": person.password}
                answer = await gateway.call("POST", "/admin/identities", document)
                assert answer.status in {201, 409}, answer.text
            yield gateway
    finally:
        await runner.cleanup()


class GatewayProcess:
    """A gateway in a process of its own, on the same data and port however often it is started."""

    def __init__(
        self,
        nodes: Mapping[str, str],
        data_dir: Path,
        *,
        arguments: Sequence[str] = (),
        **sections: Any,
    ) -> None:
        self._data_dir = data_dir
        self._arguments = arguments
        self._config = data_dir / "gateway.yaml"
        self._process: asyncio.subprocess.Process | None = None
        self._listen = "127.0.0.1:0"
        self.url = ""
        settings: Document = {
            "listen": "127.0.0.1:0",
            "admin": {"username": ADMIN.login, "password_env": "TEST_PASSWORD"},
            "database": store_of_this_test().url(data_dir),
            "nodes": [
                {
                    "name": name,
                    "url": url,
                    "credentials": {
                        "type": "basic",
                        "username": ADMIN.login,
                        "password_env": "TEST_PASSWORD",
                    },
                }
                for name, url in nodes.items()
            ],
        }
        self._config.write_text(yaml.safe_dump(settings | sections))

    async def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._data_dir / "gateway.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--config", str(self._config)),
                *("--listen", self._listen, "--data-dir", str(self._data_dir)),
                *self._arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "TEST_PASSWORD": ADMIN.password},
            )
        assert self._process.stdout is not None
        line = b""
        try:
            async with asyncio.timeout(START_S):
                line = await self._process.stdout.readline()
        finally:
            if not line and self._process.returncode is None:
                await self.stop()
        assert line, (self._data_dir / "gateway.log").read_text()[-2000:]
        self.url = json.loads(line)["url"]
        self._listen = self.url.removeprefix("http://")

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end; its exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await self._process.wait()
