"""Messages: what a client is told about a component, complete with values and text."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gateway.wire.documents import Document, to_json
from gateway.wire.phases import MessageLevel
from gateway.wire.times import TimeSyntaxError, format_instant, parse_instant

MAX_TEXT: Final = 2000
"""Characters of each text in a message of a node's; what is longer is cut."""

MAX_BRACKETS: Final = 64
"""Opening brackets among the unknown members of a node's message: it is flat as a rule."""

FOREIGN_KIND: Final = "urn:node-message"
"""The kind of a message whose node gave it none."""

_NAME: Final = re.compile(r"\$\{([^{}]+)\}")
_MEMBERS: Final = frozenset({"kind", "time", "level", "template", "values", "message"})
_LEVELS: Final = {level.value: level for level in MessageLevel} | {
    "WARNING": MessageLevel.WARN,
    "FATAL": MessageLevel.ERROR,
    "CRITICAL": MessageLevel.ERROR,
    "TRACE": MessageLevel.DEBUG,
}


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each ``${name}`` replaced by its value; one without value stays."""
    return _NAME.sub(lambda found: values.get(found[1], found[0]), template)


def message(
    kind: str, level: MessageLevel, template: str, values: Mapping[str, str], time: datetime
) -> Document:
    """One entry for ``meta.messages``.

    ``template`` names its values as ``${name}``. ``values`` is left out when there are none.
    """
    item: Document = {
        "kind": kind,
        "time": format_instant(time),
        "level": MessageLevel(level).value,
        "template": template,
    }
    if values:
        item["values"] = dict(values)
    item["message"] = fill(template, values)
    return item


def mended(said: Document, now: datetime) -> Document:
    """A node's message in a form that breaks no client: one bad level costs it the whole answer.

    What it says is kept as far as it can be, and so are members that nobody knows, unless they nest
    like nothing that is meant to be read.
    """
    unknown = {name: value for name, value in said.items() if name not in _MEMBERS}
    if unknown and sum(map(to_json(unknown).count, (b"{", b"["))) > MAX_BRACKETS:
        unknown = {}
    item: Document = unknown | {
        "kind": _text(said.get("kind")) or FOREIGN_KIND,
        "time": _time(said.get("time"), now),
        "level": _LEVELS.get(str(said.get("level")).upper(), MessageLevel.OTHER).value,
    }
    for name in ("template", "message"):
        if text := _text(said.get(name)):
            item[name] = text
    values = said.get("values")
    if isinstance(values, Mapping):
        item["values"] = {name[:MAX_TEXT]: _as_text(value) for name, value in values.items()}
    return item


def _text(value: object) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) else None


def _as_text(value: object) -> str:
    return (value if isinstance(value, str) else to_json(value).decode())[:MAX_TEXT]


def _time(value: object, now: datetime) -> str:
    try:
        return (
            format_instant(parse_instant(value)) if isinstance(value, str) else format_instant(now)
        )
    except TimeSyntaxError:
        return format_instant(now)
