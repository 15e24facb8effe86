"""Offers, coverage, nodes and sessions as people like to see them."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.errors import messages_of
from gateway.cli.summary import (
    Bounds,
    CoverageSummary,
    OfferSummary,
    at,
    summarise_coverage,
    summarise_node,
    summarise_offer,
    summarise_offers,
    summarise_results,
)
from gateway.wire.documents import Document
from gateway.wire.kinds import CARBON_COST, ENERGY_COST, MONETARY_COST
from gateway.wire.phases import EXECUTION_PHASES, TERMINAL_SESSION_PHASES, SessionPhase
from gateway.wire.times import Interval

PLAIN_WIDTH: Final = 140
"""Columns where there is no terminal to ask: wide enough for the widest table."""

_STEPS: Final = (SessionPhase.OFFERED, *EXECUTION_PHASES, SessionPhase.COMPLETED)
_OUTCOME_STYLES: Final = {"answered": "green", "no": "yellow", "skipped": "dim"}
_NONE: Final = "-"


def console(stream: TextIO) -> Console:
    """A console that prints broker's texts as they are: no markup, no guessed highlights."""
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def safe(text: object) -> Text:
    """Text from outside, without the control characters that could steer a terminal."""
    return Text("".join(char if char.isprintable() or char == "\n" else "?" for char in str(text)))


def human_duration(duration: timedelta) -> str:
    """The two largest units: ``2 h 5 min``, ``3 d 4 h``, ``45 s``."""
    seconds = round(duration.total_seconds())
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def human_bounds(bounds: Bounds | None) -> str:
    """``2-4``, ``2``, ``2 or more`` or ``up to 4``."""
    if bounds is None:
        return _NONE
    low, high = bounds.low, bounds.high
    if low is None or high is None:
        return f"{low:g} or more" if low is not None else f"up to {high:g}"
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def human_moment(moment: datetime, now: datetime) -> str:
    """How far away it is; beyond an hour, when it is."""
    away = moment - now
    if abs(away) > timedelta(hours=1):
        return f"{moment:%Y-%m-%d %H:%M:%S}Z"
    if away < timedelta(seconds=1):
        return "now" if away > timedelta(seconds=-1) else f"{human_duration(-away)} ago"
    return f"in {human_duration(away)}"


def human_start(start: Interval | None, now: datetime) -> str:
    """The offered start; where it is an interval, an early accept begins earlier."""
    if start is None:
        return _NONE
    earliest = human_moment(max(start.start, now) if start.end >= now else start.start, now)
    return f"{earliest}, or later" if start.duration else earliest


def offers_table(offers: Sequence[OfferSummary], now: datetime) -> Table:
    """The ranked offers, a line each."""
    table = Table(title="Offers, best first", title_justify="left")
    for name in ("#", "node", "starts", "lasts", "cores", "memory GiB"):
        table.add_column(name, justify="right" if name == "#" else "left")
    for name in ("cost", "energy kWh", "carbon g", "score"):
        table.add_column(name, justify="right")
    table.add_column("expires")
    for place, offer in enumerate(offers, start=1):
        table.add_row(
            str(offer.rank or place),
            safe(offer.node or _NONE),
            human_start(offer.start, now),
            human_duration(offer.duration) if offer.duration is not None else _NONE,
            human_bounds(offer.cores),
            human_bounds(offer.memory_gib),
            *(
                human_bounds(offer.costs.get(type_))
                for type_ in (MONETARY_COST, ENERGY_COST, CARBON_COST)
            ),
            f"{offer.score:.3f}" if offer.score is not None else _NONE,
            human_moment(offer.expires, now) if offer.expires is not None else _NONE,
        )
    return table


