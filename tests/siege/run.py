"""One siege: traffic, gateways killed in turn, the database taken away, then the reckoning."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import aiohttp

from tests.siege.clients import AnyReplica, Besieged
from tests.siege.fleet import Fleet, running_fleet
from tests.soak.calls import ACCOUNTS, TIMEOUT, Caller
from tests.soak.judging import broken_promises
from tests.soak.told import Told
from tests.soak.traffic import REQUEST
from tests.soak.watching import defects
from tests.soak.world import EXPIRES_S
from tests.support.gateway import GatewayUnderTest
from tests.support.waiting import eventually

CLIENTS: Final = 8
"""Who act at the same time, as in a soak."""

EVERY_S: Final = (1.0, 3.0)
"""How long both gateways are up before one of them is killed."""

DOWN_S: Final = (0.1, 1.5)
"""How long the killed one stays down."""

CALM_S: Final = 2.0
"""Traffic without a disturbance: before the first, before the outage and after it."""

REST_S: Final = EXPIRES_S + 40.0
"""Within this everything has come to rest: what crashes left is let go, or expires."""

ROUNDS: Final = 6
"""Requests at the end, through either gateway, of which every second is accepted."""

EXPECTED_EVENTS: Final = ("database_away",)
"""What a gateway logs as an error that is none of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard it is: so many gateways are killed, and the database stands still for so long."""

    kills: int
    still_s: float


FULL: Final = Plan(kills=20, still_s=30.0)
"""Kills for a minute, an outage of half a minute."""

SHORT: Final = Plan(kills=3, still_s=8.0)
"""The same within a minute in all."""


@dataclass(slots=True)
class Result:
    """How it went; ``broken`` is empty if it went well.

    ``killing_s`` is how long gateways were killed, ``while_still`` what was answered without the
    database, ``at_rest_s`` when all had come to rest.
    """

    seed: int
    told: Told
    deaths: int = 0
    killing_s: float = 0.0
    still_s: float = 0.0
    at_rest_s: float = 0.0
    sessions: int = 0
    while_still: dict[tuple[str, int], int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The report."""
        told = self.told
        yield (
            f"{sum(told.counts.values())} calls, {len(told.accepted)} sessions accepted of "
            f"{self.sessions} known, {self.deaths} gateways killed in {self.killing_s:.0f} s, "
            f"database away for {self.still_s:.0f} s, at rest after {self.at_rest_s:.1f} s"
        )
        for (op, outcome), count in sorted(told.counts.items()):
            yield f"  {op:12} {outcome:28} {count:7}"
        yield "without the database:"
        for (op, status), count in sorted(self.while_still.items()):
            yield f"  {op:12} {status:<28} {count:7}"
        if self.broken:
            yield f"BROKEN ({len(self.broken)}), seed {self.seed}:"
            yield from (f"  {text}" for text in self.broken)


async def besiege(plan: Plan, seed: int, data_dir: Path) -> Result:
    """One siege; everything is ended and nothing left but files."""
    random, told = Random(seed), Told()
    result = Result(seed, told, still_s=plan.still_s)
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(running_fleet(data_dir, random))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
        clients = [GatewayUnderTest(replica.program.url, http) for replica in fleet.replicas]
        await introduce(clients[0])
        callers = [
            Caller(replica, client, told)
            for replica, client in zip(fleet.replicas, clients, strict=True)
        ]
        calls = AnyReplica(fleet, callers, told, random)
        await _besieged_traffic(fleet, calls, plan, result, random)
        result.while_still = dict(calls.while_still)
        result.deaths = sum(replica.deaths for replica in fleet.replicas)
        began = monotonic()
        result.broken += [*told.broken, *await come_to_rest(fleet)]
        result.at_rest_s = monotonic() - began
        result.broken += await look_for_orphans(fleet, clients)
        for replica in fleet.replicas:
            await replica.program.stop()
        result.broken += judged(fleet, told)
        result.sessions = len(fleet.sessions())
    return result


async def introduce(client: GatewayUnderTest) -> None:
    """Make the clients known."""
    for account in ACCOUNTS:
        document = {"username": account.login, "password": account.password}
        answer = await client.call("POST", "/admin/identities", document)
        assert answer.status == 201, answer.text


async def _besieged_traffic(
    fleet: Fleet, calls: AnyReplica, plan: Plan, result: Result, random: Random
) -> None:
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            account = ACCOUNTS[number % len(ACCOUNTS)]
            one = Besieged(calls, account, result.told, Random(random.random()))
            group.create_task(one.live(ended))
        await asyncio.sleep(CALM_S)
        began = monotonic()
        for _ in range(plan.kills):
            replica = random.choice(fleet.replicas)
            await replica.kill()
            await asyncio.sleep(random.uniform(*DOWN_S))
            await replica.restart()
            await asyncio.sleep(random.uniform(*EVERY_S))
        result.killing_s = monotonic() - began
        await asyncio.sleep(CALM_S)
        await fleet.pause_database(plan.still_s)
        await asyncio.sleep(CALM_S)
        ended.set()


async def come_to_rest(fleet: Fleet) -> list[str]:
    """Wait until nothing is under way and nothing held; what still is when the time is over."""

    def rests() -> bool:
        if fleet.pending() or any(fleet.held().values()):
            return False
        return not any(fleet.wanted().values())

    async def look() -> bool:
        return await asyncio.to_thread(rests)

    try:
        await eventually(look, REST_S)
    except AssertionError:
        return [
            f"not at rest after {REST_S:.0f} s: {fleet.pending()} commands pending, "
            f"held {fleet.held()}, wanted {fleet.wanted()}"
        ]
    return []


async def look_for_orphans(fleet: Fleet, clients: list[GatewayUnderTest]) -> list[str]:
    """Ask and accept once more: nodes then hold the live offers and sessions, and nothing else."""
    for number in range(ROUNDS):
        asked, told = clients[number % len(clients)], clients[(number + 1) % len(clients)]
        answer = await asked.ask(REQUEST)
        if answer.status != 303 or not answer.document.get("offers"):
            return [f"well nodes, and no offers: {answer.status} {answer.text[:300]}"]
        if number % 2:
            uuid = answer.document["offers"][0]["meta"]["uuid"]
            answer = await told.move(uuid, "ACCEPTED", Prefer="handling=strict")
            if answer.status != 200:
                return [f"well nodes, and not accepted: {answer.status} {answer.text[:300]}"]

    def are_agreed() -> bool:
        held = fleet.held()
        return any(held.values()) and not fleet.pending() and held == fleet.wanted()

    async def look() -> bool:
        return await asyncio.to_thread(are_agreed)

    try:
        await eventually(look, EXPIRES_S)
    except AssertionError:
        return [f"held {fleet.held()}, wanted {fleet.wanted()}, {fleet.pending()} pending"]
    return await come_to_rest(fleet)


def judged(fleet: Fleet, told: Told) -> list[str]:
    """What is not as it must be at the end, in the database, at the nodes and in the logs."""
    folders = [node.folder for node in fleet.nodes]
    broken = list(broken_promises(fleet.sessions(), fleet.pending(), folders, told))
    for replica in fleet.replicas:
        broken += [
            f"{replica.program.folder.name} logged {count} times: {text}"
            for text, count in defects(replica.program.log).items()
            if not text.startswith(EXPECTED_EVENTS)
        ]
    return broken
