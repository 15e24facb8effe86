"""Explore the accept protocol: ``python -m tests.model --schedules 100000``."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

from tests.model.bugs import BUGS
from tests.model.explore import Counts, Explorer
from tests.model.quiet import quieten
from tests.model.report import from_token, report, shown
from tests.model.scenarios import SCENARIOS, Scenario
from tests.model.store import SharedStore

EXIT_BROKEN = 1
"""A promise was broken."""


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    add = parser.add_argument
    add("--schedules", type=int, default=100_000, help="distinct schedules in all")
    add("--bound", type=int, default=3, help="faults and interruptions in one schedule")
    add("--walks", type=int, default=0, help="random schedules beyond the bound, each scenario")
    add("--seed", type=int, default=0, help="of the first walk")
    add("--scenario", action="append", help="only this one; may be given again")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    add("--replay", metavar="TOKEN", help="show one schedule")
    add("--bug", choices=[bug.name for bug in BUGS], help="replay with this bug seeded")
    return parser.parse_args(argv)


def named(name: str) -> Scenario:
    """The scenario of that name.

    Raises
    ------
    KeyError
        There is none.
    """
    return {scenario.name: scenario for scenario in SCENARIOS}[name]


def explored(name: str, bound: int, at_most: int, walks: range) -> tuple[str, Counts, str | None]:
    """What exploring one scenario came to, with the report of what it found."""
    quieten()
    with closing(SharedStore()) as store:
        explorer = Explorer(store, named(name))
        found = explorer.explore(bound, at_most) or explorer.walk(walks)
    return name, explorer.counts, report(found) if found else None


def replay(token: str, bug: str | None) -> int:
    """Show one schedule, and whether it keeps the promises."""
    name, choices = from_token(token)
    seeded = next((one for one in BUGS if one.name == bug), None)
    with closing(SharedStore()) as store:
        if seeded is not None:
            store.change(seeded.schema)
        parts = seeded.parts if seeded is not None else None
        outcome = Explorer(store, named(name), parts).replay(choices)
    print(shown(outcome, choices))
    return EXIT_BROKEN if outcome.broken else 0


def main(argv: Sequence[str]) -> int:
    """Explore, or show one schedule; the exit status."""
    arguments = _arguments(argv)
    quieten()
    if arguments.replay:
        return replay(arguments.replay, arguments.bug)
    names = arguments.scenario or [scenario.name for scenario in SCENARIOS]
    share = -(-arguments.schedules // len(names))
    walks = range(arguments.seed, arguments.seed + arguments.walks)
    began, total, is_broken = time.monotonic(), 0, False
    print(f"{'scenario':34} distinct joined   same    cut  depth  complete to   cpu s  ms each")
    with ProcessPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(explored, name, arguments.bound, share, walks) for name in names]
        for run in runs:
            name, counts, broken = run.result()
            total += counts.distinct
            each_ms = counts.cpu_s * 1000 / max(counts.distinct, 1)
            print(
                f"{name:34} {counts.distinct:8} {counts.joined:6} {counts.same:6} {counts.cut:6} "
                f"{counts.depth:6} {counts.complete:12} {counts.cpu_s:7.1f} {each_ms:8.2f}",
                flush=True,
            )
            if broken:
                is_broken = True
                print(broken)
    print(f"{total} distinct schedules in {time.monotonic() - began:.0f} s")
    return EXIT_BROKEN if is_broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
