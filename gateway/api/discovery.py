"""What the federation has to offer, over HTTP: kinds, nodes, data, and dry runs."""

from typing import Final

from aiohttp import web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.api.requests import OfferQuerySchema, read_question
from gateway.domain.holdings import Copy, Holding
from gateway.httpkit.bodies import answer, read_query
from gateway.httpkit.operations import (
    docs,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.httpkit.telemetry import request_id_of
from gateway.services.discovery import DataFinding, DiscoveryService
from gateway.services.estimate import Estimate, EstimateService
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document
from gateway.wire.schemas.request import ExecutionRequestSchema

DISCOVERY = web.AppKey("discovery", DiscoveryService)
"""Tells what there is."""

ESTIMATES = web.AppKey("estimates", EstimateService)
"""Runs requests dry."""

SHOWS_REPLICAS = web.AppKey("shows_replicas", bool)
"""Whether clients may learn where replicas are (``placement.shows_replicas``)."""

ESTIMATE_PATH: Final = "/discovery/estimate"
"""Where requests are run dry."""

MAX_IDENTIFIERS: Final = 100
"""Data that one question may name: enough for an observation, little enough for a URL."""

MAX_COPIES: Final = 100
"""Replicas of one identifier that are shown."""

_TAGS: Final = ["discovery"]
# Printable ASCII, as all identifiers in use are; the comma parts them.
_DID: Final = validate.Regexp(
    r"^[!-+\--9;-~]{1,100}:[!-+\--~]{1,500}$(?!\n)", error="Not scope:name."
)
_IVOID: Final = validate.Regexp(
    r"^ivo://[!-+\--~]{1,1000}$(?!\n)", error="Not ivo://authority/path."
)


class DataQuerySchema(Schema):
    """Which data are looked for."""

    rucio_did = fields.List(
        fields.String(validate=_DID),
        validate=validate.Length(max=MAX_IDENTIFIERS),
        metadata={"description": "Rucio identifiers, `scope:name`; may be given more than once."},
    )
    ivoid = fields.List(
        fields.String(validate=_IVOID),
        validate=validate.Length(max=MAX_IDENTIFIERS),
        metadata={"description": "IVOA identifiers of data; may be given more than once."},
    )


class DiscoveredKindsSchema(Schema):
    """The kinds that can run now."""

    nodes = fields.Integer(required=True)
    kinds = fields.List(fields.Dict(keys=fields.String()), required=True)


class DiscoveredNodesSchema(Schema):
    """The live nodes."""

    nodes = fields.List(fields.Dict(keys=fields.String()), required=True)


class DiscoveredDataSchema(Schema):
    """Where data are, and what that means for each node."""

    data = fields.List(fields.Dict(keys=fields.String()), required=True)
    nodes = fields.List(fields.Dict(keys=fields.String()), required=True)
    messages = fields.List(fields.Dict(keys=fields.String()), required=True)


class EstimateSchema(Schema):
    """What would come of a request."""

    is_permitted = fields.Boolean(required=True)
    refusal = fields.Dict(keys=fields.String(), allow_none=True)
    placeholders = fields.List(fields.Dict(keys=fields.String()), required=True)
    policy = fields.String(allow_none=True)
    limit = fields.Integer(allow_none=True)
    per_node = fields.Integer(allow_none=True)
    asked = fields.List(fields.Dict(keys=fields.String()), required=True)
    skipped = fields.List(fields.Dict(keys=fields.String()), required=True)
    messages = fields.List(fields.Dict(keys=fields.String()), required=True)


@docs(
    tags=_TAGS,
    summary="Which kinds of components can be run now",
    description="At how many nodes that the caller may use: those that list or have offered a kind"
    " (`nodes`), do not know it (`refusing`), or have said nothing of it (`unknown`).",
)
@response_schema(DiscoveredKindsSchema(), 200, description="Every kind")
async def get_kinds(request: web.Request) -> web.Response:
    """List the kinds."""
    document = request.app[DISCOVERY].kinds(caller_of(request))
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(tags=_TAGS, summary="The live nodes that the caller may use, and what they can do")
@response_schema(DiscoveredNodesSchema(), 200, description="By name")
async def get_nodes(request: web.Request) -> web.Response:
    """List the nodes."""
    nodes = request.app[DISCOVERY].nodes(caller_of(request))
    return answer(request, {"nodes": nodes}, root=ROOT_DOCUMENT)


@docs(
    tags=_TAGS,
    summary="Where data are, and how long each node would need to have them",
    description="Looks into the data lake within the time that requests have; asks no node."
    " Needs credentials, whoever may read.",
)
@querystring_schema(DataQuerySchema())
@response_schema(DiscoveredDataSchema(), 200, description="Nodes that have the data soonest first")
async def get_data(request: web.Request) -> web.Response:
    """Find data."""
    query = read_query(request)
    dids = [_scope_and_name(text) for text in query.get("rucio_did", ())]
    finding = await request.app[DISCOVERY].data(dids, query.get("ivoid", ()), caller_of(request))
    document = _data(finding, shows_replicas=request.app[SHOWS_REPLICAS])
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(
    tags=_TAGS,
    summary="What would come of a request, without asking any node",
    description="Who would be asked, in which order, who not and why, and where the data are."
    " Placeholders are allowed, and left out.",
)
@querystring_schema(OfferQuerySchema())
@request_schema(ExecutionRequestSchema())
@response_schema(EstimateSchema(), 200, description="The estimate")
async def post_estimate(request: web.Request) -> web.Response:
    """Run a request dry."""
    question = await read_question(request)
    estimate = await request.app[ESTIMATES].estimate(question, caller_of(request))
    document = _estimate(estimate, request_id_of(request))
    return answer(request, document, root=ROOT_DOCUMENT)


def add_discovery_routes(app: web.Application) -> None:
    """Serve discovery."""
    app.router.add_get("/discovery/kinds", get_kinds)
    app.router.add_get("/discovery/nodes", get_nodes)
    app.router.add_get("/discovery/data", get_data)
    app.router.add_post(ESTIMATE_PATH, post_estimate)


def _scope_and_name(did: str) -> tuple[str, str]:
    scope, _, name = did.partition(":")
    return scope, name


def _data(finding: DataFinding, *, shows_replicas: bool) -> Document:
    messages = [] if finding.placed is None else finding.placed.messages(finding.at)
    return {
        "data": [
            _found(finding, index, name, shows_replicas=shows_replicas)
            for index, name in enumerate(finding.names)
        ],
        "nodes": [
            {
                "name": node.name,
                "site": node.site,
                **placement.to_public(),
                "notes": [note.to_document() for note in placement.notes()],
            }
            for node, placement in finding.placements()
        ],
        "messages": messages,
    }


def _found(finding: DataFinding, index: int, name: str, *, shows_replicas: bool) -> Document:
    """One identifier. Where this gateway has no data lake there is neither a size nor a reason."""
    holding, why = finding.holding(index), finding.missing(index)
    if holding is None:
        return {"id": name, "is_found": False, "reason": why.to_document() if why else None}
    found: Document = {
        "id": name,
        "is_found": True,
        "type": holding.kind.value,
        "bytes": holding.bytes,
        "files": holding.files,
        "age_s": round(holding.age_s),
        "is_stale": holding.is_stale,
    }
    return found | {"replicas": _replicas(holding)} if shows_replicas else found


def _replicas(holding: Holding) -> list[Document]:
    copies = [(part.name, copy) for part in holding.parts for copy in part.copies]
    return [_replica(name, copy) for name, copy in copies[:MAX_COPIES]]


def _replica(name: str, copy: Copy) -> Document:
    return {
        "of": name,
        "rse": copy.place.rse,
        "site": copy.place.site,
        "bytes": copy.bytes,
        "is_complete": copy.is_complete,
        "is_tape": copy.is_tape,
        "urls": list(copy.urls),
    }


def _estimate(estimate: Estimate, instance: str) -> Document:
    plan, refusal = estimate.plan, estimate.refusal
    placed = plan.placed if plan else None
    return {
        "is_permitted": refusal is None,
        "refusal": refusal.to_document(instance) if refusal else None,
        "placeholders": [
            {"path": place.path, "kind": place.kind, "wanted": place.wanted}
            for place in estimate.open
        ],
        "policy": plan.policy.name if plan else None,
        "limit": plan.limit if plan else None,
        "per_node": plan.per_node if plan else None,
        "asked": list(estimate.nodes),
        "skipped": estimate.skipped,
        "messages": placed.messages(plan.now) if plan and placed else [],
    }
