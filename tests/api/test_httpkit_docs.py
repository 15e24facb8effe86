"""The OpenAPI document says what the application does, and its browser needs nothing else."""

import re
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_aiohttp import AiohttpClient

from gateway.httpkit.access import Access, access_of
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.httpkit.docs_pages import API_DESCRIPTION
from gateway.httpkit.openapi import build_document, implied_statuses
from gateway.httpkit.operations import (
    WIRE_MEDIA_TYPES,
    docs,
    headers_schema,
    request_schema,
    response_schema,
)
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.documents import Document
from gateway.wire.faults import validate
from gateway.wire.schemas.blocks import WireSchema, text
from gateway.wire.schemas.request import ExecutionRequestSchema
from gateway.wire.schemas.session import OfferSetSchema
from gateway.wire.schemas.update import UpdateSchema
from tests.api.httpkit_app import NewNoteSchema, Notes, new_notes_app


class PreferSchema(WireSchema):
    prefer = text(data_key="Prefer")


@docs(tags=["requests"], summary="Ask")
@request_schema(ExecutionRequestSchema())
@headers_schema(PreferSchema())
@response_schema(OfferSetSchema(), 303)
async def post_request(_request: web.Request) -> web.Response:
    return web.Response()


@docs(tags=["sessions"], summary="Change")
@request_schema(UpdateSchema())
async def post_update(_request: web.Request) -> web.Response:
    return web.Response()


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient[Any, Any]:
    return await aiohttp_client(new_notes_app(Notes()))


def wire_document(settings: AuthenticationSettings | None = None) -> Document:
    app = web.Application()
    app.router.add_post("/requests", post_request)
    app.router.add_post("/sessions/{uuid}", post_update)
    return build_document(
        app,
        title="Wire",
        version="1",
        description="The wire.",
        authentication=settings or AuthenticationSettings(),
        url="https://broker.example.org",
    )


