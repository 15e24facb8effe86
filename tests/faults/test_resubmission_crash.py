"""Kill the gateway at every step of a resubmission: the work moves once and leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.support.crashing import (
    QUICK_SECTIONS,
    KillableGateway,
    is_request,
    is_update,
)
from tests.support.gateway import GatewayUnderTest
from tests.support.lost_node import WISH, LostNode, accept_at_alpha, kinds_of, two_nodes
from tests.support.nursery import Nursery
from tests.support.proxy import Applies, Moment
from tests.support.waiting import eventually

UNDERWAY: Final = ("ACCEPTED", "WAITING", "PREPARING", "AVAILABLE")
BEGUN: Final = {"urn:resubmission-asking", "urn:resubmitted-as"}
SESSIONS: Final = QUICK_SECTIONS["sessions"] | {"follow_s": 0.1, "resubmit_after_s": 1.0}


@asynccontextmanager
async def killable(
    nursery: Nursery, at: Path, **sessions: float
) -> AsyncIterator[tuple[KillableGateway, LostNode]]:
    """A gateway that can be killed, over two nodes; alpha has accepted a session."""
    async with AsyncExitStack() as stack:
        nodes, proxies = await stack.enter_async_context(two_nodes(at))
        folder = at / "gateway"
        folder.mkdir()
        sections = QUICK_SECTIONS | {"sessions": SESSIONS | sessions}
        urls = {name: proxy.url for name, proxy in proxies.items()}
        gateway = KillableGateway(nursery, urls, folder, **sections)
        await gateway.start()
        stack.push_async_callback(gateway.kill)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        lost = LostNode(GatewayUnderTest(gateway.url, session), nodes, proxies, at)
        lost.session = await accept_at_alpha(lost.gateway, WISH)
        yield gateway, lost


@pytest.mark.parametrize(
    ("moment", "applies_to"),
    [
        pytest.param(Moment.ASKED, is_request, id="before-others-were-asked"),
        pytest.param(Moment.ANSWERED, is_request, id="before-their-offers-came"),
        pytest.param(Moment.ASKED, is_update, id="before-another-was-told"),
        pytest.param(Moment.ANSWERED, is_update, id="before-its-acceptance-came"),
    ],
)
async def test_a_resubmission_cut_short_is_gone_on_with_and_moves_the_work_once(
    nursery: Nursery, tmp_path: Path, moment: Moment, applies_to: Applies
) -> None:
    async with killable(nursery, tmp_path) as (gateway, lost):
        first = await lost.let_go_at_beta()
        gate = lost.beta.stop_at(
            moment, lambda request: applies_to(request) and request.path != first
        )
        await lost.alpha.close()
        await gate.reached.wait()
        await gateway.kill()
        gate.lose()
        lost.beta.remove_gates()
        await gateway.start()
        successor = await lost.successor()
        await lost.becomes("COMPLETED", uuid=successor)
        await lost.becomes("CANCELLED")
        assert lost.ran() == {lost.session, successor}
        await lost.alpha.open()
        await lost.at_node("alpha", lost.session, "CANCELLED")


async def test_the_grace_begins_anew_with_the_gateway(nursery: Nursery, tmp_path: Path) -> None:
    grace_s = 2.0
    loop = asyncio.get_running_loop()
    async with killable(nursery, tmp_path, resubmit_after_s=grace_s) as (gateway, lost):
        await lost.alpha.close()
        await lost.says("urn:resubmission-waiting")
        since = loop.time()
        while loop.time() - since < grace_s / 2:
            assert (await lost.read())["phase"] in UNDERWAY
            await asyncio.sleep(0.02)
        await gateway.kill()
        await gateway.start()
        restarted = loop.time()

        async def is_begun() -> bool:
            return bool(kinds_of(await lost.read()) & BEGUN)

        await eventually(is_begun)
        # It was listening a little before it said that it listens.
        assert loop.time() - restarted > grace_s / 2 + 0.3
        await lost.successor()


async def test_a_node_that_is_back_when_the_gateway_is_keeps_its_session(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with killable(nursery, tmp_path) as (gateway, lost):
        gate = lost.beta.stop_at(Moment.ANSWERED, is_request)
        await lost.alpha.close()
        await gate.reached.wait()
        await gateway.kill()
        await lost.alpha.open()
        gate.lose()
        lost.beta.remove_gates()
        await gateway.start()
        await lost.comes_to("called_off")
        assert (await lost.read())["phase"] in UNDERWAY
        assert lost.ran() == {lost.session}
