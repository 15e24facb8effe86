"""Drafts: how a request that is being written begins, is changed, and what is said of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.domain.merge_patch import merge_patch
from gateway.domain.placeholders import (
    PathError,
    Placeholder,
    Steps,
    open_places,
    parse_path,
    resolved,
    value_at,
    with_value,
)
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.kinds import (
    COMPONENT_OPTION,
    COMPONENT_UPDATE,
    DELTA_UPDATE,
    ENUM_UPDATE,
    INTEGER_UPDATE,
    IVOA_DATA,
    RUCIO_DATA,
    STRING_UPDATE,
)
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel
from gateway.wire.problem import Fault
from gateway.wire.schemas.request import ExecutionRequestSchema

OPEN_PLACE: Final = "urn:draft-open-place"
"""The kind of the message that something has still to be supplied."""

FAULT: Final = "urn:draft-fault"
"""The kind of the message that something is not as the schema wants it."""

_WRITABLE: Final = frozenset({"meta", "request"})
_WRITABLE_META: Final = frozenset({"name"})


class EditError(ValueError):
    """A change that cannot be made, and where it says so."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(pointer, detail)


@dataclass(frozen=True, slots=True)
class DraftContent:
    """What its owner writes: the request, and a name to find it by."""

    request: Document
    name: str | None = None


def request_for_rucio(did: str) -> Document:
    """A request that reads one data identifier of Rucio's, ``scope:name``.

    Raises
    ------
    EditError
        It is none.
    """
    scope, colon, name = did.partition(":")
    if not (scope and colon and name):
        raise EditError("/rucio_did", "Not scope:name.")
    return {"data": [{"kind": RUCIO_DATA, "rucio": {"scope": scope, "object": name}}]}


def request_for_ivoid(ivoid: str) -> Document:
    """A request that reads what an IVOA identifier names.

    Raises
    ------
    EditError
        It is none.
    """
    if not ivoid.startswith("ivo://") or ivoid == "ivo://":
        raise EditError("/ivoid", "Does not begin with ivo:// and name something.")
    return {"data": [{"kind": IVOA_DATA, "ivoa": {"ivoid": ivoid}}]}


def patched(content: DraftContent, patch: Document) -> DraftContent:
    """What a merge patch of the draft makes of it.

    Raises
    ------
    EditError
        It changes what is not its owner's to write.
    """
    _refuse_beyond(patch, _WRITABLE, "")
    meta = patch.get("meta", {})
    if not isinstance(meta, dict):
        raise EditError("/meta", "Must be an object.")
    _refuse_beyond(meta, _WRITABLE_META, "/meta")
    name = meta.get("name", content.name)
    if name is not None and not isinstance(name, str):
        raise EditError("/meta/name", "Must be a string.")
    request = merge_patch({"request": content.request}, {"request": patch.get("request", {})})
    changed = request.get("request", {})
    if not isinstance(changed, dict):
        raise EditError("/request", "Must be an object.")
    return DraftContent(changed, name)


def _refuse_beyond(patch: Mapping[str, Any], writable: frozenset[str], at: str) -> None:
    for name in patch:
        if name not in writable:
            known = ", ".join(sorted(writable))
            raise EditError(f"{at}/{name}", f"Cannot be changed; what can is {known}.")


def updated(content: DraftContent, update: Document) -> DraftContent:
    """What an update in the manner of the schema makes of the draft.

    Its path is one of the request, such as ``data[0]`` or ``compute.cores.min``.

    Raises
    ------
    EditError
        It cannot be made there.
    """
    try:
        steps = parse_path(update["path"])
        request = _UPDATES[update["kind"]](content.request, steps, update)
    except PathError as error:
        raise EditError("/path", f"{error}") from error
    return DraftContent(request, content.name)


def _with_text(request: Document, steps: Steps, update: Document) -> Document:
    return _set(request, steps, update["value"])


def _with_delta(request: Document, steps: Steps, update: Document) -> Document:
    was = value_at(request, steps)
    if not isinstance(was, int) or isinstance(was, bool):
        raise PathError(f"{update['path']} is no whole number that could grow or shrink")
    return _set(request, steps, was + update["delta"])


def _with_component(request: Document, steps: Steps, update: Document) -> Document:
    return resolved(request, steps, update["value"])


def _set(request: Document, steps: Steps, value: str | int) -> Document:
    if isinstance(value_at(request, steps), dict | list):
        raise PathError("an object or a list stands there; say what of it to change")
    changed: Document = with_value(request, steps, value)
    return changed


_UPDATES: Final[Mapping[str, Callable[[Document, Steps, Document], Document]]] = {
    STRING_UPDATE: _with_text,
    ENUM_UPDATE: _with_text,
    INTEGER_UPDATE: _with_text,
    DELTA_UPDATE: _with_delta,
    COMPONENT_UPDATE: _with_component,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What keeps a request from being asked with."""

    places: tuple[Placeholder, ...]
    faults: tuple[Fault, ...]

    @property
    def is_ready(self) -> bool:
        """Whether nothing does."""
        return not self.places and not self.faults

    def all_faults(self) -> list[Fault]:
        """The open places as faults, and all other faults."""
        open_ones = [Fault(place.pointer, f"Still open: {place.wanted}.") for place in self.places]
        return [*open_ones, *self.faults]

    def messages(self, now: datetime) -> list[Document]:
        """What is still missing, and what is not as it should be, for who writes the request."""
        missing = [
            message(
                OPEN_PLACE,
                MessageLevel.WARN,
                "To be supplied at ${path}: ${wanted}",
                {"path": place.path, "pointer": f"/request{place.pointer}", "wanted": place.wanted},
                now,
            )
            for place in self.places
        ]
        wrong = [
            message(
                FAULT,
                MessageLevel.ERROR,
                "${pointer}: ${detail}",
                {"pointer": f"/request{fault.pointer}", "detail": fault.detail},
                now,
            )
            for fault in self.faults
        ]
        return missing + wrong

    def options(self) -> list[Document]:
        """The open places as what may be supplied there."""
        return [_option(place) for place in self.places]


def look_at(request: Document) -> Look:
    """What is still missing in a request, and what the schema finds wrong with it."""
    return Look(open_places(request), tuple(validate(_SCHEMA, request)))


def _option(place: Placeholder) -> Document:
    option = {
        "kind": COMPONENT_OPTION,
        "path": place.path,
        "name": place.name,
        "description": place.description,
        "abstract": place.kind,
    }
    return {name: value for name, value in option.items() if value is not None}


_SCHEMA: Final = ExecutionRequestSchema()
