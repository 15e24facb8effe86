"""A gateway, the yardstick M and stub nodes, each in a process of its own, and load on them.

The nodes run beside the load on one core, gateway and M on the other. Stub nodes ignore how many
offers were asked for, so that most holds have to be let go again, each with a call of its own. That
work goes on behind the answers, and its part is told apart: what one hold costs is measured when no
requests come in any more, while the nodes still hear of the rest.
"""

import asyncio
import base64
import json
import statistics
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Final

from gateway.assembly.keeping import UNKEPT_AFTER_S
from gateway.settings import AskingSettings
from tests.bench.measure import Caller, Started, cpu_s, load, running

GATEWAY_CORE: Final = 0
NODES_CORE: Final = 1
PASSWORD: Final = "benchmark"
_AUTHORIZATION: Final = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Authorization": _AUTHORIZATION,
}
_CALLERS_TIMES_NODES: Final = 64
"""Exchanges with nodes under way at once, about: few nodes get more callers."""

_POLL_S: Final = 0.15
_IDLE_S: Final = 0.01
"""A process that uses less than a tenth of this time has nothing to do."""

REQUEST: Final = json.dumps(
    {
        "executable": {
            "kind": "https://www.purl.org/ivoa.net/Calycopis-openapi/schema/v1.0/kinds"
            "/executable/docker-container.yaml",
            "meta": {"name": "reduce", "description": "What the work is for. " * 40},
            "image": {
                "locations": ["registry.example.org/team/reduce:1.4"],
                "digest": "sha256:" + "6e" * 32,
            },
            "command": ["reduce", "--all"],
            "environment": {f"SETTING_{i}": "some value of it" for i in range(20)},
        }
    }
).encode()
"""A request of about 2 KB that asks for little, so that every offer is good enough."""


@dataclass(frozen=True, slots=True)
class Target:
    """A process that asks the nodes when asked."""

    process: Started
    url: str
    database: Path | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """One round: CPU used and holds let go until the last answer, and after it."""

    requests: int
    used_s: float
    holds: int
    used_after_s: float
    holds_after: int

    def asking_s(self, hold_s: float) -> float:
        """CPU for one request, without letting holds go at ``hold_s`` each."""
        return (self.used_s - self.holds * hold_s) / self.requests

    @property
    def all_s(self) -> float:
        """CPU for one request and all that it left to be done."""
        return (self.used_s + self.used_after_s) / self.requests

    @property
    def holds_per_request(self) -> float:
        """How many holds each request left to be let go."""
        return (self.holds + self.holds_after) / self.requests


def max_holds(nodes: int) -> int:
    """What a request has to be allowed to hold so that so many nodes are asked at once."""
    return max(AskingSettings().max_holds, 2 * nodes)


def gateway_config(urls: Sequence[str], transport: str, limit: int) -> str:
    """The settings file of a gateway in front of these nodes. JSON is YAML.

    All nodes are asked at once, ``limit`` offers are kept, and everybody is served, however late:
    what is not done costs nothing.
    """
    nodes = [
        {"name": f"node-{i:03}", "url": url, "site": "bench", "credentials": {"type": "none"}}
        for i, url in enumerate(urls)
    ]
    return json.dumps(
        {
            "listen": "127.0.0.1:0",
            "public_url": "http://127.0.0.1",
            "database": "sqlite:///gateway.db",
            "admin": {"username": "admin", "password_env": "BENCH_PASSWORD"},
            "nodes": nodes,
            "transport": {"type": transport},
            "shedding": {"high_lag_s": 5.0, "low_lag_s": 4.0},
            "federation": {
                "deadline_s": 20,
                "connect_s": 10,
                "limit": limit,
                "per_node": 2,
                "policy": "balanced",
            },
            "asking": {"all_up_to": len(urls), "max_holds": max_holds(len(urls))},
        }
    )


@dataclass(frozen=True, slots=True)
class Federation:
    """Stub nodes, and what can be started in front of them until the stack is closed.

    ``core`` is where that is kept; None for anywhere.
    """

    urls: Sequence[str]
    folder: Path
    stack: ExitStack
    core: int | None

    def baseline(self) -> Target:
        """M in front of the nodes."""
        command = ["-m", "tests.bench.baseline", *self.urls]
        started = self._started(command, "baseline")
        return Target(started, started.ready["url"])

    def gateway(self, transport: str = "lean", *, workers: int = 1, limit: int = 10) -> Target:
        """A gateway with an empty database, which speaks to the nodes in this way."""
        data = Path(tempfile.mkdtemp(dir=self.folder))
        config = data / "gateway.yaml"
        config.write_text(gateway_config(self.urls, transport, limit))
        command = ["-m", "gateway", "serve", "--config", str(config), "--data-dir", str(data)]
        if workers > 1:
            command += ["--workers", str(workers)]
        started = self._started(command, f"gateway-{transport}")
        return Target(started, started.ready["url"], data / "gateway.db")

    def _started(self, command: Sequence[str], name: str) -> Started:
        log = Path(tempfile.mkdtemp(dir=self.folder)) / f"{name}.log"
        env = {"BENCH_PASSWORD": PASSWORD}
        return self.stack.enter_context(running(command, log, core=self.core, env=env))


