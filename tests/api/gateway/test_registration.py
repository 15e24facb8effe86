"""Nodes join with a token, stay by renewing, are changed, and leave."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.settings import HealthSettings
from gateway.stores.nodes import NodeStore
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.members import (
    CAPABILITIES,
    LOCAL,
    Member,
    bearing,
    join,
    mint,
    running_member,
)
from tests.support.node import ADMIN, ALICE, BOB, NOBODY
from tests.support.problems import problem
from tests.support.raw_server import answering, speaking
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_gateway({}, tmp_path, registration=LOCAL) as running:
        yield running


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    async with running_member() as running:
        yield running


async def shown(gateway: GatewayUnderTest, name: str = "alpha") -> Document:
    answer = await gateway.call("GET", f"/nodes/{name}")
    assert answer.status == 200, answer.text
    document: Document = answer.document
    return document


_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class LaterClock(SystemClock):
    """The machine's clock, put forward as a test likes."""

    later = timedelta()

    def now(self) -> datetime:
        return super().now() + self.later


def contents(data_dir: Path) -> bytes:
    """All that the database has on disk."""
    return b"".join(file.read_bytes() for file in data_dir.glob("gateway.db*"))


# -- joining ------------------------------------------------------------------------------------


async def test_a_node_joins_with_a_token_and_gets_a_credential_of_its_own(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway, name="alpha")
    given = member.registration(site="uk", storage=["UKSRC"])
    answer = await bearing(gateway, token, "POST", "/nodes", given)
    assert answer.status == 201, answer.text
    assert answer.headers["Location"] == "/nodes/alpha"
    document = answer.document
    assert document["credential"].startswith("ebn_")
    assert len(document["credential"]) == len(token) == 47
    assert document["lease"]["renew_s"] == 30
    assert document["lease"]["expires_s"] == 90
    assert (document["name"], document["url"], document["site"]) == ("alpha", member.url, "uk")
    node = await shown(gateway)
    assert node["is_registered"]
    assert node["capabilities"]["limits"]["cores"] == 16
    assert node["changes"][-1]["cause"] == "registered"
    assert "credential" not in node


async def test_a_node_that_registered_is_asked_like_any_other(
    gateway: GatewayUnderTest, member: Member
) -> None:
    await join(gateway, member)
    coverage = (await gateway.call("GET", "/nodes")).document["nodes"]
    assert [node["name"] for node in coverage] == ["alpha"]
    assert coverage[0]["state"] == "up"
    assert coverage[0]["honours_idempotency"] is True


async def test_a_lost_answer_is_asked_for_again_with_the_same_token(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway)
    lost = await bearing(gateway, token, "POST", "/nodes", member.registration())
    again = await bearing(gateway, token, "POST", "/nodes", member.registration())
    assert (lost.status, again.status) == (201, 201)
    old, new = lost.document["credential"], again.document["credential"]
    assert (await bearing(gateway, old, "PUT", "/nodes/alpha/lease", {})).status == 401
    assert (await bearing(gateway, new, "PUT", "/nodes/alpha/lease", {})).status == 200