def reasons_table(offers: Sequence[OfferSummary]) -> Table:
    """What to accept, and why it stands where it stands."""
    table = Table(title="Why", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("offer", no_wrap=True)
    table.add_column("reasons", overflow="fold")
    for place, offer in enumerate(offers, start=1):
        reasons = "\n".join(offer.reasons) or _NONE
        table.add_row(str(offer.rank or place), safe(offer.uuid), safe(reasons))
    return table


def coverage_table(coverage: Sequence[CoverageSummary]) -> Table:
    """What became of every node."""
    table = Table(title="Who was asked", title_justify="left")
    for name in ("node", "outcome", "offers", "took", "reason"):
        table.add_column(name, justify="right" if name in {"offers", "took"} else "left")
    for entry in coverage:
        outcome = safe(entry.outcome)
        outcome.stylize(_OUTCOME_STYLES.get(entry.outcome, "red"))
        table.add_row(
            safe(entry.node),
            outcome,
            str(entry.offers),
            _milliseconds(entry.took_ms),
            safe(entry.reason or _NONE),
        )
    return table


def nodes_table(nodes: Sequence[Document], now: datetime) -> Table:
    """The nodes of a gateway, and what their last answers say of them."""
    table = Table(title="Nodes", title_justify="left")
    for name in ("name", "url", "site", "in use", "last outcome", "last heard of"):
        table.add_column(name)
    table.add_column("latency p50, p95", justify="right")
    for node in map(summarise_node, nodes):
        outcome = f"{node.outcome}: {node.reason}" if node.reason else node.outcome
        table.add_row(
            safe(node.name),
            safe(node.url),
            safe(node.site or _NONE),
            "yes" if node.is_enabled else "no",
            safe(outcome or _NONE),
            human_moment(node.seen, now) if node.seen is not None else _NONE,
            ", ".join(_milliseconds(value) for value in (node.p50_ms, node.p95_ms)),
        )
    return table


def _milliseconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f} ms"


def show_offerset(to: Console, offerset: Document, now: datetime) -> None:
    """Offers with their reasons, coverage, messages."""
    offers, coverage = summarise_offers(offerset), summarise_coverage(offerset)
    result = offerset.get("result")
    to.print(safe(f"Offer set {at(offerset, 'meta', 'uuid')}: {result}, {len(offers)} offers"))
    if offers:
        to.print(offers_table(offers, now))
        to.print(reasons_table(offers))
    if coverage:
        to.print(coverage_table(coverage))
    show_messages(to, offerset)


def show_session(to: Console, session: Document, now: datetime) -> None:
    """One session, with its messages and connectors."""
    summary = summarise_offer(session)
    where = f" at {summary.node}" if summary.node else ""
    to.print(safe(f"Session {summary.uuid}{where}: {summary.phase}"))
    to.print(offers_table([summary], now))
    connectors = session.get("connectors")
    for connector in connectors if isinstance(connectors, list) else ():
        status, protocol = at(connector, "status"), at(connector, "protocol")
        to.print(safe(f"  {status} {protocol} {at(connector, 'location')}"))
    show_messages(to, session)


def human_bytes(count: float | None) -> str:
    """``17 B``, ``1.5 KiB``, ``2.0 GiB``."""
    if count is None:
        return _NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def show_results(to: Console, results: Document) -> None:
    """How a session ended, what it took, and what came out."""
    found = summarise_results(results)
    if not found.is_complete:
        to.print(safe(f"Session {found.session}: {found.phase}; nothing has come out yet"))
        return
    how = " ".join(part for part in (found.reason, found.text) if part) or "ended"
    code = "" if found.exit_code is None else f", exit code {found.exit_code}"
    to.print(safe(f"Session {found.session}: {found.phase}{code} ({how})"))
    if found.usage:
        to.print(safe("  " + ", ".join(f"{name} {value:g}" for name, value in found.usage.items())))
    table = Table(title="What came out", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("SHA-256", no_wrap=True)
    for log in found.streams:
        table.add_row(safe(f"({log.path})"), human_bytes(log.size), "")
    for file in found.files:
        table.add_row(safe(file.path), human_bytes(file.size), safe(file.sha256[:16]))
    to.print(table)
    for note in found.notes:
        to.print(safe(f"  {note}"), soft_wrap=True)


def show_messages(to: Console, document: Document) -> None:
    """What the broker says about it."""
    for text in messages_of(document):
        to.print(safe(f"  {text}"), soft_wrap=True)


class PhaseProgress:
    """Follows one session: a bar on a terminal, elsewhere a line for every new phase."""

    def __init__(self, to: Console) -> None:
        self._console = to
        self._phase: str | None = None
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(bar_width=40),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=len(_STEPS))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, session: Document) -> None:
        """Takes in the session as it stands now."""
        phase = str(session.get("phase"))
        if phase == self._phase:
            return
        self._phase = phase
        done = [step.value for step in _STEPS].index(phase) + 1 if phase in _STEPS else None
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=safe(phase).plain, completed=done)
        else:
            took_s = time.monotonic() - self._began
            filled = "#" * done + "." * (len(_STEPS) - done) if done else " " * len(_STEPS)
            self._console.print(safe(f"  {filled} {took_s:5.1f} s  {phase}"))
        if phase in TERMINAL_SESSION_PHASES:
            show_messages(self._console, session)
