"""Nodes that the client requires: silence is a failure, a good cause not to ask them is none."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.domain.permissions import Names, Permissions, Rule
from gateway.settings import FederationSettings
from gateway.wire.documents import Document
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ADMIN, ALICE, Account
from tests.support.requests import minimal_request

WITHOUT_BETA = Permissions(everyone=Rule(nodes=Names(deny=frozenset({"beta"}))))
FOR_ASTRONOMERS = {"beta": {"groups": ("astronomers",)}}


@asynccontextmanager
async def over_two(tmp_path: Path, **more: Any) -> AsyncIterator[GatewayUnderTest]:
    async with running_federation(tmp_path, ("alpha", "beta"), **more) as federation:
        yield federation.gateway


def why_skipped(document: Document) -> dict[str, str]:
    coverage = document["federation"]["coverage"]
    return {one["node"]: one["reason"]["code"] for one in coverage if one["outcome"] == "skipped"}


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"permissions": WITHOUT_BETA}, "node_not_permitted"),
        ({"node_options": FOR_ASTRONOMERS}, "node_reserved"),
    ],
    ids=["not permitted", "reserved"],
)
async def test_a_required_node_that_the_caller_may_not_use_is_no_failure(
    tmp_path: Path, settings: Mapping[str, Any], cause: str
) -> None:
    async with over_two(tmp_path, **settings) as gateway:
        answer = await gateway.ask(minimal_request(), "?require=beta", account=ALICE)
        assert answer.status == 303, answer.text
        assert answer.document["result"] == "YES"
        assert why_skipped(answer.document) == {"beta": cause}
        # The administrator may use it: then it is asked, and has to answer.
        answer = await gateway.ask(minimal_request(), "?require=beta", account=ADMIN)
        assert answer.status == 303, answer.text
        assert why_skipped(answer.document) == {}


async def test_a_required_node_that_the_request_has_passed_is_no_failure(tmp_path: Path) -> None:
    async with over_two(tmp_path) as gateway:
        listed = (await gateway.call("GET", "/nodes")).document["nodes"]
        beta = next(node["url"] for node in listed if node["name"] == "beta")
        answer = await gateway.ask(minimal_request(), "?require=beta", Federation_Path=beta)
        assert answer.status == 303, answer.text
        assert answer.document["result"] == "YES"
        assert why_skipped(answer.document) == {"beta": "path_loop"}


async def test_a_required_node_beyond_the_last_hop_is_no_failure(tmp_path: Path) -> None:
    async with over_two(tmp_path, federation=FederationSettings(hop_limit=2)) as gateway:
        path = "first/1, second/2"
        answer = await gateway.ask(minimal_request(), "?require=beta", Federation_Path=path)
        assert answer.status == 303, answer.text
        assert answer.document["result"] == "NO"
        assert why_skipped(answer.document) == {"alpha": "hop_limit", "beta": "hop_limit"}


async def ask_by_two_ways(gateway: GatewayUnderTest) -> tuple[Answer, Answer]:
    """The same request of a client, as two gateways above pass it on."""
    ways = [
        await gateway.ask(
            minimal_request(),
            "?require=beta",
            Federation_Request=request,
            Federation_Path=f"{way}/1",
            Idempotency_Key=f"{request}-{way}",
        )
        for request in [str(uuid4())]
        for way in ("west", "east")
    ]
    return ways[0], ways[1]


async def test_a_required_node_that_was_asked_by_another_way_is_no_failure(tmp_path: Path) -> None:
    async with over_two(tmp_path) as gateway:
        first, second = await ask_by_two_ways(gateway)
        assert (first.status, second.status) == (303, 303), second.text
        assert first.document["result"] == "YES"
        assert second.document["result"] == "NO"
        skipped = why_skipped(second.document)
        assert skipped == {"alpha": "asked_already", "beta": "asked_already"}


@pytest.mark.parametrize(
    ("query", "account"), [("?nodes=alpha&require=beta", ADMIN), ("?require=beta", ALICE)]
)
async def test_a_required_node_that_is_left_out_for_another_cause_is_a_failure(
    tmp_path: Path, query: str, account: Account
) -> None:
    async with over_two(tmp_path) as gateway:
        if account is ALICE:
            answer = await gateway.call("PATCH", "/nodes/beta", {"draining": True})
            assert answer.status == 200, answer.text
        answer = await gateway.ask(minimal_request(), query, account=account)
        assert answer.status == 503, answer.text
        assert "beta" in answer.document["detail"]
