"""Real node brokers on loopback: in this process, and as processes of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml
from aiohttp import ClientSession, ClientTimeout, encode_basic_auth
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher

from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.rate_settings import RateLimitSettings
from gateway.httpkit.server_settings import AdminSettings
from gateway.wire.documents import Document, from_json
from gateway.wire.secret import Secret
from node_stub.app import build_app
from node_stub.clock import SystemClock
from node_stub.config import NodeSettings, OfferSettings, ReconcilerSettings
from node_stub.ledger import Amounts
from node_stub.platforms.base import Platform
from node_stub.platforms.simulated import SimulatedSettings
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody's name and password; no name is nobody."""

    login: str
    password: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": encode_basic_auth(self.login, self.password)} if self.login else {}


ADMIN: Final = Account("admin", "admin-password")
ALICE: Final = Account("alice", "alice-password")
BOB: Final = Account("bob", "bob-password")
NOBODY: Final = Account("", "")

UNLIMITED: Final = RateLimitSettings(failed_logins_per_min=None)
"""Tests of who may do what fail to log in oftener than any one host should."""

QUICK: Final = SimulatedSettings(prepare_s=0, run_s=0.03, release_s=0.01)
"""A session takes a few hundredths of a second here, once it may start: at the next full second."""

START_TIMEOUT_S: Final = 20.0
"""A node process needs about a second; a machine under load, several."""

CHEAP_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class ShiftedClock(SystemClock):
    """The machine's clock, put forward as a test likes."""

    def __init__(self) -> None:
        self._shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self._shift

    def advance(self, by: timedelta) -> None:
        self._shift += by


def node_settings(**changes: Any) -> NodeSettings:
    """Settings of a small, quick node that retries at once."""
    settings = NodeSettings(
        name="alpha",
        listen=ListenAddress("127.0.0.1", 0),
        admin=AdminSettings(username=ADMIN.login, password=Secret(ADMIN.password)),
        capacity=Amounts(cores=8, memory_gib=16, storage_gib=1000),
        offers=OfferSettings(count=2),
        rate_limits=UNLIMITED,
        platform=QUICK,
        reconciler=ReconcilerSettings(
            attempts=3, backoff_s=0.01, max_backoff_s=0.05, call_timeout_s=1.0
        ),
    )
    return replace(settings, **changes)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    document: Document

    @property
    def uuid(self) -> str:
        uuid: str = self.document["meta"]["uuid"]
        return uuid

    @property
    def messages(self) -> list[Document]:
        messages: list[Document] = self.document["meta"].get("messages", [])
        return messages


class NodeClient:
    """Speaks to a node, without following redirects."""

    def __init__(self, url: str, auth: Account = ALICE) -> None:
        self.url = url
        self.auth = auth
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(self.url, timeout=ClientTimeout(total=30))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    @property
    def http(self) -> ClientSession:
        """For what is not JSON."""
        assert self._session is not None
        return self._session

    async def call(
        self, method: str, path: str, *, auth: Account | None = None, **given: Any
    ) -> Answer:
        """One call; ``auth`` in place of the client's own."""
        assert self._session is not None
        headers = (auth or self.auth).headers | given.pop("headers", {})
        async with self._session.request(
            method, path, headers=headers, allow_redirects=False, **given
        ) as response:
            body = await response.read()
            is_json = "json" in response.content_type
            document = from_json(body) if is_json and body else {}
            return Answer(response.status, response.headers, document)

    async def text(self, path: str) -> str:
        """What a page says."""
        assert self._session is not None
        async with self._session.get(path) as response:
            assert response.status == 200, path
            return await response.text()

    async def ask(self, request: Document, **headers: str) -> Answer:
        """Ask for offers; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", "/requests", json=request, headers=named)

    async def direct(self, request: Document, **headers: str) -> Answer:
        """Ask for direct execution."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", "/direct", json=request, headers=named)

    async def update(
        self, session: str, value: str, *, auth: Account | None = None, **headers: str
    ) -> Answer:
        """Ask for a phase."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": value}
        return await self.call(
            "POST", f"/sessions/{session}", json=update, auth=auth, headers=headers
        )

    async def session(self, uuid: str) -> Document:
        """Read a session."""
        answer = await self.call("GET", f"/sessions/{uuid}")
        assert answer.status == 200, answer
        return answer.document

    async def reaches(self, uuid: str, *phases: str, within_s: float = 8.0) -> Document:
        """The session as soon as it is in one of these phases."""
        last: Document = {}

        async def look() -> bool:
            nonlocal last
            last = await self.session(uuid)
            return last["phase"] in phases

        await eventually(look, within_s)
        return last


@asynccontextmanager
async def running_node(
    data_dir: Path,
    settings: NodeSettings | None = None,
    *,
    clock: SystemClock | None = None,
    platform: Platform | None = None,
) -> AsyncIterator[NodeClient]:
    """A node in this process, with accounts for Alice and Bob; a client that is Alice."""
    app = build_app(
        settings or node_settings(),
        data_dir,
        clock=clock,
        platform=platform,
        passwords=Passwords(CHEAP_HASHER),
    )
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    app[LIFECYCLE].begin_listening(url)
    try:
        async with NodeClient(url) as client:
            await add_identities(client)
            yield client
    finally:
        await server.close()


async def add_identities(client: NodeClient) -> None:
    """Make the accounts of Alice and Bob, unless they are there."""
    for account in (ALICE, BOB):
        document = {"username": account.login, "password": account.password}
        answer = await client.call("POST", "/admin/identities", json=document, auth=ADMIN)
        assert answer.status in (201, 409), answer


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A node in a process of its own."""

    url: str
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """Ask it to end; its exit status."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), START_TIMEOUT_S)


@asynccontextmanager
async def node_process(
    data_dir: Path, config: Document, environ: Mapping[str, str] | None = None
) -> AsyncIterator[NodeProcess]:
    """A node as an operator runs it, on a free port; killed at the end if it still runs."""
    file = data_dir / "node.yaml"
    file.write_text(yaml.safe_dump(config))
    log = (data_dir / "node.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "node_stub",
        "serve",
        "--config",
        str(file),
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(data_dir),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**os.environ, "ADMIN_PASSWORD": ADMIN.password, **(environ or {})},
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        assert line, (data_dir / "node.log").read_text()
        listening = from_json(line)
        assert listening["event"] == "listening"
        yield NodeProcess(listening["url"], process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        log.close()


def process_config(**changes: Any) -> Document:
    """The settings file of a small, quick node."""
    return {
        "name": "alpha",
        "admin": {"username": ADMIN.login, "password_env": "ADMIN_PASSWORD"},
        "capacity": {"cores": 8, "memory_gib": 16, "storage_gib": 1000},
        "offers": {"count": 2},
        "rate_limits": {"failed_logins_per_min": None},
        "platform": {"type": "simulated", "prepare_s": 0, "run_s": 0.03, "release_s": 0.01},
        "reconciler": {"backoff_s": 0.01, "max_backoff_s": 0.05},
        **changes,
    }
