"""Bodies in and out: media types, decoding, validation, and the URLs that answers carry."""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from aiohttp import hdrs, web
from marshmallow import RAISE, Schema, ValidationError, fields

from gateway.httpkit.errors import (
    BodyTimeoutProblem,
    BodyTooLargeProblem,
    MalformedBodyProblem,
    MalformedRequestProblem,
    NotAcceptableProblem,
    QueryProblem,
    UnsupportedMediaTypeProblem,
    ValidationProblem,
)
from gateway.httpkit.operations import (
    JSON_ONLY,
    WIRE_MEDIA_TYPES,
    body_schema_of,
    query_schema_of,
)
from gateway.wire.codecs.base import Codec, CodecError
from gateway.wire.codecs.registry import codec_for_accept, codec_for_content_type
from gateway.wire.compile import NotCompilableError, QuickCheck
from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.faults import faults_of, validate
from gateway.wire.problem import Fault

BODY_TIMEOUT_S: Final = 30.0
"""The whole body must be there within this: a megabyte over a poor line, and no slower drip."""

_OFFLOAD_BYTES = 64 * 1024  # above this, decoding and validating would hold the event loop for ms
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


async def read_body(request: web.Request, schema: Schema | None = None) -> Document:
    """The body as a document, exactly as the client wrote it, once it has been found valid.

    What the client accepts is looked at first, so that nothing is done whose answer it could not
    read.

    Parameters
    ----------
    schema
        What the document must be; by default what ``request_schema`` gave the handler.

    Raises
    ------
    NotAcceptableProblem, UnsupportedMediaTypeProblem, BodyTooLargeProblem, BodyTimeoutProblem,
    MalformedBodyProblem, ValidationProblem
    """
    _accepted(request)
    codec = _codec_of_body(request, WIRE_MEDIA_TYPES)
    return await _read(request, codec, schema or _own_schema(request))


async def read_json_body(request: web.Request, schema: Schema | None = None) -> Document:
    """Like ``read_body``, for operations that speak JSON alone."""
    codec = _codec_of_body(request, JSON_ONLY)
    return await _read(request, codec, schema or _own_schema(request))


async def _read(request: web.Request, codec: Codec | None, schema: Schema) -> Document:
    raw = await _read_raw(request)
    if not raw.strip():
        raise MalformedBodyProblem("The body is missing.")
    if codec is None:
        raise UnsupportedMediaTypeProblem(None, WIRE_MEDIA_TYPES)
    if len(raw) > _OFFLOAD_BYTES:
        return await asyncio.to_thread(_decode, raw, codec, schema)
    return _decode(raw, codec, schema)


def _decode(raw: bytes, codec: Codec, schema: Schema) -> Document:
    try:
        document = codec.decode(raw)
    except CodecError as error:
        raise MalformedBodyProblem(f"Not readable as {codec.media_type}: {error}") from error
    if not isinstance(document, dict):
        raise ValidationProblem([Fault("", "Must be an object.")])
    if codec.media_type == JSON_ONLY[0]:
        quick = _quick_check(schema)
        if quick is not None and quick.passes(raw):
            return document
    faults = validate(schema, document)
    if faults:
        raise ValidationProblem(faults)
    return document


@lru_cache(64)
def _quick_check(schema: Schema) -> QuickCheck | None:
    """The compiled form of a schema, if it has one; there are fewer schemas than are kept."""
    try:
        return QuickCheck(schema)
    except NotCompilableError:
        return None


def _own_schema(request: web.Request) -> Schema:
    schema = body_schema_of(request.match_info.handler)
    if schema is None:
        raise TypeError(f"the handler of {request.path} has no request schema")
    return schema


def _codec_of_body(request: web.Request, supported: tuple[str, ...]) -> Codec | None:
    """None where the body says nothing of its type."""
    given = request.headers.get(hdrs.CONTENT_TYPE)
    if given is None:
        return None
    codec = codec_for_content_type(given)
    charset = (request.charset or "utf-8").lower()
    if codec is None or codec.media_type not in supported or charset not in _CHARSETS:
        raise UnsupportedMediaTypeProblem(given, supported)
    return codec


_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


