"""``/admin/identities``: the administrator makes, lists, changes and removes local identities."""

from typing import Final
from uuid import UUID, uuid4

from aiohttp import web
from marshmallow import Schema, fields
from marshmallow import validate as checks

from gateway.httpkit.auditing import AUDITED_OBJECT
from gateway.httpkit.auth import Authenticator
from gateway.httpkit.bodies import answer_json, read_json_body, read_query, read_uuid
from gateway.httpkit.errors import NotFoundProblem, ValidationProblem
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.identity import DuplicateIdentityError, IdentityChange, StoredIdentity
from gateway.wire.problem import ProblemError
from gateway.wire.schemas.fields import Flag
from gateway.wire.schemas.identity import IdentityRequestSchema, IdentitySchema

MAX_NAME_LENGTH: Final = 255
"""In characters: with the longest password it still fits into one header line of 8 KiB."""

MAX_PASSWORD_LENGTH: Final = 1024
"""In characters; see ``MAX_NAME_LENGTH``."""

MAX_GROUPS: Final = 100
"""Groups of one identity; people are in a dozen."""

DEFAULT_PAGE: Final = 100
"""Identities in one answer, some 10 kB."""

MAX_PAGE: Final = 1000
"""Most identities in one answer."""

_CONTROL = r"\x00-\x1f\x7f-\x9f"  # Basic carries none (RFC 7617 §2), nor a colon in a name
_END = r"$(?!\n)"  # in Python alone, $ is also before a newline at the end


_PASSWORD: Final = (
    checks.Length(min=1, max=MAX_PASSWORD_LENGTH),
    checks.Regexp(
        rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*{_END}",
        error="Must not be blank nor have control characters.",
    ),
)


def _groups_field() -> fields.List[str]:
    return fields.List(
        fields.String(
            validate=[
                checks.Length(min=1, max=MAX_NAME_LENGTH),
                checks.Regexp(rf"^[^{_CONTROL}]*{_END}", error="Must not have control characters."),
            ]
        ),
        validate=checks.Length(max=MAX_GROUPS),
    )


class NewIdentitySchema(IdentityRequestSchema):
    """An identity that can be made."""

    username = fields.String(
        required=True,
        validate=[
            checks.Length(min=1, max=MAX_NAME_LENGTH),
            checks.Regexp(
                rf"^[^:{_CONTROL}]*[^:\s{_CONTROL}][^:{_CONTROL}]*{_END}",
                error="Must not be blank nor have a colon or control characters.",
            ),
        ],
    )
    password = fields.String(required=True, load_only=True, validate=_PASSWORD)
    groups = _groups_field()


class IdentityChangeSchema(Schema):
    """What can be changed of an identity; what is left out stays as it is."""

    password = fields.String(load_only=True, validate=_PASSWORD)
    groups = _groups_field()
    revoked = Flag(metadata={"description": "Its credentials are refused."})


class ShownIdentitySchema(IdentitySchema):
    """An identity as the administrator sees it."""

    groups = fields.List(fields.String(), required=True)
    revoked = fields.Boolean(required=True)


class IdentityPageSchema(Schema):
    """Some of the identities, by name."""

    identities = fields.List(fields.Nested(ShownIdentitySchema()), required=True)
    next = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Give this as `after` for those that follow; null at the end."},
    )


class PageQuerySchema(Schema):
    """Which part of the list is wanted."""

    after = fields.String(
        validate=checks.Length(max=MAX_NAME_LENGTH),
        metadata={"description": "Begin behind this name: the `next` of the page before."},
    )
    limit = fields.Integer(
        validate=checks.Range(min=1, max=MAX_PAGE),
        metadata={"description": f"At most so many; the default is {DEFAULT_PAGE}."},
    )


class BlankIdentityProblem(ProblemError):  # noqa: N818  # a problem is what the client gets
    """The name or the password is missing or blank; ``error`` is the upstream service's text."""

    slug = "blank-identity"
    title = "The identity is not complete"
    status = 400

    def __init__(self, member: str) -> None:
        text = f"{member} is required"
        super().__init__(f"The {text}.", extensions={"error": text})


class DuplicateIdentityProblem(ProblemError):  # noqa: N818  # a problem is what the client gets
    """The name is taken; the members are the upstream service's."""

    slug = "duplicate-identity"
    title = "The username is taken"
    status = 409

    def __init__(self, username: str, existing: StoredIdentity | None) -> None:
        extensions: Document = {"error": "username already exists", "username": username}
        if existing is not None:
            extensions["uuid"] = str(existing.uuid)
        super().__init__("There is an identity of that name already.", extensions=extensions)


class _UnknownIdentityProblem(NotFoundProblem):
    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"There is no identity {uuid} here.")


