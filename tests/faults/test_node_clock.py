"""A node's clock that is set by hours: what was offered lives, and what runs goes on, as was said.

The node is a process of its own whose machine's clock is turned beneath it; nobody else's is.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.wire.documents import Document
from gateway.wire.times import parse_instant
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import ran_at
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import (
    ADMIN,
    NodeClient,
    node_settings,
    process_config,
    running_node,
)
from tests.support.nursery import Nursery
from tests.support.pair import PATIENT, STRICT
from tests.support.requests import minimal_request
from tests.support.turned_node import SHIFT
from tests.support.waiting import eventually

HOUR_S: Final = 3600.0
HOURS: Final = 3 * HOUR_S
MINUTE_S: Final = 60.0
EXPIRES_S: Final = 4
SOON_S: Final = 10.0
"""What is due happens within, on a busy machine."""

BOTH_WAYS: Final = pytest.mark.parametrize("shift_s", [HOURS, -HOURS], ids=["forward", "back"])


@dataclass(slots=True)
class TurnedNode:
    """A node, and the machine that it believes."""

    client: NodeClient
    data_dir: Path

    def turn(self, ahead_s: float) -> None:
        """Set the machine's clock: so far ahead of everybody else's."""
        turn(self.data_dir, ahead_s)

    async def offers(self) -> list[Document]:
        """Fresh offers."""
        answer = await self.client.ask(minimal_request())
        assert answer.status == 303, answer
        offers: list[Document] = answer.document["offers"]
        return offers

    async def runs(self, run_s: float, duration: str) -> str:
        """A session that runs, of work that takes so long."""
        request = minimal_request(schedule={"requested": {"duration": duration}})
        request["executable"]["environment"] = {"SIMULATE_RUN_S": str(run_s)}
        answer = await self.client.direct(request)
        await self.client.reaches(answer.uuid, "RUNNING", within_s=SOON_S)
        return answer.uuid


def turn(data_dir: Path, ahead_s: float) -> None:
    (data_dir / "shift.new").write_text(str(ahead_s))
    (data_dir / "shift.new").rename(data_dir / "shift")


@asynccontextmanager
async def turned_node(
    nursery: Nursery, data_dir: Path, ahead_s: float = 0.0, **changes: Any
) -> AsyncIterator[TurnedNode]:
    offers = {"count": 2, "expires_s": EXPIRES_S, "min_expires_s": 1}
    config = process_config(**{"offers": offers} | changes)
    (data_dir / "settings.yaml").write_text(yaml.safe_dump(config))
    turn(data_dir, ahead_s)
    environ = {"ADMIN_PASSWORD": ADMIN.password, SHIFT: str(data_dir / "shift")}
    child = await nursery.start("tests.support.turned_node", data_dir, "127.0.0.1:0", environ)
    try:
        async with NodeClient(child.url, ADMIN) as client:
            yield TurnedNode(client, data_dir)
    finally:
        await child.kill()


@BOTH_WAYS
async def test_offers_live_as_long_as_was_said_whatever_the_clock_says(
    nursery: Nursery, tmp_path: Path, shift_s: float
) -> None:
    loop = asyncio.get_running_loop()
    async with turned_node(nursery, tmp_path) as node:
        began = loop.time()
        wanted, unwanted = await node.offers(), await node.offers()
        node.turn(shift_s)
        accepted = await node.client.update(wanted[0]["meta"]["uuid"], "ACCEPTED")
        assert accepted.document["phase"] == "ACCEPTED"
        late = unwanted[0]["meta"]["uuid"]

        async def has_expired() -> bool:
            phase: str = (await node.client.session(late))["phase"]
            return phase == "EXPIRED"

        await eventually(has_expired, SOON_S)
        # What was promised was promised in whole seconds.
        assert loop.time() - began > EXPIRES_S - 1
        assert (await node.client.update(late, "ACCEPTED")).document["phase"] == "EXPIRED"
        await node.client.reaches(wanted[0]["meta"]["uuid"], "COMPLETED")
        assert ran_at(tmp_path) == {wanted[0]["meta"]["uuid"]}


@BOTH_WAYS
async def test_what_runs_ends_neither_sooner_nor_later_than_it_would(
    nursery: Nursery, tmp_path: Path, shift_s: float
) -> None:
    loop = asyncio.get_running_loop()
    async with turned_node(nursery, tmp_path) as node:
        lasting = await node.runs(600, "PT1H")
        began = loop.time()
        short = await node.runs(2.5, "PT1H")
        node.turn(shift_s)
        await node.client.reaches(short, "COMPLETED", within_s=SOON_S)
        assert loop.time() - began > 2.5
        assert (await node.client.session(lasting))["phase"] == "RUNNING"


@BOTH_WAYS
async def test_the_wall_limit_is_time_that_passed(
    nursery: Nursery, tmp_path: Path, shift_s: float
) -> None:
    limit_s = 4
    loop = asyncio.get_running_loop()
    async with turned_node(nursery, tmp_path) as node:
        began = loop.time()
        uuid = await node.runs(600, f"PT{limit_s}S")
        node.turn(shift_s)
        session = await node.client.reaches(uuid, "FAILED", within_s=limit_s + SOON_S)
        assert loop.time() - began > limit_s - 1
        said = session["compute"]["meta"]["messages"]
        assert "urn:over-time" in {message["kind"] for message in said}, said


@BOTH_WAYS
async def test_a_clock_that_was_set_is_taken_over_once_nothing_is_promised(
    nursery: Nursery, tmp_path: Path, shift_s: float
) -> None:
    async with turned_node(nursery, tmp_path) as node:
        await node.offers()
        node.turn(shift_s)
        assert not await is_ahead(node, shift_s), "promised by two clocks"

        async def is_taken_over() -> bool:
            return '"is_taken_over": true' in (tmp_path / "log").read_text()

        await eventually(is_taken_over, EXPIRES_S + SOON_S)
        assert await is_ahead(node, shift_s)


async def is_ahead(node: TurnedNode, shift_s: float) -> bool:
    """Whether fresh offers are by the clock of the node's machine, not by everybody else's."""
    (offer, *_) = await node.offers()
    ahead_s = (parse_instant(offer["expires"]) - datetime.now(UTC)).total_seconds()
    return abs(ahead_s - shift_s) < MINUTE_S


# -- through a gateway -----------------------------------------------------------------------------


@asynccontextmanager
async def gateway_over(
    nursery: Nursery, at: Path, ahead_s: float
) -> AsyncIterator[tuple[GatewayUnderTest, TurnedNode]]:
    """A gateway over alpha, whose machine's clock is wrong, and beta, whose is right."""
    for name in ("alpha", "beta"):
        (at / name).mkdir()
    async with (
        turned_node(nursery, at / "alpha", ahead_s) as alpha,
        running_node(at / "beta", node_settings(name="beta")) as beta,
        running_gateway(
            {"alpha": alpha.client.url, "beta": beta.url}, at / "gateway", sessions=PATIENT
        ) as gateway,
    ):
        beta.auth = ADMIN
        yield gateway, alpha


