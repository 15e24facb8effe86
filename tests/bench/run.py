"""``make bench``: the figures of performance.md's *Goals* for this gateway on this machine.

Prints them as a table beside their goals, writes them as JSON, and says which ratio has become
worse than the committed one. It takes some ten minutes; ``--quick`` runs every part once, in less
than one, and says nothing about speed. The exit status is 1 only where something became slower.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from platform import machine, platform
from typing import Final

from tests.bench import bench_decode, bench_fanout, bench_growth
from tests.bench.federation import NODES_CORE
from tests.bench.figures import Verdict, read, table, worse_than, written
from tests.bench.measure import pin, versions

HERE: Final = Path(__file__).parent
COMMITTED: Final = HERE / "committed.json"
"""The figures of an earlier run on a quiet machine: what this one is compared with."""

LATEST: Final = HERE / "results" / "latest.json"
"""Where the figures of this run are written; not committed."""

PARTS: Final = {"decode": bench_decode, "fanout": bench_fanout, "growth": bench_growth}


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What to measure, and how long."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="run everything once, judge nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("--json", type=Path, default=LATEST, help="where to write the figures")
    parser.add_argument("--against", type=Path, default=COMMITTED, help="figures to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of load")
    parser.add_argument("--calls", type=int, default=12, help="of each round of the latency")
    parser.add_argument("--nodes", type=_numbers, default=[1, 4, 16, 64, 256])
    parser.add_argument("--both", type=_numbers, default=[16, 64], help="with aiohttp as well")
    parser.add_argument("--growth", type=_numbers, default=[16, 100, 1000], help="nodes inside")
    parser.add_argument("--asked", type=int, default=1600, help="node answers of each round inside")
    parser.add_argument("--sessions", type=_numbers, default=[10_000, 100_000], help="kept")
    parser.add_argument("--reads", type=int, default=20, help="of each round with kept sessions")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds, options.calls, options.reads = 1, 0.2, 2, 2
        options.nodes, options.both, options.growth = [1, 4], [4], [4, 40]
        options.asked, options.sessions = 40, [1000]
    return options


def main(argv: Sequence[str]) -> int:
    """Measure, print and write; 1 where a ratio has become worse."""
    options = arguments(argv)
    pin(NODES_CORE)
    found = [
        figure
        for name, part in PARTS.items()
        if options.only is None or name in options.only
        for figure in part.figures(options)
    ]
    print(table(found))
    about = {"versions": versions(), "machine": f"{platform()} {machine()}"}
    written(options.json, found, about)
    if options.quick:
        return 0
    worse = worse_than(read(options.against), found)
    for line in worse:
        print(f"slower than before: {line}")
    unsteady = sum(figure.verdict() is Verdict.UNSTEADY for figure in found)
    if unsteady:
        print(f"{unsteady} figures were too unsteady to be judged: the machine was busy")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
