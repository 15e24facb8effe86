"""A small application on the HTTP kit: notes that anybody reads and their owners write."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from aiohttp import web
from argon2 import PasswordHasher
from marshmallow import fields, validate

from gateway.httpkit.application import add_documentation, new_app
from gateway.httpkit.auth import Authenticator, require_principal
from gateway.httpkit.bodies import answer, base_url, read_body, read_query, read_uuid
from gateway.httpkit.errors import NotFoundProblem
from gateway.httpkit.health import Lifecycle, ReadinessCheck
from gateway.httpkit.operations import (
    docs,
    problem_responses,
    querystring_schema,
    request_schema,
    response_schema,
)
from gateway.httpkit.passwords import Passwords
from gateway.httpkit.rate_limits import RateLimits
from gateway.httpkit.rate_settings import Network
from gateway.httpkit.server_settings import AdminSettings, AuthenticationSettings
from gateway.httpkit.telemetry import HttpMetrics
from gateway.wire.audit import AuditSink
from gateway.wire.documents import Document, to_json
from gateway.wire.identity import DuplicateIdentityError, IdentityChange, StoredIdentity
from gateway.wire.schemas.blocks import OneOfKinds, WireSchema, kind, variants
from gateway.wire.schemas.fields import UuidText, Whole
from gateway.wire.secret import Secret

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ADMIN = AdminSettings(username="admin", password=Secret("admin-password"))
MAX_BODY_BYTES = 4096


class PaperSchema(WireSchema):
    kind = kind("urn:paper")
    sheets = Whole(required=True)


class WallSchema(WireSchema):
    kind = kind("urn:wall")
    colour = fields.String(required=True)


class SurfaceSchema(OneOfKinds):
    type_schemas = variants(PaperSchema(), WallSchema())


class OpenSurfaceSchema(OneOfKinds):
    is_open = True
    type_schemas = variants(PaperSchema(), WallSchema())


class NewNoteSchema(WireSchema):
    text = fields.String(required=True)
    surface = fields.Nested(SurfaceSchema())
    other = fields.Nested(OpenSurfaceSchema(), allow_none=True)


class NoteSchema(WireSchema):
    uuid = UuidText(required=True)
    text = fields.String(required=True)
    owner = fields.String(allow_none=True)
    url = fields.String(required=True)


class NoteQuerySchema(WireSchema):
    limit = fields.Integer(validate=validate.Range(min=1, max=9))
    nodes = fields.List(fields.String())


@dataclass
class Notes:
    """What the application works on, and what tests look at."""

    identities: dict[str, StoredIdentity] = field(default_factory=dict)
    notes: dict[UUID, Document] = field(default_factory=dict)
    queries: list[Document] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def find(self, username: str) -> StoredIdentity | None:
        return self.identities.get(username)

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        existing = self.identities.setdefault(identity.username, identity)
        if existing is not identity:
            raise DuplicateIdentityError(existing)
        return identity

    async def get(self, uuid: UUID) -> StoredIdentity | None:
        found = [one for one in self.identities.values() if one.uuid == uuid]
        return found[0] if found else None

    async def page(self, after: str, limit: int) -> Sequence[StoredIdentity]:
        names = [name for name in sorted(self.identities) if name > after]
        return [self.identities[name] for name in names[:limit]]

    async def change(self, uuid: UUID, change: IdentityChange) -> StoredIdentity | None:
        before = await self.get(uuid)
        if before is None:
            return None
        self.identities[before.username] = change.of(before)
        return self.identities[before.username]

    async def remove(self, uuid: UUID) -> bool:
        before = await self.get(uuid)
        return before is not None and bool(self.identities.pop(before.username))

    def add_identity(self, username: str, password: str) -> StoredIdentity:
        identity = StoredIdentity(uuid4(), username, CHEAP_HASHER.hash(password))
        self.identities[username] = identity
        return identity


NOTES = web.AppKey("notes", Notes)


@docs(tags=["notes"], summary="Write a note", responses=problem_responses(409))
@request_schema(NewNoteSchema())
@querystring_schema(NoteQuerySchema())
@response_schema(NoteSchema(), 201, description="The note")
async def post_note(request: web.Request) -> web.Response:
    notes = request.app[NOTES]
    notes.queries.append(read_query(request))
    document = await read_body(request)
    uuid = uuid4()
    url = f"{base_url(request, None)}/notes/{uuid}"
    note = document | {
        "uuid": str(uuid),
        "url": url,
        "owner": require_principal(request).owner,
    }
    notes.notes[uuid] = note
    return answer(request, note, root="document", status=201, headers={"Location": url})


@docs(tags=["notes"], summary="Read a note", responses=problem_responses(404))
@response_schema(NoteSchema())
async def get_note(request: web.Request) -> web.Response:
    note = request.app[NOTES].notes.get(read_uuid(request))
    if note is None:
        raise NotFoundProblem("There is no such note.")
    return answer(request, to_json(note), root="document")


async def get_defect(_request: web.Request) -> web.Response:
    raise RuntimeError("the password is hunter2")


async def get_late(_request: web.Request) -> web.Response:
    raise TimeoutError("something inside took too long")


async def get_gone(_request: web.Request) -> web.Response:
    raise web.HTTPGone


async def get_moved(_request: web.Request) -> web.Response:
    raise web.HTTPSeeOther("/livez")


async def get_half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first half")
    raise RuntimeError("in the middle")


async def get_gated(request: web.Request) -> web.Response:
    notes = request.app[NOTES]
    notes.arrived.set()
    await notes.gate.wait()
    return web.Response(text="let through")


def new_notes_app(
    notes: Notes,
    *,
    admin: AdminSettings | None = ADMIN,
    authentication: AuthenticationSettings | None = None,
    checks: dict[str, ReadinessCheck] | None = None,
    hasher: PasswordHasher = CHEAP_HASHER,
    rate_limits: RateLimits | None = None,
    audit: AuditSink | None = None,
    trusted_proxies: tuple[Network, ...] = (),
) -> web.Application:
    """The application, its identities and notes kept in ``notes``."""
    authenticator = Authenticator(
        notes, admin, authentication or AuthenticationSettings(), Passwords(hasher)
    )
    app = new_app(
        authenticator=authenticator,
        metrics=HttpMetrics("notes_", "1.2.3"),
        lifecycle=Lifecycle(checks),
        rate_limits=rate_limits,
        audit=audit,
        trusted_proxies=trusted_proxies,
        max_body_bytes=MAX_BODY_BYTES,
    )
    app[NOTES] = notes
    app.router.add_post("/notes", post_note)
    app.router.add_get("/notes/{uuid}", get_note)
    app.router.add_get("/defect", get_defect)
    app.router.add_get("/late", get_late)
    app.router.add_get("/gone", get_gone)
    app.router.add_get("/moved", get_moved)
    app.router.add_get("/half", get_half)
    app.router.add_get("/gated", get_gated)
    add_documentation(
        app,
        authenticator=authenticator,
        title="Notes",
        version="1.2.3",
        description="Notes on surfaces.",
        public_url=None,
    )
    return app
