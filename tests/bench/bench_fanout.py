"""CPU per node answer, latency added, throughput and memory of the whole gateway.

Stub nodes answer four offers, 16 KB, from memory. Everything is told as a ratio to the bare aiohttp
fan-out M of ``baseline``, measured in turns in the same run: absolute figures say more about the
machine than about the gateway. Letting go of holds is told apart (see ``federation``).
"""

import argparse
import asyncio
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.federation import (
    Load,
    Target,
    callers_of,
    check,
    federation,
    measure_added_ms,
    measure_cpu,
)
from tests.bench.figures import Figure
from tests.bench.measure import load, memory_kib

TRANSPORTS: Final = ("lean", "aiohttp")
"""Both ways to speak to nodes, the default first."""

_DELAY_MS: Final = 10.0
"""What a node takes, for the latency: as long as a quick one of these takes in earnest."""

_LEAST_ADDED_MS: Final = 0.1
"""On a busy machine M may seem to add nothing, and then there is no ratio."""

_LEAST_HOLDS: Final = 30
"""So many have to be let go behind a load to say what one costs."""

_MEMORY_CALLERS: Final = 32
_MEMORY_NODES: Final = 64


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Everything, for every number of nodes."""
    found: list[Figure] = []
    for count in options.nodes:
        transports = TRANSPORTS if count in options.both else TRANSPORTS[:1]
        found += _cpu(count, transports, options)
        found += _latency(count, transports, options)
    if not options.quick:
        found += _memory(options)
    return found


def _cpu(count: int, transports: Sequence[str], options: argparse.Namespace) -> Iterator[Figure]:
    with federation(count) as nodes:
        targets = [nodes.baseline(), *(nodes.gateway(name) for name in transports)]
        for target in targets[1:]:
            asyncio.run(check(target, nodes.urls, "/requests"))
        for target in targets:
            asyncio.run(measure_cpu(target, nodes.urls, options.seconds / 2, "/requests"))
        rounds = [
            [
                asyncio.run(measure_cpu(one, nodes.urls, options.seconds, "/requests"))
                for one in targets
            ]
            for _ in range(options.rounds)
        ]
    base = [loads[0] for loads in rounds]
    for index, name in enumerate(transports, start=1):
        yield from _told(f"{name}, N={count}", base, [loads[index] for loads in rounds], count)


def _told(where: str, base: Sequence[Load], ours: Sequence[Load], count: int) -> Iterator[Figure]:
    """The figures of a gateway's rounds beside those of M."""
    each_hold_s = hold_s(ours)
    pairs = list(zip(base, ours, strict=True))
    yield Figure(
        f"cpu per answer, {where}",
        "x M",
        tuple(one.asking_s(each_hold_s) / m.all_s for m, one in pairs),
        note=f"{_us(one.asking_s(each_hold_s) / count for one in ours)}, "
        f"M {_us(m.all_s / count for m in base)}",
    )
    yield Figure(
        f"requests per CPU second, {where}",
        "x M",
        tuple(m.all_s / one.asking_s(each_hold_s) for m, one in pairs),
        is_better_more=True,
        note=f"{statistics.median(1 / one.asking_s(each_hold_s) for one in ours):.0f}/s",
    )
    if each_hold_s:
        per_answer = [m.all_s / count for m in base]
        yield Figure(
            f"letting one hold go, {where}",
            "x M",
            tuple(each_hold_s / each_s for each_s in per_answer),
            note=f"{ours[0].holds_per_request:.0f} a request",
        )


def _us(each_s: Iterable[float]) -> str:
    return f"{statistics.median(each_s) * 1e6:.0f} µs"


def hold_s(rounds: Sequence[Load]) -> float:
    """What one hold costs; nothing can be said where too few were let go behind the load."""
    holds = sum(one.holds_after for one in rounds)
    return sum(one.used_after_s for one in rounds) / holds if holds >= _LEAST_HOLDS else 0.0


def _latency(
    count: int, transports: Sequence[str], options: argparse.Namespace
) -> Iterator[Figure]:
    with federation(count, delay_ms=_DELAY_MS) as nodes:
        targets = [nodes.baseline(), *(nodes.gateway(name) for name in transports)]
        rounds = [
            asyncio.run(measure_added_ms(targets, nodes.urls[0], options.calls, "/requests"))
            for _ in range(options.rounds)
        ]
    for index, name in enumerate(transports, start=1):
        where = f"{name}, N={count}"
        yield Figure(f"added, {where}", "ms", tuple(added[index] for added in rounds))
        ratios = tuple(a[index] / a[0] for a in rounds if a[0] > _LEAST_ADDED_MS)
        if ratios:
            yield Figure(f"added latency, {where}", "x M", ratios)


def _memory(options: argparse.Namespace) -> Iterator[Figure]:
    peaks = []
    for _ in range(3):
        with federation(_MEMORY_NODES) as nodes:
            gateway = nodes.gateway(TRANSPORTS[0])
            asyncio.run(_crowd(gateway, options.seconds * options.rounds))
            peaks.append(memory_kib(gateway.process.pid, "VmHWM") / 1024)
    where = f"{TRANSPORTS[0]}, N={_MEMORY_NODES}"
    yield Figure(f"memory, {where}", "MB", tuple(peaks), note=f"peak, {_MEMORY_CALLERS} callers")


async def _crowd(target: Target, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        callers = await callers_of(stack, target, _MEMORY_CALLERS, "/requests")
        count = 2
        while count < _MEMORY_CALLERS:  # the gateway lets more in once it has seen that it can
            await load(callers[:count], seconds / 8)
            count *= 2
        await load(callers, seconds)
