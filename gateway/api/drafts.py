"""Drafts: requests that are written step by step, and then asked with."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from gateway.api.callers import caller_of
from gateway.api.listing import OwnedQuerySchema, answer_page, list_question
from gateway.api.presenting import own_base_url
from gateway.api.requests import MergePatchSchema, OfferQuerySchema, offered, question_of
from gateway.errors import PreconditionFailedError
from gateway.httpkit.bodies import read_body, read_uuid
from gateway.httpkit.conditional import (
    ReadConditionSchema,
    WriteConditionSchema,
    answer_tagged,
    has_condition,
    is_as_seen,
)
from gateway.httpkit.conversation import OfferHeadersSchema
from gateway.httpkit.operations import (
    MERGE_PATCH,
    NOT_MODIFIED,
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.services.drafts import DraftReading, DraftService, check_ready
from gateway.stores.drafts import DraftRow
from gateway.wire import kinds
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document, from_json
from gateway.wire.schemas.blocks import OneOfKinds, WireSchema, kind, variants
from gateway.wire.schemas.fields import UuidText, Whole
from gateway.wire.schemas.session import OfferSetSchema
from gateway.wire.schemas.update import (
    DeltaUpdateSchema,
    EnumUpdateSchema,
    IntegerUpdateSchema,
    StringUpdateSchema,
)
from gateway.wire.times import format_instant

DRAFTS = web.AppKey("drafts", DraftService)
"""Keeps drafts."""

ACCEPT_PATCH: Final = "Accept-Patch"
"""What a resource can be changed with (RFC 5789 §3.1)."""

_SOURCES: Final = ("request", "template", "offerset", "session", "rucio_did", "ivoid")
_PATCHES: Final = f"{MERGE_PATCH}, application/json, application/yaml, application/xml"
_OBJECT = fields.Dict(keys=fields.String())


class TemplateVersionSchema(Schema):
    """One version of an execution template; the latest one unless it is said."""

    uuid = UuidText(required=True)
    version = Whole(validate=validate.Range(min=1, max=2**31 - 1))


class TemplateField(fields.Field[Any]):
    """A template by its UUID, or one version of it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            return _UUID.deserialize(value, attr, data, **kwargs)
        return _VERSION.deserialize(value, attr, data, **kwargs)


_UUID: Final = UuidText()
_VERSION: Final = fields.Nested(TemplateVersionSchema())


class DraftSourceSchema(Schema):
    """What a draft begins from: one of these at most, or nothing."""

    name = fields.String(
        validate=validate.Length(min=1, max=200), metadata={"description": "To find it by."}
    )
    request = fields.Dict(
        keys=fields.String(), metadata={"description": "A request, as far as it goes."}
    )
    template = TemplateField(
        metadata={
            "description": "An execution template by its UUID, or one version of it.",
            "oneOf": [
                {"type": "string", "format": "uuid"},
                {
                    "type": "object",
                    "required": ["uuid"],
                    "additionalProperties": False,
                    "properties": {
                        "uuid": {"type": "string", "format": "uuid"},
                        "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
                    },
                },
            ],
        }
    )
    offerset = UuidText(metadata={"description": "The request of an offer set of yours."})
    session = UuidText(metadata={"description": "The request that led to a session of yours."})
    rucio_did = fields.String(
        validate=validate.Length(max=1000), metadata={"description": "Data to read: scope:name."}
    )
    ivoid = fields.String(
        validate=validate.Length(max=1000), metadata={"description": "Data to read: ivo://…"}
    )

    @validates_schema
    def check_sources(self, data: dict[str, Any], **_: Any) -> None:
        """Two sources would have to be merged, and nobody has said how."""
        given = [name for name in _SOURCES if name in data]
        if len(given) > 1:
            text = f"Begin from one thing alone, not {' and '.join(given)}."
            raise ValidationError({name: [text] for name in given})


