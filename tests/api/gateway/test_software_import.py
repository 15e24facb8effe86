"""Templates imported from URLs: from allowed hosts, and whatever else with a reason why not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.settings import DiscoverySettings
from gateway.wire.codecs.registry import JSON, XML, YAML
from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.node import ALICE, NOBODY
from tests.support.problems import pointers, problem

TEMPLATE: Document = {
    "executable": {"kind": DOCKER_CONTAINER},
    "discovery": {"title": "From afar"},
}
FILES = {
    "ivoa-execution.yaml": (YAML.encode(TEMPLATE, "x"), "text/plain"),
    "template.json": (JSON.encode(TEMPLATE, "x"), "application/octet-stream"),
    "template.xml": (XML.encode(TEMPLATE, "execution-template"), "text/plain"),
    "typed": (XML.encode(TEMPLATE, "execution-template"), "application/xml"),
    "other.yaml": (b"title: no template", "text/plain"),
    "list.yaml": (b"- 1", "text/plain"),
    "broken.yaml": (b"a: [", "text/plain"),
    "bomb.yaml": (
        b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (to, to, *[by] * 10)
            for by, to in zip(b"abcdefghi", b"bcdefghij", strict=True)
        ),
        "text/plain",
    ),
    "binary": (bytes(range(256)), "text/plain"),
}


async def _file(request: web.Request) -> web.Response:
    body, media_type = FILES[request.match_info["name"]]
    return web.Response(body=body, content_type=media_type)


@pytest.fixture
async def files() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{name}", _file)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def gateway(tmp_path: Path, files: str) -> AsyncIterator[GatewayUnderTest]:
    settings = DiscoverySettings(
        import_hosts=(files.removeprefix("http://"),), import_http=True, import_private=True
    )
    async with running_gateway({}, tmp_path, discovery=settings) as running:
        running.account = ALICE
        yield running


async def imported(gateway: GatewayUnderTest, url: str) -> Answer:
    return await gateway.call("POST", "/discovery/import", {"url": url})


@pytest.mark.parametrize("name", ["ivoa-execution.yaml", "template.json", "template.xml", "typed"])
async def test_a_template_is_imported_and_says_from_where(
    gateway: GatewayUnderTest, files: str, name: str
) -> None:
    answer = await imported(gateway, f"{files}/{name}")
    assert answer.status == 201, answer.text
    assert answer.document["title"] == "From afar"
    assert answer.document["source"] == f"{files}/{name}"
    assert answer.document["template"] == {"executable": {"kind": DOCKER_CONTAINER}}
    listed = await gateway.call("GET", "/discovery/software?owner=me&q=afar")
    assert [one["uuid"] for one in listed.document["software"]] == [answer.document["uuid"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("other.yaml", "no execution template"),
        ("list.yaml", "no execution template"),
        ("broken.yaml", "not readable as application/yaml"),
        ("bomb.yaml", "not readable as application/yaml"),
        ("binary", "not readable as application/yaml"),
    ],
)
async def test_what_is_no_template_is_not_imported(
    gateway: GatewayUnderTest, files: str, name: str, text: str
) -> None:
    answer = await imported(gateway, f"{files}/{name}")
    problem(answer, 422)
    assert text in answer.document["detail"]
    if name == "other.yaml":
        assert pointers(answer.document) == ["/executable"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://169.254.169.254/latest", "x"])
async def test_nothing_is_fetched_from_elsewhere(gateway: GatewayUnderTest, url: str) -> None:
    answer = await imported(gateway, url)
    problem(answer, 422)
    assert "was not imported" in answer.document["detail"]


async def test_nobody_imports_without_saying_who_they_are(
    gateway: GatewayUnderTest, files: str
) -> None:
    gateway.account = NOBODY
    problem(await imported(gateway, f"{files}/template.json"), 401)


async def test_by_default_nothing_is_imported(tmp_path: Path, files: str) -> None:
    async with running_gateway({}, tmp_path) as gateway:
        gateway.account = ALICE
        problem(await imported(gateway, f"{files}/template.json"), 422)
