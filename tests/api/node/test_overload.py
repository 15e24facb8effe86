"""A node that is asked more than it can do turns requests away, and goes on with the others."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import uuid4

from gateway.httpkit.shedding import FEWEST
from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal
from node_stub.clock import Clock, SystemClock
from node_stub.config import NodeSheddingSettings, OfferSettings
from node_stub.ledger import Amounts
from node_stub.platforms.simulated import SimulatedPlatform
from tests.support.node import (
    QUICK,
    Answer,
    NodeClient,
    ShiftedClock,
    node_settings,
    running_node,
)
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

BURST: Final = 60
ROOMY: Final = Amounts(cores=100_000, memory_gib=100_000, storage_gib=100_000)
"""Nobody is refused for want of capacity."""

ONE_EACH: Final = OfferSettings(count=1, estimate_timeout_s=60.0)


class Slow(SimulatedPlatform):
    """Says what it can run when it is told to."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        super().__init__(QUICK, path, clock or SystemClock(), Random(1))
        self.asked = 0
        self._answers = asyncio.Semaphore(0)

    def answer(self, count: int) -> None:
        """Let so many be answered."""
        for _ in range(count):
            self._answers.release()

    async def estimate(self, document: Document) -> Appraisal:
        self.asked += 1
        await self._answers.acquire()
        return await super().estimate(document)


async def has(node: NodeClient, line: str) -> bool:
    """Whether the node's metrics have this line."""
    return line in (await node.text("/metrics")).splitlines()


def burst(node: NodeClient, count: int) -> list["asyncio.Task[Answer]"]:
    """So many requests at once."""
    return [asyncio.create_task(node.ask(minimal_request())) for _ in range(count)]


async def test_a_burst_is_turned_away_where_there_is_no_room_and_takes_up_nothing(
    tmp_path: Path,
) -> None:
    shedding = NodeSheddingSettings(start_heavy=FEWEST, low_lag_s=1e-9, max_waiting=0)
    settings = node_settings(capacity=ROOMY, offers=ONE_EACH, shedding=shedding)
    platform = Slow(tmp_path / "slow.db")
    async with running_node(tmp_path, settings, platform=platform) as node:
        asking = burst(node, BURST)
        await until(lambda: sum(one.done() for one in asking) == BURST - FEWEST)
        # Who holds an offer already is not kept out by those who ask for one.
        assert (await node.call("GET", f"/sessions/{uuid4()}")).status == 404
        platform.answer(FEWEST)
        answers = await asyncio.gather(*asking)
        assert Counter(one.status for one in answers) == {303: FEWEST, 503: BURST - FEWEST}
        for one in answers:
            if one.status == 503:
                assert one.document["type"].endswith("overloaded")
                assert 1 <= int(one.headers["Retry-After"]) <= 3
        assert platform.asked == FEWEST
        assert await has(node, f"execbroker_node_ledger_bookings {float(FEWEST)}")
        shed = 'execbroker_node_requests_shed_total{cause="queue_full",weight="heavy"}'
        assert await has(node, f"{shed} {float(BURST - FEWEST)}")


async def test_a_node_that_is_not_told_otherwise_takes_what_a_gateway_lets_in(
    tmp_path: Path,
) -> None:
    settings = node_settings(capacity=ROOMY, offers=ONE_EACH)
    platform = Slow(tmp_path / "slow.db")
    async with running_node(tmp_path, settings, platform=platform) as node:
        asking = burst(node, BURST)
        await until(lambda: platform.asked == BURST)
        platform.answer(BURST)
        assert {one.status for one in await asyncio.gather(*asking)} == {303}


async def test_what_was_waited_for_a_turn_is_taken_from_the_budget(tmp_path: Path) -> None:
    waits = timedelta(seconds=0.5)
    shedding = NodeSheddingSettings(start_heavy=FEWEST, low_lag_s=1e-9, max_wait_s=20.0)
    settings = node_settings(capacity=ROOMY, offers=ONE_EACH, shedding=shedding)
    clock = ShiftedClock()
    platform = Slow(tmp_path / "slow.db", clock)
    async with running_node(tmp_path, settings, clock=clock, platform=platform) as node:
        first = burst(node, FEWEST)
        await until(lambda: platform.asked == FEWEST)
        last = asyncio.create_task(node.ask(minimal_request(), Federation_Budget_Ms="60000"))
        await eventually(lambda: has(node, "execbroker_node_heavy_requests_waiting 1.0"))
        waiting_since = clock.now()
        await until(lambda: clock.now() - waiting_since >= waits)
        platform.answer(FEWEST)
        await asyncio.gather(*first)
        await until(lambda: platform.asked == FEWEST + 1)
        clock.advance(timedelta(seconds=60) - waits)
        platform.answer(1)
        refused = await last
        assert refused.status == 503
        assert refused.document["type"].endswith("budget-spent")
        assert await has(node, f"execbroker_node_ledger_bookings {float(FEWEST)}")
