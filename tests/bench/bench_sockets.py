"""What a request costs by how many nodes there are, with a connection to each of them.

As ``bench_growth`` tells it for simulated nodes: everything that a request leaves to be done is
counted, for each node asked, as a ratio to the least number of nodes.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from tests.bench.federation import check, federation, measure_cpu
from tests.bench.figures import Figure
from tests.bench.measure import may_open

_FILES_PER_NODE: Final = 8
"""Connections to each node at once, in the gateway and in the process of the nodes: those of two
requests, of what they let go, and of watching."""

_OTHER_FILES: Final = 512


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """CPU for each node asked, by number of nodes."""
    least, *_ = sorted(options.sockets)
    names = {count: f"cpu per node asked over sockets, {count} nodes" for count in options.sockets}
    unit = f"x {least} nodes"
    files = max(options.sockets) * _FILES_PER_NODE + _OTHER_FILES
    if not may_open(files):
        return [Figure(name, unit, (), note="too few open files") for name in names.values()]
    rounds = _rounds(options)
    return [
        Figure(
            name,
            unit,
            tuple(one[count] / one[least] for one in rounds),
            note=f"{statistics.median(one[count] for one in rounds) * 1e6:.0f} µs",
        )
        for count, name in names.items()
    ]


def _rounds(options: argparse.Namespace) -> list[dict[int, float]]:
    """CPU seconds for each node asked, by number of nodes, in turns."""
    with ExitStack() as stack:
        found = []
        for count in options.sockets:
            nodes = stack.enter_context(federation(count, offers=2))
            gateway = nodes.gateway()
            for _ in range(2):
                asyncio.run(check(gateway, nodes.urls, "/requests"))
            found.append((nodes, gateway))
        return [
            {
                len(nodes.urls): asyncio.run(
                    measure_cpu(gateway, nodes.urls, options.seconds, "/requests")
                ).all_s
                / len(nodes.urls)
                for nodes, gateway in found
            }
            for _ in range(options.rounds)
        ]
