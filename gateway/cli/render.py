"""Offers, coverage, nodes and sessions as people like to see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from gateway.cli.errors import messages_of
from gateway.cli.summary import (
    Bounds,
    CoverageSummary,
    OfferSummary,
    PlacementSummary,
    at,
    summarise_coverage,
    summarise_node,
    summarise_offer,
    summarise_offers,
    summarise_results,
)
from gateway.wire.documents import Document
from gateway.wire.kinds import CARBON_COST, ENERGY_COST, MONETARY_COST
from gateway.wire.times import Interval

PLAIN_WIDTH: Final = 140
"""Columns where there is no terminal to ask: wide enough for the widest table."""

_LONGEST_S: Final = 1e9
"""Thirty years: what is longer is said as it is."""

_OUTCOME_STYLES: Final = {"answered": "green", "no": "yellow", "skipped": "dim"}
NOTHING: Final = "-"
"""Where a broker says nothing."""

UNKNOWN: Final = "unknown"
"""Where a broker says that it does not know."""


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


def human_seconds(seconds: float) -> str:
    """A duration in seconds, as `human_duration` says it."""
    if not abs(seconds) < _LONGEST_S:
        return f"{seconds:g} s"
    return human_duration(timedelta(seconds=seconds))


def human_bounds(bounds: Bounds | None) -> str:
    """``2-4``, ``2``, ``2 or more`` or ``up to 4``."""
    if bounds is None:
        return NOTHING
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
        return NOTHING
    earliest = human_moment(max(start.start, now) if start.end >= now else start.start, now)
    return f"{earliest}, or later" if start.duration else earliest


def human_staging(placement: PlacementSummary) -> str:
    """How long the data take: ``~`` is about, ``>`` that more comes on top, ``unknown`` unknown."""
    if placement.staging_s is None:
        return UNKNOWN
    return _qualified(placement) + human_seconds(placement.staging_s)


def human_moved(placement: PlacementSummary) -> str:
    """What has to be brought, marked as `human_staging` is."""
    if placement.bytes_to_move is None:
        return UNKNOWN
    return (">" if placement.is_partial else "") + human_bytes(placement.bytes_to_move)


def human_proximity(placement: PlacementSummary) -> str:
    """1 is here, 0.5 an hour away."""
    return UNKNOWN if placement.proximity is None else f"{placement.proximity:.3f}"


def _qualified(placement: PlacementSummary) -> str:
    return ">" if placement.is_partial else "~" if placement.is_approximate else ""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table of offers: its heading, and what it says of an offer.

    ``of_all`` says it of all offers at once, where they are alike.
    """

    heading: str
    cell: Callable[[OfferSummary], str]
    is_number: bool = True
    of_all: str | None = None


def offers_table(offers: Sequence[OfferSummary], now: datetime) -> Table:
    """The ranked offers, a line each; with what their data mean, where a gateway says so."""
    is_placed = any(offer.placement for offer in offers)
    columns = _placed_columns(now) if is_placed else _plain_columns(now)
    alike = [column for column in columns if is_placed and _are_alike(column, offers)]
    said = [(column.of_all or "").format(column.cell(offers[0])) for column in alike]
    title = f"Offers, best first; all {', '.join(said)}" if said else "Offers, best first"
    table = plain_table(title) if is_placed else Table(title=title, title_justify="left")
    table.add_column("#", justify="right")
    columns = [column for column in columns if column not in alike]
    for column in columns:
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(column.heading, justify=justify, no_wrap=is_placed and column.is_number)
    for place, offer in enumerate(offers, start=1):
        cells = [safe(column.cell(offer)) for column in columns]
        table.add_row(str(offer.rank or place), *cells)
    return table


def plain_table(title: str) -> Table:
    """A table without frames, for what has many columns."""
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _are_alike(column: _Column, offers: Sequence[OfferSummary]) -> bool:
    """Whether a column says the same of several offers, and can say it of all at once."""
    is_short = column.of_all is not None and len(offers) > 1
    return is_short and len({column.cell(offer) for offer in offers}) == 1