async def _read_raw(request: web.Request) -> bytes:
    if (request.content_length or 0) > request.client_max_size:
        raise BodyTooLargeProblem(request.client_max_size)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError as error:
        raise BodyTimeoutProblem(BODY_TIMEOUT_S) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise MalformedBodyProblem("The body broke off or its framing is wrong.") from error


def read_query(request: web.Request, schema: Schema | None = None) -> dict[str, Any]:
    """The query parameters, of the types their schema says; an unknown one is refused.

    A parameter whose field is a list may be given more than once, and each value may be a list
    separated by commas.

    Raises
    ------
    QueryProblem
    """
    schema = schema or query_schema_of(request.match_info.handler)
    if schema is None:
        raise TypeError(f"the handler of {request.path} has no query schema")
    if not request.query_string and (nothing := _read_of_nothing(schema)) is not None:
        return dict(nothing)
    given: dict[str, Any] = {}
    faults: list[Fault] = []
    lists = {
        field.data_key or name
        for name, field in schema.fields.items()
        if isinstance(field, fields.List)
    }
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        if name in lists:
            given[name] = [part for value in values for part in value.split(",")]
            continue
        given[name] = values[0]
        if len(values) > 1:
            faults.append(Fault(f"/{name}", "Given more than once."))
    read: dict[str, Any] = {}
    try:
        read = schema.load(given, unknown=RAISE)
    except ValidationError as error:
        faults += faults_of(error.messages)
    if faults:
        raise QueryProblem(faults)
    return read


@lru_cache(64)
def _read_of_nothing(schema: Schema) -> Mapping[str, Any] | None:
    """What the schema makes of no parameters at all; None where it needs some."""
    try:
        read: Mapping[str, Any] = schema.load({}, unknown=RAISE)
    except ValidationError:
        return None
    return read


def read_uuid(request: web.Request, name: str = "uuid") -> UUID:
    """The UUID in the path, in its canonical form of 36 characters.

    Raises
    ------
    MalformedRequestProblem
    """
    text = request.match_info[name]
    if not _UUID.fullmatch(text):
        raise MalformedRequestProblem(f"The {name} in the path is not a UUID.")
    return UUID(text)


def answer(
    request: web.Request,
    document: Document | bytes,
    *,
    root: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The answer in the media type that the client likes best.

    Parameters
    ----------
    document
        A document, or its JSON text, which goes out unchanged where JSON is wanted.
    root
        Name of the root element in XML (``gateway.wire.codecs.registry``).

    Raises
    ------
    NotAcceptableProblem
        Nothing the client accepts can be made. ``read_body`` has asked already, but only here is
        it seen that a document has characters that XML cannot carry.
    """
    codec = _accepted(request)
    response = web.Response(
        body=_encode(document, codec, root),
        status=status,
        headers=headers,
        content_type=codec.media_type,
    )
    response.headers[hdrs.VARY] = hdrs.ACCEPT
    return response


def answer_json(
    document: Document, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The document as JSON, for what is said in nothing else."""
    return web.Response(
        body=to_json(document), status=status, headers=headers, content_type=JSON_ONLY[0]
    )


def _encode(document: Document | bytes, codec: Codec, root: str) -> bytes:
    if isinstance(document, bytes) and codec.media_type == JSON_ONLY[0]:
        return document
    tree: Document = from_json(document) if isinstance(document, bytes) else document
    try:
        return codec.encode(tree, root)
    except CodecError as error:
        # XML has no way to write some characters that JSON text may have in it.
        raise NotAcceptableProblem(JSON_ONLY) from error


def _accepted(request: web.Request) -> Codec:
    codec = codec_for_accept(", ".join(request.headers.getall(hdrs.ACCEPT, [])) or None)
    if codec is None:
        raise NotAcceptableProblem(WIRE_MEDIA_TYPES)
    return codec


def base_url(request: web.Request, public_url: str | None) -> str:
    """What the URLs in an answer begin with, without a slash at the end.

    The configured one, else the authority that the client itself used: a redirect elsewhere would
    cost it its credentials.

    Raises
    ------
    MalformedRequestProblem
        The ``Host`` header is not a host.
    """
    if public_url is not None:
        return public_url.rstrip("/")
    if not _HOST.fullmatch(request.host):
        raise MalformedRequestProblem("The Host header is not a host and port.")
    return f"{request.scheme}://{request.host}"
