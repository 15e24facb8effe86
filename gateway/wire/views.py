"""Views: the few facts of a document that decisions are made on. The document itself is carried."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from gateway.wire.documents import Document
from gateway.wire.kinds import MINMAX_COST, MINMAX_METRIC, SIMPLE_COMPUTE, SIMPLE_STORAGE
from gateway.wire.phases import SessionPhase
from gateway.wire.times import DailyWindow, Interval, parse_daily, parse_duration, parse_interval


# What comes by the dozen is msgspec's, which is made five times as fast. None of it can be part of
# a circle, so the search for garbage need not look at it.
class Bounds(msgspec.Struct, frozen=True, gc=False):
    """Least and most of something counted; None is not said."""

    min: int | None = None
    max: int | None = None


UNBOUNDED: Final = Bounds()
"""Nothing said."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Least and most of a cost or metric; ``type`` is the URN that says which."""

    type: str
    min: float | None = None
    max: float | None = None


class SessionView(msgspec.Struct, frozen=True, gc=False):
    """What a session or an offer says.

    ``start`` and ``duration`` are those of stage available, the session's own or else the compute
    resource's. Instants before the year 2000 are None: there are nodes that count from the epoch.
    ``storage_gib`` is the sum over all storage resources that give a size.
    """

    uuid: UUID
    phase: SessionPhase
    expires: datetime | None = None
    start: Interval | None = None
    duration: timedelta | None = None
    cores: Bounds | None = None
    memory_gib: Bounds | None = None
    storage_gib: Bounds | None = None
    costs: tuple[Quote, ...] = ()
    metrics: tuple[Quote, ...] = ()
    compute_costs: tuple[Quote, ...] = ()
    compute_metrics: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class DataView:
    """One data resource of a request; ``index`` is its place in the request's list."""

    index: int
    kind: str
    name: str | None
    document: Document


@dataclass(frozen=True, slots=True)
class RequestView:
    """What a request needs.

    ``kinds`` are those of executable, compute, storage, volumes and data together. ``storage_gib``
    has no maximum where data names no storage, since the site then makes room for it. ``starts`` is
    empty when the client does not say when. ``unknown_limits`` are the ``type`` (or else
    the kind) of costs and metrics in kinds whose structure is not known here.
    """

    kinds: frozenset[str] = frozenset()
    executable_kind: str | None = None
    cores: Bounds = UNBOUNDED
    memory_gib: Bounds = UNBOUNDED
    storage_gib: Bounds = UNBOUNDED
    duration: timedelta | None = None
    starts: tuple[Interval, ...] = ()
    daily: DailyWindow | None = None
    cost_limits: tuple[Quote, ...] = ()
    metric_limits: tuple[Quote, ...] = ()
    data: tuple[DataView, ...] = ()
    unknown_limits: tuple[str, ...] = ()


def sum_bounds(parts: Iterable[Bounds]) -> Bounds:
    """Bounds of the sum: least of what is said, most only if every part says it."""
    parts = tuple(parts)
    least = [part.min for part in parts if part.min is not None]
    most = [part.max for part in parts if part.max is not None]
    return Bounds(
        sum(least) if least else None, sum(most) if most and len(most) == len(parts) else None
    )


def _bounds(document: Document | None) -> Bounds:
    return Bounds(document.get("min"), document.get("max")) if document else UNBOUNDED


def _limits(items: Iterable[Document], known: str, unknown: list[str]) -> Iterator[Quote]:
    for item in items:
        meaning = item.get("type")
        if item["kind"] == known and meaning is not None:
            yield Quote(meaning, item.get("min"), item.get("max"))
        else:
            unknown.append(str(meaning or item["kind"]))


def _kinds(components: Iterable[Document | None]) -> Iterator[str]:
    for component in components:
        if component:
            yield component["kind"]


def _of_kind(component: Document | None, kind: str) -> Document:
    """The component if it is of this kind: nothing is known of the members of others."""
    return component if component and component["kind"] == kind else {}


def _name(component: Document) -> str | None:
    meta = component.get("meta")
    name = meta.get("name") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else None


def view_of_request(document: Document) -> RequestView:
    """What a request needs. The request has passed its schema.

    Raises
    ------
    TimeSyntaxError
        A duration or start that the schema lets through but that says no time, such as ``P1Y``.
    """
    executable, compute = document.get("executable"), document.get("compute")
    simple = _of_kind(compute, SIMPLE_COMPUTE)
    storage, data = document.get("storage") or (), document.get("data") or ()
    volumes = simple.get("volumes") or ()
    when = (document.get("schedule") or {}).get("requested") or {}
    starts = when.get("start") or ()
    unknown: list[str] = []
    return RequestView(
        kinds=frozenset(_kinds((executable, compute, *storage, *volumes, *data))),
        executable_kind=executable["kind"] if executable else None,
        cores=_bounds(simple.get("cores")),
        memory_gib=_bounds(simple.get("memory")),
        storage_gib=sum_bounds(
            (
                *(_bounds(_of_kind(item, SIMPLE_STORAGE).get("size")) for item in storage),
                *(UNBOUNDED for item in data if not item.get("storage")),
            )
        ),
        duration=parse_duration(when["duration"]) if when.get("duration") else None,
        starts=tuple(
            parse_interval(text) for text in ([starts] if isinstance(starts, str) else starts)
        ),
        daily=parse_daily(when["daily"]) if when.get("daily") else None,
        cost_limits=tuple(_limits(document.get("costs") or (), MINMAX_COST, unknown)),
        metric_limits=tuple(_limits(document.get("metrics") or (), MINMAX_METRIC, unknown)),
        data=tuple(
            DataView(index, item["kind"], _name(item), item) for index, item in enumerate(data)
        ),
        unknown_limits=tuple(unknown),
    )
