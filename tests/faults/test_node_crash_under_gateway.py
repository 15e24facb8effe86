"""Kill a node between any two steps of offer, accept and execute: its gateway loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire.documents import Document
from node_stub.config import OfferSettings
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import (
    SETTLED_S,
    KillableNode,
    is_request,
    is_update,
    killable_node,
    ran_at,
)
from tests.support.gateway import Answer, GatewayUnderTest, running_gateway
from tests.support.node import NodeClient, node_settings, running_node
from tests.support.nursery import Nursery
from tests.support.proxy import Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

LIVES_LONG: Final = {"count": 2, "expires_s": 20, "min_expires_s": 1}
"""Offers that outlive a restart of their node."""


def offers_of(answer: Answer | None) -> list[Document]:
    assert answer is not None
    assert answer.status == 303, answer.text
    offers: list[Document] = answer.document["offers"]
    return offers


@dataclass(frozen=True, slots=True)
class Line:
    """A gateway over alpha, which can be killed, and beta, which is well."""

    gateway: GatewayUnderTest
    alpha: KillableNode
    beta: NodeClient
    beta_dir: Path

    async def offers(self) -> dict[str, Document]:
        """The best offer of each node."""
        offers = offers_of(await self.gateway.ask(minimal_request(), "?per_node=1"))
        return {offer["federation"]["node"]: offer for offer in offers}

    async def completes(self, uuid: str) -> None:
        """Wait for its end; it and nothing else ran, and nothing is held any more."""
        await becomes(self.gateway, uuid, "COMPLETED")

        async def is_free() -> bool:
            return await self.alpha.holds() + await holds_of(self.beta) == 0

        await eventually(is_free, SETTLED_S)
        assert self.alpha.ran() | ran_at(self.beta_dir) == {uuid}


@asynccontextmanager
async def line(nursery: Nursery, data_dir: Path, **changes: Any) -> AsyncIterator[Line]:
    settings = node_settings(
        name="beta", offers=OfferSettings(count=2, expires_s=20, min_expires_s=1)
    )
    beta_dir = data_dir / "beta"
    for folder in (data_dir / "alpha", beta_dir):
        folder.mkdir()
    async with (
        killable_node(nursery, data_dir / "alpha", **changes) as alpha,
        running_node(beta_dir, settings) as beta,
        running_gateway(
            {"alpha": alpha.proxy.url, "beta": beta.url}, data_dir / "gateway"
        ) as gateway,
    ):
        yield Line(gateway, alpha, beta, beta_dir)


@pytest.mark.parametrize("moment", [Moment.ASKED, Moment.ANSWERED])
async def test_a_node_killed_while_it_offers_costs_only_its_own_offers_and_no_hold_for_long(
    nursery: Nursery, tmp_path: Path, moment: Moment
) -> None:
    async with line(nursery, tmp_path) as one:
        gate = one.alpha.proxy.stop_at(moment, is_request)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(one.offers())
            await gate.reached.wait()
            await one.alpha.kill()
            gate.open() if moment is Moment.ASKED else gate.lose()
        offers = call.result()
        assert set(offers) == {"beta"}
        one.alpha.proxy.remove_gates()
        await one.alpha.start()
        uuid = offers["beta"]["meta"]["uuid"]
        assert (await one.gateway.move(uuid, "ACCEPTED")).status == 200
        await one.completes(uuid)
        assert set(await one.offers()) == {"alpha", "beta"}


async def test_an_offer_is_firm_although_its_node_was_killed(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with line(nursery, tmp_path, offers=LIVES_LONG) as one:
        uuid = (await one.offers())["alpha"]["meta"]["uuid"]
        await one.alpha.kill()
        await one.alpha.start()
        assert (await one.gateway.move(uuid, "ACCEPTED")).status == 200
        await one.completes(uuid)


@pytest.mark.parametrize("moment", [Moment.ASKED, Moment.ANSWERED])
async def test_an_acceptance_over_which_the_node_is_killed_comes_true_once(
    nursery: Nursery, tmp_path: Path, moment: Moment
) -> None:
    async with line(nursery, tmp_path, offers=LIVES_LONG) as one:
        offers = await one.offers()
        uuid, other = (offers[name]["meta"]["uuid"] for name in ("alpha", "beta"))
        gate = one.alpha.proxy.stop_at(moment, is_update)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(one.gateway.move(uuid, "ACCEPTED"))
            await gate.reached.wait()
            await one.alpha.kill()
            gate.open() if moment is Moment.ASKED else gate.lose()
        kinds = [message["kind"] for message in call.result().document["meta"]["messages"]]
        assert "urn:accept-pending" in kinds
        second = await one.gateway.move(other, "ACCEPTED", Prefer="handling=strict")
        assert second.status == 409, second.text
        one.alpha.proxy.remove_gates()
        await one.alpha.start()
        await one.completes(uuid)


@pytest.mark.parametrize("phase", ["PREPARING", "RUNNING", "RELEASING"])
async def test_a_session_whose_node_was_killed_is_shown_as_it_was_and_comes_to_its_end(
    nursery: Nursery, tmp_path: Path, phase: str
) -> None:
    slow = {"type": "simulated", "prepare_s": 0.5, "run_s": 0.5, "release_s": 0.5}
    async with line(nursery, tmp_path, platform=slow, offers=LIVES_LONG) as one:
        uuid = (await one.offers())["alpha"]["meta"]["uuid"]
        await one.gateway.move(uuid, "ACCEPTED")
        await becomes(one.gateway, uuid, phase)
        await one.alpha.kill()
        away = await one.gateway.read(uuid)
        assert away["phase"] == phase
        assert "urn:last-known" in [message["kind"] for message in away["meta"]["messages"]]
        await one.alpha.start()
        await one.completes(uuid)


async def becomes(gateway: GatewayUnderTest, uuid: str, phase: str) -> None:
    async def look() -> bool:
        return bool((await gateway.read(uuid))["phase"] == phase)

    await eventually(look, SETTLED_S)
