"""How much more two gateway processes do than one, on two cores that they share with the nodes.

Nodes, load and gateways may run anywhere, as they do for a user. A limit as high as what the nodes
offer leaves no holds to be let go, so that nothing of a round is done in the next one.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Final

from tests.bench.federation import Federation, Target, callers_of, check, federation, until_idle
from tests.bench.figures import Figure
from tests.bench.measure import cores, load, pinned

WORKERS: Final = 2

_CALLERS: Final = 16
"""Enough for both processes to have work, whichever of them a connection came to."""

_OFFERS: Final = 2


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """Requests per second of two processes to those of one."""
    if cores() < WORKERS:
        why = f"there are fewer than {WORKERS} cores"
        return [Figure(_name(count), "x one", (), True, why) for count in options.processes]
    with pinned(None):
        return [_ratio(count, options) for count in options.processes]


def _name(count: int) -> str:
    return f"two processes to one, N={count}"


def _ratio(count: int, options: argparse.Namespace) -> Figure:
    with federation(count, offers=_OFFERS, is_spread=True) as nodes:
        limit = count * _OFFERS
        targets = [_ready(nodes, workers, limit) for workers in (1, WORKERS)]
        rounds = [
            [asyncio.run(_per_s(target, 2 * options.seconds)) for target in targets]
            for _ in range(options.rounds)
        ]
    one = statistics.median(single for single, _ in rounds)
    return Figure(
        _name(count),
        "x one",
        tuple(both / single for single, both in rounds),
        is_better_more=True,
        note=f"one {one:.0f}/s",
    )


def _ready(nodes: Federation, workers: int, limit: int) -> Target:
    """A gateway that knows its nodes and lets in all callers."""
    target = nodes.gateway(workers=workers, limit=limit)
    asyncio.run(check(target, nodes.urls, "/requests"))
    asyncio.run(_per_s(target, 1.0))
    return target


async def _per_s(target: Target, seconds: float) -> float:
    """Requests per second, of callers that ask again at once."""
    async with AsyncExitStack() as stack:
        callers = await callers_of(stack, target, _CALLERS, "/requests")
        began = perf_counter()
        done = await load(callers, seconds)
        took_s = perf_counter() - began
    await until_idle(target)
    return done / took_s
