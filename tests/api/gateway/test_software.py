"""The register of execution templates: published, found, revised and removed over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.settings import DiscoverySettings
from gateway.wire.codecs.registry import XML, YAML
from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER, JUPYTER_NOTEBOOK, KIND_BASE
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, BOB, NOBODY
from tests.support.problems import SOME_UUID, pointers, problem

ABSTRACT_DATA = f"{KIND_BASE}/data/abstract-data-resource.yaml"
PATH = "/discovery/software"


def template(title: str = "Checksums", **members: Any) -> Document:
    document: Document = {
        "executable": {"kind": DOCKER_CONTAINER, "meta": {"name": "androcles"}},
        "data": [{"kind": ABSTRACT_DATA, "meta": {"name": "input", "description": "Any file"}}],
        "discovery": {"title": title, "keywords": ["Checksum"]},
    }
    return document | members


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_gateway({}, tmp_path) as running:
        running.account = ALICE
        yield running


async def publish(gateway: GatewayUnderTest, title: str = "Checksums", **more: Any) -> Document:
    answer = await gateway.call("POST", PATH, template(title), **more)
    assert answer.status == 201, answer.text
    document: Document = answer.document
    return document


async def titles(gateway: GatewayUnderTest, query: str = "", **more: Any) -> list[str]:
    answer = await gateway.call("GET", PATH + query, **more)
    assert answer.status == 200, answer.text
    return [one["title"] for one in answer.document["software"]]


async def revise(gateway: GatewayUnderTest, uuid: str, document: Document, **more: Any) -> Answer:
    return await gateway.call("PUT", f"{PATH}/{uuid}", document, **more)


async def test_a_published_template_says_what_is_left_to_supply(gateway: GatewayUnderTest) -> None:
    answer = await gateway.call("POST", PATH, template())
    assert answer.status == 201
    read = await gateway.call("GET", answer.headers["Location"].removeprefix(gateway.url))
    assert read.document == answer.document
    assert read.headers["ETag"] == answer.headers["ETag"]
    document = read.document
    assert document["title"] == "Checksums"
    assert document["version"] == document["latest"] == 1
    assert document["keywords"] == ["Checksum"]
    assert document["kinds"] == [ABSTRACT_DATA, DOCKER_CONTAINER]
    assert document["template"] == {k: v for k, v in template().items() if k != "discovery"}
    assert document["placeholders"] == [
        {
            "path": "data[0]",
            "kind": ABSTRACT_DATA,
            "name": "input",
            "description": "Any file",
        }
    ]


@pytest.mark.parametrize("media_type", ["application/yaml", "application/xml"])
async def test_a_file_next_to_the_software_is_published_as_it_is(
    gateway: GatewayUnderTest, media_type: str
) -> None:
    codec = {one.media_type: one for one in (YAML, XML)}[media_type]
    body = codec.encode(template(), "execution-template")
    async with gateway.session.post(
        gateway.url + PATH,
        data=body,
        headers={**ALICE.headers, "Content-Type": media_type, "Accept": media_type},
    ) as response:
        assert response.status == 201, await response.text()
        answered = codec.decode(await response.read())
    assert answered["title"] == "Checksums"
    assert answered["keywords"] == ["Checksum"]
    read = await gateway.call("GET", f"{PATH}/{answered['uuid']}")
    assert read.document["template"] == {k: v for k, v in template().items() if k != "discovery"}


async def test_what_is_no_template_is_refused_with_every_place(gateway: GatewayUnderTest) -> None:
    bad = template(data=[{"kind": 5}], discovery={"title": ""})
    del bad["executable"]
    answer = await gateway.call("POST", PATH, bad)
    problem(answer, 400)
    assert set(pointers(answer.document)) == {"/executable", "/data/0/kind", "/discovery/title"}


async def test_search_is_by_words_kinds_keywords_and_owner(gateway: GatewayUnderTest) -> None:
    await publish(gateway, "Café imaging")
    notebook = template("Plots", executable={"kind": JUPYTER_NOTEBOOK}, data=[])
    notebook["discovery"]["keywords"] = ["radio astronomy"]
    assert (await gateway.call("POST", PATH, notebook, account=BOB)).status == 201
    assert await titles(gateway) == ["Plots", "Café imaging"]
    assert await titles(gateway, "?q=CAFE%20imag") == ["Café imaging"]
    assert await titles(gateway, "?q=maging") == []
    assert await titles(gateway, "?q=%25") == ["Plots", "Café imaging"], "no word, no condition"
    assert await titles(gateway, "?kind=jupyter-notebook") == ["Plots"]
    assert await titles(gateway, f"?kind={DOCKER_CONTAINER}&keyword=checksum") == ["Café imaging"]
    assert await titles(gateway, "?keyword=Radio%20Astronomy") == ["Plots"]
    assert await titles(gateway, "?owner=me") == ["Café imaging"]
    assert await titles(gateway, "?owner=me", account=ADMIN) == []
    assert await titles(gateway, account=NOBODY) == ["Plots", "Café imaging"]


async def test_pages_end_where_the_next_begins(gateway: GatewayUnderTest) -> None:
    for number in range(5):
        await publish(gateway, f"T{number}")
    seen: list[str] = []
    cursors: list[str] = []
    while True:
        more = f"&cursor={cursors[-1]}" if cursors else ""
        answer = await gateway.call("GET", f"{PATH}?limit=2&q=t{more}")
        seen += [one["title"] for one in answer.document["software"]]
        if answer.document["next"] is None:
            break
        cursors.append(answer.document["next"])
    assert seen == ["T4", "T3", "T2", "T1", "T0"]
    assert len(cursors) == 2
    for query in (f"?q=x&cursor={cursors[0]}", "?cursor=A"):
        problem(await gateway.call("GET", PATH + query), 400)


async def test_a_new_version_takes_the_place_of_the_old_which_can_still_be_read(
    gateway: GatewayUnderTest,
) -> None:
    first = await publish(gateway)
    uuid = first["uuid"]
    answer = await revise(gateway, uuid, template("Better"))
    assert (answer.status, answer.document["version"]) == (200, 2)
    again = await revise(gateway, uuid, template("Better"))
    assert again.document["version"] == 2, "the same once more is no new version"
    assert await titles(gateway) == ["Better"]
    assert await titles(gateway, "?q=checksums") == []
    old = (await gateway.call("GET", f"{PATH}/{uuid}/versions/1")).document
    assert (old["title"], old["version"], old["latest"]) == ("Checksums", 1, 2)
    listed = (await gateway.call("GET", f"{PATH}/{uuid}/versions")).document["versions"]
    assert [one["version"] for one in listed] == [2, 1]
    problem(await gateway.call("GET", f"{PATH}/{uuid}/versions/3"), 404)
    problem(await gateway.call("GET", f"{PATH}/{uuid}/versions/0"), 400)
    problem(await gateway.call("GET", f"{PATH}/{uuid}/versions/1e3"), 400)


async def test_nobody_overwrites_what_they_have_not_seen(gateway: GatewayUnderTest) -> None:
    uuid = (await publish(gateway))["uuid"]
    seen = (await gateway.call("GET", f"{PATH}/{uuid}")).headers["ETag"]
    assert (await revise(gateway, uuid, template("A"), If_Match=seen)).status == 200
    problem(await revise(gateway, uuid, template("B"), If_Match=seen), 412)
    stale = await gateway.call("DELETE", f"{PATH}/{uuid}", If_Match=seen)
    problem(stale, 412)
    assert await titles(gateway) == ["A"]


async def test_a_template_is_not_sent_again_unchanged(gateway: GatewayUnderTest) -> None:
    uuid = (await publish(gateway))["uuid"]
    first = await gateway.call("GET", f"{PATH}/{uuid}")
    second = await gateway.call("GET", f"{PATH}/{uuid}", If_None_Match=first.headers["ETag"])
    assert (second.status, second.text) == (304, "")


async def test_only_its_owner_and_the_administrator_change_a_template(
    gateway: GatewayUnderTest,
) -> None:
    uuid = (await publish(gateway))["uuid"]
    path = f"{PATH}/{uuid}"
    problem(await revise(gateway, uuid, template("B"), account=NOBODY), 401)
    problem(await revise(gateway, uuid, template("B"), account=BOB), 403)
    problem(await gateway.call("DELETE", path, account=BOB), 403)
    assert (await revise(gateway, uuid, template("B"), account=ADMIN)).status == 200
    owner = (await gateway.call("GET", path, account=BOB)).document["owner"]
    assert str(UUID(owner)) == owner, "it stays its owner's, not the administrator's"
    assert (await gateway.call("GET", path, account=NOBODY)).document["owner"] is None
    assert (await gateway.call("DELETE", path)).status == 204
    problem(await gateway.call("GET", path), 404)
    problem(await gateway.call("GET", f"{path}/versions"), 404)


async def test_a_template_that_is_not_there_is_404(gateway: GatewayUnderTest) -> None:
    path = f"{PATH}/{SOME_UUID}"
    problem(await gateway.call("GET", path), 404)
    problem(await gateway.call("PUT", path, template()), 404)
    problem(await gateway.call("DELETE", path), 404)
    problem(await gateway.call("GET", f"{PATH}/x"), 400)


async def test_one_owner_cannot_fill_the_register(tmp_path: Path) -> None:
    few = DiscoverySettings(templates_per_owner=1)
    async with running_gateway({}, tmp_path, discovery=few) as gateway:
        await publish(gateway, account=ALICE)
        problem(await gateway.call("POST", PATH, template(), account=ALICE), 409)
        await publish(gateway, account=BOB)
        await publish(gateway, account=ADMIN)
        await publish(gateway, account=ADMIN)


@pytest.mark.parametrize(
    "query", ["?kind=%00", "?owner=%00", "?limit=0", "?q=", "?q=%00%FF", "?x=1"]
)
async def test_strange_questions_do_no_harm(gateway: GatewayUnderTest, query: str) -> None:
    answer = await gateway.call("GET", PATH + query)
    assert answer.status in {200, 400}, answer.text
