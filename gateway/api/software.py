"""The register of execution templates over HTTP."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from uuid import UUID

from aiohttp import hdrs, web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url
from gateway.domain.placeholders import open_places
from gateway.httpkit.bodies import answer, read_body, read_query, read_uuid
from gateway.httpkit.conditional import (
    ReadConditionSchema,
    WriteConditionSchema,
    answer_tagged,
    is_as_seen,
)
from gateway.httpkit.errors import MalformedRequestProblem
from gateway.httpkit.operations import (
    docs,
    headers_schema,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.software import Query, SoftwareService
from gateway.stores.software import SoftwareRow
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document, from_json
from gateway.wire.schemas.template import TemplateSchema
from gateway.wire.times import format_instant

SOFTWARE = web.AppKey("software", SoftwareService)
"""Keeps execution templates."""

PATH: Final = "/discovery/software"
"""Where the templates are."""

IMPORT_PATH: Final = "/discovery/import"
"""Where those of other hosts are taken over."""

MAX_NUMBER: Final = 2**31 - 1
"""Largest version number that is looked up."""

_TAGS: Final = ["discovery"]
_ME: Final = "me"
_TEXT: Final = validate.Regexp(
    r"^[^\x00-\x1f\x7f]{1,300}$(?!\n)", error="Not 1 to 300 characters in one line."
)
_UNCHANGED: Final[dict[int, Document]] = {304: {"description": "The client has it already"}}
_NUMBER_PARAMETER: Final[Document] = {
    "in": "path",
    "name": "number",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
}


class SoftwareQuerySchema(Schema):
    """What templates are looked for."""

    q = fields.String(
        validate=validate.Length(max=200),
        metadata={"description": "Beginnings of words that must all be in the template."},
    )
    kind = fields.List(
        fields.String(validate=_TEXT),
        validate=validate.Length(max=5),
        metadata={"description": "Kinds of components in it: `docker-container`, or a whole URI."},
    )
    keyword = fields.List(
        fields.String(validate=validate.Length(min=1, max=200)),
        validate=validate.Length(max=5),
        metadata={"description": "Keywords that it has, without regard to case."},
    )
    owner = fields.String(
        validate=_TEXT,
        metadata={"description": "Who published it; `me` for the caller."},
    )
    cursor = fields.String(metadata={"description": "`next` of the page before."})
    limit = fields.Integer(
        load_default=50,
        validate=validate.Range(min=1, max=200),
        metadata={"description": "Templates on one page; the default is 50."},
    )


class TemplateImportSchema(Schema):
    """Where a template lies."""

    url = fields.String(required=True, validate=validate.Length(min=1, max=2048))


class TemplateSummarySchema(Schema):
    """One template in a list."""

    uuid = fields.UUID(required=True)
    url = fields.String(required=True)
    version = fields.Integer(required=True)
    title = fields.String(required=True)
    description = fields.String(allow_none=True)
    keywords = fields.List(fields.String(), required=True)
    kinds = fields.List(fields.String(), required=True)
    owner = fields.String(allow_none=True)
    published = fields.String(required=True)
    modified = fields.String(required=True)
    source = fields.String(allow_none=True)


class TemplatePlaceholderSchema(Schema):
    """What is to be supplied before the template can run."""

    path = fields.String(required=True)
    kind = fields.String(allow_none=True)
    name = fields.String(allow_none=True)
    description = fields.String(allow_none=True)


class SoftwareSchema(TemplateSummarySchema):
    """One version of a template."""

    latest = fields.Integer(required=True)
    placeholders = fields.List(fields.Nested(TemplatePlaceholderSchema()), required=True)
    template = fields.Dict(keys=fields.String(), required=True)


class SoftwarePageSchema(Schema):
    """Some of the templates that were found."""

    software = fields.List(fields.Nested(TemplateSummarySchema()), required=True)
    next = fields.String(allow_none=True)


class TemplateVersionsSchema(Schema):
    """The versions of a template."""

    versions = fields.List(fields.Dict(keys=fields.String()), required=True)


@docs(
    tags=_TAGS,
    summary="Publish an execution template",
    description="An ExecutionRequest with placeholders of kinds `abstract-…`, as in an"
    " `ivoa-execution.yaml`; the block `discovery` says what it is found by.",
    responses=problem_responses(409),
)
@request_schema(TemplateSchema())
@response_schema(SoftwareSchema(), 201, description="Published")
async def post_software(request: web.Request) -> web.Response:
    """Publish a template."""
    document = await read_body(request)
    row = await request.app[SOFTWARE].publish(document, caller_of(request))
    return _created(request, row)


@docs(
    tags=_TAGS,
    summary="Publish the execution template at a URL",
    description="From the hosts that the settings allow (`discovery.import_hosts`).",
    responses=problem_responses(409, 422),
)
@request_schema(TemplateImportSchema())
@response_schema(SoftwareSchema(), 201, description="Published")
async def post_import(request: web.Request) -> web.Response:
    """Import a template."""
    document = await read_body(request)
    row = await request.app[SOFTWARE].import_from(document["url"], caller_of(request))
    return _created(request, row)


@docs(tags=_TAGS, summary="Execution templates, newest first")
@querystring_schema(SoftwareQuerySchema())
@response_schema(SoftwarePageSchema(), 200, description="What was found")
async def get_software(request: web.Request) -> web.Response:
    """Look for templates."""
    query, caller = read_query(request), caller_of(request)
    owner = query.get("owner")
    page = await request.app[SOFTWARE].search(
        Query(
            text=query.get("q", ""),
            kinds=tuple(query.get("kind", ())),
            keywords=tuple(query.get("keyword", ())),
            owner=(caller.owner or ADMIN_OWNER) if owner == _ME else owner,
            cursor=query.get("cursor"),
            limit=query["limit"],
        )
    )
    document = {
        "software": [_summary(row, caller, own_base_url(request)) for row in page.rows],
        "next": page.next_cursor,
    }
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(
    tags=_TAGS,
    summary="The latest version of a template",
    responses={**_UNCHANGED, **problem_responses(404)},
)
@headers_schema(ReadConditionSchema())
@response_schema(SoftwareSchema(), 200, description="The template")
async def get_latest(request: web.Request) -> web.Response:
    """Read a template."""
    row = await request.app[SOFTWARE].read(read_uuid(request))
    return _answer(request, row)


@docs(tags=_TAGS, summary="The versions of a template", responses=problem_responses(404))
@response_schema(TemplateVersionsSchema(), 200, description="Newest first")
async def get_versions(request: web.Request) -> web.Response:
    """List versions."""
    uuid = read_uuid(request)
    versions = await request.app[SOFTWARE].versions(uuid)
    base = _url(own_base_url(request), uuid)
    document = {
        "versions": [
            {
                "version": number,
                "url": f"{base}/versions/{number}",
                "modified": format_instant(made),
            }
            for number, made in versions
        ]
    }
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(
    tags=_TAGS,
    summary="One version of a template",
    responses={**_UNCHANGED, **problem_responses(404)},
    parameters=[_NUMBER_PARAMETER],
)
@headers_schema(ReadConditionSchema())
@response_schema(SoftwareSchema(), 200, description="The template as it was")
async def get_version(request: web.Request) -> web.Response:
    """Read one version."""
    number = _number_of(request)
    row = await request.app[SOFTWARE].read(read_uuid(request), number)
    return _answer(request, row)


@docs(
    tags=_TAGS,
    summary="Make a new version of a template",
    description="What the latest version says already makes no new one.",
    responses=problem_responses(403, 404, 412),
)
@headers_schema(WriteConditionSchema())
@request_schema(TemplateSchema())
@response_schema(SoftwareSchema(), 200, description="The latest version now")
async def put_software(request: web.Request) -> web.Response:
    """Revise a template."""
    uuid, document = read_uuid(request), await read_body(request)
    row = await request.app[SOFTWARE].revise(
        uuid, document, caller_of(request), is_expected=_expected(request)
    )
    return _answer(request, row)


@docs(
    tags=_TAGS,
    summary="Delete a template with all its versions",
    responses={204: {"description": "Deleted"}, **problem_responses(403, 404, 412)},
)
@headers_schema(WriteConditionSchema())
async def delete_software(request: web.Request) -> web.Response:
    """Delete a template."""
    await request.app[SOFTWARE].remove(
        read_uuid(request), caller_of(request), is_expected=_expected(request)
    )
    return web.Response(status=HTTPStatus.NO_CONTENT)


def add_software_routes(app: web.Application) -> None:
    """Serve the register of templates."""
    app.router.add_get(PATH, get_software)
    app.router.add_post(PATH, post_software)
    app.router.add_post(IMPORT_PATH, post_import)
    app.router.add_get(f"{PATH}/{{uuid}}", get_latest)
    app.router.add_put(f"{PATH}/{{uuid}}", put_software)
    app.router.add_delete(f"{PATH}/{{uuid}}", delete_software)
    app.router.add_get(f"{PATH}/{{uuid}}/versions", get_versions)
    app.router.add_get(f"{PATH}/{{uuid}}/versions/{{number}}", get_version)


def _number_of(request: web.Request) -> int:
    """The version number in the path.

    Raises
    ------
    MalformedRequestProblem
    """
    text = request.match_info["number"]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:11]) <= MAX_NUMBER):
        raise MalformedRequestProblem("The version in the path is no number from 1 on.")
    return int(text)


def _created(request: web.Request, row: SoftwareRow) -> web.Response:
    location = _url(own_base_url(request), row.uuid)
    return _answer(request, row, status=HTTPStatus.CREATED, headers={hdrs.LOCATION: location})


def _answer(
    request: web.Request,
    row: SoftwareRow,
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    return answer_tagged(
        request, _document(request, row), root=ROOT_DOCUMENT, status=status, headers=headers
    )


def _document(request: web.Request, row: SoftwareRow) -> Document:
    """One version of a template."""
    template = from_json(row.document)
    return {
        **_summary(row, caller_of(request), own_base_url(request)),
        "latest": row.latest,
        "placeholders": [
            {
                "path": place.path,
                "kind": place.kind,
                "name": place.name,
                "description": place.description,
            }
            for place in open_places(template)
        ],
        "template": template,
    }


def _expected(request: web.Request) -> Callable[[SoftwareRow], bool]:
    """Whether a version is the one that the client has seen, if it says which."""
    return lambda row: is_as_seen(request, _document(request, row))


def _summary(row: SoftwareRow, caller: Caller, base: str) -> Document:
    """A template in a list. Who published it is told to those who say who they are."""
    return {
        "uuid": str(row.uuid),
        "url": _url(base, row.uuid),
        "version": row.number,
        "title": row.title,
        "description": row.description,
        "keywords": list(row.keywords),
        "kinds": list(row.kinds),
        "owner": None if caller.owner is None else row.owner or None,
        "published": format_instant(row.published),
        "modified": format_instant(row.created),
        "source": row.source,
    }


def _url(base: str, uuid: UUID) -> str:
    return f"{base}{PATH}/{uuid}"
