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

from gateway.wire.below import Below, read_below
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
from gateway.wire.views import Bounds, Quote, SessionView, sum_bounds

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
_NONE: Final = msgspec.Raw(b"")
_PHASES: Final = {phase.value: phase for phase in SessionPhase}


class InvalidDocumentError(ValueError):
    """An answer that cannot be read or must not be passed on; ``reason_detail`` says why."""

    def __init__(self, reason_detail: str) -> None:
        super().__init__(reason_detail)
        self.reason_detail = reason_detail


class _Meta(msgspec.Struct, gc=False):
    messages: list[msgspec.Raw] | None = None
    uuid: msgspec.Raw = _NONE


class _OfferSet(msgspec.Struct, gc=False):
    result: Literal["YES", "NO"]
    meta: _Meta | None = None
    offers: list[msgspec.Raw] | None = None
    federation: msgspec.Raw = _NONE


_OFFERSET: Final = msgspec.json.Decoder(_OfferSet)


@dataclass(slots=True)
class OfferSetEnvelope:
    """An offer set with its offers still as text; ``surplus`` is how many more there were.

    ``below`` is what a gateway says of the nodes it asked; None from a node that is none.
    """

    result: str
    messages: list[Document] = field(default_factory=list)
    offers: list[msgspec.Raw] = field(default_factory=list)
    surplus: int = 0
    below: Below | None = None


_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{"))


def _checked_tree(text: bytes | msgspec.Raw) -> Any:
    """The tree of the text, all of it read: the typed decoder skips what it does not know.

    Broken UTF-8, a number beyond a double or deep nesting break a client wherever they stand.
    """
    tree = _tree(text)
    if len(bytes(text).translate(None, _NO_BRACKETS)) > MAX_BRACKETS and _is_deep(tree):
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


def _tree(text: bytes | msgspec.Raw) -> Any:
    try:
        return from_json(bytes(text))
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
        offers[:MAX_OFFERS],
        max(0, len(offers) - MAX_OFFERS),
        read_below(bytes(found.federation), bytes(found.meta.uuid) if found.meta else b""),
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


def _decoded(raw: bytes | msgspec.Raw, known_kinds: frozenset[str]) -> Any:
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


def decode_session(
    raw: bytes | msgspec.Raw, known_kinds: frozenset[str] = frozenset()
) -> SessionView:
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
        return _view(found)
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


@lru_cache(_CACHED_TIMES)
def _recent(text: str | None) -> datetime | None:
    """A node's answers share many instants."""
    if text is None:
        return None
    instant = parse_instant(text)
    return instant if instant.year >= _EPOCH_YEARS else None


@lru_cache(_CACHED_TIMES)
def _available(start: str | None, duration: str | None) -> tuple[Interval | None, timedelta | None]:
    """Offers of one answer, and those of nodes that count in whole minutes, share times."""
    interval = None if start is None else parse_interval(start)
    is_meant = interval is not None and interval.start.year >= _EPOCH_YEARS
    return interval if is_meant else None, None if duration is None else parse_duration(duration)


def _stage(schedule: Any) -> Any:
    """Stage available of a schedule, if it says when that is."""
    stage = None if schedule is None else schedule.available
    is_said = stage is not None and not (stage.start is None and stage.duration is None)
    return stage if is_said else None


def _view(found: Any) -> SessionView:
    meta, compute = found.meta, found.compute
    if meta is None or meta.uuid is None:
        raise InvalidDocumentError("the session has no meta.uuid")
    if found.phase is None:
        raise InvalidDocumentError("the session has no phase")
    stage = _stage(found.schedule)
    if stage is None and compute is not None:
        stage = _stage(compute.schedule)
    start, duration = (None, None) if stage is None else _available(stage.start, stage.duration)
    return SessionView(
        meta.uuid,
        _PHASES[found.phase],
        _recent(found.expires),
        start,
        duration,
        None if compute is None else _bounds(compute.cores),
        None if compute is None else _bounds(compute.memory),
        _storage(found.storage),
        _quotes(found.costs),
        _quotes(found.metrics),
        () if compute is None else _quotes(compute.costs),
        () if compute is None else _quotes(compute.metrics),
    )


class _Part(msgspec.Struct, gc=False):
    """A component; what is in one of an unknown kind may be anything, and is left as it is."""

    meta: msgspec.Raw = _NONE
    volumes: msgspec.Raw = _NONE


class _Parts(msgspec.Struct, gc=False):
    executable: _Part | None = None
    compute: _Part | None = None
    storage: list[_Part] | None = None
    data: list[_Part] | None = None


_PARTS: Final = msgspec.json.Decoder(_Parts)
_PART_LIST: Final = msgspec.json.Decoder(list[_Part] | None)
_NAMED: Final = msgspec.json.Decoder(_Named)


def component_uuids(session: bytes | msgspec.Raw) -> tuple[UUID, ...]:
    """The UUIDs of the components of a session that ``decode_session`` has found good.

    One of an unknown kind that has none, or no UUID for one, is passed over.
    """
    found = _PARTS.decode(session)
    volumes = _volumes_of(found.compute) or ()
    parts = (
        *(found.executable, found.compute, *volumes),
        *(found.storage or ()),
        *(found.data or ()),
    )
    return tuple([uuid for part in parts if part and (uuid := _uuid_of(part)) is not None])


def _volumes_of(compute: _Part | None) -> Sequence[_Part] | None:
    if compute is None or compute.volumes is _NONE:
        return None
    try:
        volumes: Sequence[_Part] | None = _PART_LIST.decode(compute.volumes)
    except ValueError:
        return None
    return volumes


def _uuid_of(component: _Part) -> UUID | None:
    if component.meta is _NONE:
        return None
    try:
        return _NAMED.decode(component.meta).uuid
    except ValueError:
        return None


def messages_of(session: bytes) -> tuple[Document, ...]:
    """The messages of a session that ``decode_session`` has found good, as they are written."""
    return tuple((_tree(session).get("meta") or {}).get("messages") or ())


def _storage(storage: Sequence[Any] | None) -> Bounds | None:
    if not storage:
        return None
    sizes = [size for item in storage if (size := _bounds(item.size)) is not None]
    if len(sizes) == 1:
        return sizes[0]
    return sum_bounds(sizes) if sizes else None
