"""The nodes of the federation, and what the reasons in answers mean."""

from typing import Final

from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.domain.reasons import published
from gateway.domain.registration import LIVE
from gateway.httpkit.bodies import answer
from gateway.httpkit.operations import docs, problem_responses, response_schema
from gateway.registration_errors import UnknownMemberError
from gateway.services.caller import Caller
from gateway.services.node_directory import NodeDirectory
from gateway.services.permissions import PermissionService
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document

NODES = web.AppKey("nodes", NodeRegistry)
"""The nodes that are known."""

DIRECTORY = web.AppKey("directory", NodeDirectory)
"""Keeps them equal to what the store says."""

PERMISSIONS = web.AppKey("permissions", PermissionService)
"""Says which of them a caller may use."""


NODE_NAME: Final = validate.Regexp(
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)",
    error="Must be 1 to 64 letters, digits, dots, underscores or hyphens.",
)
"""What a node may be called, as the API document says it too."""


class NodesSchema(Schema):
    """Nodes, and what their own answers say of them."""

    nodes = fields.List(fields.Dict(keys=fields.String()), required=True)


class NodeSchema(Schema):
    """One node. The administrator sees more than others do."""

    name = fields.String(required=True)
    state = fields.String(
        required=True,
        metadata={
            "enum": ["up", "degraded", "ejected", "draining", "down", "unknown"],
            "description": "Where it stands, all things considered.",
        },
    )
    url = fields.String()
    site = fields.String(allow_none=True)
    storage = fields.List(fields.String())
    is_enabled = fields.Boolean()
    is_registered = fields.Boolean()
    is_draining = fields.Boolean()


class ReasonsSchema(Schema):
    """The published list of reason codes."""

    version = fields.Integer(required=True)
    reasons = fields.List(fields.Dict(keys=fields.String()), required=True)


@docs(
    tags=["federation"],
    summary="The nodes",
    description="Those that live and that the caller may use, by name; the administrator sees all, "
    "with what became of each.",
)
@response_schema(NodesSchema(), 200, description="The nodes, by name")
async def get_nodes(request: web.Request) -> web.Response:
    """List the nodes."""
    caller = caller_of(request)
    if caller.is_admin:
        await request.app[DIRECTORY].refresh_leases()
    registry = request.app[NODES]
    shown = [
        show_node(node, caller)
        for node in sorted(registry, key=_name_of)
        if may_see(node, caller, request.app[PERMISSIONS])
    ]
    return answer(request, {"nodes": shown}, root=ROOT_DOCUMENT)


@docs(tags=["federation"], summary="One node", responses=problem_responses(404))
@response_schema(NodeSchema(), 200, description="The node")
async def get_node(request: web.Request) -> web.Response:
    """Show a node."""
    caller, name = caller_of(request), request.match_info["name"]
    if caller.is_admin:
        await request.app[DIRECTORY].refresh_leases()
    node = request.app[NODES].get(name) if name in request.app[NODES] else None
    if node is None or not may_see(node, caller, request.app[PERMISSIONS]):
        raise UnknownMemberError(name)
    return answer(request, show_node(node, caller), root=ROOT_DOCUMENT)


@docs(tags=["federation"], summary="What each reason code means")
@response_schema(ReasonsSchema(), 200, description="The list, with its version")
async def get_reasons(request: web.Request) -> web.Response:
    """List the reason codes."""
    return answer(request, published(), root=ROOT_DOCUMENT)


def may_see(node: RegisteredNode, caller: Caller, permissions: PermissionService) -> bool:
    """Whether the caller is told of the node: only of those that it could use now."""
    if caller.is_admin:
        return True
    return (
        node.standing in LIVE
        and permissions.allowance_of(caller).refused_node(node.profile) is None
    )


def show_node(node: RegisteredNode, caller: Caller) -> Document:
    """The node as this caller sees it: where it is, only who has said who they are."""
    snapshot = node.snapshot()
    if caller.is_admin:
        return snapshot.to_admin_document()
    document = snapshot.to_document()
    if caller.owner is None:
        del document["url"]
    return document


def add_node_routes(app: web.Application) -> None:
    """Serve nodes and reasons."""
    app.router.add_get("/nodes", get_nodes)
    app.router.add_get("/nodes/{name}", get_node)
    app.router.add_get("/reasons", get_reasons)


def _name_of(node: RegisteredNode) -> str:
    return node.name