async def test_a_node_that_was_forgotten_comes_back_with_its_credential(
    gateway: GatewayUnderTest, member: Member
) -> None:
    credential = await join(gateway, member)
    assert (await gateway.call("DELETE", "/nodes/alpha")).status == 204
    renewal = await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", {})
    problem(renewal, 404)
    again = await bearing(gateway, credential, "POST", "/nodes", member.registration())
    assert again.status == 201, again.text
    assert "credential" not in again.document
    assert (await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", {})).status == 200
    assert (await shown(gateway))["changes"][0]["cause"] == "registered_anew"


async def test_the_owners_of_its_token_are_those_it_is_for_also_when_it_comes_again(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway, groups=["ska"], owners=["ann"])
    given = await bearing(gateway, token, "POST", "/nodes", member.registration())
    await bearing(gateway, given.document["credential"], "POST", "/nodes", member.registration())
    node = await shown(gateway)
    assert (node["owners"], node["groups"]) == (["ann"], ["ska"])
    assert (await gateway.call("GET", "/nodes", account=BOB)).document["nodes"] == []


async def test_a_token_for_the_name_takes_it_over_from_a_node_that_lost_its_credential(
    gateway: GatewayUnderTest, member: Member
) -> None:
    old = await join(gateway, member)
    token = await mint(gateway, name="alpha")
    answer = await bearing(gateway, token, "POST", "/nodes", member.registration())
    assert answer.status == 201, answer.text
    assert (await bearing(gateway, old, "PUT", "/nodes/alpha/lease", {})).status == 401


async def test_members_of_a_group_register_without_a_token_and_others_do_not(
    gateway: GatewayUnderTest, member: Member
) -> None:
    refused = await gateway.call("POST", "/nodes", member.registration(), account=ALICE)
    assert "ebr_" in problem(refused, 403)["detail"]
    answer = await gateway.call("POST", "/nodes", member.registration(), account=ADMIN)
    assert answer.status == 201, answer.text
    assert (await shown(gateway))["lease"]["registrant"] == "admin"


async def test_credentials_with_a_password_need_a_key_to_seal_them_with(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway)
    given = member.registration(
        credentials={"type": "basic", "username": "head", "password": "s3cret"}
    )
    answer = await bearing(gateway, token, "POST", "/nodes", given)
    assert "secret_key_env" in problem(answer, 422)["detail"]
    assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"challenge_key": "short"}, "/challenge_key"),
        ({"challenge_key": None}, "/challenge_key"),
        ({"name": "no spaces"}, "/name"),
        ({"storage": "UKSRC"}, "/storage"),
        ({"credentials": {"type": "magic"}}, "/credentials"),
        ({"credentials": {"type": []}}, "/credentials/type"),
        ({"credentials": {"type": "basic", "username": "head"}}, "/credentials/password"),
        ({"credentials": 5}, "/credentials"),
    ],
)
async def test_a_document_that_is_no_registration_is_refused_with_its_faults(
    gateway: GatewayUnderTest, member: Member, change: Document, pointer: str
) -> None:
    answer = await gateway.call("POST", "/nodes", member.registration() | change)
    faults = problem(answer, 400)["errors"]
    assert any(fault["pointer"].startswith(pointer) for fault in faults), faults


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http://user:pass@127.0.0.1:1/",
        "http://127.0.0.1:1/?x=1",
        "http:///nowhere",
        "http://127.0.0.1:1/#top",
        "http://127.0.0.1:99999/",
    ],
)
async def test_a_url_that_no_node_can_have_is_refused(
    gateway: GatewayUnderTest, member: Member, url: str
) -> None:
    answer = await gateway.call("POST", "/nodes", member.registration() | {"url": url})
    document = problem(answer, 422)
    assert "pass" not in document["detail"]


# -- staying ------------------------------------------------------------------------------------


async def test_changed_capabilities_are_read_again(
    gateway: GatewayUnderTest, member: Member
) -> None:
    credential = await join(gateway, member)
    member.capabilities = CAPABILITIES | {"limits": {"cores": 64}}
    member.etag = '"2"'
    told = {"capabilities": '"2"'}
    answer = await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", told)
    assert answer.status == 200, answer.text

    async def is_read() -> bool:
        return bool((await shown(gateway))["capabilities"]["limits"]["cores"] == 64)

    await eventually(is_read)


async def test_a_node_of_the_settings_is_asked_what_it_can_do(
    tmp_path: Path, member: Member
) -> None:
    probed = HealthSettings(probe_every_s=0.2)
    async with speaking(answering(*[_NOT_FOUND] * 9)) as plain:
        nodes = {"alpha": member.url, "plain": plain.url}
        async with running_gateway(nodes, tmp_path, health=probed) as gateway:

            async def is_read() -> bool:
                return (await shown(gateway))["capabilities"] is not None

            await eventually(is_read)
            node = await shown(gateway)
            assert node["capabilities"]["identity"] == CAPABILITIES["identity"]
            assert (node["state"], node["lease"]) == ("up", None)

            async def is_known() -> bool:
                return bool((await shown(gateway, "plain"))["state"] == "up")

            await eventually(is_known)
            assert (await shown(gateway, "plain"))["capabilities"] is None


async def test_a_node_says_itself_that_it_drains_and_resumes(
    gateway: GatewayUnderTest, member: Member
) -> None:
    credential = await join(gateway, member)
    lease = "/nodes/alpha/lease"
    answer = await bearing(gateway, credential, "PUT", lease, {"draining": True})
    assert (answer.document["state"], answer.document["is_draining"]) == ("draining", True)
    answer = await bearing(gateway, credential, "PUT", lease, {"draining": False})
    assert (answer.document["state"], answer.document["is_draining"]) == ("up", False)
    causes = [change["cause"] for change in (await shown(gateway))["changes"]]
    assert causes[:2] == ["resumed", "drained"]


