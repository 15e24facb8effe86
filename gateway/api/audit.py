"""``GET /admin/audit``: who did what."""

from typing import Any, Final

from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate, validates

from gateway.httpkit.bodies import answer, read_query
from gateway.httpkit.operations import docs, querystring_schema, response_schema
from gateway.services.audit import AuditTrail
from gateway.stores.audit import AuditEntry, AuditQuery
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document
from gateway.wire.schemas.fields import Instant
from gateway.wire.times import TimeSyntaxError, format_instant, parse_instant

AUDIT = web.AppKey("audit", AuditTrail)
"""Has noted what was done."""

MAX_PAGE: Final = 1000
"""Entries in one answer at most, some 300 bytes each."""

_USUAL_PAGE: Final = 100
_TEXT: Final = validate.Length(min=1, max=1024)


class AuditQuerySchema(Schema):
    """Which entries are wanted."""

    who = fields.String(
        validate=_TEXT,
        metadata={"description": "An owner, `admin`, `node:NAME`, `registrant` or `nobody`."},
    )
    what = fields.String(
        validate=_TEXT,
        metadata={"description": "Method and route, as in `POST /sessions/{uuid}`."},
    )
    object = fields.String(
        validate=_TEXT, metadata={"description": "The UUID or name that a call was about."}
    )
    since = Instant(metadata={"description": "From then on, in UTC (ISO 8601)."})
    until = Instant(metadata={"description": "Before then, in UTC (ISO 8601)."})
    limit = fields.Integer(
        validate=validate.Range(min=1, max=MAX_PAGE),
        metadata={"description": f"Entries to return at most; the default is {_USUAL_PAGE}."},
    )
    cursor = fields.Integer(
        validate=validate.Range(min=1, max=2**63 - 1),
        metadata={"description": "`next` of the page before, with the same parameters."},
    )

    @validates("since", "until")
    def check_instant(self, text: str, **_: Any) -> None:
        """Some texts have the form of an instant and name none."""
        try:
            parse_instant(text)
        except TimeSyntaxError as error:
            raise ValidationError(str(error)) from error


class AuditEntrySchema(Schema):
    """One call that changed something, or tried to."""

    at = fields.String(required=True)
    who = fields.String(required=True)
    what = fields.String(required=True)
    object = fields.String(required=True, allow_none=True)
    origin = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True)
    status = fields.Integer(required=True)
    reason = fields.String(required=True, allow_none=True)


class AuditPageSchema(Schema):
    """Some entries, newest first; ``next`` is the cursor of those after them, if there are any."""

    entries = fields.List(fields.Nested(AuditEntrySchema()), required=True)
    next = fields.Integer(required=True, allow_none=True)


@docs(
    tags=["administration"],
    summary="The audit trail",
    description="Every call that changed something, or tried to, and every failed log-in, newest "
    "first. `reason` is the last part of the problem's `type` where the call was refused.",
)
@querystring_schema(AuditQuerySchema())
@response_schema(AuditPageSchema(), 200, description="A page of entries")
async def get_audit(request: web.Request) -> web.Response:
    """List what was done."""
    query = read_query(request)
    entries, following = await request.app[AUDIT].page(
        AuditQuery(
            who=query.get("who"),
            what=query.get("what"),
            object=query.get("object"),
            since=parse_instant(query["since"]) if "since" in query else None,
            until=parse_instant(query["until"]) if "until" in query else None,
        ),
        before=query.get("cursor"),
        limit=query.get("limit", _USUAL_PAGE),
    )
    document: Document = {"entries": [_shown(entry) for entry in entries], "next": following}
    return answer(request, document, root=ROOT_DOCUMENT)


def _shown(entry: AuditEntry) -> Document:
    call = entry.call
    return {
        "at": format_instant(entry.at),
        "who": call.who,
        "what": call.what,
        "object": call.object,
        "origin": call.origin,
        "request_id": call.request_id,
        "status": call.status,
        "reason": call.reason,
    }


def add_audit_routes(app: web.Application) -> None:
    """Serve the audit trail."""
    app.router.add_get("/admin/audit", get_audit)
