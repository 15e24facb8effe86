"""Cursors: where a page ended, as a text that only this service reads.

A cursor holds no secret and opens nothing: whoever shows one still sees but what is their own. It
is checked, so that one of another list or with other filters is refused and not misread.
"""

import base64
import hashlib
from typing import Final
from uuid import UUID

import msgspec

from gateway.stores.database import from_micros, to_micros
from gateway.stores.listing import Place
from gateway.wire.documents import to_canonical_json

MAX_CURSOR: Final = 200
"""Longest cursor, in characters; those that are given out have half as many."""

_DIGEST: Final = 12


class CursorError(ValueError):
    """The text is no cursor of this list with these filters."""


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    micros: int
    uuid: UUID
    digest: str


def cursor_of(place: Place, filters: object) -> str:
    """The text for a place in the list that has these filters."""
    text = msgspec.json.encode(_Cursor(to_micros(place.at), place.uuid, _digest(filters)))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def place_of(cursor: str, filters: object) -> Place:
    """The place that a cursor tells.

    Raises
    ------
    CursorError
    """
    if len(cursor) > MAX_CURSOR:
        raise CursorError("The cursor is too long.")
    try:
        padded = (cursor + "=" * (-len(cursor) % 4)).encode("ascii")
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
        found = msgspec.json.decode(text, type=_Cursor)
        at = from_micros(found.micros)
    except (ValueError, OverflowError, OSError) as error:
        # Not base64, not JSON, not a time: all that is no cursor.
        raise CursorError("Not a cursor that was given out here.") from error
    if found.digest != _digest(filters):
        raise CursorError("The cursor is of another list, or of one with other filters.")
    return Place(at, found.uuid)


def _digest(filters: object) -> str:
    return hashlib.sha256(to_canonical_json(filters)).hexdigest()[:_DIGEST]