_SHAPE = IdentityRequestSchema(partial=True)
_NEW = NewIdentitySchema()
_CHANGE = IdentityChangeSchema()
_SHOWN = ShownIdentitySchema()
_TAGS: Final = ("administration",)


def _shown(identity: StoredIdentity) -> Document:
    """What the administrator sees: no hash, nor anything made of it."""
    return {
        "uuid": str(identity.uuid),
        "username": identity.username,
        "groups": sorted(identity.groups),
        "revoked": identity.is_revoked,
    }


async def _read_new_identity(request: web.Request) -> Document:
    document = await read_json_body(request, _SHAPE)
    for member in ("username", "password"):
        if not document.get(member, "").strip():
            raise BlankIdentityProblem(member)
    faults = validate(_NEW, document)
    if faults:
        raise ValidationProblem(faults)
    return document


async def _add_identity(authenticator: Authenticator, document: Document) -> StoredIdentity:
    username = document["username"]
    existing = await authenticator.store.find(username)
    if existing is not None or authenticator.is_admin_name(username):
        raise DuplicateIdentityProblem(username, existing)
    password_hash = await authenticator.passwords.hash(document["password"])
    groups = frozenset(document.get("groups", ()))
    try:
        return await authenticator.store.add(
            StoredIdentity(uuid4(), username, password_hash, groups)
        )
    except DuplicateIdentityError as error:
        raise DuplicateIdentityProblem(username, error.existing) from error


async def _change_of(authenticator: Authenticator, document: Document) -> IdentityChange:
    password, groups = document.get("password"), document.get("groups")
    return IdentityChange(
        password_hash=None if password is None else await authenticator.passwords.hash(password),
        groups=None if groups is None else frozenset(groups),
        is_revoked=document.get("revoked"),
    )


def add_identity_routes(app: web.Application, authenticator: Authenticator) -> None:
    """Serve ``/admin/identities`` and what is below it."""

    @docs(
        tags=_TAGS,
        summary="Make a local identity",
        responses=problem_responses(409),
        media_types=JSON_ONLY,
    )
    @request_schema(_NEW)
    @response_schema(IdentitySchema(), 201)
    async def post_identity(request: web.Request) -> web.Response:
        document = await _read_new_identity(request)
        made = await _add_identity(authenticator, document)
        request[AUDITED_OBJECT] = str(made.uuid)
        return answer_json({"uuid": str(made.uuid), "username": made.username}, status=201)

    @docs(tags=_TAGS, summary="The local identities, by name", media_types=JSON_ONLY)
    @querystring_schema(PageQuerySchema())
    @response_schema(IdentityPageSchema(), description="Some of them")
    async def get_identities(request: web.Request) -> web.Response:
        query = read_query(request)
        limit = query.get("limit", DEFAULT_PAGE)
        found = await authenticator.store.page(query.get("after", ""), limit + 1)
        last = found[limit - 1].username if len(found) > limit else None
        return answer_json({"identities": [_shown(one) for one in found[:limit]], "next": last})

    @docs(
        tags=_TAGS,
        summary="A local identity",
        responses=problem_responses(404),
        media_types=JSON_ONLY,
    )
    @response_schema(_SHOWN)
    async def get_identity(request: web.Request) -> web.Response:
        uuid = read_uuid(request)
        found = await authenticator.store.get(uuid)
        if found is None:
            raise _UnknownIdentityProblem(uuid)
        return answer_json(_shown(found))

    @docs(
        tags=_TAGS,
        summary="Give a local identity another password or other groups, or revoke it",
        description="Revoked, its credentials are refused from now on; what it owns stays its own.",
        responses=problem_responses(404),
        media_types=JSON_ONLY,
    )
    @request_schema(_CHANGE)
    @response_schema(_SHOWN)
    async def patch_identity(request: web.Request) -> web.Response:
        uuid, document = read_uuid(request), await read_json_body(request)
        change = await _change_of(authenticator, document)
        changed = await authenticator.store.change(uuid, change)
        if changed is None:
            raise _UnknownIdentityProblem(uuid)
        return answer_json(_shown(changed))

    @docs(
        tags=_TAGS,
        summary="Remove a local identity",
        description="What it owned stays and is the administrator's alone to change.",
        responses={204: {"description": "It is gone"}, **problem_responses(404)},
        media_types=JSON_ONLY,
    )
    async def delete_identity(request: web.Request) -> web.Response:
        uuid = read_uuid(request)
        if not await authenticator.store.remove(uuid):
            raise _UnknownIdentityProblem(uuid)
        return web.Response(status=204)

    app.router.add_post("/admin/identities", post_identity)
    app.router.add_get("/admin/identities", get_identities)
    app.router.add_get("/admin/identities/{uuid}", get_identity)
    app.router.add_patch("/admin/identities/{uuid}", patch_identity)
    app.router.add_delete("/admin/identities/{uuid}", delete_identity)
