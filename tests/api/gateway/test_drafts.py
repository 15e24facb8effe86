"""Drafts: begun from anything, changed step by step, and asked with."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from gateway.api.drafts import DRAFTS
from gateway.settings import DraftSettings
from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ADMIN, ALICE, BOB
from tests.support.problems import SOME_UUID, pointers, problem
from tests.support.requests import minimal_request

ABSTRACT: Final = f"{kinds.KIND_BASE}/data/abstract-data-resource.yaml"
PLACE: Final[Document] = {
    "kind": ABSTRACT,
    "meta": {"name": "input", "description": "The cube to look at."},
}
TEMPLATE: Final = minimal_request(data=[PLACE])
CUBE: Final[Document] = {"kind": kinds.SIMPLE_DATA, "location": "https://data.example.org/cube"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over one node, for its first user."""
    async with running_federation(tmp_path, ("alpha",)) as running:
        running.gateway.account = ALICE
        yield running.gateway


async def begin(gateway: GatewayUnderTest, source: Document, **headers: Any) -> Document:
    """A new draft."""
    answer = await gateway.call("POST", "/drafts", source, **headers)
    assert answer.status == 201, answer.text
    document: Document = answer.document
    assert answer.headers["Location"] == document["meta"]["url"]
    return document


def path_of(draft: Document) -> str:
    return f"/drafts/{draft['meta']['uuid']}"


async def patch(
    gateway: GatewayUnderTest, draft: Document, change: Document, **headers: Any
) -> Answer:
    """Change it by a merge patch."""
    given = {"Content_Type": "application/merge-patch+json"} | headers
    return await gateway.call("PATCH", path_of(draft), change, **given)


def resolution(path: str, component: Document) -> Document:
    return {"kind": kinds.COMPONENT_UPDATE, "path": path, "value": component}


async def test_a_draft_from_nothing_says_that_there_is_nothing_to_execute(
    gateway: GatewayUnderTest,
) -> None:
    draft = await begin(gateway, {})
    assert (draft["request"], draft["revision"], draft["source"]) == ({}, 1, {})
    assert [option["path"] for option in draft["meta"]["options"]] == ["executable"]
    assert [message["level"] for message in draft["meta"]["messages"]] == ["WARN"]


async def test_a_draft_goes_from_an_open_place_to_a_session(gateway: GatewayUnderTest) -> None:
    draft = await begin(gateway, {"request": TEMPLATE, "name": "a cube"})
    assert draft["meta"]["options"] == [
        {
            "kind": kinds.COMPONENT_OPTION,
            "path": "data[0]",
            "name": "input",
            "description": "The cube to look at.",
            "abstract": ABSTRACT,
        }
    ]
    refused = problem(await gateway.call("POST", f"{path_of(draft)}/submit"), 422)
    assert pointers(refused) == ["/data/0"]

    changed = await gateway.call("PATCH", path_of(draft), resolution("data[0]", CUBE))
    assert changed.status == 200, changed.text
    assert changed.document["revision"] == 2
    assert changed.document["request"]["data"] == [CUBE | {"meta": PLACE["meta"]}]
    assert {"messages", "options"}.isdisjoint(changed.document["meta"])

    asked = await gateway.call("POST", f"{path_of(draft)}/submit?limit=1&policy=soonest")
    assert asked.status == 303, asked.text
    assert asked.document["federation"]["policy"] == "soonest"
    offers = asked.document["offers"]
    assert len(offers) == 1
    offerset = asked.document["meta"]["uuid"]
    assert asked.headers["Location"].endswith(f"/offersets/{offerset}")
    accepted = await gateway.move(offers[0]["meta"]["uuid"], "ACCEPTED")
    assert accepted.document["phase"] != "OFFERED"

    (submission,) = (await gateway.call("GET", path_of(draft))).document["submissions"]
    assert (submission["offerset"], submission["revision"]) == (offerset, 2)


async def test_asking_with_a_draft_honours_the_key_and_the_preference(
    gateway: GatewayUnderTest,
) -> None:
    draft = await begin(gateway, {"request": minimal_request()})
    headers: dict[str, Any] = {"Idempotency_Key": str(uuid4()), "Prefer": "return=representation"}
    first, again = [
        await gateway.call("POST", f"{path_of(draft)}/submit", **headers) for _ in range(2)
    ]
    assert first.status == again.status == 200
    assert first.document["meta"]["uuid"] == again.document["meta"]["uuid"]
    assert len((await gateway.call("GET", path_of(draft))).document["submissions"]) == 1


