"""Gateways on one PostgreSQL replaced one after the other, and no client notices."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
import pytest

from gateway.wire.documents import Document
from tests.siege.clients import Besieged
from tests.siege.fleet import Fleet, running_fleet
from tests.siege.run import come_to_rest, introduce, judged
from tests.soak.calls import ACCOUNTS, TIMEOUT, Caller
from tests.soak.told import Told
from tests.soak.world import SECTIONS
from tests.support.balancer import running_balancer
from tests.support.gateway import GatewayUnderTest
from tests.support.waiting import until

CLIENTS: Final = 4

GRACEFUL: Final[Document] = {
    # Clients give up connections that are unused for less than this. They count from when they come
    # to read an answer, which on a busy machine is a second after it was sent.
    "drain_notice_s": 3.0,
    "drain_s": 10.0,
    # Nobody is late here because the machine is busy.
    "federation": SECTIONS["federation"] | {"deadline_s": 8.0},
    "sessions": SECTIONS["sessions"] | {"read_deadline_s": 5.0, "update_deadline_s": 8.0},
    "commands": SECTIONS["commands"] | {"deadline_s": 8.0, "lease_s": 20.0},
}
IDLE_S: Final = 0.3

REPLACED_S: Final = 60.0
"""Within this two workers are replaced, on a machine that does much else."""

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("siege")]


@dataclass(frozen=True, slots=True)
class Steady:
    """What has to look to its clients as if it never died."""

    is_up: bool = True
    deaths: int = 0
    pid: int = os.getpid()


@asynccontextmanager
async def visited(url: str) -> AsyncIterator[Told]:
    """Clients who act there as long as the block lasts; a call without an answer is a fault."""
    told, ended = Told(), asyncio.Event()
    connector = aiohttp.TCPConnector(keepalive_timeout=IDLE_S)
    async with aiohttp.ClientSession(timeout=TIMEOUT, connector=connector) as http:
        client = GatewayUnderTest(url, http)
        await introduce(client)
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                account = ACCOUNTS[number % len(ACCOUNTS)]
                one = Besieged(Caller(Steady(), client, told), account, told, Random(number))
                group.create_task(one.live(ended))
            try:
                yield told
            finally:
                ended.set()


async def some_calls(told: Told, count: int = 25) -> None:
    """Wait until so many more calls are answered."""
    was = told.counts.total()
    await until(lambda: told.counts.total() >= was + count, within_s=30)


async def nothing_was_noticed(fleet: Fleet, told: Told) -> None:
    assert not told.broken
    failed = {
        (op, outcome): count
        for (op, outcome), count in told.counts.items()
        if outcome.startswith(("5", "no"))
    }
    assert not failed
    assert told.accepted
    assert not await come_to_rest(fleet)
    assert not judged(fleet, told)


def events(log: Path, name: str) -> Sequence[str]:
    """The lines that were logged under this name."""
    return [line for line in log.read_text().splitlines() if f'"event": "{name}"' in line]


async def test_gateways_restarted_in_turn_behind_a_balancer_fail_no_request(
    tmp_path: Path,
) -> None:
    async with running_fleet(tmp_path, Random(1), **GRACEFUL) as fleet:
        urls = [replica.program.url for replica in fleet.replicas]
        async with running_balancer(urls) as balancer:
            await until(lambda: balancer.ready == set(urls))
            async with visited(balancer.url) as told:
                for replica in fleet.replicas:
                    await some_calls(told)
                    await replica.program.stop()
                    await some_calls(told)
                    await replica.program.serve()
                    await until(lambda: balancer.ready == set(urls), within_s=15)
                await some_calls(told)
        await nothing_was_noticed(fleet, told)


async def test_workers_on_postgresql_are_replaced_under_load_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    workers = ("--workers", "2")
    async with running_fleet(
        tmp_path, Random(2), names=["pool"], arguments=workers, **GRACEFUL
    ) as fleet:
        program = fleet.replicas[0].program
        async with visited(program.url) as told:
            await some_calls(told)
            os.kill(program.pid, signal.SIGHUP)
            await until(lambda: bool(events(program.log, "workers_replaced")), REPLACED_S)
            assert len(events(program.log, "worker_started")) == 4
            await some_calls(told)
        await nothing_was_noticed(fleet, told)
        await program.stop()