async def test_a_node_that_stops_renewing_is_down_and_back_with_its_next_renewal(
    tmp_path: Path, member: Member
) -> None:
    quick = replace(LOCAL, lease_s=0.6, renew_s=0.2, restart_grace_s=0.0)
    async with running_gateway({}, tmp_path, registration=quick) as gateway:
        credential = await join(gateway, member)

        async def is_down() -> bool:
            return bool((await shown(gateway))["state"] == "down")

        await eventually(is_down)
        node = await shown(gateway)
        assert node["down"]["cause"] == "lease_expired"
        assert node["changes"][0]["cause"] == "lease_expired"
        assert (await gateway.call("GET", "/nodes", account=ALICE)).document["nodes"] == []
        answer = await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", {})
        assert answer.document["state"] == "up"
        causes = {change["cause"] for change in (await shown(gateway))["changes"]}
        assert {"registered", "lease_expired", "renewed"} <= causes


# -- being changed ------------------------------------------------------------------------------


async def test_the_administrator_changes_a_node_and_takes_it_back(
    gateway: GatewayUnderTest, member: Member
) -> None:
    await join(gateway, member)
    patch = {"weight": 2, "site": "uk", "groups": ["ska"], "regions": ["eu"]}
    answer = await gateway.call("PATCH", "/nodes/alpha", patch)
    assert answer.status == 200, answer.text
    assert {name: answer.document[name] for name in patch} == patch
    answer = await gateway.call("PATCH", "/nodes/alpha", dict.fromkeys(patch))
    assert (answer.document["weight"], answer.document["site"]) == (1.0, None)
    assert answer.document["groups"] == []


async def test_a_node_changes_what_it_says_of_itself_and_nothing_else(
    gateway: GatewayUnderTest, member: Member
) -> None:
    credential = await join(gateway, member)
    answer = await bearing(gateway, credential, "PATCH", "/nodes/alpha", {"storage": ["NEW"]})
    assert answer.status == 200, answer.text
    assert answer.document["storage"] == ["NEW"]
    answer = await bearing(gateway, credential, "PATCH", "/nodes/alpha", {"weight": 100})
    assert "weight" in problem(answer, 403)["detail"]
    problem(await gateway.call("PATCH", "/nodes/alpha", {"site": "uk"}, account=ALICE), 403)


async def test_a_node_that_left_is_down_and_its_credential_may_be_revoked(
    gateway: GatewayUnderTest, member: Member
) -> None:
    credential = await join(gateway, member)
    assert (await bearing(gateway, credential, "DELETE", "/nodes/alpha")).status == 204
    node = await shown(gateway)
    assert (node["state"], node["down"]["cause"]) == ("down", "left")
    assert (await gateway.call("DELETE", "/nodes/alpha?forget=true")).status == 204
    answer = await bearing(gateway, credential, "POST", "/nodes", member.registration())
    problem(answer, 401)


async def test_what_is_said_of_a_node_outlives_a_restart(tmp_path: Path, member: Member) -> None:
    async with running_gateway({}, tmp_path, registration=LOCAL) as gateway:
        credential = await join(gateway, member)
        await gateway.call("PATCH", "/nodes/alpha", {"draining": True})
    async with running_gateway({}, tmp_path, registration=LOCAL) as gateway:
        assert (await shown(gateway))["state"] == "draining"
        answer = await bearing(gateway, credential, "PUT", "/nodes/alpha/lease", {})
        assert answer.status == 200


