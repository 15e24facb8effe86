"""The command ``execbroker-node misbehave``."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from gateway.httpkit.listen_address import ListenAddress
from gateway.httpkit.logs import configure_logging
from gateway.wire.documents import to_json
from node_stub.misbehave.catalogue import ENTRIES
from node_stub.misbehave.exchange import Asked
from node_stub.misbehave.mixing import Mixture, Share
from node_stub.misbehave.serving import refusing, serving

REFUSE: Final = "refuse"
"""The behaviour that has no server."""

EXIT_CANNOT_LISTEN: Final = 1

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log = structlog.stdlib.get_logger(__name__)


def run(options: argparse.Namespace) -> int:
    """Misbehave until SIGTERM or SIGINT, or say how one can; the exit status."""
    if options.list:
        sys.stdout.writelines(f"{line}\n" for line in listing())
        return 0
    configure_logging(json=not sys.stderr.isatty(), level="info")
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        reason = error.strerror or str(error)
        _log.critical("cannot_listen", listen=str(options.listen), reason=reason)
        return EXIT_CANNOT_LISTEN
    return 0


def listing() -> Iterator[str]:
    """One line for each behaviour: its name, what it does, and its time if it has one."""
    width = max(map(len, ENTRIES))
    for name, entry in ENTRIES.items():
        yield f"{name:{width}}  {entry.text}"


async def _serve(options: argparse.Namespace) -> None:
    listen: ListenAddress = options.listen
    shares: Sequence[Share] = options.shares
    with _ending() as ended:
        if [share.name for share in shares] == [REFUSE]:
            with refusing(listen.host, listen.port) as url:
                _announce(url)
                await ended.wait()
            return
        mixture = Mixture(shares, offers=options.offers, delay_s=options.delay_s, seed=options.seed)
        async with serving(mixture, listen.host, listen.port, on_asked=_note) as url:
            _announce(url)
            await ended.wait()


def _announce(url: str) -> None:
    sys.stdout.write(to_json({"event": "listening", "url": url}).decode() + "\n")
    sys.stdout.flush()
    _log.info("listening", url=url)


def _note(asked: Asked) -> None:
    _log.info("asked", method=asked.method, path=asked.path, turn=asked.turn)


@contextmanager
def _ending() -> Iterator[asyncio.Event]:
    """An event that a signal to end sets."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
