"""CPU per node answer and added latency, of the whole gateway and of the fan-out alone.

Run as ``python -m tests.bench.bench_fanout``; it takes some three minutes. Stub nodes answer four
offers, 16 KB, from memory. Everything is told as a ratio to the bare aiohttp fan-out M of
``baseline``, measured in turns in the same run: absolute figures say more about the machine than
about the gateway. A ratio whose rounds vary by more than 8 % is not judged.

Stub nodes ignore how many offers were asked for, so that most holds have to be let go again, each
with a call of its own. That work goes on behind the answers, and its part is told apart: what one
hold costs is measured when no requests come in any more, while the nodes still hear of the rest.
"""

import argparse
import asyncio
import base64
import json
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Final

from tests.bench.measure import (
    MAX_VARIATION,
    Caller,
    NotStartedError,
    Started,
    cpu_s,
    load,
    pin,
    running,
    variation,
    versions,
)

GATEWAY_CORE: Final = 0
NODES_CORE: Final = 1
PASSWORD: Final = "benchmark"
_AUTHORIZATION: Final = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Authorization": _AUTHORIZATION,
}
_CALLERS_TIMES_NODES: Final = 64
"""Exchanges with nodes under way at once, about: few nodes get more callers."""

_LEAST_ADDED_MS: Final = 0.1
_LEAST_HOLDS: Final = 30
"""So many have to be let go behind a load to say what one costs."""

_POLL_S: Final = 0.15
_IDLE_S: Final = 0.01
"""A process that uses less than a tenth of this time has nothing to do."""

CPU_GOALS: Final = {16: 1.40, 64: 1.35}
"""CPU per node answer over M: measured 1.15 to 1.27 for a prototype of this shape, and 15 %."""

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


@dataclass(frozen=True, slots=True)
class Row:
    """Per-round figures for one number of nodes: M's and the gateway's.

    ``cpu_us`` is without letting holds go, ``all_cpu_us`` with it; ``hold_us`` is what one hold
    costs, None where too few were let go to say.
    """

    nodes: int
    base_cpu_us: Sequence[float]
    cpu_us: Sequence[float]
    all_cpu_us: Sequence[float] = ()
    holds: float = 0.0
    hold_us: float | None = None
    added_ms: Sequence[float] = field(default=())

    @property
    def ratios(self) -> list[float]:
        """CPU of the gateway over CPU of M, round by round."""
        return [ours / base for base, ours in zip(self.base_cpu_us, self.cpu_us, strict=True)]


def gateway_config(urls: Sequence[str]) -> str:
    """The settings file of a gateway in front of these nodes. JSON is YAML."""
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
            "federation": {"deadline_s": 20, "limit": 10, "per_node": 2, "policy": "balanced"},
        }
    )


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
        await stack.enter_async_context(Caller(target.url, path, REQUEST, _HEADERS))
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


def row_of(nodes: int, base: Sequence[Load], ours: Sequence[Load], added_ms: list[float]) -> Row:
    """The figures of a gateway's rounds beside those of M."""
    holds_after = sum(one.holds_after for one in ours)
    hold_s = None
    if holds_after >= _LEAST_HOLDS:
        hold_s = sum(one.used_after_s for one in ours) / holds_after
    per_answer = 1e6 / nodes
    return Row(
        nodes,
        [one.all_s * per_answer for one in base],
        [one.asking_s(hold_s or 0.0) * per_answer for one in ours],
        [one.all_s * per_answer for one in ours],
        statistics.median(one.holds_per_request for one in ours),
        None if hold_s is None else hold_s * 1e6,
        added_ms,
    )


async def until_idle(target: Target) -> None:
    """Wait until the target has nothing left to do."""
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
        node = await stack.enter_async_context(Caller(node_url, "/requests", REQUEST, _HEADERS))
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
    async with Caller(target.url, path, REQUEST, _HEADERS) as caller:
        _, body = await caller.call()
    coverage = json.loads(body)["federation"]["coverage"]
    if [entry["outcome"] for entry in coverage] != ["answered"] * len(nodes):
        message = f"not every node answered: {json.dumps(coverage)[:1000]}"
        raise RuntimeError(message)


