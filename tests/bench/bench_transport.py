"""What one exchange with a node costs, by transport: CPU time of the gateway's side alone.

A part of ``python -m tests.bench.run``; run as ``python -m tests.bench.bench_transport``, ``serve
PORTS [CERTIFICATE]`` is its other end, a process on the other core that answers 14 KB to each
request, and ``rest`` holds connections. Every round asks N nodes at once, again and again;
transports and loops take turns.
"""

import argparse
import asyncio
import gc
import json
import os
import ssl
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from time import monotonic
from typing import Final

import uvloop

from gateway.clients.exchange import NodeTransport, Timeouts
from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transport import AiohttpTransport
from gateway.clients.transports import transport_of
from gateway.settings import TransportSettings, TransportType
from tests.bench.federation import GATEWAY_CORE, NODES_CORE
from tests.bench.figures import Figure
from tests.bench.measure import cpu_s, pinned, running
from tests.support.authority import Authority

ROUND_S: Final = 0.4
"""One round: some thousand exchanges."""

IDLE_PER_NODE: Final = 16
"""With 64 nodes a thousand connections: their memory is far above the noise of the allocator."""

REFERENCE: Final = "aiohttp asyncio"
"""What the others are compared with, round by round."""

_BODY: Final = b"{" + b" " * 14_200 + b"}"
_REPLY: Final = (
    b"HTTP/1.1 303 See Other\r\nContent-Type: application/json\r\nLocation: /offersets/1\r\n"
    b"Date: Fri, 27 Nov 2026 22:41:44 GMT\r\nServer: bench\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_BODY), _BODY)
_REQUEST: Final = b"{" + b" " * 2_500 + b"}"
_HEADERS: Final = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "X-Request-Id": "4f9c2f2e-7b6b-4c39-9c4f-0f1d5c1f7a11",
    "Idempotency-Key": "4f9c2f2e-7b6b-4c39-9c4f-0f1d5c1f7a12",
    "Federation-Path": "gateway",
    "Federation-Budget-Ms": "4999",
}


class _Answering(asyncio.Protocol):
    """Answers whenever a request's body, which is all that ends in a brace, has ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._transport.write(_REPLY)


async def serve(ports: int, certificate: Path | None) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    found = []
    for _ in range(ports):
        server = await loop.create_server(_Answering, "127.0.0.1", 0, ssl=context, backlog=512)
        found.append(server.sockets[0].getsockname()[1])
    print(json.dumps(found), flush=True)
    gc.freeze()
    await asyncio.Event().wait()


async def ask_all(transport: NodeTransport, urls: Sequence[str], seconds: float) -> int:
    """Ask all at once, again and again; the number of exchanges."""
    loop = asyncio.get_running_loop()
    done = 0

    async def ask(url: str) -> None:
        timeouts = Timeouts(loop.time() + 60, 30.0)  # a busy machine is no fault
        reply = await transport.exchange("POST", url, _HEADERS, _REQUEST, timeouts=timeouts)
        assert len(reply.body) == len(_BODY)

    until = monotonic() + seconds
    while monotonic() < until:
        await asyncio.gather(*map(ask, urls))
        done += len(urls)
    return done


@dataclass(slots=True)
class Contender:
    """A transport on a loop of its own, open for as long as the run lasts."""

    name: str
    runner: asyncio.Runner
    transport: LeanTransport | AiohttpTransport

    def round(self, urls: Sequence[str], seconds: float) -> float:
        """CPU microseconds of an exchange."""
        before = cpu_s(os.getpid())
        done = self.runner.run(ask_all(self.transport, urls, seconds))
        return (cpu_s(os.getpid()) - before) / done * 1e6

    def close(self) -> None:
        """End its connections and its loop."""
        self.runner.run(self.transport.__aexit__(None, None, None))
        self.runner.close()


@contextmanager
def opened(ca_file: Path) -> Iterator[list[Contender]]:
    """Each transport on each loop, until the block ends."""
    with ExitStack() as stack:
        found = []
        for loop_name, factory in (
            ("asyncio", asyncio.new_event_loop),
            ("uvloop", uvloop.new_event_loop),
        ):
            for kind in TransportType:
                transport = transport_of(TransportSettings(kind, ca_file=ca_file))
                runner = asyncio.Runner(loop_factory=factory)
                runner.run(transport.__aenter__())
                contender = Contender(f"{kind.value} {loop_name}", runner, transport)
                stack.callback(contender.close)
                found.append(contender)
        yield found


def _measured(
    contenders: Sequence[Contender], urls: Sequence[str], count: int, options: argparse.Namespace
) -> Iterator[Figure]:
    """Let all take turns with so many nodes."""
    rounds: dict[str, list[float]] = {each.name: [] for each in contenders}
    round_s = min(ROUND_S, options.seconds)
    for each in contenders:
        each.round(urls[:count], round_s / 4)
    for _ in range(options.rounds):
        for each in contenders:
            rounds[each.name].append(each.round(urls[:count], round_s))
    scheme = urls[0].partition(":")[0]
    for name, values in rounds.items():
        if name != REFERENCE:
            yield Figure(
                f"{scheme} exchange, {name}, N={count}",
                f"x {REFERENCE}",
                tuple(map(truediv, values, rounds[REFERENCE])),
                note=f"{statistics.median(values):.0f} µs",
            )


async def rest(kind: TransportType, ca_file: Path, urls: Sequence[str]) -> None:
    """Say how many bytes a connection at rest takes, and wait for the end."""
    page = os.sysconf("SC_PAGE_SIZE")

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    async with transport_of(TransportSettings(kind, ca_file=ca_file)) as transport:
        await ask_all(transport, urls, 0.05)
        before = resident()
        for url in urls:
            await ask_all(transport, [url] * IDLE_PER_NODE, 0.01)
        print((resident() - before) / (len(urls) * (IDLE_PER_NODE - 1)), flush=True)
        await asyncio.Event().wait()


def _at_rest(urls: Sequence[str], ca_file: Path, folder: Path) -> Iterator[Figure]:
    """What a connection at rest takes, each transport in a process of its own."""
    scheme = urls[0].partition(":")[0]
    for kind in TransportType:
        command = ["-m", "tests.bench.bench_transport", "rest", kind.value, str(ca_file), *urls]
        with running(command, folder / f"{scheme}-{kind.value}.log", wait_s=120) as resting:
            kib = resting.ready / 1024
        yield Figure(f"{scheme} connection at rest, {kind.value}", "KiB", (kib,))


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Every transport on every loop, plain and with TLS, and its connections at rest."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as name, pinned(GATEWAY_CORE):
        folder = Path(name)
        authority = Authority(folder)
        for scheme, more in (("http", []), ("https", [str(authority.certify("127.0.0.1"))])):
            ports = str(max(options.exchanges))
            command = ["-m", "tests.bench.bench_transport", "serve", ports, *more]
            with running(command, folder / f"{scheme}.log", core=NODES_CORE) as server:
                urls = [f"{scheme}://127.0.0.1:{port}/requests" for port in server.ready]
                with opened(authority.file) as contenders:
                    for count in options.exchanges:
                        found += _measured(contenders, urls, count, options)
                if not options.quick:
                    found += _at_rest(urls, authority.file, folder)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
    else:
        asyncio.run(rest(TransportType(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
