"""A gateway that joins another: what it says of itself, and that it stays itself."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.httpkit.membership.settings import BasicOffered, JoinSettings
from gateway.wire.documents import Document
from gateway.wire.secret import Secret
from tests.support.gateway import GatewayProcess, GatewayUnderTest, running_gateway
from tests.support.joined_gateway import TOKEN, joined_gateway
from tests.support.members import LOCAL, mint
from tests.support.node import ADMIN, ALICE, NOBODY, running_node
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

KEY: Final = Secret("0123456789abcdef" * 4)


async def capabilities(gateway: GatewayUnderTest) -> Document:
    answer = await gateway.call("GET", "/capabilities", account=NOBODY)
    assert answer.status == 200, answer.text
    said: Document = answer.document
    return said


async def is_member(gateway: GatewayUnderTest) -> bool:
    """Whether its only membership stands."""
    (shown,) = (await gateway.call("GET", "/admin/memberships")).document["memberships"]
    return bool(shown["state"] == "member")


async def test_a_gateway_is_the_same_installation_after_a_restart(tmp_path: Path) -> None:
    found = set()
    for _ in range(2):
        async with running_gateway({}, tmp_path) as gateway:
            said = await capabilities(gateway)
            found.add(UUID(said["identity"]))
            assert said["service"] == "execbroker-gateway"
            assert (said["name"], said["max_hops"]) == ("gateway", 4)
    assert len(found) == 1


async def test_a_gateway_is_known_by_the_storage_of_its_nodes(tmp_path: Path) -> None:
    options: Mapping[str, Mapping[str, Any]] = {
        "alpha": {"storage": ("UK_RSE",)},
        "beta": {"storage": ("SE_RSE", "UK_RSE")},
    }
    nodes = dict.fromkeys(options, "http://127.0.0.1:1")
    async with running_gateway(nodes, tmp_path, node_options=options) as gateway:
        assert (await capabilities(gateway))["storage"] == ["SE_RSE", "UK_RSE"]


async def test_what_a_node_does_not_say_its_gateway_does_not_make_up(tmp_path: Path) -> None:
    async with running_gateway({"plain": "http://127.0.0.1:1"}, tmp_path) as gateway:
        said = await capabilities(gateway)
        assert (said["kinds"], said["limits"]) == ([], {})


async def test_a_gateway_joins_another_as_its_node_leaves_and_comes_back(tmp_path: Path) -> None:
    async with joined_gateway() as top:
        for round_, token in enumerate((Secret(TOKEN), None)):
            join = JoinSettings(gateway=top.url, token=token, name="below")
            async with (
                running_node(tmp_path / "node") as node,
                running_gateway(
                    {"alpha": node.url},
                    tmp_path,
                    node_options={"alpha": {"storage": ("UK_RSE",), "regions": ("europe",)}},
                    join=(join,),
                    secret_key=KEY,
                ) as gateway,
            ):
                await eventually(partial(is_member, gateway), 20.0)
                (said,) = top.registered
                assert (said["name"], said["url"]) == ("below", gateway.url)
                assert (said["storage"], said["regions"]) == (["UK_RSE"], ["europe"])
                assert top.bearers[0] == TOKEN
            assert top.left == ["below"] * (round_ + 1)
        assert top.bearers.count(TOKEN) == 1


async def test_memberships_are_shown_to_the_administrator_alone(tmp_path: Path) -> None:
    async with running_gateway({}, tmp_path) as gateway:
        assert (await gateway.call("GET", "/admin/memberships")).document == {"memberships": []}
        refused = await gateway.call("GET", "/admin/memberships", account=ALICE)
        assert refused.status == 403
        refused = await gateway.call("GET", "/admin/memberships", account=NOBODY)
        assert refused.status == 401


async def test_all_workers_of_a_gateway_are_one_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SECRET_KEY", KEY.reveal())
    async with joined_gateway() as top:
        below = GatewayProcess(
            {},
            tmp_path,
            arguments=("--workers", "2"),
            join=[{"gateway": top.url, "token_env": "TOKEN", "name": "below"}],
            secret_key_env="SECRET_KEY",
        )
        await below.start()
        try:
            # Each registers for itself, one after the other; whoever is asked proves the URL.
            await until(lambda: len(top.registered) >= 2, within_s=60.0)
            assert top.names == {"below"}
            assert {said["url"] for said in top.registered} == {below.url}
            assert len({said["identity"] for said in top.capabilities}) == 1
            assert top.left == []
        finally:
            assert await below.stop() == 0
        # Two that end in the same moment may both say so.
        assert set(top.left) == {"below"}


async def test_what_a_gateway_offers_is_accepted_through_the_gateway_that_it_joined(
    tmp_path: Path,
) -> None:
    async with (
        running_node(tmp_path / "node") as node,
        running_gateway({}, tmp_path / "top", registration=LOCAL, secret_key=KEY) as top,
    ):
        token = Secret(await mint(top, name="below"))
        head = BasicOffered(username=ADMIN.login, password=Secret(ADMIN.password))
        join = JoinSettings(gateway=top.url, token=token, name="below", credentials=head)
        async with running_gateway(
            {"alpha": node.url}, tmp_path / "below", join=(join,), secret_key=KEY
        ) as below:
            await eventually(partial(is_member, below), 20.0)
            offered = await top.ask(minimal_request())
            assert offered.document["result"] == "YES", offered.text
            session = offered.document["offers"][0]["meta"]["uuid"]
            await top.move(session, "ACCEPTED")
            await node.reaches(session, "COMPLETED")
