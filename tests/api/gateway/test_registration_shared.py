"""Two gateways on one database say the same of a node, whoever was told."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.wire.documents import Document
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.members import LOCAL, Member, bearing, join, mint, running_member
from tests.support.problems import problem
from tests.support.waiting import eventually


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    async with running_member() as running:
        yield running


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[GatewayUnderTest, GatewayUnderTest]]:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running_gateway({}, tmp_path, registration=LOCAL))
        two = await stack.enter_async_context(running_gateway({}, tmp_path, registration=LOCAL))
        yield one, two


async def becomes(gateway: GatewayUnderTest, state: str) -> Document:
    """Wait until this gateway shows the node so."""
    last: Document = {}

    async def look() -> bool:
        answer = await gateway.call("GET", "/nodes/alpha")
        last.clear()
        last.update(answer.document)
        return answer.status == 200 and bool(answer.document["state"] == state)

    await eventually(look)
    return last


async def test_what_one_gateway_was_told_the_other_knows(
    pair: tuple[GatewayUnderTest, GatewayUnderTest], member: Member
) -> None:
    one, two = pair
    credential = await join(one, member)
    assert (await becomes(two, "up"))["url"] == member.url
    answer = await bearing(two, credential, "PUT", "/nodes/alpha/lease", {"draining": True})
    assert answer.document["state"] == "draining"
    await becomes(one, "draining")
    await bearing(one, credential, "DELETE", "/nodes/alpha")
    records = [
        [change["cause"] for change in (await becomes(gateway, "down"))["changes"]]
        for gateway in pair
    ]
    assert [cause for cause in records[0] if cause != "answered"] == records[1]
    assert records[1] == ["left", "drained", "registered"]


async def test_one_name_goes_to_one_of_two_who_ask_for_it_at_two_gateways(
    pair: tuple[GatewayUnderTest, GatewayUnderTest], member: Member
) -> None:
    one, two = pair
    tokens = [await mint(one), await mint(two)]
    async with running_member() as rival:
        first = await bearing(one, tokens[0], "POST", "/nodes", member.registration())
        second = await bearing(two, tokens[1], "POST", "/nodes", rival.registration())
    assert first.status == 201
    problem(second, 409)


async def test_a_lease_that_one_gateway_renewed_does_not_end_at_the_other(
    tmp_path: Path, member: Member
) -> None:
    quick = replace(LOCAL, lease_s=1.2, renew_s=0.3, restart_grace_s=0.0)
    async with (
        running_gateway({}, tmp_path, registration=quick) as one,
        running_gateway({}, tmp_path, registration=quick) as two,
    ):
        credential = await join(one, member)
        await becomes(two, "up")
        renewals = 0

        async def renewed_often() -> bool:
            nonlocal renewals
            answer = await bearing(one, credential, "PUT", "/nodes/alpha/lease", {})
            assert answer.document["state"] == "up", answer.text
            seen = await two.call("GET", "/nodes/alpha")
            assert seen.document["state"] == "up", seen.text
            renewals += 1
            return renewals >= 60

        await eventually(renewed_often, 20.0)
        await becomes(two, "down")
        await becomes(one, "down")
