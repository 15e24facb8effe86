"""Both services, running, against the OpenAPI documents they serve: schemathesis, all its checks.

By default 10 requests are generated for each operation, always the same ones. With
``SCHEMATHESIS_EXAMPLES`` there are so many, and others each time.
"""

import asyncio
import json
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from gateway.domain.showing import components_of
from gateway.wire.documents import Document
from gateway.wire.headers import FEDERATION_BUDGET_MS
from tests.contract.running import SERVICES
from tests.support.node import ADMIN, NodeClient
from tests.support.node_requests import FULL

EXAMPLES: Final = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
USUAL_EXAMPLES: Final = 10

ROOT: Final = Path(__file__).parents[2]

NAMES: Final = {
    "policy": ["balanced", "soonest"],
    "nodes": ["alpha"],
    "require": ["alpha"],
    "rucio_did": ["test:f1"],
    "ivoid": ["ivo://skao.int/data?test:f1"],
}
"""Query parameters whose values are what the settings name, or whose lists would make long URLs."""

pytestmark = pytest.mark.timeout(240 + 30 * EXAMPLES)


async def fetched(url: str) -> Document:
    """The document that a service serves, narrowed to what can be generated."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/openapi.json") as answer:
        document: Document = await answer.json()
    for path in document["paths"].values():
        for operation in path.values():
            parameters = operation.get("parameters", [])
            # With little time left no node may answer, and then a 503 is right.
            operation["parameters"] = [p for p in parameters if p["name"] != FEDERATION_BUDGET_MS]
            for parameter in operation["parameters"]:
                if parameter["name"] in NAMES:
                    schema = parameter["schema"]
                    schema.get("items", schema)["enum"] = NAMES[parameter["name"]]
    # Which time zones there are is for the tz database to say.
    requested = document["components"]["schemas"]["RequestedTime"]["properties"]
    requested["daily"]["properties"]["timezone"]["enum"] = ["Europe/London", "UTC", None]
    return document


def shallow(document: Document) -> Document:
    """The same with requests that name no components, and nothing in XML.

    To try the bounds of each member of each kind at every depth takes many minutes.
    """
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("requestBody", {}).get("content", {}).pop("application/xml", None)
    schemas = document["components"]["schemas"]
    for schema in (schemas["ExecutionRequest"], schemas.get("Template", {"properties": {}})):
        for name in ("executable", "compute", "storage", "data"):
            schema["properties"].pop(name, None)
        if "required" in schema:
            schema["properties"]["executable"] = {"enum": [{"kind": "uri:any"}]}
    return document


async def found_under(url: str) -> dict[str, str]:
    """The UUID of something that can be read, for each path."""
    request = FULL | {"schedule": {"requested": {"duration": "PT1M"}}}
    async with NodeClient(url, ADMIN) as client:
        offerset = (await client.ask(request)).document
        draft = await client.call("POST", "/drafts", json={"request": request})
    offer = offerset["offers"][0]
    found = {path: component["meta"]["uuid"] for path, component in components_of(offer)}
    if draft.status == HTTPStatus.CREATED:  # a node has no drafts
        found["drafts"] = draft.document["meta"]["uuid"]
    return {"offersets": offerset["meta"]["uuid"], "sessions": offer["meta"]["uuid"]} | found


def settings(uuids: dict[str, str]) -> str:
    """The settings file of schemathesis."""
    lines = [
        'hooks = "tests.contract.schemathesis_hooks"',
        "max-redirects = 0",
        "continue-on-failure = true",
        f'auth.basic = {{ username = "{ADMIN.login}", password = "{ADMIN.password}" }}',
        # How steps are linked is guessed: the name of a volume is tried as its UUID.
        "phases.stateful.checks.positive_data_acceptance.enabled = false",
        "[generation]",
        f"max-examples = {EXAMPLES or USUAL_EXAMPLES}",
        f"deterministic = {json.dumps(not EXAMPLES)}",
    ]
    for path, uuid in uuids.items():
        lines += [
            f"[dictionaries.{path}]",
            f'values = ["{uuid}"]',
            "[[operations]]",
            f'include-path = "/{path}/{{uuid}}"',
            f'parameters."path.uuid" = {{ dictionary = "{path}", probability = 0.5 }}',
        ]
    # What is generated can seldom be executed, and a FAILED session comes with a 400. A short
    # idempotency key is generated again, with another body. Which policies and quantities there are
    # is for the settings to say. Limits of falling through need the wish for it. Nothing is
    # imported here, a cursor is given out, and a tag is of what is there. No pattern knows the
    # calendar, and no URL of a node proves itself.
    for path, more in (
        ("/requests", '"422"'),
        ("/direct", '"400", "422"'),
        ("/offersets/{uuid}/ranking", '"400", "404", "422"'),
        ("/offersets/{uuid}/request", '"404", "409", "422"'),
        ("/sessions/{uuid}", '"400", "404", "409", "412"'),
        ("/offersets", '"400"'),
        ("/sessions", '"400"'),
        ("/drafts", '"400", "422"'),
        ("/drafts/{uuid}", '"404", "412", "422"'),
        ("/drafts/{uuid}/submit", '"404", "412", "422"'),
        ("/admin/audit", '"400"'),
        ("/nodes", '"422"'),
        ("/discovery/import", '"422"'),
        ("/discovery/software", '"400"'),
        ("/discovery/software/{uuid}", '"404", "412"'),
    ):
        lines += [
            "[[operations]]",
            f'include-path = "{path}"',
            f'checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", {more}]',
        ]
    # Which issuers there are is for the settings to say as well, and matters to who is shut out.
    lines += [
        "[[operations]]",
        'include-name = "POST /admin/revocations"',
        'checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]',
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("part", "phases"), [("parameters", "coverage"), ("bodies", "examples,fuzzing,stateful")]
)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_keeps_to_the_document_it_serves(
    service: str, part: str, phases: str, tmp_path: Path
) -> None:
    async with SERVICES[service](tmp_path) as url:
        document = await fetched(url)
        if part == "parameters":
            document = shallow(document)
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        (tmp_path / "schemathesis.toml").write_text(settings(await found_under(url)))
        # Hypothesis keeps its tables of Unicode there: to make them takes five seconds.
        storage = {"HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json"),
            *("--url", url, "--phases", phases),
            cwd=tmp_path,
            env={**os.environ, **storage, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
