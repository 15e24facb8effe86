"""``make bench``: the figures of performance.md's *Goals* for this gateway on this machine.

Prints them as a table beside their goals, writes them as JSON, and says which ratio has become
worse than the committed one. It takes some twenty minutes; ``--quick`` runs every part once, in one
or two, and says nothing about speed. ``--markdown`` prints the table for a document, and ``--show``
an earlier one. The exit status is 1 only where something became slower.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from tests.bench import (
    bench_decode,
    bench_fanout,
    bench_growth,
    bench_ledger,
    bench_memory,
    bench_nginx,
    bench_placement,
    bench_processes,
    bench_sockets,
    bench_startup,
    bench_tail,
    bench_transport,
)
from tests.bench.federation import NODES_CORE
from tests.bench.figures import (
    Figure,
    Verdict,
    figure_from,
    markdown,
    read,
    read_about,
    table,
    worse_than,
    written,
)
from tests.bench.measure import machine, pin, versions

HERE: Final = Path(__file__).parent
COMMITTED: Final = HERE / "committed.json"
"""The figures of an earlier run on a quiet machine: what this one is compared with."""

LATEST: Final = HERE / "results" / "latest.json"
"""Where the figures of this run are written; not committed."""

PARTS: Final = {
    "decode": bench_decode,
    "fanout": bench_fanout,
    "nginx": bench_nginx,
    "processes": bench_processes,
    "tail": bench_tail,
    "memory": bench_memory,
    "growth": bench_growth,
    "sockets": bench_sockets,
    "startup": bench_startup,
    "transport": bench_transport,
    "ledger": bench_ledger,
    "placement": bench_placement,
}


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _pairs(text: str) -> list[tuple[int, int]]:
    return [
        (int(one), int(other)) for one, _, other in (it.partition("x") for it in text.split(","))
    ]


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
    parser.add_argument("--nginx", type=_numbers, default=[64], help="nodes, beside nginx")
    parser.add_argument("--processes", type=_numbers, default=[16], help="nodes, of two processes")
    parser.add_argument("--answers", type=int, default=100, help="of each round of the tail")
    parser.add_argument("--live", type=_numbers, default=[1000, 10_000], help="sessions, from, to")
    parser.add_argument("--sockets", type=_numbers, default=[16, 256, 1000], help="nodes outside")
    parser.add_argument("--exchanges", type=_numbers, default=[1, 16, 64], help="nodes at once")
    parser.add_argument("--bookings", type=_numbers, default=[100, 1000, 100_000])
    parser.add_argument("--placed", type=_pairs, default=[(100, 1000), (1000, 100)], metavar="RxN")
    parser.add_argument("--markdown", action="store_true", help="print for a document")
    parser.add_argument("--show", type=Path, metavar="JSON", help="only print these figures")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds, options.calls, options.reads = 1, 0.2, 2, 2
        options.nodes, options.both, options.growth = [4], [4], [4, 40]
        options.asked, options.sessions = 40, [1000]
        options.nginx, options.processes, options.answers = [4], [4], 10
        options.live, options.sockets, options.exchanges = [8, 24], [2, 8], [4]
        options.bookings, options.placed = [100, 1000], [(100, 20)]
    return options


def measured(options: argparse.Namespace) -> list[Figure]:
    """The figures of every part that is wanted; says on standard error how long each took."""
    found: list[Figure] = []
    for name, part in PARTS.items():
        if options.only is None or name in options.only:
            began = monotonic()
            found += part.figures(options)
            print(f"{name}: {monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def shown(figures: Sequence[Figure], about: Mapping[str, str], *, is_markdown: bool) -> str:
    """The table."""
    if is_markdown:
        return markdown(figures, about)
    return "\n".join([table(figures), "", *about.values()])


def main(argv: Sequence[str]) -> int:
    """Measure, print and write; 1 where a ratio has become worse."""
    options = arguments(argv)
    if options.show is not None:
        figures = [figure_from(name, it) for name, it in read(options.show).items()]
        print(shown(figures, read_about(options.show), is_markdown=options.markdown))
        return 0
    pin(NODES_CORE)
    found = measured(options)
    about = {"machine": machine(), "versions": versions()}
    print(shown(found, about, is_markdown=options.markdown))
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
