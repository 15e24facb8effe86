"""What was measured, held against the goals and against what was measured before.

A figure is told in what does not depend on the machine, mostly as a ratio to a yardstick measured
in turns in the same run. One whose rounds vary by more than 8 % is not judged: a shared machine
then says nothing.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.bench.measure import MAX_VARIATION, variation

MAX_WORSE: Final = 0.15
"""A figure worse than the committed one by more than this share has become slower: half of it is
what good runs differ by."""


_LEAST_ROUNDS: Final = 3


class Verdict(StrEnum):
    """What a figure says."""

    MET = "met"
    MISSED = "missed"
    UNSTEADY = "unsteady"
    NOT_MEASURED = "not measured"
    NO_GOAL = "-"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be: at most ``limit``, or at least where ``is_least``."""

    limit: float
    is_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value >= self.limit if self.is_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured, round by round. ``unit`` is ``x M`` for ratios to the yardstick.

    ``is_better_more`` for figures of which more is better; ``note`` is for readers. Without rounds
    it could not be measured here, and the note says why.
    """

    name: str
    unit: str
    rounds: tuple[float, ...]
    is_better_more: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds, if there are any."""
        return statistics.median(self.rounds)

    @property
    def is_steady(self) -> bool:
        """Whether the rounds agree well enough to be judged; fewer than three say nothing."""
        return len(self.rounds) >= _LEAST_ROUNDS and variation(self.rounds) <= MAX_VARIATION

    def verdict(self) -> Verdict:
        """How it stands to its goal."""
        if not self.rounds:
            return Verdict.NOT_MEASURED
        goal = GOALS.get(self.name)
        if goal is None:
            return Verdict.NO_GOAL
        if not self.is_steady:
            return Verdict.UNSTEADY
        return Verdict.MET if goal.is_met(self.value) else Verdict.MISSED

    def to_document(self) -> dict[str, Any]:
        """As it is written down."""
        return {
            "unit": self.unit,
            "value": round(self.value, 4) if self.rounds else None,
            "variation": round(variation(self.rounds), 4),
            "rounds": [round(one, 4) for one in self.rounds],
            "is_better_more": self.is_better_more,
            "verdict": self.verdict().value,
            "note": self.note,
        }


GOALS: Final[Mapping[str, Goal]] = {
    # Measured for a prototype of this shape, and 15 % (performance.md, Goals).
    "cpu per answer, aiohttp, N=16": Goal(1.40),
    "cpu per answer, aiohttp, N=64": Goal(1.35),
    "cpu per answer, lean, N=16": Goal(0.70),
    "cpu per answer, lean, N=64": Goal(0.62),
    "added latency, lean, N=16": Goal(0.85),
    "added latency, lean, N=64": Goal(0.60),
    "added, lean, N=16": Goal(3.0),
    "added, lean, N=64": Goal(6.0),
    "requests per CPU second, lean, N=64": Goal(1.6, is_least=True),
    "two processes to one, N=16": Goal(1.45, is_least=True),
    "cpu per answer to nginx's, N=64": Goal(4.5),
    "tail, deadline of 100 ms: p90": Goal(105.0),
    "tail, second tries: p99": Goal(75.0),
    "validate and slice": Goal(0.60),
    "memory, lean, N=64": Goal(120.0),
}
"""The goals that can be judged by one figure."""


def worse_than(before: Mapping[str, Any], figures: Iterable[Figure]) -> list[str]:
    """One line for every steady ratio that has become worse since; absolute figures say nothing."""
    lines = []
    for figure in figures:
        then = before.get(figure.name)
        if then is None or then["unit"] != figure.unit or not figure.unit.startswith("x "):
            continue
        if not figure.is_steady or then["variation"] > MAX_VARIATION or not then["value"]:
            continue
        change = figure.value / then["value"] - 1
        if (-change if figure.is_better_more else change) > MAX_WORSE:
            lines.append(f"{figure.name}: {then['value']:.2f} before, {figure.value:.2f} now")
    return lines


def figure_from(name: str, document: Mapping[str, Any]) -> Figure:
    """A figure as it was written down."""
    return Figure(
        name,
        document["unit"],
        tuple(document["rounds"]),
        document["is_better_more"],
        document["note"],
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    goal = GOALS.get(figure.name)
    said = "" if goal is None else f"{'≥' if goal.is_least else '≤'} {goal.limit:g}"
    note = f" ({figure.note})" if figure.note else ""
    value = f"{figure.value:.2f} {figure.unit}" if figure.rounds else ""
    varies = f"{variation(figure.rounds):.0%}" if len(figure.rounds) > 1 else ""
    return f"{figure.name}{note}", value, varies, said, figure.verdict().value


_HEADS: Final = ("figure", "measured", "varies", "goal", "verdict")


def table(figures: Sequence[Figure]) -> str:
    """The figures with their goals, in columns."""
    rows = [_HEADS, *map(_cells, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown(figures: Sequence[Figure], about: Mapping[str, str]) -> str:
    """The figures with their goals and what they depend on, to be put into a document."""
    rows = [_HEADS, ("---",) * len(_HEADS), *map(_cells, figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", f"Measured on {'; '.join(about.values())}."])


def written(path: Path, figures: Sequence[Figure], about: Mapping[str, str]) -> None:
    """Write the figures as JSON, with what they depend on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"about": dict(about), "figures": {f.name: f.to_document() for f in figures}}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Mapping[str, Any]:
    """The figures of an earlier run by name; none where there is no such file."""
    if not path.exists():
        return {}
    figures: Mapping[str, Any] = json.loads(path.read_text())["figures"]
    return figures


def read_about(path: Path) -> Mapping[str, str]:
    """What the figures of an earlier run depend on."""
    about: Mapping[str, str] = json.loads(path.read_text())["about"]
    return about
