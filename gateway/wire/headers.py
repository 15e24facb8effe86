"""Headers between clients, gateways and nodes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The same key, owner and body give the same answer again.

Source: IETF draft-ietf-httpapi-idempotency-key-header.
"""

FEDERATION_PATH: Final = "Federation-Path"
"""Gateways already passed, in order, separated by commas: finds loops, counts hops."""

FEDERATION_REQUEST: Final = "Federation-Request"
"""The UUID of the offer set at the gateway that the client asked, the same all the way down.

Whoever is reached by two ways answers the first, and says NO to the second.
"""

FEDERATION_BUDGET_MS: Final = "Federation-Budget-Ms"
"""What is left of the deadline, in whole milliseconds."""

REQUEST_ID: Final = "X-Request-Id"
"""Follows one request through every service and log."""

PREFER: Final = "Prefer"
"""What the client would like best (RFC 7240)."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client asked for with ``Prefer``.

    ``resubmit`` is this service's own: ask elsewhere when the node is lost before the session runs.
    """

    wait_s: float | None = None
    representation: bool = False
    strict: bool = False
    resubmit: bool = False


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts of ``text`` between separators that are not inside a quoted string."""
    part: list[str] = []
    is_quoted = False
    is_escaped = False
    for char in text:
        if is_escaped:
            is_escaped = False
        elif is_quoted and char == "\\":
            is_escaped = True
        elif char == '"':
            is_quoted = not is_quoted
        elif char == separator and not is_quoted:
            yield "".join(part).strip()
            part.clear()
            continue
        part.append(char)
    yield "".join(part).strip()


def _value(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text


def _seconds(text: str) -> float | None:
    """Whole or decimal seconds; anything else is no preference."""
    if len(text) > 12 or not text.replace(".", "", 1).isdigit() or not text.isascii():
        return None
    return float(text)


def parse_prefer(values: Iterable[str]) -> Preferences:
    """Preferences from the values of every ``Prefer`` header of a request.

    Unknown preferences and unreadable values are ignored, and of a repeated one the first counts
    (RFC 7240 §2).
    """
    found: dict[str, str] = {}
    for value in values:
        for item in _split(value, ","):
            name, _, given = next(_split(item, ";")).partition("=")
            found.setdefault(name.strip().lower(), _value(given))
    return Preferences(
        wait_s=_seconds(found.get("wait", "")),
        representation=found.get("return", "").lower() == "representation",
        strict=found.get("handling", "").lower() == "strict",
        resubmit="resubmit" in found,
    )