class ComponentUpdateSchema(WireSchema):
    """Merge a component into the place: this resolves what a template leaves open."""

    kind = kind(kinds.COMPONENT_UPDATE)
    path = fields.String(required=True)
    value = fields.Dict(keys=fields.String(), required=True)


class DraftUpdateSchema(OneOfKinds):
    """The change asked for; ``path`` is one of the request, such as ``data[0]``."""

    type_schemas = variants(
        StringUpdateSchema(),
        EnumUpdateSchema(),
        IntegerUpdateSchema(),
        DeltaUpdateSchema(),
        ComponentUpdateSchema(),
    )


class DraftSchema(Schema):
    """A draft: its options are places that are open, its messages what is missing or wrong."""

    kind = fields.String(required=True)
    meta = fields.Dict(keys=fields.String(), required=True)
    revision = fields.Integer(required=True)
    source = fields.Dict(keys=fields.String(), required=True)
    request = fields.Dict(keys=fields.String(), required=True)
    submissions = fields.List(_OBJECT, required=True)


class DraftsSchema(Schema):
    """A page of drafts."""

    drafts = fields.List(_OBJECT, required=True)


@docs(
    tags=["drafts"],
    summary="Begin a draft",
    description="From nothing, a request, an execution template, what was asked before, or data.",
    responses=problem_responses(409, 422),
)
@request_schema(DraftSourceSchema())
@response_schema(DraftSchema(), 201, description="The draft")
async def post_draft(request: web.Request) -> web.Response:
    """Begin a draft."""
    source = await read_body(request)
    began: Document = {name: source[name] for name in _SOURCES if name in source}
    reading = await request.app[DRAFTS].create(began, source.get("name"), caller_of(request))
    location = f"{own_base_url(request)}/drafts/{reading.row.uuid}"
    return _answer(request, reading, status=HTTPStatus.CREATED, headers={hdrs.LOCATION: location})


@docs(tags=["drafts"], summary="Your drafts", responses=problem_responses(403))
@querystring_schema(OwnedQuerySchema())
@response_schema(DraftsSchema(), 200, description="A page")
async def get_drafts(request: web.Request) -> web.Response:
    """List drafts."""
    page = await request.app[DRAFTS].page(list_question(request), caller_of(request))
    base = own_base_url(request)
    return answer_page(request, {"drafts": [_entry(row, base) for row in page.entries]}, page)


@docs(
    tags=["drafts"],
    summary="A draft as it is now",
    description="`meta.options` are the places that are still open, `meta.messages` say what is "
    "missing and what the schema finds wrong.",
    responses={304: NOT_MODIFIED, **problem_responses(404)},
)
@headers_schema(ReadConditionSchema())
@response_schema(DraftSchema(), 200, description="The draft")
async def get_draft(request: web.Request) -> web.Response:
    """Read a draft."""
    return _answer(request, await request.app[DRAFTS].read(read_uuid(request), caller_of(request)))


@docs(
    tags=["drafts"],
    summary="Change a draft",
    description="By a merge patch of the draft (RFC 7396), of which `request` and `meta.name` can "
    "be changed; or by one update: of a text or a number, or of a component, which is merged into "
    "the place that its path names.",
    responses=problem_responses(404, 412, 422),
    more_bodies={MERGE_PATCH: MergePatchSchema()},
)
@headers_schema(WriteConditionSchema())
@request_schema(DraftUpdateSchema())
@response_schema(DraftSchema(), 200, description="The draft after the change")
async def patch_draft(request: web.Request) -> web.Response:
    """Change a draft."""
    drafts, uuid, caller = request.app[DRAFTS], read_uuid(request), caller_of(request)
    if request.content_type == MERGE_PATCH:
        patch = await read_body(request, _MERGE_PATCH)
        revision = await _seen_revision(request, uuid)
        return _answer(request, await drafts.patch(uuid, patch, caller, revision=revision))
    update = await read_body(request)
    revision = await _seen_revision(request, uuid)
    return _answer(request, await drafts.update(uuid, update, caller, revision=revision))