async def asked(gateway: GatewayUnderTest) -> tuple[dict[str, Document], Document]:
    """The best offer of each node, and the whole answer."""
    answer = await gateway.ask(minimal_request(), "?per_node=1")
    assert answer.status == 303, answer.text
    offers = {offer["federation"]["node"]: offer for offer in answer.document["offers"]}
    return offers, answer.document


async def test_offers_of_a_node_that_is_an_hour_behind_are_not_passed_on_and_let_go(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with gateway_over(nursery, tmp_path, -HOUR_S) as (gateway, alpha):
        offers, offerset = await asked(gateway)
        coverage = {entry["node"]: entry for entry in offerset["federation"]["coverage"]}
        assert offers.keys() == {"beta"}
        assert coverage["alpha"]["offers"] == 0
        why = coverage["alpha"]["reason"]
        assert why["code"] == "no_fitting_offer"
        assert re.search(
            r"had expired 3\d{3} s before .*its node's clock may be wrong", why["text"]
        )

        async def is_free() -> bool:
            return await holds_of(alpha.client) == 0

        await eventually(is_free, SOON_S)
        answer = await gateway.move(offers["beta"]["meta"]["uuid"], "ACCEPTED", **STRICT)
        assert answer.status == 200, answer.text
    assert ran_at(tmp_path / "alpha") == set()


async def test_offers_of_a_node_that_is_an_hour_ahead_last_as_long_as_the_node_keeps_them(
    nursery: Nursery, tmp_path: Path
) -> None:
    async with gateway_over(nursery, tmp_path, HOUR_S) as (gateway, alpha):
        wanted = (await asked(gateway))[0]["alpha"]["meta"]["uuid"]
        answer = await gateway.move(wanted, "ACCEPTED", **STRICT)
        assert answer.status == 200, answer.text
        offer = (await asked(gateway))[0]["alpha"]
        late = offer["meta"]["uuid"]
        assert parse_instant(offer["expires"]) - datetime.now(UTC) > timedelta(minutes=50)
        await alpha.client.reaches(late, "EXPIRED", within_s=SOON_S)
        assert (await gateway.move(late, "ACCEPTED", **STRICT)).status == 409
        assert (await gateway.read(late))["phase"] == "EXPIRED"
        await alpha.client.reaches(wanted, "COMPLETED", within_s=SOON_S)
        assert (await gateway.read(wanted))["phase"] == "COMPLETED"
    assert ran_at(tmp_path / "alpha") == {wanted}
