"""The demo's services: three node brokers and a gateway, as processes of their own."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import yaml

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.lake import LAKE_FILE, DemoLake
from gateway.cli.demo.settings import (
    NODES,
    SERVICE_USERNAME,
    ServiceSettings,
    gateway_settings,
    node_settings,
)
from gateway.cli.errors import BrokerError
from gateway.cli.processes import Service
from gateway.cli.watching import Polling
from gateway.wire.documents import Document

USERNAME: Final = "demo"
"""The account that asks the gateway."""

POLLING: Final = Polling(first_s=0.1, longest_s=0.4)
"""The demo looks more often than others should, to see short phases too."""

START_S: Final = 60.0
"""How long a service may take to listen."""

END_S: Final = 30.0
"""How long sessions that still run at the end may take to be cancelled."""

SESSIONS: Final = "sessions"
"""Where a node has the directories of live sessions, in its data directory."""

STOP_S: Final = 15.0
"""How long a service may take to stop."""

_LOOK_EVERY_S: Final = 0.1


@dataclass(slots=True)
class Federation:
    """The running services, and what is needed to talk to them.

    ``exit_codes`` are those of the services, once they have been stopped.
    """

    gateway_url: str
    node_urls: Mapping[str, str]
    password: str
    services: list[Service]
    exit_codes: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises `ServiceError` if one of them died."""
        for service in self.services:
            service.check()

    def client(self) -> ExecutionBrokerClient:
        """A client of the gateway, as the user of the demo."""
        return ExecutionBrokerClient(self.gateway_url, USERNAME, self.password, polling=POLLING)


@asynccontextmanager
async def federation(
    platform: Callable[[str], Document], lake: DemoLake
) -> AsyncIterator[Federation]:
    """A gateway and its nodes, stopped at the end of the block.

    Parameters
    ----------
    platform
        What the node of a name runs sessions on: section ``platform`` of its settings.
    lake
        Where the gateway looks up data.

    Raises
    ------
    ServiceError
        A service did not start, or died during the block.
    DemoError
        A service did not stop cleanly.
    """
    services: list[Service] = []
    codes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="execbroker-demo-") as name:
        starter = _Starter(Path(name), services)
        try:
            running = await starter.start(platform, lake)
            running.exit_codes = codes
            yield running
        except BrokerError:
            for service in services:
                service.check()  # the cause is better than its consequence
            raise
        finally:
            try:
                await starter.end_sessions()
            finally:
                for service in reversed(services):
                    codes[service.name] = await service.stop(STOP_S)
    if any(codes.values()):
        raise DemoError(f"a service did not stop cleanly: {codes}")


class _Starter:
    """Starts everything in one directory; whoever made ``services`` stops what was started."""

    def __init__(self, directory: Path, services: list[Service]) -> None:
        self._directory = directory
        self._services = services
        self._accounts: dict[str, tuple[str, str]] = {}

    async def end_sessions(self) -> None:
        """Cancel what still runs, and wait until it is gone: brokers that stop let it run on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                for name, (url, password) in self._accounts.items():
                    async with ExecutionBrokerClient(url, SERVICE_USERNAME, password) as client:
                        await self._end_sessions(name, client)

    async def _end_sessions(self, node: str, client: ExecutionBrokerClient) -> None:
        for session in self._sessions(node):
            with suppress(BrokerError):  # it may have ended meanwhile
                await client.cancel(session)
        while True:
            if not self._sessions(node):
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def _sessions(self, node: str) -> list[UUID]:
        """The sessions that a node has a directory for: those that have not ended."""
        found: list[UUID] = []
        for path in (self._directory / node / SESSIONS).glob("*-*-*-*-*"):
            with suppress(ValueError):  # a file of the node's own
                found.append(UUID(path.name))
        return found

    async def start(self, platform: Callable[[str], Document], lake: DemoLake) -> Federation:
        (self._directory / LAKE_FILE).write_text(yaml.safe_dump(lake.catalogue()), encoding="utf-8")
        settings = {n: node_settings(n, platform(n), secrets.token_urlsafe()) for n in NODES}
        for name, node in settings.items():
            await self._start(name, "node_stub", node)
        urls = {service.name: await service.url(START_S) for service in self._services}
        passwords = {name: secrets.token_urlsafe() for name in urls}
        for name, url in urls.items():
            await _add_identity(url, settings[name], SERVICE_USERNAME, passwords[name])
            self._accounts[name] = (url, passwords[name])
        gateway = gateway_settings(urls, passwords, secrets.token_urlsafe())
        service = await self._start("gateway", "gateway", gateway)
        url, password = await service.url(START_S), secrets.token_urlsafe()
        await _add_identity(url, gateway, USERNAME, password)
        return Federation(url, urls, password, self._services)

    async def _start(self, name: str, module: str, settings: ServiceSettings) -> Service:
        data = self._directory / name
        data.mkdir()
        config = self._directory / f"{name}.yaml"
        config.write_text(yaml.safe_dump(settings.document), encoding="utf-8")
        arguments = ["serve", "--config", str(config), "--listen", "127.0.0.1:0"]
        arguments += ["--data-dir", str(data)]
        environ = {**os.environ, **settings.environ}
        service = Service(name, module, arguments, self._directory, environ)
        self._services.append(service)
        await service.start()
        return service


async def _add_identity(url: str, settings: ServiceSettings, username: str, password: str) -> None:
    admin = (settings.admin_username, settings.admin_password)
    async with ExecutionBrokerClient(url, *admin) as client:
        await client.add_identity(username, password)
