"""What all codecs share: their error, their limits, and a check of what came out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.wire.documents import Document

MAX_DEPTH: Final = 64
"""Deepest nesting of objects and lists that is read. The schema needs 9."""

MAX_VALUES: Final = 100_000
"""Most values in one document, after aliases are expanded: bounds what a small text can make."""

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


class CodecError(ValueError):
    """Text that cannot be read, or a document that cannot be written; the message says why."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One media type. ``encode`` takes the name of the root, of which only XML makes use.

    Both raise :class:`CodecError` and nothing else. ``accepts`` are other names it goes by.
    """

    media_type: str
    accepts: frozenset[str]
    decode: Callable[[bytes], Any]
    encode: Callable[[Document, str], bytes]


def check_text(text: str) -> None:
    """Refuse a string that UTF-8 cannot carry: half of a surrogate pair.

    Raises
    ------
    CodecError
        There is one.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CodecError("a string has half of a surrogate pair in it") from error


def check_scalar(value: Any) -> None:
    """Refuse what other readers of JSON would not read as the same value.

    Raises
    ------
    CodecError
        NaN, infinity, an integer of more than 64 bits, a broken string.
    """
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise CodecError("NaN and infinity are no JSON numbers")
    elif isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        raise CodecError("an integer has more than 64 bits")


def checked(tree: Any) -> Any:
    """The same tree, if it keeps to the limits.

    Raises
    ------
    CodecError
        Too deep, too many values, or a value that JSON cannot say.
    """
    count = 0
    level = [tree]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                for name in value:
                    check_text(name)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            else:
                check_scalar(value)
        count += len(level)
        if count > MAX_VALUES:
            raise CodecError(f"more than {MAX_VALUES} values")
        if not below:
            return tree
        level = below
    raise CodecError(f"nested deeper than {MAX_DEPTH}")
