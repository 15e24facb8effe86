"""The OpenAPI documents that both services serve: valid, and nothing missing of the public one."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.support.gateway import running_gateway
from tests.support.node import running_node

PUBLIC: Final = (
    Path(__file__).resolve().parents[3] / "shared" / "contract" / "execution-broker-v1.0.yaml"
)
SERVICES: Final = ["gateway", "node"]

needs_public_document = pytest.mark.skipif(
    not PUBLIC.exists(), reason=f"not run: the public OpenAPI document is not at {PUBLIC}"
)

Schema = dict[str, Any]


@pytest.fixture(params=SERVICES)
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> Document:
    """What a running service gives at /openapi.json."""
    document: Document
    if request.param == "gateway":
        async with running_gateway({}, tmp_path) as gateway:
            document = (await gateway.call("GET", "/openapi.json")).document
    else:
        async with running_node(tmp_path) as node:
            document = (await node.call("GET", "/openapi.json")).document
    return document


@cache
def public() -> Document:
    document: Document = yaml.safe_load(PUBLIC.read_text())
    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def followed(document: Document, schema: Schema) -> Schema:
    """A schema with references and bases resolved; of alternatives the first that is not null."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return followed(document, choice)
    bases = [followed(document, base) for base in schema.get("allOf", ())]
    merged: Schema = {"properties": {}, "required": []}
    for part in (*bases, schema):
        merged["properties"] |= part.get("properties", {})
        merged["required"] += part.get("required", [])
    inherited = {k: v for base in bases for k, v in base.items() if k != "discriminator"}
    return inherited | schema | merged


def json_type(schema: Schema) -> str:
    """The type beside null; an object may go without saying so."""
    given = schema.get("type", "object")
    return given if isinstance(given, str) else next(name for name in given if name != "null")


def enum_of(schema: Schema) -> set[str] | None:
    return set(schema["enum"]) - {None} if "enum" in schema else None


def variant_of(document: Document, schema: Schema, kind: str) -> Schema | None:
    """The alternative for a kind, among those of a union."""
    for choice in schema.get("oneOf", ()):
        found = followed(document, choice)
        if found["properties"]["kind"].get("enum") == [kind]:
            return found
    return None


class Comparison:
    """Walks two documents side by side and notes what the second lacks or says otherwise."""

    def __init__(self, theirs: Document, ours: Document) -> None:
        self.differences: list[str] = []
        self._theirs = theirs
        self._ours = ours
        self._seen: set[tuple[str, str]] = set()

    def compare(self, theirs: Schema, ours: Schema, where: str, *, is_answer: bool) -> None:
        key = (json.dumps(theirs), json.dumps(ours))
        if key in self._seen:
            return
        self._seen.add(key)
        theirs, ours = followed(self._theirs, theirs), followed(self._ours, ours)
        if "discriminator" in theirs and "oneOf" in ours:
            self._compare_kinds(theirs, ours, where, is_answer=is_answer)
            return
        if json_type(theirs) != json_type(ours):
            self._note(where, f"type {json_type(theirs)}", json_type(ours))
            return
        if not where.endswith("/kind") and enum_of(theirs) != enum_of(ours):
            self._note(where, f"enum {enum_of(theirs)}", enum_of(ours))
        if "items" in theirs:
            self.compare(theirs["items"], ours["items"], f"{where}[]", is_answer=is_answer)
        if "properties" in theirs:
            self._compare_members(theirs, ours, where, is_answer=is_answer)

    def _compare_members(
        self, theirs: Schema, ours: Schema, where: str, *, is_answer: bool
    ) -> None:
        missing = set(theirs["properties"]) - set(ours["properties"])
        if missing:
            self._note(where, f"members {sorted(missing)}", "nothing")
        if set(theirs["required"]) != set(ours["required"]):
            self._note(where, f"required {sorted(theirs['required'])}", sorted(ours["required"]))
        for name in set(theirs["properties"]) - missing:
            member, own = theirs["properties"][name], ours["properties"][name]
            self.compare(member, own, f"{where}/{name}", is_answer=is_answer)

    def _compare_kinds(self, theirs: Schema, ours: Schema, where: str, *, is_answer: bool) -> None:
        mapping = theirs["discriminator"]["mapping"]
        for kind, reference in mapping.items():
            if is_answer and kind in kinds.CLIENT_BREAKING_KINDS:
                continue  # the public client cannot read it, so it is never sent
            variant = variant_of(self._ours, ours, kind)
            if variant is None:
                self._note(where, f"kind {kind}", "nothing")
                continue
            self.compare({"$ref": reference}, variant, f"{where}<{kind}>", is_answer=is_answer)

    def _note(self, where: str, expected: object, found: object) -> None:
        self.differences.append(f"{where}: {expected} expected, {found} found")


async def test_the_served_document_is_valid_openapi_3_1(served: Document) -> None:
    assert served["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(served).iter_errors()] == []


async def test_every_operation_says_what_it_answers_and_who_may_call_it(served: Document) -> None:
    for path, method, operation in operations(served):
        assert operation["summary"], (method, path)
        assert "security" in operation, (method, path)
        statuses = set(operation["responses"])
        assert statuses & {"200", "201", "204"}, (method, path)
        for status, response in operation["responses"].items():
            assert response["description"], (method, path, status)
            if int(status) >= 400:
                assert "application/problem+json" in response["content"], (method, path, status)


@pytest.mark.shared
@needs_public_document
async def test_every_public_path_method_status_and_media_type_is_served(served: Document) -> None:
    for path, method, theirs in operations(public()):
        ours = served["paths"][path][method]
        assert set(theirs["responses"]) <= set(ours["responses"])
        for status, response in theirs["responses"].items():
            content = ours["responses"][status].get("content", {})
            assert set(response.get("content", {})) <= set(content), (path, method, status)
        body = theirs.get("requestBody", {}).get("content", {})
        assert set(body) == set(ours.get("requestBody", {}).get("content", {}))
        named = {(p["in"], p["name"], p["schema"]["format"]) for p in theirs.get("parameters", ())}
        in_path = {
            (p["in"], p["name"], p["schema"].get("format"))
            for p in ours["parameters"]
            if p["in"] == "path"
        }
        assert in_path == named


@pytest.mark.shared
@needs_public_document
async def test_no_kind_member_requirement_or_enum_of_the_public_document_is_lost(
    served: Document,
) -> None:
    comparison = Comparison(public(), served)
    for path, method, theirs in operations(public()):
        ours = served["paths"][path][method]
        where = f"{method} {path}"
        if "requestBody" in theirs:
            pair = (side["requestBody"]["content"]["application/json"] for side in (theirs, ours))
            their_body, our_body = (content["schema"] for content in pair)
            comparison.compare(their_body, our_body, where, is_answer=False)
        for status, response in theirs["responses"].items():
            if "content" in response:
                their_answer = response["content"]["application/json"]["schema"]
                our_answer = ours["responses"][status]["content"]["application/json"]["schema"]
                comparison.compare(their_answer, our_answer, f"{where} {status}", is_answer=True)
    assert comparison.differences == []
