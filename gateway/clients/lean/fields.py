"""The header section of an answer: strictly read, found in any case."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
"""RFC 9110 section 5.6.2."""

_TEXT: Final = r"[\t -~\x80-\xff]*+"
"""What a field value or a reason phrase may hold; no control characters, no line ends."""

_HEAD: Final = re.compile(
    rf"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: {_TEXT})?\r\n((?:{_NAME}:{_TEXT}\r\n)*+)"
)
"""RFC 9112 sections 4 and 5, without what it forbids to send: folded lines, space before the colon,
bare CR or LF. No repetition gives anything back, so that matching takes linear time."""

_FIELD: Final = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n")
"""One line of what was matched before."""

START: Final = b"HTTP/1."
"""How every answer begins."""


class Fields(Mapping[str, str]):
    """Header fields by name, in any case. What came several times is one list (RFC 9110, 5.3)."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        """``values`` by name in lower case."""
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_head(head: bytes) -> tuple[int, int, dict[str, str]] | None:
    """Minor version, status and fields by lower-case name; the last empty line is left out.

    None if it is not a head of HTTP/1.0 or 1.1.
    """
    found = _HEAD.fullmatch(head.decode("latin-1"))
    if found is None:
        return None
    minor, status, lines = found.groups()
    return int(minor), int(status), _by_name(_FIELD.findall(lines))


def _by_name(fields: list[tuple[str, str]]) -> dict[str, str]:
    values = {name.lower(): value.rstrip(" \t") for name, value in fields}
    if len(values) == len(fields):
        return values
    lists: dict[str, list[str]] = {}
    for name, value in fields:
        lists.setdefault(name.lower(), []).append(value.rstrip(" \t"))
    return {name: ", ".join(each) for name, each in lists.items()}
