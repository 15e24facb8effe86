"""A federation on this machine: one gateway, three node brokers, one request from offer to end.

``python -m gateway.cli.demo [--keep]``. Everything lives in a temporary directory, on free ports.
"""

import argparse
import asyncio
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import yaml
from rich.console import Console

from gateway.cli import render
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import BrokerError, BrokerUnavailableError
from gateway.cli.processes import Service, ServiceError
from gateway.cli.requests import RequestFileError, load_request
from gateway.cli.summary import (
    OfferSummary,
    at,
    items,
    summarise_coverage,
    summarise_offers,
)
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase

CONFIG: Final = Path(__file__).parents[2] / "config"
"""The example settings and requests of a checkout."""

NODES: Final = ("alpha", "beta", "gamma")
USERNAME: Final = "demo"
"""The account that asks the gateway."""
SERVICE_USERNAME: Final = "gateway"
"""The account that the gateway has at each node."""
START_S: Final = 30.0
"""How long a service may take to listen."""
RUN_S: Final = 40.0
"""How long the session may take to its end."""
RELEASE_S: Final = 10.0
"""How long the other nodes may take to let their holds go."""
STOP_S: Final = 10.0
"""How long a service may take to stop."""


INTERRUPTED: Final = 130
"""The exit code after a signal, as shells have it for the keyboard's."""

BOOKINGS_METRIC: Final = "execbroker_node_ledger_bookings"
"""What a node's ``/metrics`` calls the number of its holds and bookings."""

_CHECK_EVERY_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.1


class DemoError(Exception):
    """The demo did not show what it promises."""


@dataclass
class Federation:
    """The running services, and what is needed to talk to them."""

    gateway_url: str
    node_urls: dict[str, str]
    password: str
    services: list[Service] = field(default_factory=list)

    def check(self) -> None:
        """Raises `ServiceError` if one of them died."""
        for service in self.services:
            service.check()


def _settings(name: str) -> Document:
    try:
        settings = yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise DemoError(f"cannot read {CONFIG / name}: {error.strerror}") from error
    settings.pop("public_url", None)  # the port is not known before it listens
    return dict(settings)


