"""What the operations on logs and result files take and give, alike at node and gateway."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from aiohttp import hdrs, web
from marshmallow import Schema, fields, validate

from gateway.httpkit.bodies import read_query
from gateway.httpkit.errors import MalformedRequestProblem
from gateway.httpkit.operations import problem_responses
from gateway.httpkit.streaming import (
    EVENT_STREAM,
    LAST_EVENT_ID,
    content_type_of,
    wants_events,
)
from gateway.wire.documents import Document
from gateway.wire.outputs import STREAMS

LOG_HEADERS: Final[Mapping[str, str]] = {
    hdrs.CONTENT_TYPE: "text/plain; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
}
"""Headers of a log: whatever a job writes, a browser shows it as text."""

MAX_OFFSET_DIGITS: Final = 18
"""An offset has no more digits: below 2**63."""

STREAM_PARAMETER: Final[Document] = {
    "in": "path",
    "name": "stream",
    "required": True,
    "schema": {"type": "string", "enum": list(STREAMS)},
}
"""The path parameter that names a log."""

PATH_PARAMETER: Final[Document] = {
    "in": "path",
    "name": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
    "description": "The file's path as the list of results has it; slashes as they are.",
}
"""The path parameter that names a file."""

_OFFSET: Final = validate.Regexp(f"^[0-9]{{1,{MAX_OFFSET_DIGITS}}}$")
_BYTES: Final[Document] = {"type": "string", "format": "binary"}
_RANGE_HELP: Final = "RFC 9110 §14.2: one range of bytes; several, and other units, are ignored."


class LogQuerySchema(Schema):
    """How a log is read."""

    follow = fields.Boolean(
        truthy={"true"},
        falsy={"false"},
        metadata={
            "description": "As server-sent events until the session has ended: `chunk` with"
            " `{offset, text}`, or `base64` where it is no UTF-8, and `end` with how it ended."
            " The same as to accept `text/event-stream`."
        },
    )


class LogHeadersSchema(Schema):
    """Headers that a reader of a log may send."""

    range = fields.String(data_key=str(hdrs.RANGE), metadata={"description": _RANGE_HELP})
    last_event_id = fields.String(
        data_key=LAST_EVENT_ID,
        validate=_OFFSET,
        metadata={"description": "Follow from this offset on: the id of the last event seen."},
    )


class FileHeadersSchema(Schema):
    """Headers that a reader of a file may send."""

    range = fields.String(data_key=str(hdrs.RANGE), metadata={"description": _RANGE_HELP})
    if_range = fields.String(
        data_key=str(hdrs.IF_RANGE),
        metadata={"description": "The range, if this is still the entity tag; else the whole."},
    )
    if_none_match = fields.String(
        data_key=str(hdrs.IF_NONE_MATCH),
        metadata={"description": "304 where one of these is the entity tag, the file's SHA-256."},
    )


LOG_SEEN: Final[Mapping[int, Document]] = {
    200: {
        "description": "The log so far, or events as it grows",
        "content": {
            "text/plain": {"schema": _BYTES},
            EVENT_STREAM: {"schema": {"type": "string"}},
        },
    },
    206: {
        "description": "The range; of a log that still grows, perhaps less of it",
        "content": {"text/plain": {"schema": _BYTES}},
    },
    **problem_responses(404, 410, 416),
}
"""Answers of an operation that reads a log."""

FILE_SEEN: Final[Mapping[int, Document]] = {
    200: {"description": "The file", "content": {"*/*": {"schema": _BYTES}}},
    206: {"description": "The range", "content": {"*/*": {"schema": _BYTES}}},
    304: {"description": "The reader has it already"},
    **problem_responses(404, 410, 416),
}
"""Answers of an operation that reads a file."""


def is_followed(request: web.Request) -> bool:
    """Whether the reader wants events as the log grows.

    Raises
    ------
    QueryProblem
    """
    query: dict[str, Any] = read_query(request, _LOG_QUERY)
    return bool(query.get("follow", wants_events(request)))


def event_offset_of(request: web.Request) -> int:
    """From which byte on a log is followed.

    Raises
    ------
    MalformedRequestProblem
        The reader left off at what is no offset.
    """
    text = request.headers.get(LAST_EVENT_ID, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_OFFSET_DIGITS):
        raise MalformedRequestProblem(f"The header {LAST_EVENT_ID} must be an offset in bytes.")
    return int(text)


def file_headers(path: str) -> Mapping[str, str]:
    """Headers of a file that came out: to be saved, and of the type that its name promises."""
    return {
        hdrs.CONTENT_TYPE: content_type_of(path),
        hdrs.CONTENT_DISPOSITION: attachment(path),
        hdrs.CACHE_CONTROL: "private, no-cache",
    }


def attachment(path: str) -> str:
    """The header ``Content-Disposition`` of a file to be saved (RFC 6266)."""
    name = path.rpartition("/")[2]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


_LOG_QUERY: Final = LogQuerySchema()
