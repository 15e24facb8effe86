"""``POST /admin/identities``: the administrator makes local identities."""

from typing import Final
from uuid import uuid4

from aiohttp import web
from marshmallow import fields
from marshmallow import validate as checks

from gateway.httpkit.auth import Authenticator
from gateway.httpkit.bodies import read_json_body
from gateway.httpkit.errors import ValidationProblem
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    problem_responses,
    request_schema,
    response_schema,
)
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate
from gateway.wire.identity import DuplicateIdentityError, StoredIdentity
from gateway.wire.problem import ProblemError
from gateway.wire.schemas.identity import IdentityRequestSchema, IdentitySchema

MAX_NAME_LENGTH: Final = 255
"""In characters: with the longest password it still fits into one header line of 8 KiB."""

MAX_PASSWORD_LENGTH: Final = 1024
"""In characters; see ``MAX_NAME_LENGTH``."""

_CONTROL = r"\x00-\x1f\x7f-\x9f"  # Basic carries none (RFC 7617 §2), nor a colon in a name
_END = r"$(?!\n)"  # in Python alone, $ is also before a newline at the end


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
    password = fields.String(
        required=True,
        load_only=True,
        validate=[
            checks.Length(min=1, max=MAX_PASSWORD_LENGTH),
            checks.Regexp(
                rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*{_END}",
                error="Must not be blank nor have control characters.",
            ),
        ],
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


_SHAPE = IdentityRequestSchema(partial=True)
_NEW = NewIdentitySchema()


async def _read_new_identity(request: web.Request) -> tuple[str, str]:
    document = await read_json_body(request, _SHAPE)
    for member in ("username", "password"):
        if not document.get(member, "").strip():
            raise BlankIdentityProblem(member)
    faults = validate(_NEW, document)
    if faults:
        raise ValidationProblem(faults)
    return document["username"], document["password"]


async def _add_identity(authenticator: Authenticator, username: str, password: str) -> Document:
    existing = await authenticator.store.find(username)
    if existing is not None or authenticator.is_admin_name(username):
        raise DuplicateIdentityProblem(username, existing)
    password_hash = await authenticator.passwords.hash(password)
    try:
        made = await authenticator.store.add(StoredIdentity(uuid4(), username, password_hash))
    except DuplicateIdentityError as error:
        raise DuplicateIdentityProblem(username, error.existing) from error
    return {"uuid": str(made.uuid), "username": made.username}


def add_identity_routes(app: web.Application, authenticator: Authenticator) -> None:
    """Serve ``POST /admin/identities``."""

    @docs(
        tags=["administration"],
        summary="Make a local identity",
        responses=problem_responses(409),
        media_types=JSON_ONLY,
    )
    @request_schema(_NEW)
    @response_schema(IdentitySchema(), 201)
    async def post_identity(request: web.Request) -> web.Response:
        username, password = await _read_new_identity(request)
        document = await _add_identity(authenticator, username, password)
        return web.Response(body=to_json(document), status=201, content_type=JSON_ONLY[0])

    app.router.add_post("/admin/identities", post_identity)