@docs(
    tags=["drafts"],
    summary="Delete a draft",
    responses={204: {"description": "It is deleted"}, **problem_responses(404, 412)},
)
@headers_schema(WriteConditionSchema())
async def delete_draft(request: web.Request) -> web.Response:
    """Delete a draft."""
    uuid = read_uuid(request)
    revision = await _seen_revision(request, uuid)
    await request.app[DRAFTS].remove(uuid, caller_of(request), revision=revision)
    return web.Response(status=HTTPStatus.NO_CONTENT)


@docs(
    tags=["drafts"],
    summary="Ask for offers with a draft",
    description="As `POST /requests` does with the request in its body. The draft stays, and says "
    "in `submissions` what it was asked as.",
    responses={
        303: {"description": "See the offer set", "schema": OfferSetSchema()},
        **problem_responses(403, 404, 409, 412, 422, 503),
    },
)
@querystring_schema(OfferQuerySchema())
@headers_schema(OfferHeadersSchema())
@headers_schema(WriteConditionSchema())
@response_schema(OfferSetSchema(), 200, description="With `Prefer: return=representation`")
async def post_submit(request: web.Request) -> web.Response:
    """Ask with a draft."""
    drafts, caller = request.app[DRAFTS], caller_of(request)
    draft = await drafts.read(read_uuid(request), caller)
    if not is_as_seen(request, _document(request, draft)):
        raise PreconditionFailedError
    check_ready(draft.request)
    return offered(request, await drafts.submit(draft, question_of(request, draft.request), caller))


def add_draft_routes(app: web.Application) -> None:
    """Serve drafts."""
    app.router.add_post("/drafts", post_draft)
    app.router.add_get("/drafts", get_drafts)
    app.router.add_get("/drafts/{uuid}", get_draft)
    app.router.add_patch("/drafts/{uuid}", patch_draft)
    app.router.add_delete("/drafts/{uuid}", delete_draft)
    app.router.add_post("/drafts/{uuid}/submit", post_submit)


async def _seen_revision(request: web.Request, uuid: UUID) -> int | None:
    """The revision that the client has seen; None where it does not say.

    Raises
    ------
    PreconditionFailedError
        It has seen another one than there is now.
    """
    if not has_condition(request):
        return None
    draft = await request.app[DRAFTS].read(uuid, caller_of(request))
    if not is_as_seen(request, _document(request, draft)):
        raise PreconditionFailedError
    return draft.row.revision


def _answer(
    request: web.Request,
    reading: DraftReading,
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    return answer_tagged(
        request,
        _document(request, reading),
        root=ROOT_DOCUMENT,
        status=status,
        headers={ACCEPT_PATCH: _PATCHES, **(headers or {})},
    )


def _document(request: web.Request, reading: DraftReading) -> Document:
    base, row = own_base_url(request), reading.row
    meta = _meta(row, base)
    # What is found in a draft is as old as the draft, so that reading twice says the same.
    messages = reading.look.messages(row.changed)
    if messages:
        meta["messages"] = messages
    options = reading.look.options()
    if options:
        meta["options"] = options
    return {
        "kind": kinds.DRAFT,
        "meta": meta,
        "revision": row.revision,
        "source": from_json(row.source),
        "request": reading.request,
        "submissions": [
            {
                "offerset": str(one.offerset),
                "url": f"{base}/offersets/{one.offerset}",
                "revision": one.revision,
                "at": format_instant(one.at),
            }
            for one in reading.submissions
        ],
    }


def _entry(row: DraftRow, base: str) -> Document:
    return {"meta": _meta(row, base), "owner": row.owner, "revision": row.revision}


def _meta(row: DraftRow, base: str) -> Document:
    meta: Document = {
        "uuid": str(row.uuid),
        "url": f"{base}/drafts/{row.uuid}",
        "created": format_instant(row.created),
        "modified": format_instant(row.changed),
    }
    return meta if row.name is None else meta | {"name": row.name}


_MERGE_PATCH: Final = MergePatchSchema()
