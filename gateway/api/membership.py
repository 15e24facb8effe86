"""Nodes join, renew their lease, are changed, and leave."""

import base64
from collections.abc import Iterable
from typing import Any, ClassVar, Final
from uuid import UUID

from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate
from marshmallow_oneofschema.one_of_schema import OneOfSchema

from gateway.api.callers import caller_of
from gateway.api.nodes import NODE_NAME, NodeSchema, show_node
from gateway.domain.node import (
    BasicCredentials,
    BearerCredentials,
    NoCredentials,
    NodeCredentials,
    PassThroughCredentials,
)
from gateway.httpkit.auth import Principal, Role, require_principal
from gateway.httpkit.bodies import answer_json, read_json_body, read_query
from gateway.httpkit.operations import (
    JSON_ONLY,
    docs,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.registration_errors import MayNotRegisterError, NotMemberError, OtherNodeError
from gateway.services.membership import MembershipService
from gateway.services.registration import NewNode, Registrant, RegistrationService
from gateway.settings import RegistrationSettings
from gateway.wire.documents import Document
from gateway.wire.schemas.fields import Flag, Number
from gateway.wire.secret import Secret
from gateway.wire.times import format_instant

REGISTRATION = web.AppKey("registration", RegistrationService)
"""Decides who is in."""

MEMBERSHIP = web.AppKey("membership", MembershipService)
"""Keeps who is in as they say."""

REGISTRATION_SETTINGS = web.AppKey("registration_settings", RegistrationSettings)
"""Who may register without a token, and how often leases are renewed."""

MAX_NAMES: Final = 1000
"""Storage elements, regions, owners or groups of one node."""

_TAGS: Final = ["federation"]
_KEY: Final = validate.Regexp(
    r"^[A-Za-z0-9_-]{43}=?$(?!\n)",  # 32 bytes, as long as the digest that is made with them
    error="Must be 32 bytes in base64url.",
)
_WORD: Final = validate.Length(min=1, max=255)
_SECRET: Final = validate.Length(min=1, max=8192)


def _names(**more: Any) -> fields.List[Any]:
    return fields.List(
        fields.String(validate=_WORD), validate=validate.Length(max=MAX_NAMES), **more
    )


def _type(name: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf([name]))


class _BasicSchema(Schema):
    type = _type("basic")
    username = fields.String(required=True, validate=_WORD)
    password = fields.String(required=True, validate=_SECRET)


class _BearerSchema(Schema):
    type = _type("bearer")
    token = fields.String(required=True, validate=_SECRET)


class _NoneSchema(Schema):
    type = _type("none")


class _PassThroughSchema(Schema):
    type = _type("pass_through")


class CredentialsSchema(OneOfSchema):
    """What the gateway is to log in with at the node."""

    type_field_remove = False
    type_schemas: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # an instance attribute there
        "basic": _BasicSchema(),
        "bearer": _BearerSchema(),
        "none": _NoneSchema(),
        "pass_through": _PassThroughSchema(),
    }

    def _load(self, data: Any, **kwargs: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({"_schema": ["Invalid input type."]})
        if not isinstance(data.get("type"), str):
            known = ", ".join(sorted(self.type_schemas))
            raise ValidationError({"type": [f"Must be one of {known}."]})
        return super()._load(data, **kwargs)  # type: ignore[no-untyped-call]  # has no annotations


class RegistrationSchema(Schema):
    """A node that wants to be in."""

    name = fields.String(required=True, validate=NODE_NAME)
    url = fields.String(required=True, validate=validate.Length(min=1, max=2000))
    site = fields.String(validate=NODE_NAME)
    storage = _names()
    regions = _names()
    credentials = fields.Nested(CredentialsSchema())
    challenge_key = fields.String(
        required=True,
        validate=_KEY,
        metadata={
            "description": "32 random bytes, made for this registration alone, in base64url. The "
            "URL has to answer the gateway's challenge with them."
        },
    )


class LeaseSchema(Schema):
    """What a node says when it renews."""

    capabilities = fields.String(
        validate=validate.Length(max=200),
        metadata={"description": "Entity tag of its capabilities: they are read when it changes."},
    )
    draining = Flag()


class RenewedSchema(Schema):
    """The lease that was renewed."""

    state = fields.String(required=True)
    is_draining = fields.Boolean(required=True)
    lease = fields.Dict(keys=fields.String(), required=True)


class JoinedSchema(NodeSchema):
    """The node that is in."""

    credential = fields.String(
        metadata={"description": "The node's own from now on; shown this once."}
    )
    lease = fields.Dict(keys=fields.String(), required=True)


class NodePatchSchema(Schema):
    """What may be changed of a node; null gives back what the settings or the node say."""

    draining = Flag(allow_none=True)
    enabled = Flag(allow_none=True)
    weight = Number(allow_none=True, validate=validate.Range(min=0.01, max=100))
    owners = _names(allow_none=True)
    groups = _names(allow_none=True)
    regions = _names(allow_none=True)
    site = fields.String(allow_none=True, validate=NODE_NAME)
    storage = _names(allow_none=True)


class LeaveQuerySchema(Schema):
    """How a registration ends."""

    forget = fields.Boolean(
        metadata={"description": "For the administrator: its credential holds no more, either."}
    )


@docs(
    tags=_TAGS,
    summary="Register a node",
    description="With a registration token, the node's own credential, as the administrator or as "
    "a member of a group that may. The gateway first asks the URL for the proof of the challenge.",
    responses=problem_responses(403, 409, 422),
    media_types=JSON_ONLY,
)
@request_schema(RegistrationSchema())
@response_schema(JoinedSchema(), 201, description="The node is in")
async def post_node(request: web.Request) -> web.Response:
    """Register a node."""
    registrant = _registrant_of(request)
    document = await read_json_body(request)
    joined = await request.app[REGISTRATION].register(_new_node(document), registrant)
    node = joined.node
    shown = show_node(node, caller_of(request))
    lease = node.membership.lease
    assert lease is not None
    shown["lease"] = _lease(request, format_instant(lease.expires))
    if joined.credential is not None:
        shown["credential"] = joined.credential
    headers = {"Location": f"/nodes/{node.name}", "Cache-Control": "no-store"}
    return answer_json(shown, status=201, headers=headers)


@docs(
    tags=_TAGS,
    summary="Renew the lease of a node",
    description="With the node's own credential. A node that is not registered (any more) gets a "
    "404 and registers anew.",
    responses=problem_responses(403, 404),
    media_types=JSON_ONLY,
)
@request_schema(LeaseSchema())
@response_schema(RenewedSchema(), 200, description="The lease")
async def put_lease(request: web.Request) -> web.Response:
    """Renew a lease."""
    name = request.match_info["name"]
    _require_node(require_principal(request), name)
    document = await read_json_body(request)
    tag = document.get("capabilities")
    renewed = await request.app[MEMBERSHIP].renew(
        name, announced=tag, draining=document.get("draining")
    )
    return answer_json(
        {
            "state": renewed.node.standing.value,
            "is_draining": renewed.node.membership.is_draining,
            "lease": _lease(request, format_instant(renewed.expires)),
        }
    )


@docs(
    tags=_TAGS,
    summary="Change a node",
    description="A merge patch (RFC 7396) of the administrator, or of the node about itself. A "
    "draining node takes no new requests, and its sessions go on.",
    responses=problem_responses(403, 404),
    media_types=JSON_ONLY,
)
@request_schema(NodePatchSchema())
@response_schema(NodeSchema(), 200, description="The node after the change")
async def patch_node(request: web.Request) -> web.Response:
    """Change a node."""
    name, principal = request.match_info["name"], require_principal(request)
    service = request.app[MEMBERSHIP]
    if not principal.is_admin:
        _require_node(principal, name)
        node = await service.change_own(name, await read_json_body(request))
    else:
        node = await service.change(name, await read_json_body(request))
    return answer_json(show_node(node, caller_of(request)))


@docs(
    tags=_TAGS,
    summary="Take a node out",
    description="The registration is over; sessions at the node are followed to their end.",
    responses={204: {"description": "It is out"}, **problem_responses(403, 404, 409)},
    media_types=JSON_ONLY,
)
@querystring_schema(LeaveQuerySchema())
async def delete_node(request: web.Request) -> web.Response:
    """End a registration."""
    name, principal = request.match_info["name"], require_principal(request)
    forget = bool(read_query(request).get("forget"))
    if not principal.is_admin:
        _require_node(principal, name)
        forget = False
    await request.app[MEMBERSHIP].leave(name, forget=forget)
    return web.Response(status=204)


def add_membership_routes(app: web.Application) -> None:
    """Serve what nodes and administrators change."""
    app.router.add_post("/nodes", post_node)
    app.router.add_put("/nodes/{name}/lease", put_lease)
    app.router.add_patch("/nodes/{name}", patch_node)
    app.router.add_delete("/nodes/{name}", delete_node)


def _registrant_of(request: web.Request) -> Registrant:
    """Who registers.

    Raises
    ------
    MayNotRegisterError
        Somebody who may not.
    """
    principal = require_principal(request)
    if principal.role is Role.REGISTRANT:
        token = UUID(principal.username)
        return Registrant(f"token:{token}", node=principal.node, token=token)
    if principal.role is Role.NODE:
        return Registrant(principal.username, node=principal.node, has_credential=True)
    if principal.is_admin:
        return Registrant("admin", is_admin=True)
    if principal.groups & set(request.app[REGISTRATION_SETTINGS].groups):
        return Registrant(f"owner:{principal.owner}")
    raise MayNotRegisterError


def _require_node(principal: Principal, name: str) -> None:
    if principal.role is not Role.NODE or principal.node is None:
        raise NotMemberError(name)
    if principal.node != name:
        raise OtherNodeError(name, principal.node)


def _new_node(document: Document) -> NewNode:
    own: Iterable[str] = ("site", "storage", "regions")
    declared = {member: document[member] for member in own if member in document}
    return NewNode(
        name=document["name"],
        url=document["url"],
        challenge_key=_key_of(document["challenge_key"]),
        declared=declared,
        credentials=_credentials_of(document.get("credentials") or {"type": "none"}),
    )


def _key_of(text: str) -> bytes:
    """The key that a text says, with or without padding."""
    return base64.urlsafe_b64decode(text.rstrip("=") + "=")


def _credentials_of(document: Document) -> NodeCredentials:
    match document["type"]:
        case "basic":
            return BasicCredentials(document["username"], Secret(document["password"]))
        case "bearer":
            return BearerCredentials(Secret(document["token"]))
        case "pass_through":
            return PassThroughCredentials()
        case _:
            return NoCredentials()


def _lease(request: web.Request, expires: str) -> Document:
    settings = request.app[REGISTRATION_SETTINGS]
    return {"renew_s": settings.renew_s, "expires_s": settings.lease_s, "expires": expires}
