"""The OpenAPI 3.1 document, from the decorators on the handlers and the marshmallow schemas.

aiohttp-apispec writes OpenAPI 2.0 alone; the subclass here makes it write 3.1. Everything that
reaches into that package or into apispec is in this module.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp_apispec.aiohttp_apispec import AiohttpApiSpec, resolver
from aiohttp_apispec.utils import get_path_keys
from apispec import APISpec
from apispec_oneofschema.plugin import MarshmallowPlugin, OneofOpenAPIConverter
from marshmallow import fields

from gateway.httpkit.access import Access, access_of
from gateway.httpkit.operations import JSON_ONLY, problem_responses
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from gateway.wire.codecs.roots import ROOT_SCHEMAS
from gateway.wire.codecs.shapes import ITEM_NAMES
from gateway.wire.documents import Document
from gateway.wire.schemas.fields import Daily, KindSchema, Start, StringMap
from gateway.wire.times import REQUESTED_START_PATTERN

OPENAPI_VERSION: Final = "3.1.0"
"""The newest version that apispec and Swagger UI both know."""

_METHODS = frozenset({"get", "put", "post", "delete", "patch"})  # HEAD goes with GET
_OWN_NOTES = frozenset({"schemas", "produces", "more_bodies"})
_BASIC = "basic"
_BEARER = "bearer"
_UUID_PARAMETER: Document = {"type": "string", "format": "uuid"}
_START: Document = {"type": "string", "pattern": REQUESTED_START_PATTERN}
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
_DAILY: Document = {
    "type": "object",
    "required": ["start", "end"],
    "properties": {
        "start": {"type": "string", "pattern": f"^{_CLOCK}$", "examples": ["09:00"]},
        "end": {"type": "string", "pattern": f"^(?:{_CLOCK}|24:00)$", "examples": ["17:00"]},
        "timezone": {"type": ["string", "null"], "examples": ["Europe/London"]},
    },
}
_ROOTS = {schema: root for root, schema in ROOT_SCHEMAS.items()}
_FIELDS: Mapping[type[fields.Field[Any]], Document] = {
    Start: {"anyOf": [_START, {"type": "array", "items": _START}]},
    Daily: _DAILY,
    StringMap: {"type": "object", "additionalProperties": {"type": "string"}},
}


def build_document(
    app: web.Application,
    *,
    title: str,
    version: str,
    description: str,
    authentication: AuthenticationSettings,
    url: str = "/",
) -> Document:
    """The document of every route that ``docs`` describes, as far as they have been added.

    Parameters
    ----------
    url
        What the paths are relative to.
    """
    spec = _OpenApi31(authentication, title=title, version=version, description=description)
    return spec.document_of(app, url)


def implied_statuses(access: Access, *, has_body: bool, is_parametrised: bool) -> set[int]:
    """The failures that any operation of this sort can end in, without its own saying so."""
    if access is Access.OPEN:
        return set()
    statuses = {401, 429, 500, 503}
    if access is Access.ADMIN:
        statuses.add(403)
    if is_parametrised or has_body:
        statuses.add(400)
    if has_body:
        statuses |= {408, 413, 415}
    return statuses


class _Converter(OneofOpenAPIConverter):  # type: ignore[misc]  # the package has no annotations
    """Also says that an open union takes kinds beyond those it knows, and how XML is written."""

    def schema2jsonschema(self, schema: Any) -> Document:
        document: Document = super().schema2jsonschema(schema)
        _annotate_xml(document, schema)
        if isinstance(schema, KindSchema) and schema.is_open:
            # A discriminator would take an unknown kind for the name of a schema.
            del document["discriminator"]
            known = {"enum": sorted(schema.type_schemas)}
            kind = {"type": "string", "not": known}
            other = {"type": "object", "required": ["kind"], "properties": {"kind": kind}}
            document["oneOf"].append(other)
        return document


class _Plugin(MarshmallowPlugin):  # type: ignore[misc]  # the package has no annotations
    Converter = _Converter


def _annotate_xml(document: Document, schema: Any) -> None:
    """Say the names that the XML codec gives to roots and items, and what it makes attributes."""
    root = _ROOTS.get(schema if isinstance(schema, type) else type(schema))
    if root is not None:
        document["xml"] = {"name": root}
    for name, member in document.get("properties", {}).items():
        if name == "kind":
            member["xml"] = {"attribute": True}
        elif "items" in member:
            item = {"name": ITEM_NAMES.get(name, "item")}
            member["xml"] = {"wrapped": True}
            member["items"] = member["items"] | {"xml": item}


def _field_to_property(_self: _Converter, field: fields.Field[Any], **_: Any) -> Document:
    """What apispec cannot know: the fields of the wire schemas that are of no standard sort."""
    document = _FIELDS.get(type(field))
    if document is None:
        return {}
    if not field.allow_none:
        return document
    if "anyOf" in document:
        return {"anyOf": [*document["anyOf"], {"type": "null"}]}
    return document | {"type": [document["type"], "null"]}


class _OpenApi31(AiohttpApiSpec):  # type: ignore[misc]  # the package has no annotations
    def __init__(self, authentication: AuthenticationSettings, **info: str) -> None:
        super().__init__(app=None, title=info["title"], version=info["version"])
        self._authentication = authentication
        self.plugin = _Plugin(schema_name_resolver=resolver)
        self.spec = APISpec(
            title=info["title"],
            version=info["version"],
            openapi_version=OPENAPI_VERSION,
            plugins=(self.plugin,),
            info={"description": info["description"]},
        )
        self.plugin.converter.add_attribute_function(_field_to_property)
        if authentication.enabled:
            self.spec.components.security_scheme(_BASIC, {"type": "http", "scheme": _BASIC})
            self.spec.components.security_scheme(_BEARER, {"type": "http", "scheme": _BEARER})

    def document_of(self, app: web.Application, url: str) -> Document:
        for route in app.router.routes():
            if route.resource is not None:
                self._register_route(route, route.method.lower(), route.handler)
        document: Document = self.swagger_dict()
        document["servers"] = [{"url": url}]
        return document

    def _update_paths(self, data: Document, method: str, url_path: str) -> None:
        """Add one operation. ``data`` is what the decorators left, and is not changed."""
        if method not in _METHODS:
            return
        operation = {k: v for k, v in data.items() if k not in _OWN_NOTES and v != ""}
        media_types = data.get("produces", JSON_ONLY)
        bodies = [entry["schema"] for entry in data["schemas"] if entry["location"] == "json"]
        operation["parameters"] = self._parameters(data, url_path)
        if bodies:
            content = _content(bodies[0], media_types)
            for media_type, schema in data.get("more_bodies", {}).items():
                content |= _content(schema, [media_type])
            operation["requestBody"] = {"required": True, "content": content}
        access = access_of(method.upper(), url_path)
        implied = implied_statuses(
            access, has_body=bool(bodies), is_parametrised=bool(operation["parameters"])
        )
        if access is not Access.OPEN and len(media_types) > 1:
            implied.add(HTTPStatus.NOT_ACCEPTABLE)
        responses = {
            int(status): _response(response, media_types)
            for status, response in data["responses"].items()
        }
        for status, problem in problem_responses(*implied).items():
            made = responses.setdefault(status, {"description": problem["description"]})
            # An operation with a document of its own for a failure can still end in a problem.
            made["content"] = made.get("content", {}) | _response(problem, media_types)["content"]
        operation["responses"] = {str(status): responses[status] for status in sorted(responses)}
        operation["security"] = self._security(access)
        self.spec.path(path=url_path, operations={method: operation})

    def _parameters(self, data: Document, url_path: str) -> list[Document]:
        parameters: list[Document] = list(data.get("parameters", []))
        for entry in data["schemas"]:
            if entry["location"] != "json":
                parameters += self.plugin.converter.schema2parameters(
                    entry["schema"], location=entry["location"]
                )
        known = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        for name in get_path_keys(url_path):
            if name not in known:
                schema = _UUID_PARAMETER if name == "uuid" else {"type": "string"}
                parameters.append({"in": "path", "name": name, "required": True, "schema": schema})
        return parameters

    def _security(self, access: Access) -> list[Document]:
        """Alternatives, one of which must hold; the empty one is anybody."""
        if access is Access.OPEN or not self._authentication.enabled:
            return []
        alternatives: list[Document] = [{_BASIC: []}]
        if self._authentication.issuers or access is Access.MEMBERSHIP:
            alternatives.append({_BEARER: []})
        if access is Access.READ and self._authentication.reads is Reads.PUBLIC:
            alternatives.append({})
        return alternatives


def _content(schema: Any, media_types: Any) -> Document:
    return {media_type: {"schema": schema} for media_type in media_types}


def _response(response: Document, media_types: Any) -> Document:
    """An OpenAPI response object from what the decorators left."""
    made = {k: v for k, v in response.items() if k in {"description", "headers", "content"}}
    made.setdefault("description", "")
    if "schema" in response:
        made["content"] = _content(response["schema"], response.get("media_types", media_types))
    return made
