"""Local identities at the gateway: who makes them, who may use them, and for how long."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.wire.documents import Document
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, NOBODY, Account
from tests.support.problems import problem, sent

CAROL: Final = Account("carol", "correct horse battery")
ZOE: Final = Account("zoë", "pässwörd ☂")
WRONG: Final = Account("admin", "not-the-password")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_gateway({}, tmp_path) as running:
        yield running


async def make(gateway: GatewayUnderTest, person: Account, by: Account = ADMIN) -> Answer:
    document = {"username": person.login, "password": person.password}
    return await gateway.call("POST", "/admin/identities", document, account=by)


async def can_log_in(gateway: GatewayUnderTest, account: Account) -> bool:
    return (await gateway.call("GET", "/nodes", account=account)).status == 200


async def test_the_administrator_makes_an_identity_that_can_be_used_at_once(
    gateway: GatewayUnderTest,
) -> None:
    assert not await can_log_in(gateway, CAROL)
    answer = await make(gateway, CAROL)
    assert answer.status == 201
    assert answer.document == {"uuid": str(UUID(answer.document["uuid"])), "username": "carol"}
    assert CAROL.password not in answer.text
    assert await can_log_in(gateway, CAROL)
    assert not await can_log_in(gateway, Account("carol", "another"))


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "username is required"),
        ({"password": "x"}, "username is required"),
        ({"username": "", "password": "x"}, "username is required"),
        ({"username": " \t", "password": "x"}, "username is required"),
        ({"username": "carol"}, "password is required"),
        ({"username": "carol", "password": ""}, "password is required"),
        ({"username": "carol", "password": "  "}, "password is required"),
    ],
)
async def test_a_blank_name_or_password_is_400_in_the_words_of_the_contract(
    gateway: GatewayUnderTest, document: Document, error: str
) -> None:
    answer = await gateway.call("POST", "/admin/identities", document)
    assert problem(answer, 400)["error"] == error


@pytest.mark.parametrize(
    "document",
    [
        {"username": 7, "password": "x"},
        {"username": "carol", "password": None},
        {"username": "car:ol", "password": "x"},
        {"username": "carol\n", "password": "x"},
        {"username": "carol", "password": "x\u0000"},
        {"username": "c" * 256, "password": "x"},
        {"username": "carol", "password": "x" * 1025},
    ],
)
async def test_what_basic_credentials_cannot_carry_is_400(
    gateway: GatewayUnderTest, document: Document
) -> None:
    answer = await gateway.call("POST", "/admin/identities", document)
    assert problem(answer, 400)["errors"]


async def test_a_name_that_is_taken_is_409_and_says_by_whom(gateway: GatewayUnderTest) -> None:
    made = (await make(gateway, CAROL)).document
    document = problem(await make(gateway, Account("carol", "another")), 409)
    assert document["error"] == "username already exists"
    assert (document["uuid"], document["username"]) == (made["uuid"], "carol")
    assert await can_log_in(gateway, CAROL)


async def test_the_administrators_own_name_is_taken(gateway: GatewayUnderTest) -> None:
    document = problem(await make(gateway, Account("admin", "another")), 409)
    assert document["error"] == "username already exists"
    assert not await can_log_in(gateway, Account("admin", "another"))


async def test_only_the_administrator_makes_identities(gateway: GatewayUnderTest) -> None:
    problem(await make(gateway, CAROL, by=ALICE), 403)
    problem(await make(gateway, CAROL, by=NOBODY), 401)
    problem(await make(gateway, CAROL, by=WRONG), 401)
    assert not await can_log_in(gateway, CAROL)


@pytest.mark.parametrize("content_type", ["application/yaml", "application/xml", "text/plain"])
async def test_identities_are_made_from_json_alone(
    gateway: GatewayUnderTest, content_type: str
) -> None:
    problem(await sent(gateway, b"{}", content_type, path="/admin/identities"), 415)


async def test_names_and_passwords_may_be_of_any_alphabet(gateway: GatewayUnderTest) -> None:
    assert (await make(gateway, ZOE)).status == 201
    assert await can_log_in(gateway, ZOE)


async def test_identities_outlive_a_restart_and_no_password_is_stored(tmp_path: Path) -> None:
    async with running_gateway({}, tmp_path) as gateway:
        made = (await make(gateway, CAROL)).document
    async with running_gateway({}, tmp_path) as gateway:
        assert await can_log_in(gateway, CAROL)
        assert not await can_log_in(gateway, Account("carol", ALICE.password))
        assert problem(await make(gateway, CAROL), 409)["uuid"] == made["uuid"]
    stored = written_in(tmp_path)
    assert b"carol" in stored
    assert re.search(rb"\$argon2id\$", stored)
    assert CAROL.password.encode() not in stored
    assert ADMIN.password.encode() not in stored


def written_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("gateway.db*"))


# -- afterwards ---------------------------------------------------------------------------------


async def uuid_of(gateway: GatewayUnderTest, person: Account) -> str:
    uuid: str = (await make(gateway, person)).document["uuid"]
    return uuid


async def change(gateway: GatewayUnderTest, uuid: str, **members: Any) -> Answer:
    return await gateway.call("PATCH", f"/admin/identities/{uuid}", members)


async def test_who_is_revoked_gets_no_further_though_just_let_in_and_may_come_back(
    gateway: GatewayUnderTest,
) -> None:
    uuid = await uuid_of(gateway, CAROL)
    assert await can_log_in(gateway, CAROL)
    answer = await change(gateway, uuid, revoked=True)
    assert answer.document == {"uuid": uuid, "username": "carol", "groups": [], "revoked": True}
    refused = await gateway.call("GET", "/nodes", account=CAROL)
    assert problem(refused, 401)["detail"] == "These credentials have been revoked."
    wrong = await gateway.call("GET", "/nodes", account=Account("carol", "wrong"))
    assert problem(wrong, 401)["detail"] == "The credentials are wrong."
    assert (await change(gateway, uuid, revoked=False)).status == 200
    assert await can_log_in(gateway, CAROL)


async def test_a_new_password_ends_the_old_one_at_once(gateway: GatewayUnderTest) -> None:
    uuid = await uuid_of(gateway, CAROL)
    assert await can_log_in(gateway, CAROL)
    answer = await change(gateway, uuid, password="another battery")  # a test's
    assert answer.status == 200
    assert "battery" not in answer.text
    assert not await can_log_in(gateway, CAROL)
    assert await can_log_in(gateway, Account("carol", "another battery"))


async def test_who_is_removed_is_gone_and_another_of_the_name_is_somebody_else(
    gateway: GatewayUnderTest,
) -> None:
    uuid = await uuid_of(gateway, CAROL)
    path = f"/admin/identities/{uuid}"
    assert (await gateway.call("DELETE", path)).status == 204
    assert not await can_log_in(gateway, CAROL)
    problem(await gateway.call("GET", path), 404)
    problem(await gateway.call("PATCH", path, {"revoked": True}), 404)
    problem(await gateway.call("DELETE", path), 404)
    assert await uuid_of(gateway, CAROL) != uuid


async def test_identities_are_listed_by_name_a_page_at_a_time_without_their_hashes(
    gateway: GatewayUnderTest,
) -> None:
    document = {"username": "carol", "password": CAROL.password, "groups": ["vlbi", "astro"]}
    made = (await gateway.call("POST", "/admin/identities", document)).document
    after, names = "", []
    while True:
        page = await gateway.call("GET", f"/admin/identities?limit=2&after={after}")
        assert page.status == 200, page.text
        assert "argon2" not in page.text
        names += [one["username"] for one in page.document["identities"]]
        after = page.document["next"]
        if after is None:
            break
    assert names == ["alice", "bob", "carol"]
    one = await gateway.call("GET", f"/admin/identities/{made['uuid']}")
    assert one.document == made | {"groups": ["astro", "vlbi"], "revoked": False}
    changed = await change(gateway, made["uuid"], groups=["ops"])
    assert changed.document["groups"] == ["ops"]
    assert (await gateway.call("GET", "/admin/identities?limit=0")).status == 400


@pytest.mark.parametrize(
    "members",
    [
        {"revoke": True},
        {"revoked": "yes"},
        {"username": "dave"},
        {"password": " "},
        {"groups": "astro"},
        {"groups": [""]},
        {"groups": [f"group-{n}" for n in range(101)]},
    ],
)
async def test_what_cannot_be_changed_so_is_400(
    gateway: GatewayUnderTest, members: Document
) -> None:
    uuid = await uuid_of(gateway, CAROL)
    assert problem(await change(gateway, uuid, **members), 400)["errors"]
    assert await can_log_in(gateway, CAROL)