def _write(directory: Path, name: str, settings: Document) -> Path:
    path = directory / name
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _service(
    name: str, module: str, settings: Document, directory: Path, passwords: dict[str, str]
) -> Service:
    data = directory / name
    data.mkdir()
    config = _write(directory, f"{name}.yaml", settings)
    arguments = ["serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    arguments += ["--data-dir", str(data)]
    return Service(name, module, arguments, directory, {**os.environ, **passwords})


async def _start_nodes(
    directory: Path, services: list[Service]
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """The URL of each node, and its administrator's name and password."""
    admins: dict[str, tuple[str, str]] = {}
    for name in NODES:
        settings = _settings(f"node-{name}.yaml")
        admin, password = settings["admin"], secrets.token_urlsafe()
        admins[name] = (admin["username"], password)
        passwords = {admin["password_env"]: password}
        service = _service(name, "node_stub", settings, directory, passwords)
        services.append(service)
        await service.start()
    urls = {service.name: await service.url(START_S) for service in services}
    return urls, admins


async def _start_gateway(
    directory: Path,
    services: list[Service],
    node_urls: dict[str, str],
    node_admins: dict[str, tuple[str, str]],
) -> Federation:
    """The gateway over the nodes, with an account on each of them and one account for the user."""
    settings = _settings("gateway.yaml")
    settings["nodes"] = [node for node in settings["nodes"] if node["name"] in node_urls]
    admin, admin_password = settings["admin"], secrets.token_urlsafe()
    passwords = {admin["password_env"]: admin_password}
    for node in settings["nodes"]:
        name = node["name"]
        variable, password = f"{name.upper()}_PASSWORD", secrets.token_urlsafe()
        node["url"] = node_urls[name]
        node["credentials"] = {
            "type": "basic",
            "username": SERVICE_USERNAME,
            "password_env": variable,
        }
        passwords[variable] = password
        async with ExecutionBrokerClient(node_urls[name], *node_admins[name]) as client:
            await client.add_identity(SERVICE_USERNAME, password)
    service = _service("gateway", "gateway", settings, directory, passwords)
    services.append(service)
    await service.start()
    url = await service.url(START_S)
    federation = Federation(url, node_urls, secrets.token_urlsafe(), services)
    async with ExecutionBrokerClient(url, admin["username"], admin_password) as client:
        await client.add_identity(USERNAME, federation.password)
    return federation


@asynccontextmanager
async def federation(to: Console) -> AsyncIterator[Federation]:
    """A gateway and its nodes, stopped at the end of the block.

    Raises
    ------
    ServiceError
        A service did not start, or died during the block.
    DemoError
        A service did not stop cleanly.
    """
    services: list[Service] = []
    with tempfile.TemporaryDirectory(prefix="execbroker-demo-") as name:
        directory = Path(name)
        try:
            running = await _start_gateway(
                directory, services, *await _start_nodes(directory, services)
            )
            yield running
        except BrokerError:
            for service in services:
                service.check()  # the cause is better than its consequence
            raise
        finally:
            codes = {service.name: await service.stop(STOP_S) for service in reversed(services)}
        to.print("Stopped: " + ", ".join(f"{name} ({code})" for name, code in codes.items()))
        if any(codes.values()):
            raise DemoError("a service did not stop cleanly; its exit code should be 0")


def _show_request(to: Console, request: Document) -> None:
    compute = request.get("compute") or {}
    lines = {
        "run": ", ".join(at(request, "executable", "image", "locations") or ["?"]),
        "cores": f"{at(compute, 'cores', 'min')} to {at(compute, 'cores', 'max')}",
        "memory": f"{at(compute, 'memory', 'min')} to {at(compute, 'memory', 'max')} GiB",
        "data": ", ".join(str(data.get("location")) for data in items(request, "data")) or "none",
        "for": at(request, "schedule", "requested", "duration") or "as long as the site says",
        "limits": ", ".join(
            f"{str(cost.get('type')).rpartition(':')[2]} at most {cost.get('max')}"
            for cost in items(request, "costs")
        ),
    }
    for name, value in lines.items():
        to.print(render.safe(f"  {name:<7} {value}"))


def _step(to: Console, text: str) -> None:
    to.print()
    to.rule(text, align="left")


async def show(to: Console, running: Federation) -> None:
    """The demo itself, over services that run."""
    request = load_request(str(CONFIG / "request-demo.yaml"))
    _step(to, "What is asked (config/request-demo.yaml)")
    _show_request(to, request)
    async with ExecutionBrokerClient(running.gateway_url, USERNAME, running.password) as client:
        began = time.perf_counter()
        offerset = await client.request_offers(request)
        took_ms = (time.perf_counter() - began) * 1000
        offers, now = summarise_offers(offerset), datetime.now(UTC)
        _step(to, f"Who answered, and how fast: {took_ms:.0f} ms for all")
        to.print(render.coverage_table(summarise_coverage(offerset)))
        render.show_messages(to, offerset)
        if not offers:
            raise DemoError("no node made an offer")
        _step(to, f"The {len(offers)} best offers, and why")
        to.print(render.offers_table(offers, now))
        to.print(render.reasons_table(offers))
        best = offers[0]
        _step(to, f"Accept the best: {best.node} {best.uuid}")
        await client.accept(UUID(best.uuid))
        await _follow(to, client, UUID(best.uuid))
    _step(to, "What became of the other offers, asked at their own nodes")
    await _show_released(to, running, offers[1:])
    await _show_ledgers(to, running)


async def _follow(to: Console, client: ExecutionBrokerClient, uuid: UUID) -> None:
    phase = None
    with render.PhaseProgress(to) as progress:
        async for session in client.watch(uuid, deadline_s=RUN_S):
            progress.show(session)
            phase = session.get("phase")
    if phase != SessionPhase.COMPLETED:
        raise DemoError(f"the session ended as {phase}")


async def _show_released(to: Console, running: Federation, others: Sequence[OfferSummary]) -> None:
    for offer in others:
        url = running.node_urls.get(offer.node or "")
        if url is None:
            raise DemoError(f"offer {offer.uuid} does not say which node made it")
        phase = None
        async with ExecutionBrokerClient(url) as client:
            async for session in client.watch(UUID(offer.uuid), deadline_s=RELEASE_S):
                phase = session.get("phase")
        to.print(render.safe(f"  {offer.node}: {offer.uuid} is {phase}"))
        if phase != SessionPhase.REJECTED:
            raise DemoError(f"a hold at {offer.node} was not let go: it is {phase}")


async def _show_ledgers(to: Console, running: Federation) -> None:
    """Holds of offers that the gateway never handed out are gone as well: the ledgers are empty."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RELEASE_S)) as http:
        for name, url in running.node_urls.items():
            left = await _bookings(http, url)
            give_up = time.monotonic() + RELEASE_S
            while left and time.monotonic() < give_up:
                await asyncio.sleep(_LOOK_EVERY_S)
                left = await _bookings(http, url)
            to.print(f"  {name}: {left} holds and bookings left in its ledger")
            if left:
                raise DemoError(f"{name} still holds resources that nobody wants")


async def _bookings(http: aiohttp.ClientSession, url: str) -> int:
    try:
        async with http.get(f"{url}/metrics") as response:
            found = re.search(rf"^{BOOKINGS_METRIC} (\S+)$", await response.text(), re.MULTILINE)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BrokerUnavailableError(url, f"no metrics: {error}") from error
    if found is None:
        raise DemoError(f"{url}/metrics does not count {BOOKINGS_METRIC}")
    return int(float(found[1]))


def _show_urls(to: Console, running: Federation) -> None:
    url = running.gateway_url
    _step(to, "Left running, until you press Ctrl-C")
    to.print(f"  gateway  {url}    API browser {url}/docs")
    for name, node_url in running.node_urls.items():
        to.print(f"  {name:<8} {node_url}    API browser {node_url}/docs")
    to.print(f"  account  {USERNAME}, password {running.password}")
    to.print("Try, in another terminal:")
    account = f"EXECBROKER_USERNAME={USERNAME} EXECBROKER_PASSWORD={running.password}"
    command, request = Path(sys.executable).with_name("execbroker"), CONFIG / "request-minimal.yaml"
    curl = f"curl -L -u {USERNAME}:$EXECBROKER_PASSWORD -H 'Content-Type: application/yaml'"
    for line in (
        f"  curl {url}/nodes",
        f"  export EXECBROKER_URL={url} {account}",
        f"  {command} submit {request}",
        f"  {curl} --data-binary @{request} {url}/requests",
    ):
        to.print(line, soft_wrap=True)


async def run(to: Console, *, is_kept: bool) -> None:
    """The whole demo; raises when anything is not as it should be."""
    began = time.perf_counter()
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a coroutine that runs has its task")
    _on_signals(task.cancel)
    to.print(f"Starting three node brokers ({', '.join(NODES)}) and a gateway ...")
    async with federation(to) as running:
        to.print(f"Ready after {time.perf_counter() - began:.1f} s at {running.gateway_url}")
        await show(to, running)
        to.print()
        to.print(f"Done after {time.perf_counter() - began:.1f} s.")
        if is_kept:
            await _keep(to, running)


async def _keep(to: Console, running: Federation) -> None:
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    _show_urls(to, running)
    while not stopping.is_set():
        running.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_EVERY_S):
                await stopping.wait()


def _on_signals(call: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, call)


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code: 0, or 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m gateway.cli.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    arguments = parser.parse_args(argv)
    to = render.console(sys.stdout)
    try:
        asyncio.run(run(to, is_kept=arguments.keep))
    except (DemoError, ServiceError, BrokerError, RequestFileError) as error:
        render.console(sys.stderr).print(render.safe(f"demo: {error}"), soft_wrap=True)
        return 1
    except asyncio.CancelledError:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
