"""JSON (RFC 8259). What readers understand differently is refused: a name twice, NaN, bad UTF-8."""

import json
from codecs import BOM_UTF8
from typing import Any, Final

from gateway.wire.codecs.base import Codec, CodecError, checked
from gateway.wire.documents import Document, to_json


def _object(pairs: list[tuple[str, Any]]) -> Document:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CodecError(f"the member {_twice(pairs)[:80]!r} stands twice in one object")
    return found


def _twice(pairs: list[tuple[str, Any]]) -> str:
    """The first name that stands there again; in linear time, since strangers write the text."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("every name stands there once")


def _constant(name: str) -> Any:
    raise CodecError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def decode(text: bytes) -> Any:
    """The tree that the text says.

    Raises
    ------
    CodecError
        It is not JSON, or not within the limits.
    """
    try:
        # Not "utf-8-sig": Python opens a file to learn it, and there may be no descriptor left.
        tree = _DECODER.decode(text.removeprefix(BOM_UTF8).decode())
    except CodecError:
        raise
    except UnicodeDecodeError as error:
        raise CodecError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise CodecError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise CodecError("nested too deep") from error
    except ValueError as error:
        # An integer of more digits than Python converts.
        raise CodecError("a number is too long") from error
    return checked(tree)


def encode(document: Document, root: str) -> bytes:  # noqa: ARG001 - JSON has no root element
    """The text of a document.

    Raises
    ------
    CodecError
        It has a value that JSON cannot say.
    """
    try:
        return to_json(document)
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError) as error:
        raise CodecError(f"cannot be written as JSON: {error}") from error


CODEC: Final = Codec("application/json", frozenset({"text/json"}), decode, encode)
"""Default of every answer."""
