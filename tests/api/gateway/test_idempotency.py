"""One key is one request: what the gateway answers when it is asked the same again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ServerDisconnectedError

from gateway.wire.documents import Document
from tests.api.gateway.conftest import holds_of
from tests.api.gateway.test_acceptance import UNDERWAY, Line
from tests.support.gateway import FEDERATION, GatewayUnderTest, running_gateway
from tests.support.node import ADMIN, ALICE, BOB, running_node
from tests.support.problems import problem
from tests.support.proxy import Proxy, Weather, running_proxy
from tests.support.requests import minimal_request

KEY: Final = "0b7c2f6e-first"


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Line]:
    async with (
        running_node(tmp_path) as node,
        running_proxy(node.url) as proxy,
        running_gateway(
            {"alpha": proxy.url}, tmp_path / "gateway", federation=FEDERATION
        ) as gateway,
    ):
        node.auth = ADMIN
        yield Line(gateway, node, proxy)


def times_asked(proxy: Proxy) -> int:
    """How often the node was asked for offers."""
    return proxy.seen.count(("POST", "/requests"))


def uuids(offerset: Document) -> list[str]:
    """The set's own UUID, and those of its offers in their order."""
    return [document["meta"]["uuid"] for document in (offerset, *offerset["offers"])]


async def test_the_same_key_and_request_give_the_same_offer_set_and_ask_the_node_once(
    one: Line,
) -> None:
    first = await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)
    again = await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)
    assert (first.status, again.status) == (303, 303)
    assert again.document == first.document
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Key"] == first.headers["Idempotency-Key"] == KEY
    assert times_asked(one.proxy) == 1
    assert await holds_of(one.node) == len(first.document["offers"])


async def test_the_order_of_members_makes_no_other_request(one: Line) -> None:
    request = minimal_request()
    turned = dict(reversed(request.items()))
    first = await one.gateway.ask(request, Idempotency_Key=KEY)
    again = await one.gateway.ask(turned, Idempotency_Key=KEY)
    assert again.document["meta"]["uuid"] == first.document["meta"]["uuid"]


async def test_without_a_key_every_request_is_a_new_one(one: Line) -> None:
    first = await one.gateway.ask(minimal_request())
    again = await one.gateway.ask(minimal_request())
    assert first.document["meta"]["uuid"] != again.document["meta"]["uuid"]
    assert "Idempotency-Key" not in first.headers
    assert times_asked(one.proxy) == 2


async def test_five_at_once_with_one_key_are_one_request(one: Line) -> None:
    answers = await asyncio.gather(
        *(one.gateway.ask(minimal_request(), Idempotency_Key=KEY) for _ in range(5))
    )
    assert [answer.status for answer in answers] == [303] * 5
    assert len({answer.document["meta"]["uuid"] for answer in answers}) == 1
    assert times_asked(one.proxy) == 1


@pytest.mark.parametrize("query", ["?limit=1", "?policy=soonest", "?nodes=alpha"])
async def test_the_same_key_with_another_query_is_422(one: Line, query: str) -> None:
    await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)
    answer = await one.gateway.ask(minimal_request(), query, Idempotency_Key=KEY)
    assert KEY in problem(answer, 422)["detail"]
    assert times_asked(one.proxy) == 1


async def test_the_same_key_with_another_body_is_422(one: Line) -> None:
    first = await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)
    other = minimal_request(schedule={"requested": {"duration": "PT2M"}})
    problem(await one.gateway.ask(other, Idempotency_Key=KEY), 422)
    again = await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)
    assert again.document["meta"]["uuid"] == first.document["meta"]["uuid"]


async def test_a_key_belongs_to_its_owner_and_its_path(one: Line) -> None:
    asked = [
        await one.gateway.call(
            "POST", "/requests", minimal_request(), account=account, Idempotency_Key=KEY
        )
        for account in (ALICE, BOB, ADMIN)
    ]
    assert len({answer.document["meta"]["uuid"] for answer in asked}) == 3
    direct = await one.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
    assert direct.status == 303


async def test_a_request_that_failed_gives_its_key_back(one: Line) -> None:
    one.proxy.weather = Weather.FAILS
    problem(await one.gateway.ask(minimal_request(), Idempotency_Key=KEY), 503)
    one.proxy.weather = Weather.FINE
    other = minimal_request(schedule={"requested": {"duration": "PT2M"}})
    answer = await one.gateway.ask(other, Idempotency_Key=KEY)
    assert (answer.status, answer.document["result"]) == (303, "YES")


async def test_a_request_that_was_refused_takes_no_key(one: Line) -> None:
    problem(await one.gateway.ask({"executable": {}}, Idempotency_Key=KEY), 400)
    problem(await one.gateway.ask(minimal_request(), "?policy=luckiest", Idempotency_Key=KEY), 400)
    assert (await one.gateway.ask(minimal_request(), Idempotency_Key=KEY)).status == 303


async def test_a_key_outlives_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, running_proxy(node.url) as proxy:
        nodes, data_dir = {"alpha": proxy.url}, tmp_path / "gateway"
        async with running_gateway(nodes, data_dir, federation=FEDERATION) as gateway:
            first = await gateway.ask(minimal_request(), Idempotency_Key=KEY)
        async with running_gateway(nodes, data_dir, federation=FEDERATION) as gateway:
            again = await gateway.ask(minimal_request(), Idempotency_Key=KEY)
            other = await gateway.ask({}, Idempotency_Key=KEY)
        assert times_asked(proxy) == 1
    assert uuids(first.document) == uuids(again.document)
    problem(other, 422)


async def test_a_direct_request_asked_twice_is_one_session(one: Line) -> None:
    first = await one.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
    again = await one.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
    assert (first.status, again.status) == (303, 303)
    assert first.document["meta"]["uuid"] == again.document["meta"]["uuid"]
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Key"] == KEY
    assert again.document["phase"] in UNDERWAY
    assert times_asked(one.proxy) == 1


async def test_five_direct_requests_at_once_are_one_session(one: Line) -> None:
    answers = await asyncio.gather(
        *(
            one.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
            for _ in range(5)
        )
    )
    assert [answer.status for answer in answers] == [303] * 5
    assert len({answer.document["meta"]["uuid"] for answer in answers}) == 1
    assert times_asked(one.proxy) == 1
    uuid = answers[0].document["meta"]["uuid"]
    assert one.proxy.seen.count(("POST", f"/sessions/{uuid}")) == 1


async def test_a_direct_request_whose_answer_was_lost_is_the_same_session(one: Line) -> None:
    async with running_proxy(one.gateway.url) as outside:
        outside.weather = Weather.REPLY_LOST
        client = GatewayUnderTest(outside.url, one.gateway.session)
        with pytest.raises(ServerDisconnectedError):
            await client.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
    again = await one.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key=KEY)
    assert again.status == 303
    assert again.document["phase"] in UNDERWAY
    assert times_asked(one.proxy) == 1
    await one.shows(again.document["meta"]["uuid"], "COMPLETED")
