"""``GET /capabilities``: what a service can do, for gateways that may ask it."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web
from marshmallow import Schema, fields

from gateway.httpkit.bodies import answer_json
from gateway.httpkit.conditional import is_known
from gateway.httpkit.operations import JSON_ONLY, docs, problem_responses, response_schema
from gateway.wire.documents import Document, to_canonical_json

CAPABILITIES_ROUTE: Final = "/capabilities"
"""Where they are read."""

CAPABILITIES_VERSION: Final = 1
"""Of the document; it grows when members change their meaning, not when some are added."""

_TAG_CHARACTERS: Final = 32  # 128 bits: no two documents of one service ever share it

Capabilities: TypeAlias = Callable[[], Awaitable[Document]]
"""Gives the document as it is now."""


class LimitsSchema(Schema):
    """The most that one request may have, as far as that is known; GiB are 2**30 bytes."""

    cores = fields.Float()
    memory_gib = fields.Float()
    storage_gib = fields.Float()


class CapabilitiesSchema(Schema):
    """What a service can do."""

    version = fields.Integer(required=True)
    service = fields.String(
        required=True, metadata={"enum": ["execbroker-node", "execbroker-gateway"]}
    )
    release = fields.String(required=True)
    identity = fields.UUID(
        required=True, metadata={"description": "Of this installation: it never changes."}
    )
    name = fields.String(required=True)
    site = fields.String()
    kinds = fields.List(
        fields.String(), required=True, metadata={"description": "Kinds of component it can run."}
    )
    platforms = fields.List(fields.String(), required=True)
    limits = fields.Nested(LimitsSchema())
    storage = fields.List(
        fields.String(), required=True, metadata={"description": "Storage elements near it."}
    )
    authentication = fields.List(fields.String(), required=True)
    idempotency = fields.Boolean(required=True)
    max_hops = fields.Integer()


def tag_of(document: Document) -> str:
    """The strong entity tag of a document, in its quotes: the same for the same content."""
    digest = hashlib.sha256(to_canonical_json(document)).hexdigest()
    return f'"{digest[:_TAG_CHARACTERS]}"'


def add_capabilities_route(app: web.Application, capabilities: Capabilities) -> None:
    """Serve the document, with an entity tag."""
    not_modified: Document = {"description": "As the reader has it"}

    @docs(
        tags=["federation"],
        summary="What this service can do",
        responses={304: not_modified, **problem_responses(503)},
        media_types=JSON_ONLY,
    )
    @response_schema(CapabilitiesSchema(), 200)
    async def get_capabilities(request: web.Request) -> web.Response:
        document = await capabilities()
        tag = tag_of(document)
        headers = {"ETag": tag}
        if is_known(request, tag.strip('"')):
            return web.Response(status=304, headers=headers)
        return answer_json(document, headers=headers)

    app.router.add_get(CAPABILITIES_ROUTE, get_capabilities)
