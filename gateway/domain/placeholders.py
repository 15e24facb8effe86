"""Placeholders: components that a request leaves open, and the places where they stand.

An execution template comes with ``abstract-*`` kinds where the person who uses it has to supply
something; ``meta.name`` and ``meta.description`` say what. They are resolved by merging a concrete
component into the place (notes 20260609-02 and 20260610-01 of Calycopis), which is written as
``data[0]`` or ``compute.volumes[1]``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.domain.merge_patch import merge_patch
from gateway.wire.documents import Document
from gateway.wire.faults import to_pointer
from gateway.wire.kinds import KIND_BASE

MAX_STEPS: Final = 64
"""Longest path: as deep as documents are read."""

Steps = tuple[str | int, ...]
"""A path taken apart: member names, and places in lists from 0."""

_STEP: Final = re.compile(r"\.(?P<name>[^.\[\]/]+)|\[(?P<index>[0-9]{1,6})\]", re.ASCII)
_PLACE: Final = re.compile("0|[1-9][0-9]{0,5}", re.ASCII)
_ABSTRACT: Final = re.compile(re.escape(KIND_BASE) + r"/[^/]+/abstract-[^/]+")


class PathError(ValueError):
    """The path cannot be read, or leads to nothing that could be changed."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A component that has to be supplied; ``name`` and ``description`` say which.

    ``kind`` is None where the request has nothing at all in the place.
    """

    steps: Steps
    kind: str | None
    name: str | None = None
    description: str | None = None

    @property
    def path(self) -> str:
        """Where it stands, as templates write it."""
        return format_path(self.steps)

    @property
    def pointer(self) -> str:
        """Where it stands, as a JSON pointer."""
        return to_pointer(self.steps)

    @property
    def wanted(self) -> str:
        """What to supply, in words."""
        said = ": ".join(text for text in (self.name, self.description) if text)
        return said or self.kind or "something to execute"


def open_places(request: Document) -> tuple[Placeholder, ...]:
    """Everything that has still to be supplied, in the order of the schema."""
    return tuple(_open_places(request))


def _open_places(request: Document) -> Iterator[Placeholder]:
    executable = request.get("executable")
    if executable is None:
        yield Placeholder(("executable",), None)
    compute = request.get("compute")
    yield from _abstract(("executable",), executable)
    yield from _abstract(("compute",), compute)
    if isinstance(compute, dict):
        yield from _abstract_items(("compute", "volumes"), compute.get("volumes"))
    for member in ("storage", "data"):
        yield from _abstract_items((member,), request.get(member))


def _abstract_items(steps: Steps, items: object) -> Iterator[Placeholder]:
    for index, item in enumerate(items if isinstance(items, list) else ()):
        yield from _abstract((*steps, index), item)


def _abstract(steps: Steps, component: object) -> Iterator[Placeholder]:
    if not isinstance(component, dict):
        return
    kind = component.get("kind")
    if isinstance(kind, str) and _ABSTRACT.fullmatch(kind):
        meta = component.get("meta")
        texts: Mapping[str, object] = meta if isinstance(meta, dict) else {}
        yield Placeholder(steps, kind, _text(texts, "name"), _text(texts, "description"))


def _text(texts: Mapping[str, object], name: str) -> str | None:
    value = texts.get(name)
    return value if isinstance(value, str) and value else None


def parse_path(text: str) -> Steps:
    """The steps of a path such as ``compute.volumes[1]``, or of a JSON pointer (RFC 6901).

    In a pointer a number is a place in a list.

    Raises
    ------
    PathError
        It is neither.
    """
    steps = _from_pointer(text) if text.startswith("/") else _from_dotted(text)
    if len(steps) > MAX_STEPS:
        raise PathError(f"a path has at most {MAX_STEPS} steps")
    return steps


def _from_pointer(text: str) -> Steps:
    names = (part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
    return tuple(int(name) if _PLACE.fullmatch(name) else name for name in names)


def _from_dotted(text: str) -> Steps:
    steps: list[str | int] = []
    dotted, at = f".{text}", 0
    while found := _STEP.match(dotted, at):
        steps.append(found["name"] if found["index"] is None else int(found["index"]))
        at = found.end()
    if at < len(dotted):
        raise PathError(f"{text[:200]!r} is no path such as data[0] or compute.volumes[1]")
    return tuple(steps)


def format_path(steps: Steps) -> str:
    """A path as templates write it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def value_at(document: Any, steps: Steps) -> Any:
    """What stands in the place; None where nothing does."""
    for step in steps:
        if isinstance(document, dict):
            document = document.get(str(step))
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def with_value(document: Any, steps: Steps, value: Any) -> Any:
    """The document with the value in the place; what was given stays as it is.

    Objects on the way that are missing are made; a list grows by one item at most.

    Raises
    ------
    PathError
        The path leads through something that is no object or list, or beyond the end of a list.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(document, list):
        if not isinstance(step, int) or step > len(document):
            raise PathError(f"a list of {len(document)} has no place {step!r}")
        inner = document[step] if step < len(document) else None
        return [*document[:step], with_value(inner, rest, value), *document[step + 1 :]]
    if document is None:
        document = [] if isinstance(step, int) else {}
        return with_value(document, steps, value)
    if not isinstance(document, dict):
        raise PathError(f"there is no place {step!r} within a single value")
    name = str(step)
    return document | {name: with_value(document.get(name), rest, value)}


def resolved(request: Document, steps: Steps, component: Document) -> Document:
    """The request with the component merged into what stands in the place (RFC 7396).

    So what the template says there, such as a name that volumes refer to, stays unless the
    component says otherwise.

    Raises
    ------
    PathError
        There is no such place.
    """
    merged = merge_patch(value_at(request, steps), component)
    changed: Document = with_value(request, steps, merged)
    return changed
