"""Conditional requests: a document is not sent again unchanged, and not changed unseen.

Source: RFC 9110 §8.8.3 and §13.1. A tag is made of what the document says, and of the media type it
is said in: the same state in YAML is another representation, and so has another strong tag.
"""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer
from gateway.wire.documents import Document, to_json

_DIGEST_BYTES: Final = 16
_ANY: Final = "*"
_FRESHNESS: Final = "private, no-cache"  # it changes by itself, and options are its owner's alone


class ReadConditionSchema(Schema):
    """The condition that a read may have."""

    if_none_match = fields.String(
        data_key="If-None-Match",
        metadata={"description": "ETags that the client has: if one still holds, 304."},
    )


class WriteConditionSchema(Schema):
    """The condition that a change may have."""

    if_match = fields.String(
        data_key="If-Match",
        metadata={"description": "The ETag that the client has seen; if it has changed, 412."},
    )


def answer_tagged(
    request: web.Request,
    document: Document,
    *,
    root: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The answer with its tag, or 304 without a body where the client has it already.

    Raises
    ------
    NotAcceptableProblem
    """
    text = to_json(document)
    response = answer(request, text, root=root, status=status, headers=headers)
    tag = _tag_of(text, response.content_type)
    if status == HTTPStatus.OK and request.method in _READS and is_known(request, tag):
        response = web.Response(
            status=HTTPStatus.NOT_MODIFIED, headers={hdrs.VARY: response.headers[hdrs.VARY]}
        )
    response.headers[hdrs.ETAG] = f'"{tag}"'
    response.headers[hdrs.CACHE_CONTROL] = _FRESHNESS
    return response


_READS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


def has_condition(request: web.Request) -> bool:
    """Whether the client says what it has seen of what it wants to change; ``*`` is anything."""
    return request.headers.get(hdrs.IF_MATCH, _ANY).strip() != _ANY


def is_as_seen(request: web.Request, document: Document) -> bool:
    """Whether the document, as it would be read now, is what ``If-Match`` says.

    In whichever media type the client has read it: it is the state that counts.
    """
    digest = _digest(to_json(document))
    tags = request.if_match
    return tags is None or any(
        tag.value == _ANY or (not tag.is_weak and tag.value.partition("-")[0] == digest)
        for tag in tags
    )


def is_known(request: web.Request, tag: str) -> bool:
    """Whether the client has it already; ``tag`` is without its quotes."""
    return any(known.value in (tag, _ANY) for known in request.if_none_match or ())


def _tag_of(text: bytes, media_type: str) -> str:
    return f"{_digest(text)}-{media_type.rpartition('/')[2]}"


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
