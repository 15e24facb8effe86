"""The demo as a program: a gateway, three nodes, and one notebook from request to results."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import yaml
from rich.console import Console

from gateway.cli import render
from gateway.cli.demo.archive import Archive, ArchiveFile, archive
from gateway.cli.demo.asking import ask, demo_request
from gateway.cli.demo.cube import make_cube
from gateway.cli.demo.deciding import show_decision
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.federation import USERNAME, Federation, federation
from gateway.cli.demo.following import follow
from gateway.cli.demo.lake import DemoLake, lake_of
from gateway.cli.demo.leftovers import show_ledgers, show_released
from gateway.cli.demo.outcome import save_results
from gateway.cli.demo.platforms import PlatformName, demo_platform
from gateway.cli.demo.settings import CONFIG, NODES
from gateway.cli.demo.telling import WIDTH, step
from gateway.cli.errors import BrokerError
from gateway.cli.processes import ServiceError
from gateway.cli.requests import RequestFileError
from gateway.wire.documents import Document

INTERRUPTED: Final = 130
"""The exit code after a signal, as shells have it for the keyboard's."""

NOTEBOOK: Final = CONFIG / "demo" / "cube.ipynb"
"""The notebook that is run."""

CUBE: Final = "galaxy.fits"
"""What the notebook reads."""

_CHECK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ran:
    """The session that ran, what was asked for, and where what came out is."""

    session: UUID
    request: Document
    directory: Path


async def run(to: Console, arguments: argparse.Namespace) -> None:
    """The whole demo; raises when anything is not as it should be."""
    began = time.perf_counter()
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a coroutine that runs has its task")
    _on_signals(partial(_interrupt, task))
    async with demo_platform(arguments.platform, arguments.socket) as platform:
        to.print(f"Three node brokers ({', '.join(NODES)}) run {platform.description}.")
        to.print("Starting them, a gateway and an archive ...")
        files = await asyncio.to_thread(_files)
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(archive(files))
            lake = lake_of(store, CUBE)
            running = await stack.enter_async_context(federation(platform.section, lake))
            to.print(f"Ready after {time.perf_counter() - began:.1f} s at {running.gateway_url}")
            ran = await _show(to, running, store, lake)
            to.print()
            to.print(f"Done after {time.perf_counter() - began:.1f} s.")
            if arguments.keep:
                await _keep(to, running, ran)
        codes = ", ".join(f"{name} ({code})" for name, code in running.exit_codes.items())
        to.print(f"Stopped: {codes}")


def _files() -> list[ArchiveFile]:
    return [
        ArchiveFile(CUBE, make_cube(), "application/fits"),
        ArchiveFile("cube.ipynb", NOTEBOOK.read_bytes(), "application/x-ipynb+json"),
    ]


async def _show(to: Console, running: Federation, store: Archive, lake: DemoLake) -> Ran:
    """From the request to empty ledgers."""
    request = demo_request(store.url)
    async with running.client() as client:
        asked = await ask(to, client, request)
        await show_decision(to, client, asked, lake)
        best = asked.offers[0]
        session = UUID(best.uuid)
        step(to, f"Accept the best, {best.node} {session}, and follow its phases and its log")
        await client.accept(session)
        await follow(to, client, session)
        step(to, "What came out")
        directory = await save_results(to, client, session)
    sent = ", ".join(f"{name} {render.human_bytes(size)}" for name, size in store.fetched.items())
    to.print(f"  All that the archive sent: {sent}")
    step(to, "What became of the other offers, asked at their own nodes")
    await show_released(to, running, asked.offers[1:])
    await show_ledgers(to, running)
    return Ran(session, request, directory)


async def _keep(to: Console, running: Federation, ran: Ran) -> None:
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    asked = ran.directory / "request.yaml"
    asked.write_text(yaml.safe_dump(ran.request, sort_keys=False), encoding="utf-8")
    _show_urls(to, running, ran.session, asked)
    while not stopping.is_set():
        running.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_EVERY_S):
                await stopping.wait()


def _show_urls(to: Console, running: Federation, session: UUID, asked: Path) -> None:
    url = running.gateway_url
    step(to, "Left running, until you press Ctrl-C")
    to.print(f"  gateway  {url}    API browser {url}/docs")
    for name, node_url in running.node_urls.items():
        to.print(f"  {name:<8} {node_url}    API browser {node_url}/docs")
    to.print(f"  account  {USERNAME}, password {running.password}")
    to.print("Try, in another terminal:")
    account = f"EXECBROKER_USERNAME={USERNAME} EXECBROKER_PASSWORD={running.password}"
    command = Path(sys.executable).with_name("execbroker")
    curl = f"curl -L -u {USERNAME}:$EXECBROKER_PASSWORD -H 'Content-Type: application/yaml'"
    for line in (
        f"export EXECBROKER_URL={url} {account}",
        f"{command} submit {asked} --accept-best",
        f"{command} results {session}",
        f"{command} logs {session}",
        f"curl {url}/nodes",
        f"{curl} --data-binary @{asked} {url}/requests",
    ):
        to.print(f"  {line}", soft_wrap=True)


def _interrupt(task: "asyncio.Task[None]") -> None:
    """End the demo; a second signal does not keep it from clearing up."""
    _on_signals(lambda: None)
    task.cancel()


def _on_signals(call: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, call)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway.cli.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    parser.add_argument(
        "--platform",
        type=PlatformName,
        choices=list(PlatformName),
        default=PlatformName.LOCAL,
        help="what the nodes run sessions on (default: local)",
    )
    parser.add_argument("--socket", help="of the container engine, instead of DOCKER_HOST's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code: 0, or 1 when something is not as it should be."""
    arguments = _parser().parse_args(argv)
    to = render.console(sys.stdout)
    if not sys.stdout.isatty():
        to.width = WIDTH
    try:
        asyncio.run(run(to, arguments))
    except (DemoError, ServiceError, BrokerError, RequestFileError, OSError) as error:
        render.console(sys.stderr).print(render.safe(f"demo: {error}"), soft_wrap=True)
        return 1
    except asyncio.CancelledError:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
