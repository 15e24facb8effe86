"""Whether one slow answer in fifty makes the client's answer slow.

Sixteen sites, of whose answers one in fifty takes half a second. With a deadline of 100 ms the
answer comes without them; with second tries it is complete. The goals of performance.md are those
of sites that otherwise take 20 ms each; beside them stands what comes of 5 to 30 ms.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tests.bench.bench_sites import COLD, Federation, federation, one_after_the_other
from tests.bench.figures import Figure
from tests.bench.site_nodes import QUICKEST_S, SLOWEST_S

SITES: Final = 16
STUMBLES: Final = 0.02
STEADY_S: Final = 0.02
"""What a site takes otherwise, where there is a goal."""

_WAYS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "tail, deadline of 100 ms": ("p90", {"deadline_s": 0.1, "hedge_share": 0.0}),
    "tail, second tries": ("p99", {}),
}
_TIMES: Final = {"p90": 1, "p99": 4}
"""A second try is slow as well for six answers in a thousand: in a round of one hundred the longest
would tell of that, and not the 99th percentile."""

_SPANS_S: Final = {"": (STEADY_S, STEADY_S), ", sites of 5 to 30 ms": (QUICKEST_S, SLOWEST_S)}


def figures(options: argparse.Namespace) -> Sequence[Figure]:
    """The long answers of each way, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cells: list[tuple[str, str, Federation]] = []
        for span_name, took_s in list(_SPANS_S.items())[: 1 if options.quick else None]:
            for way, (which, given) in _WAYS.items():
                cell = folder / str(len(cells))
                cell.mkdir()
                where = stack.enter_context(
                    federation(SITES, 0.0, cell, stumbles=STUMBLES, took_s=took_s, **given)
                )
                asyncio.run(one_after_the_other(where, 3 * COLD))  # until habits are known
                cells.append((f"{way}{span_name}: {which}", which, where))
        rounds = [
            [_round(where, which, options.answers * _TIMES[which]) for _, which, where in cells]
            for _ in range(options.rounds)
        ]
    return [
        Figure(name, "ms", tuple(one[index][0] for one in rounds), note=_note(rounds, index))
        for index, (name, _, _) in enumerate(cells)
    ]


def _round(where: Federation, which: str, requests: int) -> tuple[float, float]:
    """The long answer, and the share of answers in which no site is missing."""
    _, found = asyncio.run(one_after_the_other(where, requests))
    return float(getattr(found, which)), found.complete


def _note(rounds: Sequence[Sequence[tuple[float, float]]], index: int) -> str:
    complete = sum(one[index][1] for one in rounds) / len(rounds)
    return f"{complete:.0%} complete"
