"""How long an answer takes, by how many sites there are and how many of them are slow or dead.

Run as ``python -m tests.bench.bench_sites``; ``--help`` says what can be left out. Prints tables,
and writes figures as JSON and the plot of ``docs/answer-latency.svg``. Measured are:

- *The figure*: requests one after the other, the first ones to sites of which nothing is known.
- *Half the load*: what a gateway with forty sites can answer at most, and then half of that at a
  steady rate with a quarter of the sites at fault.

Each cell is a gateway and sites of its own, in processes of their own, with the settings that a
user has who sets nothing but the deadline. All of it takes some eight minutes on a quiet machine: a
cell of the figure is 60 requests behind the first ones, too few for a percentile above the 98th, so
that the plot shows the longest.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.federation import GATEWAY_CORE, NODES_CORE, PASSWORD, REQUEST
from tests.bench.measure import machine, pin, running, versions
from tests.bench.open_load import Gun, Shot, outcomes, percentile
from tests.bench.site_nodes import QUICKEST_S, SLOWEST_S, Sort, sorts
from tests.support.node import Account

DEADLINE_S: Final = 2.0
"""Long for a healthy site, which takes 30 ms at most; short enough for many requests. A site that
is silent for so long counts as failing (``health.fair_wait_s``)."""

SLOW_TIMES: Final = 2.0
"""A slow site takes so many deadlines for every other answer."""

SEED: Final = 1
"""Of the sites' delays."""

COLD: Final = 8
"""The first requests of each cell, to sites not known yet: told apart from the others."""


@dataclass(frozen=True, slots=True)
class Federation:
    """A gateway in front of its sites."""

    url: str
    sorts: Sequence[str]

    @property
    def healthy(self) -> list[str]:
        """The names of the sites that are well."""
        return [name(i) for i, sort in enumerate(self.sorts) if sort == Sort.HEALTHY]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a number of requests came to; times in milliseconds.

    ``messages`` is how many sites were asked for each request; ``complete`` the share of requests
    in whose answer no healthy site that was asked is missing; ``shed`` how many were turned away.
    """

    requests: int
    p50: float
    p90: float
    p99: float
    longest: float
    messages: float
    complete: float
    shed: int


def name(number: int) -> str:
    """What a site is called."""
    return f"site-{number:03}"


@contextmanager
def federation(
    sites: int,
    faulty: float,
    folder: Path,
    *,
    stumbles: float = 0.0,
    took_s: tuple[float, float] = (QUICKEST_S, SLOWEST_S),
    deadline_s: float = DEADLINE_S,
    **asking: Any,
) -> Iterator[Federation]:
    """So many sites of which a share is at fault, and a gateway in front of them."""
    given = (sites, faulty, DEADLINE_S * SLOW_TIMES, SEED, stumbles, *took_s)
    command = ["-m", "tests.bench.site_nodes", *map(str, given)]
    with running(command, folder / "sites.log", core=NODES_CORE) as nodes:
        config = {
            "listen": "127.0.0.1:0",
            "admin": {"username": "admin", "password_env": "BENCH_PASSWORD"},
            "nodes": [
                {"name": name(i), "url": url, "credentials": {"type": "none"}}
                for i, url in enumerate(nodes.ready["urls"])
            ],
            "federation": {"deadline_s": deadline_s},
        }
        if asking:
            config["asking"] = asking
        path = folder / "gateway.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        command = ["-m", "gateway", "serve", "--config", str(path), "--data-dir", str(folder)]
        env = {"BENCH_PASSWORD": PASSWORD}
        with running(command, folder / "gateway.log", core=GATEWAY_CORE, env=env) as gateway:
            yield Federation(gateway.ready["url"], nodes.ready["sorts"])


def gun(url: str) -> Gun:
    """Asks this gateway as its administrator."""
    headers = {"Content-Type": "application/json", **Account("admin", PASSWORD).headers}
    return Gun(url, "/requests", REQUEST, headers)


def figures(shots: Sequence[Shot], healthy: Sequence[str]) -> Figures:
    """What these requests came to.

    Raises
    ------
    RuntimeError
        One of them was neither answered nor turned away.
    """
    answered = [shot for shot in shots if shot.status == 303]
    shed = sum(shot.status == 503 and "retry-after" in shot.headers for shot in shots)
    if not answered or len(answered) + shed < len(shots):
        raise RuntimeError(str(Counter(shot.status for shot in shots)))
    times_ms = [shot.took_s * 1000 for shot in answered]
    asked = complete = 0
    for shot in answered:
        lines = outcomes(shot.document)
        asked += sum(line["outcome"] != "skipped" for line in lines.values())
        complete += all(lines[site]["outcome"] in {"answered", "skipped"} for site in healthy)
    return Figures(
        requests=len(answered),
        p50=round(percentile(times_ms, 0.5), 1),
        p90=round(percentile(times_ms, 0.9), 1),
        p99=round(percentile(times_ms, 0.99), 1),
        longest=round(max(times_ms), 1),
        messages=round(asked / len(answered), 1),
        complete=complete / len(answered),
        shed=shed,
    )


async def one_after_the_other(where: Federation, requests: int) -> tuple[Figures, Figures]:
    """The first requests, and the later ones."""
    async with gun(where.url) as asking:
        shots = [await asking.fire() for _ in range(COLD + requests)]
    return figures(shots[:COLD], where.healthy), figures(shots[COLD:], where.healthy)


async def at_most(where: Federation, callers: int, seconds: float) -> float:
    """Requests per second that the gateway answers when it has no pause."""
    async with gun(where.url) as asking:
        await asking.saturate(callers, seconds / 4)
        shots = await asking.saturate(callers, seconds)
    return sum(shot.status == 303 for shot in shots) / seconds


async def steadily(where: Federation, rate_per_s: float, seconds: float) -> Figures:
    """Requests at this rate. The sites are known by then, as far as they can be."""
    async with gun(where.url) as asking:
        for _ in range(COLD):
            await asking.fire()
        return figures(await asking.volley(rate_per_s, seconds), where.healthy)


def measure_figure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The cells of the figure."""
    rows = []
    print("\nOne request after the other; times in ms, messages sent for each request")
    print("sites faulty |  first: p50    p99 |    p50    p90    p99    max | messages | complete")
    for faulty in options.faulty:
        for sites in options.sites:
            if faulty and set(sorts(sites, faulty)) == {Sort.HEALTHY}:
                continue  # so few that none is at fault: those of the first row
            cell = folder / f"{sites}-{faulty}"
            cell.mkdir()
            with federation(sites, faulty, cell) as where:
                cold, warm = asyncio.run(one_after_the_other(where, options.requests))
            rows.append({"sites": sites, "faulty": faulty, "cold": asdict(cold)} | asdict(warm))
            print(
                f"{sites:5} {faulty:6.0%} | {cold.p50:11.0f} {cold.p99:6.0f} |"
                f" {warm.p50:6.0f} {warm.p90:6.0f} {warm.p99:6.0f} {warm.longest:6.0f} |"
                f" {warm.messages:8.1f} | {warm.complete:8.1%}"
            )
    return rows