def _plain_columns(now: datetime) -> Sequence[_Column]:
    return (
        _Column("node", lambda offer: offer.node or NOTHING, is_number=False),
        _Column("starts", lambda offer: human_start(offer.start, now), is_number=False),
        _Column("lasts", _lasts, is_number=False),
        _Column("cores", lambda offer: human_bounds(offer.cores), is_number=False),
        _Column("memory GiB", lambda offer: human_bounds(offer.memory_gib), is_number=False),
        _Column("cost", lambda offer: human_bounds(offer.costs.get(MONETARY_COST))),
        _Column("energy kWh", lambda offer: human_bounds(offer.costs.get(ENERGY_COST))),
        _Column("carbon g", lambda offer: human_bounds(offer.costs.get(CARBON_COST))),
        _Column("score", _score),
        _Column("expires", lambda offer: _expires(offer, now), is_number=False),
    )


def _placed_columns(now: datetime) -> Sequence[_Column]:
    """The same in 120 columns, with what has to be brought, how long that takes, who says so."""
    return (
        _Column("node", lambda offer: offer.node or NOTHING, is_number=False),
        _Column("starts", lambda offer: _earliest(offer, now), is_number=False),
        _Column("lasts", _lasts, is_number=False, of_all="last {}"),
        _Column("cores", lambda offer: human_bounds(offer.cores), of_all="{} cores"),
        _Column("GiB", lambda offer: human_bounds(offer.memory_gib), of_all="{} GiB"),
        _Column("to move", _placed(human_moved)),
        _Column("staging", _placed(human_staging), is_number=False),
        _Column("prox-\nimity", _placed(human_proximity)),
        _Column("basis", _placed(lambda placement: placement.basis), is_number=False),
        _Column("cost", lambda offer: human_bounds(offer.costs.get(MONETARY_COST))),
        _Column("energy\nkWh", lambda offer: human_bounds(offer.costs.get(ENERGY_COST))),
        _Column("carbon\ng", lambda offer: human_bounds(offer.costs.get(CARBON_COST))),
        _Column("score", _score),
        _Column("expires", lambda offer: _expires(offer, now), is_number=False, of_all="expire {}"),
    )


def _placed(cell: Callable[[PlacementSummary], str]) -> Callable[[OfferSummary], str]:
    return lambda offer: UNKNOWN if offer.placement is None else cell(offer.placement)


def _lasts(offer: OfferSummary) -> str:
    return NOTHING if offer.duration is None else human_duration(offer.duration)


def _earliest(offer: OfferSummary, now: datetime) -> str:
    if offer.start is None:
        return NOTHING
    has_begun = offer.start.start < now <= offer.start.end
    return human_moment(now if has_begun else offer.start.start, now)


def _score(offer: OfferSummary) -> str:
    return NOTHING if offer.score is None else f"{offer.score:.3f}"


def _expires(offer: OfferSummary, now: datetime) -> str:
    return NOTHING if offer.expires is None else human_moment(offer.expires, now)


def reasons_table(offers: Sequence[OfferSummary]) -> Table:
    """What to accept, and why it stands where it stands."""
    table = Table(title="Why", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("offer", no_wrap=True)
    table.add_column("reasons", overflow="fold")
    for place, offer in enumerate(offers, start=1):
        reasons = "\n".join(offer.reasons) or NOTHING
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
            safe(entry.reason or NOTHING),
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
            safe(node.site or NOTHING),
            "yes" if node.is_enabled else "no",
            safe(outcome or NOTHING),
            human_moment(node.seen, now) if node.seen is not None else NOTHING,
            ", ".join(_milliseconds(value) for value in (node.p50_ms, node.p95_ms)),
        )
    return table


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} ms"


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
    """``17 B``, ``1.5 kB``, ``2.0 GB``: in powers of 1000, as data lakes count."""
    if count is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} PB"


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
