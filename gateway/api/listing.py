"""Lists of what callers own, page by page."""

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError, fields, validate, validates

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url
from gateway.httpkit.bodies import answer, read_query
from gateway.httpkit.errors import ForbiddenProblem
from gateway.httpkit.operations import docs, problem_responses, querystring_schema, response_schema
from gateway.services.listing import (
    MAX_LIMIT,
    USUAL_LIMIT,
    ListingService,
    ListQuestion,
    NamedOfferSet,
    NamedSession,
    Page,
)
from gateway.services.listing_cursor import MAX_CURSOR
from gateway.stores.listing import Sort
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from gateway.wire.schemas.fields import Instant
from gateway.wire.times import TimeSyntaxError, format_instant, parse_instant

LISTING = web.AppKey("listing", ListingService)
"""Lists offer sets and sessions."""

_ITEMS = fields.Dict(keys=fields.String())
_PAGED = (
    "The header `Link` with `rel=next` leads to the next page, as long as there is one. Entries "
    "that are made meanwhile repeat nothing and hide nothing. Where `name` is given a page may "
    "have fewer entries than `limit` and still not be the last."
)


class OwnedQuerySchema(Schema):
    """What is listed of something that has an owner and a name, and in which order."""

    since = Instant(metadata={"description": "Made then or later (ISO 8601)."})
    until = Instant(metadata={"description": "Made earlier than that (ISO 8601)."})
    name = fields.String(
        validate=validate.Length(min=1, max=200),
        metadata={"description": "A part of the name, in any case."},
    )
    owner = fields.String(
        metadata={"description": "For the administrator: only what belongs to this owner."}
    )
    sort = fields.String(
        validate=validate.OneOf([str(sort) for sort in Sort]),
        metadata={"description": "A minus is newest first; the default is -created."},
    )
    limit = fields.Integer(
        validate=validate.Range(min=1, max=MAX_LIMIT),
        metadata={"description": f"Entries of a page; the default is {USUAL_LIMIT}."},
    )
    cursor = fields.String(
        validate=validate.Length(min=1, max=MAX_CURSOR),
        metadata={"description": "Where the page before ended, as its link says."},
    )

    @validates("since", "until")
    def check_instant(self, text: str, **_: Any) -> None:
        """Some texts have the form of an instant and name none."""
        try:
            parse_instant(text)
        except TimeSyntaxError as error:
            raise ValidationError(str(error)) from error


class _PhasesSchema(OwnedQuerySchema):
    phase = fields.List(
        fields.String(validate=validate.OneOf([str(phase) for phase in SessionPhase])),
        metadata={"description": "In one of these phases, separated by commas."},
    )
    node = fields.String(metadata={"description": "At this node."})


class OfferSetsQuerySchema(_PhasesSchema):
    """Which offer sets are listed: with an offer in that phase, at that node."""

    sort = fields.String(
        validate=validate.OneOf([Sort.CREATED.value, Sort.NEWEST.value]),
        metadata={"description": "A minus is newest first; the default is -created."},
    )


class SessionsQuerySchema(_PhasesSchema):
    """Which sessions are listed."""


class OfferSetsSchema(Schema):
    """A page of offer sets."""

    offersets = fields.List(_ITEMS, required=True)


class SessionsSchema(Schema):
    """A page of sessions."""

    sessions = fields.List(_ITEMS, required=True)


@docs(
    tags=["requests"],
    summary="Your offer sets",
    description=_PAGED,
    responses=problem_responses(403),
)
@querystring_schema(OfferSetsQuerySchema())
@response_schema(OfferSetsSchema(), 200, description="A page")
async def get_offersets(request: web.Request) -> web.Response:
    """List offer sets."""
    page = await request.app[LISTING].offersets(list_question(request), caller_of(request))
    base = own_base_url(request)
    entries = [_offerset(entry, base) for entry in page.entries]
    return answer_page(request, {"offersets": entries}, page)


@docs(
    tags=["sessions"],
    summary="Your sessions",
    description="Without `phase` those that were accepted at some time. Phases are as they were "
    f"last seen; no node is asked. {_PAGED}",
    responses=problem_responses(403),
)
@querystring_schema(SessionsQuerySchema())
@response_schema(SessionsSchema(), 200, description="A page")
async def get_sessions(request: web.Request) -> web.Response:
    """List sessions."""
    page = await request.app[LISTING].sessions(list_question(request), caller_of(request))
    base = own_base_url(request)
    entries = [_session(entry, base) for entry in page.entries]
    return answer_page(request, {"sessions": entries}, page)


def add_listing_routes(app: web.Application) -> None:
    """Serve the lists."""
    app.router.add_get("/offersets", get_offersets)
    app.router.add_get("/sessions", get_sessions)


def list_question(request: web.Request) -> ListQuestion:
    """What the query asks to be listed.

    Raises
    ------
    QueryProblem
        It cannot be read.
    ForbiddenProblem
        It asks for what is somebody else's.
    """
    query = read_query(request)
    if "owner" in query and not caller_of(request).is_admin:
        raise ForbiddenProblem("Only the administrator may list what belongs to others.")
    return ListQuestion(
        owner=query.get("owner"),
        phases=tuple(SessionPhase(phase) for phase in query.get("phase", ())),
        node=query.get("node"),
        since=_instant(query, "since"),
        until=_instant(query, "until"),
        name=query.get("name"),
        sort=Sort(query.get("sort", Sort.NEWEST)),
        limit=query.get("limit", USUAL_LIMIT),
        cursor=query.get("cursor"),
    )


def answer_page(request: web.Request, document: Document, page: Page[Any]) -> web.Response:
    """A page with the link to the next one (RFC 8288)."""
    headers: dict[str, str] = {}
    if page.next_cursor is not None:
        url = request.rel_url.update_query(cursor=page.next_cursor)
        headers[hdrs.LINK] = f'<{own_base_url(request)}{url}>; rel="next"'
    return answer(request, document, root=ROOT_DOCUMENT, headers=headers)


def _instant(query: Mapping[str, Any], name: str) -> Any:
    return parse_instant(query[name]) if name in query else None


def _offerset(entry: NamedOfferSet, base: str) -> Document:
    row = entry.row
    document: Document = {
        "uuid": str(row.uuid),
        "url": f"{base}/offersets/{row.uuid}",
        "created": format_instant(row.created),
        "owner": row.owner,
        "result": "YES" if row.phases else "NO",
        "phases": {phase.value: count for phase, count in row.phases.items()},
    }
    if entry.name is not None:
        document["name"] = entry.name
    if row.accepted is not None:
        document["accepted"] = str(row.accepted)
    return document


def _session(entry: NamedSession, base: str) -> Document:
    row = entry.row
    document: Document = {
        "uuid": str(row.uuid),
        "url": f"{base}/sessions/{row.uuid}",
        "offerset": str(row.offerset),
        "node": row.node,
        "owner": row.owner,
        "phase": entry.phase.value,
        "created": format_instant(row.created),
        "changed": format_instant(row.changed),
    }
    if entry.name is not None:
        document["name"] = entry.name
    if row.expires is not None:
        document["expires"] = format_instant(row.expires)
    return document