@contextmanager
def federation(
    count: int, *, delay_ms: float = 0.0, offers: int = 4, is_spread: bool = False
) -> Iterator[Federation]:
    """So many stub nodes, each of which answers so many offers after that time.

    Nodes have their core and what asks them has its own, unless everything ``is_spread``.
    """
    nodes_core, core = (None, None) if is_spread else (NODES_CORE, GATEWAY_CORE)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        command = ["-m", "tests.bench.stub_nodes", str(count), str(delay_ms), str(offers)]
        nodes = stack.enter_context(running(command, folder / "nodes.log", core=nodes_core))
        yield Federation(nodes.ready, folder, stack, core)


def releases(node_url: str) -> int:
    """How many holds the stub nodes were told to let go."""
    with urllib.request.urlopen(f"{node_url}/counts", timeout=5) as reply:
        counts: dict[str, int] = json.load(reply)
    return counts.get("REJECTED", 0)


def until_released(node_url: str) -> int:
    """Wait until no more holds are let go; how many there were."""
    before, now = -1, releases(node_url)
    while now != before:
        sleep(_POLL_S)
        before, now = now, releases(node_url)
    return now


async def callers_of(stack: AsyncExitStack, target: Target, count: int, path: str) -> list[Caller]:
    """Open connections to a target."""
    return [
        await stack.enter_async_context(Caller(target.url, path, REQUEST, HEADERS))
        for _ in range(count)
    ]


async def measure_cpu(target: Target, nodes: Sequence[str], seconds: float, path: str) -> Load:
    """Load the target for so long, then wait until it has let go of everything."""
    before = until_released(nodes[0])
    async with AsyncExitStack() as stack:
        count = max(2, min(16, _CALLERS_TIMES_NODES // len(nodes)))
        callers = await callers_of(stack, target, count, path)
        before_s = cpu_s(target.process.pid)
        done = await load(callers, seconds)
        then_s, then = cpu_s(target.process.pid), releases(nodes[0])
        after = until_released(nodes[0])
        after_s = cpu_s(target.process.pid)
    return Load(done, then_s - before_s, then - before, after_s - then_s, after - then)


async def until_idle(target: Target) -> None:
    """Wait until the target has nothing left to do. It lets go of holds only a while later."""
    await asyncio.sleep(UNKEPT_AFTER_S + _IDLE_S)
    used_s = _IDLE_S
    while used_s > _IDLE_S / 10:
        before_s = cpu_s(target.process.pid)
        await asyncio.sleep(_IDLE_S)
        used_s = cpu_s(target.process.pid) - before_s


async def measure_added_ms(
    targets: Sequence[Target], node_url: str, calls: int, path: str
) -> list[float]:
    """Median time of each target less that of a node, calls in turns, one at a time.

    What a target does behind its answer is over before the next is called.
    """
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(Caller(node_url, "/requests", REQUEST, HEADERS))
        callers = [(await callers_of(stack, target, 1, path))[0] for target in targets]
        times: list[list[float]] = [[] for _ in range(len(targets) + 1)]
        for _ in range(calls):
            times[0].append((await node.call())[0] * 1000)
            for taken, caller, target in zip(times[1:], callers, targets, strict=True):
                taken.append((await caller.call())[0] * 1000)
                await until_idle(target)
    base, *others = (statistics.median(taken) for taken in times)
    return [other - base for other in others]


async def check(target: Target, nodes: Sequence[str], path: str) -> None:
    """The gateway asked every node and heard offers from each."""
    async with Caller(target.url, path, REQUEST, HEADERS) as caller:
        _, body = await caller.call()
    coverage = json.loads(body)["federation"]["coverage"]
    if [entry["outcome"] for entry in coverage] != ["answered"] * len(nodes):
        message = f"not every node answered: {json.dumps(coverage)[:1000]}"
        raise RuntimeError(message)
