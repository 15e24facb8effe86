"""One process that serves one application until it is told to end."""

import asyncio
import gc
import importlib
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from aiohttp import web

from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.server_settings import ListenAddress
from gateway.wire.documents import to_json

BACKLOG: Final = 1024
"""Connections the kernel holds while the event loop is busy; it cuts this to its own limit."""

CLOSE_TIMEOUT_S: Final = 1.0
"""What requests that outlive the drain get to end once they are cancelled."""

GC_THRESHOLD: Final = 50_000
"""Objects made before a look for garbage. The usual 700 are made many times over in one request,
all of them still needed: at that, looking takes a tenth of the time.
"""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to

_log = structlog.get_logger()


class ListenError(Exception):
    """The address cannot be listened on; ``reason`` is the system's."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot listen: {reason}")
        self.reason = reason


def run(app: web.Application, listen: ListenAddress, drain_s: float) -> int:
    """Serve until SIGTERM or SIGINT, on uvloop where it is installed; gives the exit status."""
    # The application itself is no garbage until the end.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(serve(app, listen, drain_s))
        except ListenError as error:
            _log.critical("cannot_listen", listen=str(listen), reason=error.reason)
            return 1
    return 0


async def serve(app: web.Application, listen: ListenAddress, drain_s: float) -> None:
    """Serve until a signal comes, then end what has begun, for ``drain_s`` at most.

    The first line on standard output says where, once connections are taken. After the first
    signal no new connections are taken, ``/readyz`` says so on those still open, and each is
    closed after its next answer; a second signal ends the wait.

    Raises
    ------
    ListenError
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
    with _signals() as next_signal:
        try:
            await runner.setup()
            site = web.TCPSite(runner, listen.host, listen.port, backlog=BACKLOG)
            try:
                await site.start()
            except OSError as error:
                raise ListenError(error.strerror or str(error)) from error
            _announce(ListenAddress(listen.host, site.port))
            await next_signal.wait()
            next_signal.clear()
            await site.stop()
            await _drain(app, next_signal, drain_s)
        finally:
            await runner.cleanup()
    _log.info("stopped")


async def _drain(app: web.Application, next_signal: asyncio.Event, drain_s: float) -> None:
    lifecycle = app[LIFECYCLE]
    lifecycle.begin_draining()
    _log.info("draining", drain_s=drain_s)
    waits = [
        asyncio.ensure_future(lifecycle.wait_idle()),
        asyncio.ensure_future(next_signal.wait()),
    ]
    try:
        done, _ = await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if waits[0] not in done:
        _log.warning("drain_cut_short")


def _announce(address: ListenAddress) -> None:
    host = _WILDCARDS.get(address.host, address.host)
    url = f"http://{ListenAddress(host, address.port)}"
    sys.stdout.write(to_json({"event": "listening", "url": url}).decode() + "\n")
    sys.stdout.flush()
    _log.info("listening", url=url)


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that each of the signals sets, for as long as the context lasts."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