def measure_half(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Half of what forty sites' gateway can answer, with a quarter of the sites at fault."""
    cell = folder / "most"
    cell.mkdir()
    with federation(40, 0.0, cell) as where:
        most = asyncio.run(at_most(where, 8, options.seconds / 3))
    cell = folder / "half"
    cell.mkdir()
    with federation(40, 0.25, cell) as where:
        found = asyncio.run(steadily(where, most / 2, options.seconds))
    limit_ms = DEADLINE_S * 1000 + 50
    verdict = "kept" if found.p99 <= limit_ms and found.complete == 1.0 else "NOT KEPT"
    print(f"\n40 sites: at most {most:.1f} requests/s. At half of it, 25 % of sites slow or dead:")
    print(
        f"p50 {found.p50:.0f}, p90 {found.p90:.0f}, p99 {found.p99:.0f}, max {found.longest:.0f} ms"
        f" of {found.requests}; healthy sites complete in {found.complete:.2%};"
        f" p99 <= {limit_ms:.0f} ms and all complete: {verdict}"
    )
    return {"at_most_per_s": round(most, 1), "is_kept": verdict == "kept"} | asdict(found)


def draw(rows: Sequence[dict[str, Any]], target: Path, where: str) -> None:
    """Write the plot as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  # only who draws needs it

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "sites", "font.size": 9}
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice of what draws

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for faulty, colour in zip(
        sorted({row["faulty"] for row in rows}), ("C0", "C2", "C1", "C3"), strict=False
    ):
        mine = [row for row in rows if row["faulty"] == faulty]
        sites = [row["sites"] for row in mine]
        label = f"{faulty:.0%} slow or dead"
        left.plot(sites, [row["longest"] for row in mine], "o-", color=colour, ms=3, label=label)
        left.plot(sites, [row["p50"] for row in mine], ":", color=colour)
        right.plot(sites, [row["messages"] for row in mine], "o-", color=colour, ms=3, label=label)
    left.axhline(DEADLINE_S * 1000, color="grey", lw=0.8)
    left.annotate("deadline", (1, DEADLINE_S * 1000), va="bottom", color="grey")
    left.set(
        xscale="log",
        yscale="log",
        ylabel="ms",
        title=f"Answer: longest of {rows[0]['requests']} (line), median (dotted)",
    )
    right.set(xscale="log", yscale="log", title="Sites asked for one request")
    for axes in (left, right):
        axes.set_xlabel("sites registered")
        axes.set_xticks(sorted({row["sites"] for row in rows}))
        axes.get_xaxis().set_major_formatter(mpl.ticker.ScalarFormatter())
        axes.minorticks_off()
        axes.legend(fontsize=7)
    figure.suptitle(where, fontsize=7, color="grey")
    figure.savefig(target, metadata={"Date": None})


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    def shares(text: str) -> list[float]:
        return [float(part) for part in text.split(",")]

    parser.add_argument("--sites", type=numbers, default=[1, 4, 16, 64, 256])
    parser.add_argument("--faulty", type=shares, default=[0.0, 0.05, 0.25, 0.5])
    parser.add_argument("--requests", type=int, default=60, help="of each cell of the figure")
    parser.add_argument("--seconds", type=float, default=30.0, help="at half of the load")
    parser.add_argument("--only", choices=("figure", "half"))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--plot", type=Path, help="where to write the plot, as SVG")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure, print and write; 1 if half of the load was too much."""
    options = arguments(argv)
    pin(NODES_CORE)
    where = f"{machine()}; {versions()}"
    print(where)
    found: dict[str, Any] = {"machine": where, "deadline_s": DEADLINE_S}
    with tempfile.TemporaryDirectory() as text:
        for part, measure in (("figure", measure_figure), ("half", measure_half)):
            if options.only in {None, part}:
                found[part] = measure(options, Path(text))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot and "figure" in found:
        draw(found["figure"], options.plot, where)
    return 0 if found.get("half", {}).get("is_kept", True) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