def process_row(count: int, options: argparse.Namespace, folder: Path) -> Row:
    """Measure the gateway process with so many nodes.

    Raises
    ------
    NotStartedError
        A process did not come up.
    """
    with ExitStack() as stack:

        def stubs(delay_ms: float) -> list[str]:
            command = ["-m", "tests.bench.stub_nodes", str(count), str(delay_ms)]
            command.append(str(options.offers))
            log = folder / f"nodes-{count}-{delay_ms}.log"
            urls: list[str] = stack.enter_context(running(command, log, core=NODES_CORE)).ready
            return urls

        def targets(name: str, urls: Sequence[str]) -> list[Target]:
            base = stack.enter_context(
                running(
                    ["-m", "tests.bench.baseline", *urls],
                    folder / f"baseline-{name}.log",
                    core=GATEWAY_CORE,
                )
            )
            data = folder / name
            data.mkdir()
            config = data / "gateway.yaml"
            config.write_text(gateway_config(urls))
            command = ["-m", "gateway", "serve", "--config", str(config), "--data-dir", str(data)]
            gateway = stack.enter_context(
                running(
                    command,
                    folder / f"gateway-{name}.log",
                    core=GATEWAY_CORE,
                    env={"BENCH_PASSWORD": PASSWORD},
                )
            )
            return [Target(base, base.ready["url"]), Target(gateway, gateway.ready["url"])]

        path = "/requests" + options.query
        urls = stubs(0)
        base, gateway = targets(f"{count}-cpu", urls)
        asyncio.run(check(gateway, urls, path))
        for target in (base, gateway):
            asyncio.run(measure_cpu(target, urls, 0.5, path))
        rounds = [
            [asyncio.run(measure_cpu(t, urls, options.seconds, path)) for t in (base, gateway)]
            for _ in range(options.rounds)
        ]
        slow = stubs(options.delay_ms)
        added = asyncio.run(
            measure_added_ms(targets(f"{count}-latency", slow), slow[0], options.calls, path)
        )
    return row_of(count, [base for base, _ in rounds], [ours for _, ours in rounds], added)


def service_row(count: int, options: argparse.Namespace, folder: Path) -> Row:
    """Measure the fan-out service alone with so many nodes."""
    with ExitStack() as stack:
        stub = ["-m", "tests.bench.stub_nodes", str(count), "0", str(options.offers)]
        log = folder / f"nodes-{count}.log"
        urls = stack.enter_context(running(stub, log, core=NODES_CORE)).ready
        callers = max(2, min(16, _CALLERS_TIMES_NODES // count))
        command = ["-m", "tests.bench.service_level"]
        command += [str(options.rounds), str(options.seconds), str(callers), *urls]
        wait_s = 30 + 4 * options.rounds * options.seconds
        log = folder / f"service-{count}.log"
        child = running(command, log, core=GATEWAY_CORE, wait_s=wait_s)
        pairs = stack.enter_context(child).ready
    per_answer = [[cpu / count * 1e6 for cpu in pair] for pair in pairs]
    return Row(count, [base for base, _ in per_answer], [ours for _, ours in per_answer])


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table of rows."""
    print(f"\n{title}")
    print("nodes | CPU, us/answer | ratio, median (variation) | holds let go   | all  | added, ms")
    print("      |     M     ours |                           | a request, us  | of M |    M  ours")
    for row in rows:
        base, ours = statistics.median(row.base_cpu_us), statistics.median(row.cpu_us)
        line = f"{row.nodes:5} | {base:5.0f} {ours:8.0f} | {verdict(row):25} |"
        if row.all_cpu_us:
            each = "-" if row.hold_us is None else f"{row.hold_us:.0f}"
            line += f" {row.holds:7.1f} {each:>6} |"
            line += f" {statistics.median(row.all_cpu_us) / base:4.1f} |"
        if row.added_ms:
            base_ms, ours_ms = row.added_ms
            line += f" {base_ms:4.1f} {ours_ms:5.1f}"
            # On a busy machine M may seem to add nothing, and then there is no ratio.
            if base_ms > _LEAST_ADDED_MS:
                line += f" = {ours_ms / base_ms:.2f} M"
        print(line)


def verdict(row: Row) -> str:
    """The median ratio, how much it varies, and how that compares with the goal."""
    ratio, spread = statistics.median(row.ratios), variation(row.ratios)
    text = f"{ratio:5.2f} ({spread:4.0%})"
    if spread > MAX_VARIATION:
        return f"{text} unsteady"
    goal = CPU_GOALS.get(row.nodes)
    if goal is None:
        return text
    return f"{text} {'within' if ratio <= goal else 'above'} {goal:.2f}"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--nodes", default="1,4,16,64", help="numbers of nodes")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each round")
    parser.add_argument("--calls", type=int, default=25, help="for the latency")
    parser.add_argument("--delay-ms", type=float, default=10.0, help="of the nodes, for latency")
    parser.add_argument("--offers", type=int, default=4, help="in each node's answer")
    parser.add_argument("--query", default="", help='for example "?limit=1000&per_node=5"')
    parser.add_argument("--only", choices=("process", "service"))
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure and print; 1 if the gateway process could not be measured."""
    options = arguments(argv)
    pin(NODES_CORE)
    counts = [int(text) for text in options.nodes.split(",")]
    print(versions())
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "process":
            rows = [service_row(count, options, folder) for count in counts]
            show("The fan-out with decoding, against the bare fan-out in the same process", rows)
        if options.only != "service":
            try:
                rows = [process_row(count, options, folder) for count in counts]
            except NotStartedError as error:
                print(f"\nThe gateway process was not measured, it did not start: {error}")
                failed = 1
            else:
                show("The gateway process, against the least aiohttp gateway", rows)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
