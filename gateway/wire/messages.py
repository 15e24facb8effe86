"""Messages: what a client is told about a component, complete with values and text."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from gateway.wire.times import format_instant

_NAME: Final = re.compile(r"\$\{([^{}]+)\}")


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
