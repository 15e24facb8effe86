"""The benchmark runs, checks the answers it times, and judges as it says; never how fast it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.figures import (
    GOALS,
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

GOAL = "cpu per answer, lean, N=16"
LIMIT = GOALS[GOAL].limit


def figure(*rounds: float, name: str = GOAL, unit: str = "x M") -> Figure:
    return Figure(name, unit, rounds)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ((LIMIT, LIMIT, LIMIT), Verdict.MET),
        ((LIMIT * 1.02, LIMIT, LIMIT * 1.01), Verdict.MISSED),
        ((LIMIT, LIMIT, LIMIT / 2), Verdict.UNSTEADY),
        ((LIMIT, LIMIT), Verdict.UNSTEADY),
    ],
)
def test_only_steady_figures_are_held_against_their_goal(
    rounds: tuple[float, ...], expected: Verdict
) -> None:
    assert figure(*rounds).verdict() is expected


def test_a_goal_may_be_the_least_that_is_wanted() -> None:
    name = "requests per CPU second, lean, N=64"
    assert figure(1.7, 1.7, 1.7, name=name).verdict() is Verdict.MET
    assert figure(1.5, 1.5, 1.5, name=name).verdict() is Verdict.MISSED
    assert figure(1.0, name="something else").verdict() is Verdict.NO_GOAL


def test_a_ratio_that_became_worse_is_named_and_absolute_figures_are_not(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "before.json"
    before = [figure(1.0, 1.0, 1.0), figure(1.0, 1.0, 1.0, name="added", unit="ms")]
    written(path, before, {"machine": "some"})
    then = read(path)
    assert worse_than(then, [figure(1.14, 1.14, 1.14)]) == []
    assert worse_than(then, [figure(0.5, 0.5, 0.5)]) == []
    assert worse_than(then, [figure(2.0, 1.0, 2.0)]) == []
    assert worse_than(then, [figure(9.0, 9.0, 9.0, name="added", unit="ms")]) == []
    (line,) = worse_than(then, [figure(1.16, 1.16, 1.16)])
    assert line.startswith(GOAL)
    assert read(tmp_path / "none.json") == {}


def test_of_some_figures_less_is_worse(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    written(path, [Figure("rate", "x M", (2.0, 2.0, 2.0), is_better_more=True)], {})
    then = read(path)
    assert worse_than(then, [Figure("rate", "x M", (3.0, 3.0, 3.0), is_better_more=True)]) == []
    assert worse_than(then, [Figure("rate", "x M", (1.5, 1.5, 1.5), is_better_more=True)])


def test_what_could_not_be_measured_is_told_and_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    some = Figure("cpu per answer to nginx's, N=64", "x nginx", (), note="nginx is not installed")
    assert some.verdict() is Verdict.NOT_MEASURED
    written(path, [some, figure(1.0, 1.0, 1.0)], {"machine": "some"})
    assert worse_than(read(path), [some]) == []
    lines = markdown([some], read_about(path)).splitlines()
    assert "| cpu per answer to nginx's, N=64 (nginx is not installed) |  |" in lines[2]
    assert lines[2].endswith("| ≤ 4.5 | not measured |")
    assert lines[-1] == "Measured on some."


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    some = [
        Figure("rate", "x M", (2.0, 1.0), is_better_more=True, note="both"),
        Figure("nothing", "ms", ()),
    ]
    written(path, some, {})
    assert [figure_from(name, one) for name, one in read(path).items()] == some
    heads, first, *_ = table(some).splitlines()
    assert heads.index("measured") == first.index("1.50 x M")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench.run", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.timeout(600)  # some thirty processes, one after the other
def test_every_part_of_the_benchmark_runs_and_its_answers_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "quick.json"
    done = _run("--quick", "--json", str(path))
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(path.read_text())["figures"]
    assert {"validate and slice", "cpu per answer, lean, N=4", "cpu per answer, aiohttp, N=4"} <= (
        figures.keys()
    )
    assert {"start, execbroker-gateway serve", "start, execbroker --help"} <= figures.keys()
    assert {name for name in figures if name.endswith("1000 sessions")}
    nothing = {name for name, one in figures.items() if not one["value"]}
    unmeasured = {name for name, one in figures.items() if one["verdict"] == "not measured"}
    assert nothing <= unmeasured | {"memory of a live session"}  # that of a few may be in a pool
    again = _run("--show", str(path), "--markdown")
    assert again.returncode == 0, again.stderr[-4000:]
    assert "| two processes to one, N=4" in again.stdout
