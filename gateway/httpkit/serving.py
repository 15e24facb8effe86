"""One process that serves one application until it is told to end."""

import asyncio
import importlib
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import structlog
from aiohttp import web

from gateway.httpkit import garbage
from gateway.httpkit.connections import ProblemRunner
from gateway.httpkit.descriptors import raise_descriptor_limit
from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.tls import TlsSettings, served_with
from gateway.wire.documents import to_json

BACKLOG: Final = 1024
"""Connections the kernel holds while the event loop is busy; it cuts this to its own limit."""

CLOSE_TIMEOUT_S: Final = 1.0
"""What requests that outlive the drain get to end once they are cancelled."""

FIRST_WORDS_S: Final = 1.0
"""How long a connection that was taken in the last moment has to say what it wants."""

_LOOK_EVERY_S: Final = 0.01

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What tells a process to end."""

_STDIN: Final = 0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to

_log = structlog.get_logger()


class ListenError(Exception):
    """The address cannot be listened on; ``reason`` is the system's."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot listen: {reason}")
        self.reason = reason


def run(
    app: web.Application,
    listen: ListenAddress,
    drain_s: float,
    notice_s: float = 0.0,
    inherited: int | None = None,
    tls: TlsSettings | None = None,
) -> int:
    """Serve until told to end, on uvloop where it is installed; gives the exit status.

    ``inherited`` is a listening socket that a supervisor opened, served instead of ``listen``.
    With ``tls`` it is HTTPS.
    """
    raise_descriptor_limit()
    garbage.has_started()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(serve(app, listen, drain_s, notice_s, inherited, tls))
        except ListenError as error:
            _log.critical("cannot_listen", listen=str(listen), reason=error.reason)
            return 1
    return 0


async def serve(
    app: web.Application,
    listen: ListenAddress,
    drain_s: float,
    notice_s: float = 0.0,
    inherited: int | None = None,
    tls: TlsSettings | None = None,
) -> None:
    """Serve until a signal comes, then end what has begun, for ``drain_s`` at most.

    The first line on standard output says where, once connections are taken. From the first signal
    on ``/readyz`` says no and each connection is closed after its next answer; for ``notice_s``
    more new ones are taken all the same, so that whoever looks at ``/readyz`` can turn away before
    a connection is refused, and those that were taken last have a second to say what they want. A
    second signal ends every wait.

    Raises
    ------
    ListenError
    """
    async with AsyncExitStack() as stack:
        next_signal = stack.enter_context(_signals(ends_with_stdin=inherited is not None))
        runner = ProblemRunner(app, shutdown_timeout=CLOSE_TIMEOUT_S)
        try:
            await runner.setup()
            context = await stack.enter_async_context(served_with(tls))
            opened = listening(listen) if inherited is None else socket.socket(fileno=inherited)
            address = ListenAddress(listen.host, opened.getsockname()[1])
            site = web.SockSite(runner, opened, backlog=BACKLOG, ssl_context=context)
            await site.start()
            app[LIFECYCLE].begin_listening(announce(address, is_tls=tls is not None))
            await next_signal.wait()
            next_signal.clear()
            app[LIFECYCLE].begin_draining()
            _log.info("draining", notice_s=notice_s, drain_s=drain_s)
            await _signal_within(next_signal, notice_s)
            await site.stop()
            await _hear_out(runner, next_signal)
            await _drain(app, next_signal, drain_s)
        finally:
            await runner.cleanup()
    _log.info("stopped")


def listening(listen: ListenAddress) -> socket.socket:
    """A socket that takes connections; whoever asked closes it.

    Raises
    ------
    ListenError
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(error.strerror or str(error)) from error


async def _signal_within(next_signal: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await next_signal.wait()
    except TimeoutError:
        return


async def _hear_out(runner: ProblemRunner, next_signal: asyncio.Event) -> None:
    """Wait for the first requests of connections that were just taken: who was let in is answered.

    To close them would break what is on its way.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + FIRST_WORDS_S
    while loop.time() < until and not next_signal.is_set():
        # The loop may have taken one that it has told nobody of yet.
        await asyncio.sleep(_LOOK_EVERY_S)
        if not runner.has_newcomers:
            return


async def _drain(app: web.Application, next_signal: asyncio.Event, drain_s: float) -> None:
    lifecycle = app[LIFECYCLE]
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


def announce(address: ListenAddress, *, is_tls: bool) -> str:
    """Say on standard output that connections are taken, and where; gives the URL."""
    host = _WILDCARDS.get(address.host, address.host)
    url = f"{'https' if is_tls else 'http'}://{ListenAddress(host, address.port)}"
    sys.stdout.write(to_json({"event": "listening", "url": url}).decode() + "\n")
    sys.stdout.flush()
    _log.info("listening", url=url)
    return url


@contextmanager
def _signals(*, ends_with_stdin: bool) -> Iterator[asyncio.Event]:
    """An event that each of the signals sets, for as long as the context lasts.

    Also the end of standard input, if that is held by a supervisor: it has died then.
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def supervisor_gone() -> None:
        if not os.read(_STDIN, 1):
            loop.remove_reader(_STDIN)
            event.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, event.set)
    if ends_with_stdin:
        loop.add_reader(_STDIN, supervisor_gone)
    try:
        yield event
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        if ends_with_stdin:
            loop.remove_reader(_STDIN)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
