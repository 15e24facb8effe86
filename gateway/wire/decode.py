"""Node answers decoded into views, offer by offer, refusing all that would break a client.

The public generated client loses a whole answer to one unknown kind, phase or level, one time or
UUID of another form, one number of another type. Nothing that passes here does that to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from gateway.wire.compile import Compiled
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.session import NodeSessionSchema
from gateway.wire.times import (
    Interval,
    TimeSyntaxError,
    parse_duration,
    parse_instant,
    parse_interval,
)
from gateway.wire.views import Bounds, OptionView, Quote, SessionView, sum_bounds

MAX_OFFERS: Final = 256
"""Most offers of one answer that are looked at. Upstream gives four."""

MAX_BRACKETS: Final = 256
"""So many opening brackets cannot nest deep enough to hurt a client; of more the depth is counted.

The public client's JSON parser gives up near 1000 levels.
"""

MAX_DEPTH: Final = 128
"""Deepest nesting that is passed on."""

_EPOCH_YEARS: Final = 2000
"""Instants before this year are counted from the epoch by mistake."""

_CACHED_TIMES: Final = 4096
"""Times of each sort that are kept parsed, 1 MB of them; they are short, or they do not parse."""

_SESSION: Final = Compiled(NodeSessionSchema())
_PHASES: Final = {phase.value: phase for phase in SessionPhase}


class InvalidDocumentError(ValueError):
    """An answer that cannot be read or must not be passed on; ``reason_detail`` says why."""

    def __init__(self, reason_detail: str) -> None:
        super().__init__(reason_detail)
        self.reason_detail = reason_detail


class _Meta(msgspec.Struct, gc=False):
    messages: list[msgspec.Raw] | None = None


class _OfferSet(msgspec.Struct, gc=False):
    result: Literal["YES", "NO"]
    meta: _Meta | None = None
    offers: list[msgspec.Raw] | None = None


_OFFERSET: Final = msgspec.json.Decoder(_OfferSet)


@dataclass(slots=True)
class OfferSetEnvelope:
    """An offer set with its offers still as text; ``surplus`` is how many more there were."""

    result: str
    messages: list[Document] = field(default_factory=list)
    offers: list[bytes] = field(default_factory=list)
    surplus: int = 0


_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{"))


def _checked_tree(text: bytes) -> Any:
    """The tree of the text, all of it read: the typed decoder skips what it does not know.

    Broken UTF-8, a number beyond a double or deep nesting break a client wherever they stand.
    """
    tree = _tree(text)
    if len(text.translate(None, _NO_BRACKETS)) > MAX_BRACKETS and _is_deep(tree):
        raise InvalidDocumentError(f"nested deeper than {MAX_DEPTH}")
    return tree


def _is_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            below
            for value in level
            for below in (value.values() if isinstance(value, dict) else value)
            if isinstance(below, dict | list)
        ]
        if not level:
            return False
    return True


def _tree(text: bytes) -> Any:
    try:
        return from_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from error


def decode_offerset(body: bytes) -> OfferSetEnvelope:
    """What a node answered to a request. Only result, messages and the bounds of offers are read.

    Messages that are no objects are left out: they are shown to people and decide nothing.

    Raises
    ------
    InvalidDocumentError
        No offer set can be read out of it.
    """
    try:
        found = _OFFERSET.decode(body)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from error
    offers = found.offers or []
    raw_messages = (found.meta.messages if found.meta else None) or []
    messages = [_message(raw) for raw in raw_messages[:MAX_OFFERS]]
    return OfferSetEnvelope(
        found.result,
        [item for item in messages if item is not None],
        [bytes(raw) for raw in offers[:MAX_OFFERS]],
        max(0, len(offers) - MAX_OFFERS),
    )


def _message(raw: msgspec.Raw) -> Document | None:
    try:
        found = from_json(bytes(raw))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_known(value: Any, known_kinds: frozenset[str]) -> bool:
    kind = value.get("kind") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in known_kinds


def _without_kinds(tree: Any, known_kinds: frozenset[str]) -> Any:
    """The tree without components of these kinds."""
    if isinstance(tree, dict):
        return {
            name: _without_kinds(value, known_kinds)
            for name, value in tree.items()
            if not _is_known(value, known_kinds)
        }
    if isinstance(tree, list):
        return [
            _without_kinds(value, known_kinds)
            for value in tree
            if not _is_known(value, known_kinds)
        ]
    return tree


def _decoded(raw: bytes, known_kinds: frozenset[str]) -> Any:
    """The struct of a session in which there is something that the schema does not name."""
    tree = _checked_tree(raw)
    try:
        return _SESSION.decode(raw)
    except (ValueError, RecursionError) as error:
        if not known_kinds or not isinstance(error, msgspec.ValidationError):
            raise InvalidDocumentError(str(error)) from error
    try:
        return _SESSION.decode(to_json(_without_kinds(tree, known_kinds)))
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from error


def decode_session(raw: bytes, known_kinds: frozenset[str] = frozenset()) -> SessionView:
    """The view of a session or offer, which has been found fit to be passed on.

    Components of a kind in ``known_kinds`` are left out of both check and view.

    Raises
    ------
    InvalidDocumentError
        It cannot be read, it would break the public client, or it has no UUID or no phase.
    """
    try:
        found = _SESSION.decode_closed(raw)
    except (ValueError, RecursionError):
        found = _decoded(raw, known_kinds)
    try:
        return _view(found, raw)
    except TimeSyntaxError as error:
        raise InvalidDocumentError(str(error)) from error


class PhaseShown(msgspec.Struct, gc=False):
    """Which session a document is, and its phase."""

    uuid: UUID
    phase: SessionPhase


class _Named(msgspec.Struct, gc=False):
    uuid: UUID


class _Phased(msgspec.Struct, gc=False):
    meta: _Named
    phase: SessionPhase


_PHASED: Final = msgspec.json.Decoder(_Phased)


def decode_phase(raw: bytes) -> PhaseShown:
    """The phase of a session that is passed on to nobody: nothing else of it is looked at.

    Raises
    ------
    InvalidDocumentError
        It cannot be read, or it has no UUID or no phase.
    """
    try:
        found = _PHASED.decode(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from error
    return PhaseShown(found.meta.uuid, found.phase)


def _bounds(found: Any) -> Bounds | None:
    if found is None or (found.min is None and found.max is None):
        return None
    return Bounds(found.min, found.max)


def _quotes(items: Iterable[Any] | None) -> tuple[Quote, ...]:
    if not items:
        return ()
    return tuple([Quote(item.type, item.min, item.max) for item in items if item.type is not None])


# A node's answers share many instants, and all answers of a deployment durations.
_instant: Final = lru_cache(_CACHED_TIMES)(parse_instant)


def _recent(text: str | None) -> datetime | None:
    if text is None:
        return None
    instant = _instant(text)
    return instant if instant.year >= _EPOCH_YEARS else None


def _start(text: str | None) -> Interval | None:
    if text is None:
        return None
    interval = parse_interval(text)
    return interval if interval.start.year >= _EPOCH_YEARS else None


def _length(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)


@dataclass(frozen=True, slots=True)
class _Times:
    """Start and duration of the stages, read."""

    start: Interval | None
    duration: timedelta | None
    prepare_start: datetime | None
    prepare_duration: timedelta | None
    release_duration: timedelta | None


@lru_cache(_CACHED_TIMES)
def _times(
    start: str | None,
    duration: str | None,
    prepare_start: str | None,
    prepare_duration: str | None,
    release_duration: str | None,
) -> _Times:
    """Offers of one answer, and those of nodes that count in whole minutes, share schedules."""
    return _Times(
        _start(start),
        _length(duration),
        _recent(prepare_start),
        _length(prepare_duration),
        _length(release_duration),
    )


def _schedule(found: Any) -> _Times:
    """The session's own schedule, or else the compute resource's."""
    schedule, compute = found.schedule, found.compute
    available = None if schedule is None else schedule.available
    says_when = available is not None and not (
        available.start is None and available.duration is None
    )
    if not says_when and compute is not None:
        schedule = compute.schedule
        available = None if schedule is None else schedule.available
    preparing = None if schedule is None else schedule.preparing
    releasing = None if schedule is None else schedule.releasing
    return _times(
        None if available is None else available.start,
        None if available is None else available.duration,
        None if preparing is None else preparing.start,
        None if preparing is None else preparing.duration,
        None if releasing is None else releasing.duration,
    )


def _option(item: Any) -> OptionView:
    return OptionView(item.__struct_config__.tag, item.path, tuple(getattr(item, "values", ())))


def _documents(raw: bytes, *path: str) -> tuple[Document, ...]:
    """The objects of a list as they stand in the text, members that are not known included."""
    value = _tree(raw)
    for name in path:
        value = value[name]
    return tuple(value)


def _view(found: Any, raw: bytes) -> SessionView:
    meta, compute = found.meta, found.compute
    if meta is None or meta.uuid is None:
        raise InvalidDocumentError("the session has no meta.uuid")
    if found.phase is None:
        raise InvalidDocumentError("the session has no phase")
    times = _schedule(found)
    return SessionView(
        uuid=meta.uuid,
        name=meta.name,
        phase=_PHASES[found.phase],
        expires=_recent(found.expires),
        start=times.start,
        duration=times.duration,
        prepare_start=times.prepare_start,
        prepare_duration=times.prepare_duration,
        release_duration=times.release_duration,
        cores=None if compute is None else _bounds(compute.cores),
        memory_gib=None if compute is None else _bounds(compute.memory),
        storage_gib=_storage(found.storage),
        costs=_quotes(found.costs),
        metrics=_quotes(found.metrics),
        compute_costs=() if compute is None else _quotes(compute.costs),
        compute_metrics=() if compute is None else _quotes(compute.metrics),
        component_uuids=_component_uuids(found),
        messages=_documents(raw, "meta", "messages") if meta.messages else (),
        options=tuple([_option(item) for item in meta.options]) if meta.options else (),
        connectors=_documents(raw, "connectors") if found.connectors else (),
    )


def _component_uuids(found: Any) -> tuple[UUID, ...]:
    executable, compute = found.executable, found.compute
    metas = [None if executable is None else executable.meta]
    if compute is not None:
        metas.append(compute.meta)
        metas += [volume.meta for volume in compute.volumes or ()]
    metas += [item.meta for item in found.storage or ()]
    metas += [item.meta for item in found.data or ()]
    return tuple([meta.uuid for meta in metas if meta is not None and meta.uuid is not None])


def _storage(storage: Sequence[Any] | None) -> Bounds | None:
    if not storage:
        return None
    sizes = [size for item in storage if (size := _bounds(item.size)) is not None]
    if len(sizes) == 1:
        return sizes[0]
    return sum_bounds(sizes) if sizes else None
