"""Registration tokens: the administrator makes them, lists them and takes them back."""

from typing import Final

from aiohttp import hdrs, web
from marshmallow import Schema, fields, validate

from gateway.api.nodes import NODE_NAME
from gateway.httpkit.auditing import AUDITED_OBJECT
from gateway.httpkit.bodies import answer_json, read_json_body, read_uuid
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    problem_responses,
    request_schema,
    response_schema,
)
from gateway.services.registration_tokens import RegistrationTokens
from gateway.stores.node_credentials import TokenRow
from gateway.wire.documents import Document
from gateway.wire.schemas.fields import Number
from gateway.wire.times import format_instant

TOKENS = web.AppKey("registration_tokens", RegistrationTokens)
"""Makes them."""

LONGEST_S: Final = 31 * 86_400
"""A token that lies about for longer is forgotten, and found by somebody else."""

_TAGS: Final = ["administration"]
_MANY: Final = validate.Length(max=1000)
_WORD: Final = validate.Length(min=1, max=255)


class NewTokenSchema(Schema):
    """A token to be made."""

    name = fields.String(
        validate=NODE_NAME,
        metadata={"description": "The only node that it registers; also one that has the name."},
    )
    expires_s = Number(validate=validate.Range(min=1, max=LONGEST_S))
    owners = fields.List(fields.String(validate=_WORD), validate=_MANY)
    groups = fields.List(fields.String(validate=_WORD), validate=_MANY)


class TokenSchema(Schema):
    """A token, without its secret."""

    uuid = fields.UUID(required=True)
    name = fields.String(allow_none=True)
    owners = fields.List(fields.String(), required=True)
    groups = fields.List(fields.String(), required=True)
    created = fields.String(required=True)
    expires = fields.String(required=True)
    attempts = fields.Integer(required=True)
    registered = fields.String(
        allow_none=True, metadata={"description": "The node it was used for."}
    )


class MintedTokenSchema(TokenSchema):
    """A token that was just made."""

    token = fields.String(
        required=True, metadata={"description": "The secret; shown this once, and not kept."}
    )


class TokensSchema(Schema):
    """Every token that is not over."""

    tokens = fields.List(fields.Nested(TokenSchema()), required=True)


@docs(
    tags=_TAGS,
    summary="Make a registration token",
    description="Good for one registration of one node. `owners` and `groups` are those whom the "
    "node is for; none: everybody.",
    media_types=JSON_ONLY,
)
@request_schema(NewTokenSchema())
@response_schema(MintedTokenSchema(), 201, description="The token")
async def post_token(request: web.Request) -> web.Response:
    """Make a token."""
    document = await read_json_body(request)
    minted = await request.app[TOKENS].mint(
        name=document.get("name"),
        expires_s=document.get("expires_s"),
        owners=tuple(document.get("owners", ())),
        groups=tuple(document.get("groups", ())),
    )
    request[AUDITED_OBJECT] = str(minted.row.uuid)
    shown = _show(minted.row) | {"token": minted.secret}
    return answer_json(shown, status=201, headers={hdrs.CACHE_CONTROL: "no-store"})


@docs(tags=_TAGS, summary="List registration tokens", media_types=JSON_ONLY)
@response_schema(TokensSchema(), 200, description="The oldest first, without their secrets")
async def get_tokens(request: web.Request) -> web.Response:
    """List tokens."""
    tokens = await request.app[TOKENS].all()
    document = {"tokens": [_show(row) for row in tokens]}
    return answer_json(document)


@docs(
    tags=_TAGS,
    summary="Take a registration token back",
    description="A node that was registered with it stays.",
    responses={204: {"description": "It is gone"}, **problem_responses(404)},
    media_types=JSON_ONLY,
)
async def delete_token(request: web.Request) -> web.Response:
    """Take a token back."""
    await request.app[TOKENS].revoke(read_uuid(request))
    return web.Response(status=204)


def add_token_routes(app: web.Application) -> None:
    """Serve registration tokens."""
    app.router.add_post("/admin/registration-tokens", post_token)
    app.router.add_get("/admin/registration-tokens", get_tokens)
    app.router.add_delete("/admin/registration-tokens/{uuid}", delete_token)


def _show(row: TokenRow) -> Document:
    return {
        "uuid": str(row.uuid),
        "name": row.name,
        "owners": list(row.owners),
        "groups": list(row.groups),
        "created": format_instant(row.created),
        "expires": format_instant(row.expires),
        "attempts": row.attempts,
        "registered": row.used_name,
    }