def validator_of(document: Document, name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


async def test_the_document_is_valid_openapi_3_1(client: TestClient[Any, Any]) -> None:
    document = await (await client.get("/openapi.json")).json()
    assert document == client.app[API_DESCRIPTION].build()
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {
        "title": "Notes",
        "version": "1.2.3",
        "description": "Notes on surfaces.",
    }
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert [str(error) for error in OpenAPIV31SpecValidator(wire_document()).iter_errors()] == []


async def test_an_operation_says_all_that_it_takes_and_gives(client: TestClient[Any, Any]) -> None:
    document = await (await client.get("/openapi.json")).json()
    post = document["paths"]["/notes"]["post"]
    assert list(post["requestBody"]["content"]) == list(WIRE_MEDIA_TYPES)
    assert post["requestBody"]["required"]
    statuses = {201, 400, 401, 406, 408, 409, 413, 415, 429, 500, 503}
    assert set(post["responses"]) == {str(status) for status in statuses}
    assert list(post["responses"]["201"]["content"]) == list(WIRE_MEDIA_TYPES)
    assert post["responses"]["201"]["description"] == "The note"
    for status in statuses - {201}:
        content = post["responses"][str(status)]["content"]
        assert content == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    assert post["security"] == [{"basic": []}]
    assert {parameter["name"]: parameter["in"] for parameter in post["parameters"]} == {
        "limit": "query",
        "nodes": "query",
    }
    assert "produces" not in post


async def test_an_operation_without_a_body_says_so(client: TestClient[Any, Any]) -> None:
    document = await (await client.get("/openapi.json")).json()
    get = document["paths"]["/notes/{uuid}"]["get"]
    assert "requestBody" not in get
    assert "head" not in document["paths"]["/notes/{uuid}"]
    assert set(get["responses"]) == {"200", "400", "401", "404", "406", "429", "500", "503"}
    assert get["security"] == [{"basic": []}, {}]
    (parameter,) = get["parameters"]
    assert parameter["schema"] == {"type": "string", "format": "uuid"}
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert set(document["paths"]["/livez"]["get"]["responses"]) == {"200"}
    post = document["paths"]["/admin/identities"]["post"]
    assert "403" in post["responses"]
    assert "406" not in post["responses"]
    assert list(post["requestBody"]["content"]) == ["application/json"]


async def test_headers_are_parameters() -> None:
    (parameter,) = wire_document()["paths"]["/requests"]["post"]["parameters"]
    assert (parameter["in"], parameter["name"]) == ("header", "Prefer")


async def test_security_follows_the_settings() -> None:
    owner = wire_document(AuthenticationSettings(reads=Reads.OWNER))
    assert owner["paths"]["/requests"]["post"]["security"] == [{"basic": []}]
    idp = IssuerSettings(issuer="https://idp.example.org", audiences=("us",))
    tokens = wire_document(AuthenticationSettings(reads=Reads.OWNER, issuers=(idp,)))
    either: list[Document] = [{"basic": []}, {"bearer": []}]
    assert tokens["paths"]["/requests"]["post"]["security"] == either
    assert set(tokens["components"]["securitySchemes"]) == {"basic", "bearer"}
    off = wire_document(AuthenticationSettings(enabled=False))
    assert off["paths"]["/requests"]["post"]["security"] == []
    assert "securitySchemes" not in off["components"]
    assert off["servers"] == [{"url": "https://broker.example.org"}]


NOTES: list[Any] = [
    {"text": "a"},
    {"text": "a", "unknown": [1, {"b": None}]},
    {"text": "a", "surface": {"kind": "urn:paper", "sheets": 2, "unknown": True}},
    {"text": "a", "surface": {"kind": "urn:wall", "colour": "red"}},
    {"text": "a", "surface": {"kind": "urn:wall"}},
    {"text": "a", "surface": {"kind": "urn:paper", "sheets": "2"}},
    {"text": "a", "surface": {"kind": "urn:paper", "sheets": 2**70}},
    {"text": "a", "surface": {"kind": "urn:sky"}},
    {"text": "a", "surface": {"colour": "red"}},
    {"text": "a", "surface": None},
    {"text": "a", "other": None},
    {"text": "a", "other": {"kind": "urn:sky", "anything": 1}},
    {"text": "a", "other": {"kind": "urn:wall"}},
    {"text": "a", "other": {"kind": 3}},
    {"text": "a", "other": {}},
    {"text": None},
    {"text": 1},
    {},
    [],
]


@pytest.mark.parametrize("note", NOTES, ids=str)
async def test_document_and_validation_agree(client: TestClient[Any, Any], note: Any) -> None:
    document = await (await client.get("/openapi.json")).json()
    validator = validator_of(document, "NewNote")
    assert validator.is_valid(note) == (not validate(NewNoteSchema(), note))


REQUESTS: list[tuple[Any, bool]] = [
    ({"schedule": {"requested": {"start": "2026-08-03T09:00:00Z/PT1H"}}}, True),
    ({"schedule": {"requested": {"start": ["2026-08-03T09:00:00Z/PT1H"]}}}, True),
    ({"schedule": {"requested": {"start": None, "daily": None}}}, True),
    ({"schedule": {"requested": {"start": 3}}}, False),
    ({"schedule": {"requested": {"start": "soon"}}}, False),
    ({"schedule": {"requested": {"start": [3]}}}, False),
    ({"schedule": {"requested": {"daily": "always"}}}, False),
    ({"schedule": {"requested": {"daily": {"start": "09:00"}}}}, False),
    (
        {
            "schedule": {
                "requested": {
                    "daily": {"start": "09:00", "end": "17:00", "timezone": "Europe/London"}
                }
            }
        },
        True,
    ),
    ({"executable": {"kind": "urn:new"}, "data": [{"kind": "urn:new", "a": 1}]}, True),
    ({"executable": {}}, False),
    ({"data": [{}]}, False),
]


@pytest.mark.parametrize(("request_document", "is_valid"), REQUESTS, ids=str)
async def test_document_and_validation_agree_on_requests(
    request_document: Any, is_valid: bool
) -> None:
    validator = validator_of(wire_document(), "ExecutionRequest")
    assert validator.is_valid(request_document) is is_valid
    assert (not validate(ExecutionRequestSchema(), request_document)) is is_valid


def test_the_document_of_every_wire_schema_is_made_without_a_warning() -> None:
    schemas = wire_document()["components"]["schemas"]
    assert {"ExecutionRequest", "OfferSet", "Update", "Problem", "ScheduledSession"} <= set(schemas)
    assert not [name for name in schemas if re.search(r"\d$|Schema", name)]


def test_the_document_says_how_xml_is_written() -> None:
    schemas = wire_document()["components"]["schemas"]
    assert schemas["ExecutionRequest"]["xml"] == {"name": "offers-request"}
    assert schemas["Update"]["xml"] == {"name": "update"}
    assert schemas["MinMaxCost"]["properties"]["kind"]["xml"] == {"attribute": True}
    costs = schemas["ExecutionRequest"]["properties"]["costs"]
    assert costs["xml"] == {"wrapped": True}
    assert costs["items"]["xml"] == {"name": "cost"}


def test_what_an_operation_can_end_in_follows_from_its_sort() -> None:
    assert implied_statuses(Access.OPEN, has_body=False, is_parametrised=False) == set()
    assert 403 in implied_statuses(Access.ADMIN, has_body=True, is_parametrised=False)
    assert access_of("DELETE", "/admin/anything") is Access.ADMIN
    assert access_of("GET", "/sessions/{uuid}") is Access.READ
    assert access_of("PUT", "/sessions/{uuid}") is Access.WRITE


async def test_the_browser_needs_nothing_from_elsewhere(client: TestClient[Any, Any]) -> None:
    response = await client.get("/docs")
    page = await response.text()
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "http" not in page
    found = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(found) == 4
    for path in found:
        asset = await client.get(f"/{path}")
        assert asset.status == 200
        assert len(await asset.read()) > 100
        assert asset.headers["Cache-Control"] == "public, max-age=86400"
        assert asset.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["README.txt", "..%2f..%2fopenapi.py", "nothing"])
async def test_only_the_browser_is_served(client: TestClient[Any, Any], name: str) -> None:
    assert (await client.get(f"/docs/{name}")).status == 404