async def test_draining_a_node_leaves_its_sessions_alone(tmp_path: Path) -> None:
    """It is asked for nothing new; what was accepted there runs to its end, and can be read."""
    async with running_federation(tmp_path, ("alpha", "beta")) as federation:
        gateway = federation.gateway
        offers = (await gateway.ask(minimal_request())).document["offers"]
        session = next(offer for offer in offers if offer["federation"]["node"] == "alpha")
        accepted = await gateway.move(session["meta"]["uuid"], "ACCEPTED")
        assert accepted.status == 200, accepted.text
        drained = await gateway.call("PATCH", "/nodes/alpha", {"draining": True})
        assert drained.document["state"] == "draining"

        again = (await gateway.ask(minimal_request())).document
        (line,) = (c for c in again["federation"]["coverage"] if c["node"] == "alpha")
        assert (line["outcome"], line["reason"]["code"]) == ("skipped", "draining")
        assert {offer["federation"]["node"] for offer in again["offers"]} == {"beta"}
        await federation.becomes(session, "COMPLETED")

        resumed = await gateway.call("PATCH", "/nodes/alpha", {"draining": None})
        assert resumed.document["state"] != "draining"
        asked = (await gateway.ask(minimal_request())).document
        assert {offer["federation"]["node"] for offer in asked["offers"]} == {"alpha", "beta"}


# -- secrets and restarts -----------------------------------------------------------------------


async def test_a_password_for_the_node_is_kept_sealed_and_is_lost_with_its_key(
    tmp_path: Path, member: Member
) -> None:
    account = {"type": "basic", "username": "head", "password": "s3cret-of-the-node"}
    key, other = Secret("k" * 32), Secret("o" * 32)
    async with running_gateway({}, tmp_path, registration=LOCAL, secret_key=key) as gateway:
        given = member.registration(credentials=account)
        assert (await gateway.call("POST", "/nodes", given)).status == 201
    assert b"s3cret-of-the-node" not in contents(tmp_path)
    async with running_gateway({}, tmp_path, registration=LOCAL, secret_key=key) as gateway:
        assert (await shown(gateway))["state"] == "up"
    async with running_gateway({}, tmp_path, registration=LOCAL, secret_key=other) as gateway:
        node = await shown(gateway)
        assert (node["state"], node["down"]["cause"]) == ("down", "sealed")
        again = member.registration(credentials=account)
        assert (await gateway.call("POST", "/nodes", again)).status == 201
        assert (await shown(gateway))["state"] == "up"


async def test_a_lease_outlives_the_gateways_own_absence_by_its_grace(
    tmp_path: Path, member: Member, store: Store
) -> None:
    """While no gateway was there, nobody could renew."""
    clock = LaterClock()
    quick = replace(LOCAL, lease_s=0.9, renew_s=0.3, restart_grace_s=1.5)
    loop = asyncio.get_running_loop()
    async with running_gateway({}, tmp_path, clock=clock, registration=quick) as gateway:
        await join(gateway, member)

        async def is_watched() -> bool:
            async with store.opened(tmp_path) as database, database.reading() as reader:
                return (await NodeStore().watch(reader)).seen is not None

        await eventually(is_watched)
    clock.later = timedelta(minutes=1)
    async with running_gateway({}, tmp_path, clock=clock, registration=quick) as gateway:
        began = loop.time()
        assert (await shown(gateway))["state"] == "up"

        async def is_down() -> bool:
            return bool((await shown(gateway))["state"] == "down")

        await eventually(is_down, 10.0)
        assert loop.time() - began > 1.0


# -- tokens -------------------------------------------------------------------------------------


async def test_tokens_are_listed_without_their_secret_and_taken_back(
    gateway: GatewayUnderTest, member: Member
) -> None:
    token = await mint(gateway, name="alpha", expires_s=60)
    listed = await gateway.call("GET", "/admin/registration-tokens")
    (entry,) = listed.document["tokens"]
    assert entry["name"] == "alpha"
    assert token not in listed.text
    path = f"/admin/registration-tokens/{entry['uuid']}"
    assert (await gateway.call("DELETE", path)).status == 204
    problem(await gateway.call("DELETE", path), 404)
    problem(await bearing(gateway, token, "POST", "/nodes", member.registration()), 401)


async def test_nobody_but_the_administrator_makes_tokens(gateway: GatewayUnderTest) -> None:
    for account, status in ((NOBODY, 401), (ALICE, 403)):
        answer = await gateway.call("POST", "/admin/registration-tokens", {}, account=account)
        problem(answer, status)


async def test_anonymous_readers_are_not_told_where_nodes_are(
    gateway: GatewayUnderTest, member: Member
) -> None:
    await join(gateway, member)
    (node,) = (await gateway.call("GET", "/nodes", account=NOBODY)).document["nodes"]
    assert "url" not in node
    (node,) = (await gateway.call("GET", "/nodes", account=ALICE)).document["nodes"]
    assert node["url"] == member.url
    assert "lease" not in node
