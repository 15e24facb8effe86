"""``/admin/revocations``: the administrator shuts out people whom an issuer still vouches for."""

from collections.abc import Collection
from typing import Final

from aiohttp import web
from marshmallow import Schema, fields
from marshmallow import validate as checks

from gateway.httpkit.auditing import AUDITED_OBJECT
from gateway.httpkit.background import supervised
from gateway.httpkit.bearer.claims import MAX_SUBJECT_LENGTH
from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.scheme import OidcScheme
from gateway.httpkit.bearer.settings import MAX_URL_LENGTH
from gateway.httpkit.bodies import answer_json, read_json_body, read_query
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
from gateway.wire.identity import Subject
from gateway.wire.problem import Fault

PAGE: Final = 100
"""Revocations in one answer where the query does not say."""

MAX_PAGE: Final = 1000
"""Most revocations in one answer."""

_TAGS: Final = ("administration",)
_TEXT: Final = checks.Regexp(
    r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)", error="Must not have control characters."
)


class SubjectSchema(Schema):
    """Somebody, by what the tokens say."""

    issuer = fields.String(
        required=True, validate=[checks.Length(min=1, max=MAX_URL_LENGTH), _TEXT]
    )
    subject = fields.String(
        required=True, validate=[checks.Length(min=1, max=MAX_SUBJECT_LENGTH), _TEXT]
    )


class RevocationPageSchema(Schema):
    """Some of those who are shut out."""

    revocations = fields.List(fields.Nested(SubjectSchema()), required=True)
    next = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Give this as `after` for those that follow; null at the end."},
    )


class RevocationQuerySchema(Schema):
    """Which part of the list is wanted."""

    after = fields.String(
        validate=checks.Length(max=MAX_URL_LENGTH + 1 + MAX_SUBJECT_LENGTH),
        metadata={"description": "The `next` of the page before."},
    )
    limit = fields.Integer(
        validate=checks.Range(min=1, max=MAX_PAGE),
        metadata={"description": f"At most so many; the default is {PAGE}."},
    )


def add_tokens(app: web.Application, scheme: OidcScheme) -> None:
    """Fetch the keys of the issuers as long as the application lives; serve revocations."""
    for url, keys in scheme.keys.items():
        app.cleanup_ctx.append(supervised(f"keys of {url}", keys.run))
    _add_routes(app, scheme.revocations, scheme.keys.keys())


def _add_routes(app: web.Application, revocations: Revocations, issuers: Collection[str]) -> None:
    @docs(
        tags=_TAGS,
        summary="Shut out somebody whom an issuer vouches for",
        description="Refused from now on, whatever tokens they have; what they own stays theirs. "
        "Other processes of this service see it within a second.",
        media_types=JSON_ONLY,
    )
    @request_schema(SubjectSchema())
    @response_schema(SubjectSchema(), description="Who is shut out")
    async def post_revocation(request: web.Request) -> web.Response:
        document = await read_json_body(request)
        subject = Subject(document["issuer"], document["subject"])
        if subject.issuer not in issuers:
            # A letter of it wrong would shut out nobody.
            raise ValidationProblem([Fault("/issuer", "Must be an issuer of the settings.")])
        request[AUDITED_OBJECT] = f"{subject.issuer} {subject.subject}"
        await revocations.revoke(subject)
        return answer_json(_shown(subject))

    @docs(
        tags=_TAGS,
        summary="Let somebody in again",
        responses={204: {"description": "They are let in"}, **problem_responses(404)},
        media_types=JSON_ONLY,
    )
    @querystring_schema(SubjectSchema())
    async def delete_revocation(request: web.Request) -> web.Response:
        query = read_query(request)
        request[AUDITED_OBJECT] = f"{query['issuer']} {query['subject']}"
        if not await revocations.restore(Subject(query["issuer"], query["subject"])):
            raise NotFoundProblem("Nobody of that issuer and subject is shut out.")
        return web.Response(status=204)

    @docs(tags=_TAGS, summary="Who is shut out", media_types=JSON_ONLY)
    @querystring_schema(RevocationQuerySchema())
    @response_schema(RevocationPageSchema(), description="Some of them")
    async def get_revocations(request: web.Request) -> web.Response:
        query = read_query(request)
        limit = query.get("limit", PAGE)
        issuer, _, subject = query.get("after", "").partition(" ")
        found = await revocations.store.revocations(Subject(issuer, subject), limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        # An issuer's URL has no space.
        following = None if last is None else f"{last.issuer} {last.subject}"
        return answer_json(
            {"revocations": [_shown(one) for one in found[:limit]], "next": following}
        )

    app.router.add_post("/admin/revocations", post_revocation)
    app.router.add_delete("/admin/revocations", delete_revocation)
    app.router.add_get("/admin/revocations", get_revocations)


def _shown(subject: Subject) -> Document:
    return {"issuer": subject.issuer, "subject": subject.subject}
