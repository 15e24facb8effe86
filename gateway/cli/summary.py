"""What a person wants to know of a document, read leniently: any broker may have written it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.wire.documents import Document
from gateway.wire.times import (
    Interval,
    TimeSyntaxError,
    parse_duration,
    parse_instant,
    parse_interval,
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of numbers; either end may be open."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PlacementSummary:
    """What bringing the data to the offer's node means. None is not known, which is never zero.

    ``is_partial``: of some of the data nobody knows where they are, and the numbers are those of
    the rest.
    """

    bytes_to_move: float | None
    staging_s: float | None
    proximity: float | None
    basis: str
    is_approximate: bool
    is_partial: bool


@dataclass(frozen=True, slots=True)
class OfferSummary:
    """One offer. None is what the broker does not say; a plain node broker gives no rank.

    Without ``placement`` data play no part, or nobody was asked where they are.
    """

    uuid: str
    phase: str
    node: str | None
    rank: int | None
    score: float | None
    start: Interval | None
    duration: timedelta | None
    cores: Bounds | None
    memory_gib: Bounds | None
    costs: Mapping[str, Bounds]
    reasons: tuple[str, ...]
    expires: datetime | None
    placement: PlacementSummary | None


@dataclass(frozen=True, slots=True)
class CoverageSummary:
    """What became of one node."""

    node: str
    outcome: str
    offers: int
    took_ms: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """One node as its gateway knows it; None is what is not known, as before the first request."""

    name: str
    url: str
    site: str | None
    is_enabled: bool
    outcome: str | None
    reason: str
    seen: datetime | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class FileSummary:
    """A file or log that came out; None is not known."""

    path: str
    size: float | None
    sha256: str


@dataclass(frozen=True, slots=True)
class ResultsSummary:
    """How a session ended and what came out; ``usage`` holds what was measured."""

    session: str
    phase: str
    is_complete: bool
    exit_code: int | None
    reason: str | None
    text: str | None
    usage: Mapping[str, float]
    streams: tuple[FileSummary, ...]
    files: tuple[FileSummary, ...]
    notes: tuple[str, ...]


def at(document: Any, *path: str) -> Any:
    """The member at the end of the path, or None where the way ends early."""
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def items(document: Any, *path: str) -> list[Document]:
    """The objects of the list at the end of the path."""
    found = at(document, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text_of_reason(reason: Any) -> str:
    """A reason as people read it: its text, or its code where it has none."""
    if isinstance(reason, list):
        return "; ".join(text_of_reason(one) for one in reason)
    if isinstance(reason, dict):
        return str(reason.get("text") or reason.get("message") or reason.get("code") or "")
    return "" if reason is None else str(reason)


def texts_of(reasons: Any) -> tuple[str, ...]:
    """Every reason of a list, as people read it."""
    return tuple(text_of_reason(one) for one in reasons) if isinstance(reasons, list) else ()


def summarise_offer(document: Document) -> OfferSummary:
    """The offer's summary."""
    schedule = at(document, "schedule", "available") or at(
        document, "compute", "schedule", "available"
    )
    federation = at(document, "federation")
    reasons = at(federation, "reasons")
    rank = number(at(federation, "rank"))
    return OfferSummary(
        uuid=str(at(document, "meta", "uuid") or ""),
        phase=str(document.get("phase") or "?"),
        node=text(at(federation, "node")),
        rank=None if rank is None else int(rank),
        score=number(at(federation, "score")),
        start=_interval(at(schedule, "start")),
        duration=_duration(at(schedule, "duration")),
        cores=_bounds(at(document, "compute", "cores")),
        memory_gib=_bounds(at(document, "compute", "memory")),
        costs=_costs(document),
        reasons=texts_of(reasons),
        expires=_instant(document.get("expires")),
        placement=summarise_placement(at(federation, "placement")),
    )


def summarise_placement(document: Any) -> PlacementSummary | None:
    """The summary of what a gateway says of the data; None where it says nothing."""
    if not isinstance(document, dict):
        return None
    return PlacementSummary(
        bytes_to_move=number(document.get("bytes_to_move")),
        staging_s=number(document.get("staging_s")),
        proximity=number(document.get("proximity")),
        basis=text(document.get("basis")) or "unknown",
        is_approximate=document.get("approximate") is True,
        is_partial=bool(number(document.get("unlocated"))),
    )


def summarise_offers(offerset: Document) -> list[OfferSummary]:
    """Every offer, in the broker's order, which is the order of rank."""
    return [summarise_offer(offer) for offer in items(offerset, "offers")]


def summarise_coverage(offerset: Document) -> list[CoverageSummary]:
    """Every node's entry; empty for a plain node broker."""
    return [
        CoverageSummary(
            node=str(entry.get("node") or "?"),
            outcome=str(entry.get("outcome") or "?"),
            offers=int(number(entry.get("offers")) or 0),
            took_ms=number(entry.get("took_ms")),
            reason=text_of_reason(entry.get("reason")),
        )
        for entry in items(offerset, "federation", "coverage")
    ]


def summarise_node(document: Document) -> NodeSummary:
    """The node's summary."""
    return NodeSummary(
        name=str(document.get("name") or "?"),
        url=str(document.get("url") or "?"),
        site=text(document.get("site")),
        is_enabled=document.get("is_enabled") is not False,
        outcome=text(at(document, "last", "outcome")),
        reason=text_of_reason(at(document, "last", "reason")),
        seen=_instant(at(document, "last", "seen")),
        p50_ms=number(at(document, "latency_ms", "p50")),
        p95_ms=number(at(document, "latency_ms", "p95")),
    )


def summarise_results(document: Document) -> ResultsSummary:
    """The summary of what came out."""
    usage = at(document, "usage")
    measured = usage.items() if isinstance(usage, dict) else ()
    code = number(at(document, "exit_code"))
    said = [
        note
        for member in ("notes", "unsent")
        for note in _list(at(document, member))
        if isinstance(note, str)
    ]
    return ResultsSummary(
        session=str(at(document, "session") or "?"),
        phase=str(at(document, "phase") or "?"),
        is_complete=at(document, "is_complete") is True,
        exit_code=None if code is None else int(code),
        reason=text(at(document, "reason")),
        text=text(at(document, "text")),
        usage={str(name): n for name, value in measured if (n := number(value)) is not None},
        streams=tuple(_file(entry, "name") for entry in items(document, "streams")),
        files=tuple(_file(entry, "path") for entry in items(document, "files")),
        notes=tuple(said),
    )


def _file(entry: Document, name: str) -> FileSummary:
    size = number(entry.get("size"))
    return FileSummary(str(entry.get(name) or "?"), size, text(entry.get("sha256")) or "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _costs(document: Document) -> Mapping[str, Bounds]:
    found: dict[str, Bounds] = {}
    for item in items(document, "costs"):
        bounds = _bounds(item)
        if bounds is not None and isinstance(item.get("type"), str):
            found.setdefault(item["type"], bounds)
    return found


def _bounds(document: Any) -> Bounds | None:
    low, high = number(at(document, "min")), number(at(document, "max"))
    return None if low is None and high is None else Bounds(low, high)


def number(value: Any) -> float | None:
    """The value, where it is a number that can be counted with."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def text(value: Any) -> str | None:
    """The value, where it is a text."""
    return value if isinstance(value, str) else None


def _interval(value: Any) -> Interval | None:
    try:
        return parse_interval(value) if isinstance(value, str) else None
    except TimeSyntaxError:
        return None


def _duration(value: Any) -> timedelta | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except TimeSyntaxError:
        return None


def _instant(value: Any) -> datetime | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except TimeSyntaxError:
        return None