async def test_a_merge_patch_changes_request_and_name_and_shows_what_the_schema_finds(
    gateway: GatewayUnderTest,
) -> None:
    draft = await begin(gateway, {"request": minimal_request()})
    change = {
        "meta": {"name": "renamed"},
        "request": {"schedule": {"requested": {"duration": "an hour"}}},
    }
    answer = await patch(gateway, draft, change)
    assert answer.status == 200, answer.text
    meta = answer.document["meta"]
    assert meta["name"] == "renamed"
    assert meta["messages"][0]["values"]["pointer"] == "/request/schedule/requested/duration"
    refused = problem(await gateway.call("POST", f"{path_of(draft)}/submit"), 422)
    assert pointers(refused) == ["/schedule/requested/duration"]
    refused = problem(await patch(gateway, draft, {"revision": 9}), 422)
    assert pointers(refused) == ["/revision"]


async def test_updates_of_the_schema_set_texts_and_numbers(gateway: GatewayUnderTest) -> None:
    draft = await begin(gateway, {"request": minimal_request()})
    for update in (
        {"kind": kinds.INTEGER_UPDATE, "path": "compute.cores.min", "value": 2},
        {"kind": kinds.DELTA_UPDATE, "path": "/compute/cores/min", "delta": 1},
        {"kind": kinds.STRING_UPDATE, "path": "executable.meta.name", "value": "mine"},
    ):
        answer = await gateway.call("PATCH", path_of(draft), update)
        assert answer.status == 200, answer.text
    request = (await gateway.call("GET", path_of(draft))).document["request"]
    assert request["compute"]["cores"] == {"min": 3}
    assert request["executable"]["meta"]["name"] == "mine"
    bad = {"kind": kinds.INTEGER_UPDATE, "path": "data[4]", "value": 2}
    assert pointers(problem(await gateway.call("PATCH", path_of(draft), bad), 422)) == ["/path"]


async def test_a_draft_is_written_in_yaml_and_read_in_xml(gateway: GatewayUnderTest) -> None:
    async with gateway.session.post(
        f"{gateway.url}/drafts",
        data=b"name: from yaml\nrucio_did: testing:cube\n",
        headers={**ALICE.headers, "Content-Type": "application/yaml", "Accept": "application/xml"},
    ) as response:
        assert response.status == 201
        assert "<object>cube</object>" in await response.text()


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ({"rucio_did": "testing:cube"}, {"kind": kinds.RUCIO_DATA}),
        ({"ivoid": "ivo://skao.int/data?testing:cube"}, {"kind": kinds.IVOA_DATA}),
    ],
)
async def test_a_draft_begins_from_data(
    gateway: GatewayUnderTest, source: Document, data: Document
) -> None:
    draft = await begin(gateway, source)
    assert draft["request"]["data"][0].items() >= data.items()
    assert draft["source"] == source


async def test_a_draft_begins_from_what_was_asked_before(gateway: GatewayUnderTest) -> None:
    asked = minimal_request(**{"https://example.org/note": "kept"})
    offerset = (await gateway.ask(asked)).document
    session = offerset["offers"][0]["meta"]["uuid"]
    for source in ({"offerset": offerset["meta"]["uuid"]}, {"session": session}):
        assert (await begin(gateway, source))["request"] == asked
        refused = problem(await gateway.call("POST", "/drafts", source, account=BOB), 422)
        assert pointers(refused) == [f"/{next(iter(source))}"]


async def test_a_draft_begins_from_a_template_and_one_version_of_it(
    gateway: GatewayUnderTest,
) -> None:
    published = await gateway.call("POST", "/discovery/software", TEMPLATE)
    assert published.status == 201, published.text
    uuid = published.headers["Location"].rpartition("/")[2]
    for source in ({"template": uuid}, {"template": {"uuid": uuid, "version": 1}}):
        draft = await begin(gateway, source)
        assert draft["request"] == TEMPLATE
        assert draft["source"] == source
    missing = {"template": {"uuid": uuid, "version": 7}}
    assert pointers(problem(await gateway.call("POST", "/drafts", missing), 422)) == ["/template"]


