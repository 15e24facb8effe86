"""A node that joins gateways: registers, keeps its place, says what changes, and leaves."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.httpkit.membership.settings import BasicOffered, JoinSettings
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.support.joined_gateway import TOKEN, JoinedGateway, joined_gateway
from tests.support.node import (
    ADMIN,
    ALICE,
    NOBODY,
    NodeClient,
    node_process,
    node_settings,
    process_config,
    running_node,
)
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually, until

NONCE: Final = "n" * 43


@pytest.fixture
async def gateway() -> AsyncIterator[JoinedGateway]:
    async with joined_gateway() as running:
        yield running


def joining(*gateways: JoinedGateway, token: str | None = TOKEN, **more: Any) -> Any:
    """The settings of a node that joins these."""
    secret = None if token is None else Secret(token)
    joins = tuple(JoinSettings(gateway=each.url, token=secret, **more) for each in gateways)
    return node_settings(site="uk", storage=("UK_RSE",), regions=("europe",), join=joins)


async def memberships(node: NodeClient) -> list[Document]:
    answer = await node.call("GET", "/admin/memberships", auth=ADMIN)
    assert answer.status == 200, answer
    shown: list[Document] = answer.document["memberships"]
    return shown


async def standing(node: NodeClient, *states: str) -> list[Document]:
    """The memberships as soon as they are in these states."""

    async def look() -> list[Document] | None:
        shown = await memberships(node)
        return shown if [each["state"] for each in shown] == list(states) else None

    found = await eventually(look)
    assert found is not None
    return found


async def test_a_node_registers_with_a_token_and_proves_its_url(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    offered = BasicOffered(username="head", password=Secret("head-password"))
    async with running_node(tmp_path, joining(gateway, credentials=offered)) as node:
        (shown,) = await standing(node, "member")
        capabilities = (await node.call("GET", "/capabilities", auth=NOBODY)).document
    assert gateway.names == {"alpha"}
    assert shown == {
        "gateway": gateway.url,
        "name": "alpha",
        "state": "member",
        "reason": "",
        "gateway_state": "up",
    }
    assert gateway.bearers[0] == TOKEN
    assert gateway.capabilities == [capabilities]


async def test_what_a_gateway_is_to_use_and_where_the_node_is_goes_with_the_registration(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    offered = BasicOffered(username="head", password=Secret("head-password"))
    settings = joining(gateway, credentials=offered, name="renamed")
    async with running_node(tmp_path, settings) as node:
        await standing(node, "member")
        (said,) = gateway.registered
        assert said["name"] == "renamed"
        assert said["url"] == node.url
        assert (said["site"], said["storage"], said["regions"]) == ("uk", ["UK_RSE"], ["europe"])
        assert said["credentials"] == {
            "type": "basic",
            "username": "head",
            "password": "head-password",
        }


async def test_a_node_that_ends_leaves_and_comes_back_without_a_new_token(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
    assert gateway.left == ["alpha"]
    async with running_node(tmp_path, joining(gateway, token=None)) as node:
        await standing(node, "member")
        assert gateway.bearers[-1] == gateway.credentials["alpha"]
        assert [each["name"] for each in gateway.registered] == ["alpha"]


async def test_the_credential_is_kept_where_nobody_else_can_read_it(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        folder = tmp_path / "memberships"
        (file,) = folder.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert gateway.credentials["alpha"] in file.read_text()


async def test_a_credential_file_that_is_damaged_counts_as_none(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
    (file,) = (tmp_path / "memberships").iterdir()
    file.write_text("{")
    gateway.credentials.clear()
    gateway.tokens.add(TOKEN)
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
    assert gateway.credentials["alpha"] in file.read_text()


async def test_a_node_joins_several_gateways_at_once_each_with_a_credential_of_its_own(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with (
        joined_gateway() as other,
        running_node(tmp_path, joining(gateway, other)) as node,
    ):
        await standing(node, "member", "member")
        assert gateway.credentials["alpha"] != other.credentials["alpha"]
        keys = {each.registered[0]["challenge_key"] for each in (gateway, other)}
        assert len(keys) == 2


async def test_a_gateway_that_is_away_keeps_no_node_from_another(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.fault = 503
    async with (
        joined_gateway() as other,
        running_node(tmp_path, joining(gateway, other)) as node,
    ):
        shown = await standing(node, "away", "member")
        assert shown[0]["reason"] == "as it was told to"
        gateway.fault = None
        await standing(node, "member", "member")


async def test_a_gateway_that_has_forgotten_a_node_is_registered_with_anew(
    tmp_path: Path,
) -> None:
    async with (
        joined_gateway(renew_s=0.1) as gateway,
        running_node(tmp_path, joining(gateway)) as node,
    ):
        await standing(node, "member")
        gateway.forget()
        await until(lambda: len(gateway.registered) == 1)
        assert gateway.bearers.count(TOKEN) == 1


async def test_a_registration_whose_answer_was_lost_is_repeated_with_the_same_token(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.loses_answer = True
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        assert gateway.bearers == [TOKEN, TOKEN]
        keys = {document["challenge_key"] for document in gateway.registered}
        assert len(keys) == 2


async def test_a_refused_token_is_told_to_the_operator_and_not_tried_again_and_again(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.tokens.clear()
    async with running_node(tmp_path, joining(gateway)) as node:
        (shown,) = await standing(node, "refused")
        assert shown["reason"] == "401: the credentials are wrong"
        await asyncio.sleep(0.05)
        assert gateway.calls == 1


async def test_a_node_without_token_and_credential_says_what_is_missing(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway, token=None)) as node:
        (shown,) = await standing(node, "refused")
        assert "no token" in shown["reason"]
        assert gateway.calls == 0


async def test_a_challenge_is_answered_only_while_a_registration_is_under_way(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        answer = await node.call("GET", f"/.well-known/execbroker-challenge/{NONCE}", auth=NOBODY)
        assert answer.status == 404
    async with running_node(tmp_path / "alone") as node:
        answer = await node.call("GET", f"/.well-known/execbroker-challenge/{NONCE}", auth=NOBODY)
        assert answer.status == 404


async def test_capabilities_say_what_the_node_can_do_and_stay_the_same(tmp_path: Path) -> None:
    tags = set()
    said: Document = {}
    for _ in range(2):
        async with running_node(tmp_path) as node:
            answer = await node.call("GET", "/capabilities", auth=NOBODY)
            again = await node.call(
                "GET",
                "/capabilities",
                auth=NOBODY,
                headers={"If-None-Match": answer.headers["ETag"]},
            )
            tags.add(answer.headers["ETag"])
            assert (again.status, again.document) == (304, {})
            said = answer.document
    assert len(tags) == 1
    assert said["service"] == "execbroker-node"
    assert said["platforms"] == ["simulated"]
    assert said["limits"] == {"cores": 8, "memory_gib": 16, "storage_gib": 1000}
    assert any("docker-container" in kind for kind in said["kinds"])
    assert said["authentication"] == ["basic"]
    assert UUID(said["identity"]).version == 4


async def test_two_installations_are_two_identities(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "two"):
        async with running_node(tmp_path / name) as node:
            found.add((await node.call("GET", "/capabilities")).document["identity"])
    assert len(found) == 2


async def test_a_drained_node_says_no_tells_its_gateways_at_once_and_lets_sessions_go_on(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        offers = (await node.ask(MINIMAL)).document["offers"]
        drained = await node.call("POST", "/admin/drain", auth=ADMIN)
        assert (drained.status, drained.document) == (200, {"draining": True})
        await until(lambda: bool(gateway.told) and gateway.told[-1]["draining"] is True)

        refused = await node.ask(MINIMAL)
        assert refused.document["result"] == "NO"
        assert [said["kind"] for said in refused.messages] == ["urn:node-draining"]
        failed = await node.direct(MINIMAL)
        assert (failed.status, failed.document["phase"]) == (400, "FAILED")
        session = offers[0]["meta"]["uuid"]
        await node.update(session, "ACCEPTED")
        await node.reaches(session, "COMPLETED")

        await node.call("POST", "/admin/resume", auth=ADMIN)
        await until(lambda: gateway.told[-1]["draining"] is False)
        assert (await node.ask(MINIMAL)).document["result"] == "YES"


async def test_a_drained_node_still_drains_after_a_restart_and_says_so_when_it_registers(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        await node.call("POST", "/admin/drain", auth=ADMIN)
    gateway.told.clear()
    async with running_node(tmp_path, joining(gateway)) as node:
        await standing(node, "member")
        assert [said["draining"] for said in gateway.told] == [True]
        assert (await node.ask(MINIMAL)).document["result"] == "NO"


@pytest.mark.parametrize("path", ["/admin/drain", "/admin/resume"])
async def test_only_the_administrator_drains_and_resumes(node: NodeClient, path: str) -> None:
    assert (await node.call("POST", path, auth=NOBODY)).status == 401
    assert (await node.call("POST", path, auth=ALICE)).status == 403


async def test_a_node_as_an_operator_runs_it_joins_leaves_on_sigterm_and_survives_a_kill(
    tmp_path: Path,
) -> None:
    async with joined_gateway() as gateway:
        config = process_config(join=[{"gateway": gateway.url, "token_env": "TOKEN"}])
        environ = {"TOKEN": TOKEN}
        async with node_process(tmp_path, config, environ) as node:
            await until(lambda: any(tmp_path.glob("memberships/*.json")))
            assert gateway.registered[-1]["url"] == node.url
            await node.kill()
        assert gateway.left == []
        async with node_process(tmp_path, config, environ) as node:
            await until(lambda: len(gateway.registered) == 2)
            assert gateway.bearers[-1] == gateway.credentials["alpha"]
            assert gateway.registered[-1]["url"] == node.url
            assert await node.terminate() == 0
        assert gateway.left == ["alpha"]
        assert TOKEN not in (tmp_path / "node.log").read_text()
        assert gateway.credentials["alpha"] not in (tmp_path / "node.log").read_text()
