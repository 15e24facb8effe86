"""Webhooks: whom to tell what happens, made and taken away by their owner."""

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from marshmallow import Schema, fields, validate

from gateway.api.callers import caller_of
from gateway.api.presenting import own_base_url
from gateway.domain.webhooks import MAX_URL
from gateway.httpkit.auth import require_principal
from gateway.httpkit.bodies import answer, read_body, read_uuid
from gateway.httpkit.operations import docs, problem_responses, request_schema, response_schema
from gateway.services.webhooks import Webhook, WebhookService
from gateway.stores.webhooks import CallRow
from gateway.wire.codecs.roots import ROOT_DOCUMENT
from gateway.wire.documents import Document
from gateway.wire.times import format_instant

WEBHOOKS = web.AppKey("webhooks", WebhookService)
"""Makes and shows webhooks."""

FILTERS: Final = 20
"""Types that a webhook may name; there are some thirty."""

_TAGS: Final = ("events",)


class NewWebhookSchema(Schema):
    """Whom to tell, and what."""

    url = fields.String(
        required=True,
        validate=validate.Length(min=1, max=MAX_URL),
        metadata={"description": "Where to POST each event; a host that the gateway may call."},
    )
    events = fields.List(
        fields.String(validate=validate.Length(min=1, max=200)),
        validate=validate.Length(max=FILTERS),
        metadata={
            "description": "Only these types; `session.phase.*` is all that begin so. All, if none."
        },
    )


class WebhookSchema(Schema):
    """A webhook. ``secret`` is there once: in the answer that it was made with."""

    uuid = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    events = fields.List(fields.String(), required=True)
    created = fields.String(required=True)
    delivered = fields.String(
        required=True, metadata={"description": "The id of the last event that is dealt with."}
    )
    failing_since = fields.String(required=True, allow_none=True)
    disabled = fields.String(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    secret = fields.String()


class WebhooksSchema(Schema):
    """The webhooks of one owner, oldest first."""

    webhooks = fields.List(fields.Nested(WebhookSchema()), required=True)


class CallSchema(Schema):
    """One call to a webhook."""

    event = fields.String(required=True)
    at = fields.String(required=True)
    attempt = fields.Integer(required=True)
    status = fields.Integer(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    took_ms = fields.Integer(required=True)


class CallsSchema(Schema):
    """The last calls to a webhook, newest first."""

    deliveries = fields.List(fields.Nested(CallSchema()), required=True)


@docs(
    tags=_TAGS,
    summary="Have events sent to a URL",
    description="Each event is POSTed as a CloudEvent, in order and at least once, signed as"
    " Standard Webhooks has it: `webhook-id`, `webhook-timestamp` and `webhook-signature`. It is"
    " sent again until the answer is 2xx, for three days by default; 410 ends it at once.",
    responses=problem_responses(403, 409),
)
@request_schema(NewWebhookSchema())
@response_schema(WebhookSchema(), 201, description="The webhook, with its secret")
async def post_webhook(request: web.Request) -> web.Response:
    """Make a webhook."""
    wanted = await read_body(request)
    filters = wanted.get("events") or []
    webhook = await request.app[WEBHOOKS].add(wanted["url"], filters, caller_of(request))
    document = _document(webhook)
    if webhook.target is not None:
        document["secret"] = webhook.target.secret
    headers: dict[str, str] = {
        hdrs.LOCATION: f"{own_base_url(request)}/webhooks/{webhook.row.uuid}",
        hdrs.CACHE_CONTROL: "no-store",
    }
    return answer(request, document, root=ROOT_DOCUMENT, status=HTTPStatus.CREATED, headers=headers)


@docs(tags=_TAGS, summary="Your webhooks")
@response_schema(WebhooksSchema(), 200, description="All of them, oldest first")
async def get_webhooks(request: web.Request) -> web.Response:
    """List the caller's webhooks."""
    require_principal(request)
    webhooks = await request.app[WEBHOOKS].all(caller_of(request))
    document: Document = {"webhooks": [_document(webhook) for webhook in webhooks]}
    return answer(request, document, root=ROOT_DOCUMENT)


@docs(tags=_TAGS, summary="One of your webhooks", responses=problem_responses(404))
@response_schema(WebhookSchema(), 200, description="The webhook, without its secret")
async def get_webhook(request: web.Request) -> web.Response:
    """Show a webhook."""
    require_principal(request)
    webhook = await request.app[WEBHOOKS].one(read_uuid(request), caller_of(request))
    return answer(request, _document(webhook), root=ROOT_DOCUMENT)


@docs(
    tags=_TAGS,
    summary="Have no more events sent",
    responses={204: {"description": "It is gone"}, **problem_responses(404)},
)
async def delete_webhook(request: web.Request) -> web.Response:
    """Remove a webhook."""
    await request.app[WEBHOOKS].remove(read_uuid(request), caller_of(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


@docs(
    tags=_TAGS,
    summary="The last calls to a webhook, and what came of them",
    responses=problem_responses(404),
)
@response_schema(CallsSchema(), 200, description="Newest first")
async def get_deliveries(request: web.Request) -> web.Response:
    """List calls."""
    require_principal(request)
    calls = await request.app[WEBHOOKS].calls(read_uuid(request), caller_of(request))
    document: Document = {"deliveries": [_call_document(call) for call in calls]}
    return answer(request, document, root=ROOT_DOCUMENT)


def add_webhook_routes(app: web.Application) -> None:
    """Serve webhooks."""
    app.router.add_post("/webhooks", post_webhook)
    app.router.add_get("/webhooks", get_webhooks)
    app.router.add_get("/webhooks/{uuid}", get_webhook)
    app.router.add_delete("/webhooks/{uuid}", delete_webhook)
    app.router.add_get("/webhooks/{uuid}/deliveries", get_deliveries)


def _document(webhook: Webhook) -> Document:
    row = webhook.row
    return {
        "uuid": str(row.uuid),
        "url": None if webhook.target is None else webhook.target.url,
        "events": list(row.filters),
        "created": format_instant(row.created),
        "delivered": str(row.cursor),
        "failing_since": None if row.failing_since is None else format_instant(row.failing_since),
        "disabled": None if row.disabled is None else format_instant(row.disabled),
        "last_error": row.last_error,
    }


def _call_document(call: CallRow) -> Document:
    return {
        "event": str(call.position),
        "at": format_instant(call.at),
        "attempt": call.attempt,
        "status": call.status,
        "error": call.error,
        "took_ms": call.took_ms,
    }