@pytest.mark.parametrize(
    ("source", "status", "at"),
    [
        ({"offerset": SOME_UUID}, 422, ["/offerset"]),
        ({"session": SOME_UUID}, 422, ["/session"]),
        ({"template": SOME_UUID}, 422, ["/template"]),
        ({"rucio_did": "no colon"}, 422, ["/rucio_did"]),
        ({"ivoid": "https://example.org"}, 422, ["/ivoid"]),
        ({"ivoid": "ivo://a", "request": {}}, 400, ["/request", "/ivoid"]),
        ({"template": "mine"}, 400, ["/template"]),
        ({"template": {"version": 1}}, 400, ["/template/uuid"]),
        ({"request": []}, 400, ["/request"]),
        ({"from": "nothing"}, 400, ["/from"]),
    ],
)
async def test_what_no_draft_begins_from_is_refused_with_the_place(
    gateway: GatewayUnderTest, source: Document, status: int, at: list[str]
) -> None:
    assert pointers(problem(await gateway.call("POST", "/drafts", source), status)) == at


async def test_drafts_are_their_owners_alone(gateway: GatewayUnderTest) -> None:
    draft = await begin(gateway, {"request": minimal_request()})
    update = {"kind": kinds.STRING_UPDATE, "path": "executable.meta.name", "value": "mine"}
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", None),
        ("PATCH", "", update),
        ("DELETE", "", None),
        ("POST", "/submit", None),
    )
    for method, more, body in calls:
        path = path_of(draft) + more
        problem(await gateway.call(method, path, body, account=BOB), 404)
        async with gateway.session.request(method, gateway.url + path, json=body) as response:
            assert response.status == 401
    assert (await gateway.call("GET", path_of(draft), account=ADMIN)).status == 200
    assert (await gateway.call("GET", "/drafts", account=BOB)).document == {"drafts": []}
    listed = (await gateway.call("GET", "/drafts")).document["drafts"]
    assert [one["meta"]["uuid"] for one in listed] == [draft["meta"]["uuid"]]


async def test_a_deleted_draft_is_gone(gateway: GatewayUnderTest) -> None:
    draft = await begin(gateway, {})
    assert (await gateway.call("DELETE", path_of(draft))).status == 204
    problem(await gateway.call("GET", path_of(draft)), 404)
    problem(await gateway.call("DELETE", path_of(draft)), 404)


async def test_only_who_has_seen_the_last_revision_changes_it(gateway: GatewayUnderTest) -> None:
    draft = await begin(gateway, {"request": minimal_request()})
    seen = (await gateway.call("GET", path_of(draft))).headers["ETag"]
    first = await patch(gateway, draft, {"meta": {"name": "first"}}, If_Match=seen)
    assert first.status == 200
    problem(await patch(gateway, draft, {"meta": {"name": "second"}}, If_Match=seen), 412)
    for method, more in (("DELETE", ""), ("POST", "/submit")):
        problem(await gateway.call(method, path_of(draft) + more, If_Match=seen), 412)
    now = first.headers["ETag"]
    assert (await gateway.call("GET", path_of(draft))).headers["ETag"] == now
    assert (await gateway.call("DELETE", path_of(draft), If_Match=now)).status == 204


async def test_nobody_keeps_more_drafts_than_may_be_kept(tmp_path: Path) -> None:
    async with running_federation(tmp_path, ("alpha",), drafts=DraftSettings(per_owner=1)) as f:
        await begin(f.gateway, {}, account=ALICE)
        problem(await f.gateway.call("POST", "/drafts", {}, account=ALICE), 409)
        await begin(f.gateway, {}, account=BOB)


async def test_small_changes_do_not_add_up_to_what_no_request_may_be(tmp_path: Path) -> None:
    async with running_federation(tmp_path, ("alpha",), max_body_bytes=10_000) as federation:
        gateway = federation.gateway
        draft = await begin(gateway, {})
        large = "x" * 6000
        assert (await patch(gateway, draft, {"request": {"a": large}})).status == 200
        problem(await patch(gateway, draft, {"request": {"b": large}}), 422)
        assert set((await gateway.call("GET", path_of(draft))).document["request"]) == {"a"}


async def test_a_draft_that_nobody_changes_is_forgotten(tmp_path: Path) -> None:
    settings = DraftSettings(days=1 / 86_400_000)
    async with running_federation(tmp_path, ("alpha",), drafts=settings) as federation:
        gateway = federation.gateway
        draft = await begin(gateway, {})
        assert gateway.app is not None
        await gateway.app[DRAFTS].forget_old()
        problem(await gateway.call("GET", path_of(draft)), 404)
