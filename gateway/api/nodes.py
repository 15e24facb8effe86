"""The nodes of the federation, and what the reasons in answers mean."""

from aiohttp import web
from marshmallow import Schema, fields

from gateway.domain.reasons import published
from gateway.httpkit.bodies import answer
from gateway.httpkit.operations import docs, response_schema
from gateway.services.registry import NodeRegistry
from gateway.wire.codecs.roots import ROOT_DOCUMENT

NODES = web.AppKey("nodes", NodeRegistry)
"""The registered nodes."""


class NodesSchema(Schema):
    """The registered nodes and what their own answers say of them."""

    nodes = fields.List(fields.Dict(keys=fields.String()), required=True)


class ReasonsSchema(Schema):
    """The published list of reason codes."""

    version = fields.Integer(required=True)
    reasons = fields.List(fields.Dict(keys=fields.String()), required=True)


@docs(tags=["federation"], summary="The registered nodes")
@response_schema(NodesSchema(), 200, description="Every node, by name")
async def get_nodes(request: web.Request) -> web.Response:
    """List the nodes."""
    snapshots = sorted(request.app[NODES].snapshots(), key=lambda node: node.profile.name)
    return answer(
        request, {"nodes": [node.to_document() for node in snapshots]}, root=ROOT_DOCUMENT
    )


@docs(tags=["federation"], summary="What each reason code means")
@response_schema(ReasonsSchema(), 200, description="The list, with its version")
async def get_reasons(request: web.Request) -> web.Response:
    """List the reason codes."""
    return answer(request, published(), root=ROOT_DOCUMENT)


def add_node_routes(app: web.Application) -> None:
    """Serve nodes and reasons."""
    app.router.add_get("/nodes", get_nodes)
    app.router.add_get("/reasons", get_reasons)
