"""One soak: traffic and disturbances, then rest, then the reckoning."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import aiohttp

from tests.api.gateway.conftest import holds_of
from tests.soak.calls import ACCOUNTS, TIMEOUT, Caller
from tests.soak.faults import plan
from tests.soak.judging import (
    UNDERWAY,
    broken_bounds,
    broken_promises,
    gateway_sessions,
    pending_commands,
    percentile,
)
from tests.soak.told import Told
from tests.soak.traffic import REQUEST, Client
from tests.soak.watching import Sample, Watch, growth
from tests.soak.world import EXPIRES_S, NODES, SLOTS, World, running_world
from tests.support.gateway import GatewayUnderTest
from tests.support.node import ADMIN, NodeClient
from tests.support.waiting import eventually

CLIENTS: Final = 8
"""Who act at the same time: one more than there are parts of the federation."""

REST_S: Final = EXPIRES_S + 30.0
"""Within this everything has come to rest: offers expire, ejected nodes come back, commands are
delivered."""


@dataclass(frozen=True, slots=True)
class Result:
    """How it went; ``broken`` is empty if it went well."""

    seed: int
    seconds: float
    told: Told
    deaths: int
    disturbances: tuple[str, ...]
    rest_s: float
    steady: tuple[Sample, ...]
    broken: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The report."""
        told = self.told
        calls = sum(told.counts.values())
        yield (
            f"{calls} calls in {self.seconds:.0f} s, {len(told.accepted)} sessions accepted, "
            f"{len(self.disturbances)} disturbances, {self.deaths} deaths of the gateway, "
            f"at rest after {self.rest_s:.1f} s"
        )
        for (op, outcome), count in sorted(told.counts.items()):
            yield f"  {op:10} {outcome:28} {count:7}"
        yield (
            f"answers to requests: p50 {percentile(told.ask_s, 0.5):.2f} s, "
            f"p99 {percentile(told.ask_s, 0.99):.2f} s, longest {max(told.ask_s, default=0):.2f} s"
        )
        if self.steady:
            memory_mib = growth([(sample.at_s, sample.memory_mib) for sample in self.steady])
            fds = growth([(sample.at_s, sample.fds) for sample in self.steady])
            last = self.steady[-1]
            yield (
                f"the gateway ended at {last.memory_mib:.1f} MiB and {last.fds} open files; in its "
                f"last {last.at_s - self.steady[0].at_s:.0f} s it grew by {memory_mib:+.1f} MiB "
                f"and {fds:+.1f} files"
            )
        if self.broken:
            yield f"BROKEN ({len(self.broken)}), seed {self.seed}:"
            yield from (f"  {text}" for text in self.broken)
            yield "what was disturbed:"
            yield from (f"  {text}" for text in self.disturbances)


async def soak(seconds: float, seed: int, data_dir: Path) -> Result:
    """So many seconds of traffic and trouble; everything is ended and nothing left but files."""
    told = Told()
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(data_dir, seed))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
        client = GatewayUnderTest(world.gateway.url, http)
        await _introduce(client)
        watch = Watch(world)
        await _disturbed_traffic(world, client, told, watch, seconds=seconds, seed=seed)
        await world.recover()
        began = monotonic()
        broken = [*told.broken, *await _come_to_rest(world)]
        rest_s = monotonic() - began
        broken += await _look_for_orphans(world, client)
        broken += await _stop(world)
        steady = watch.steady()
        folders = [node.folder for node in world.nodes]
        known, pending = gateway_sessions(world.database), pending_commands(world.database)
        broken += broken_promises(known, pending, folders, told)
        broken += broken_bounds(world.gateway.log, told, steady)
    return Result(
        seed,
        seconds,
        told,
        world.deaths,
        tuple(world.log),
        rest_s,
        tuple(steady),
        tuple(broken),
    )


async def _introduce(client: GatewayUnderTest) -> None:
    for account in ACCOUNTS:
        document = {"username": account.login, "password": account.password}
        answer = await client.call("POST", "/admin/identities", document)
        assert answer.status == 201, answer.text


async def _disturbed_traffic(
    world: World, client: GatewayUnderTest, told: Told, watch: Watch, *, seconds: float, seed: int
) -> None:
    random, ended = Random(seed), asyncio.Event()
    caller = Caller(world, client, told)
    trouble = plan(seconds, nodes=len(NODES), slots=len(SLOTS), seed=seed)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            account = ACCOUNTS[number % len(ACCOUNTS)]
            one = Client(caller, account, told, Random(random.random()))
            group.create_task(one.live(ended))
        group.create_task(watch.look_until(ended))
        await world.live(seconds, trouble)
        ended.set()


async def _come_to_rest(world: World) -> list[str]:
    """Wait until nothing is under way; what still is when the time is over."""

    async def is_at_rest() -> bool:
        if await asyncio.to_thread(pending_commands, world.database):
            return False
        known = await asyncio.to_thread(gateway_sessions, world.database)
        if any(row.phase in UNDERWAY for row in known.values()):
            return False
        return not any((await _holds(world)).values())

    try:
        await eventually(is_at_rest, REST_S)
    except AssertionError:
        return [f"not at rest after {REST_S:.0f} s; held: {await _holds(world)}"]
    return []


async def _look_for_orphans(world: World, client: GatewayUnderTest) -> list[str]:
    """Ask once more: what the nodes hold then is what the client was offered, and no more."""
    answer = await client.ask(REQUEST, f"?limit=100&nodes={','.join(NODES)}")
    if answer.status != 303:
        return [f"well nodes, and no offers: {answer.status} {answer.text[:300]}"]
    offers = [offer["federation"]["node"] for offer in answer.document.get("offers", ())]
    expected = {name: offers.count(name) for name in NODES}

    async def is_as_told() -> bool:
        return not pending_commands(world.database) and await _holds(world) == expected

    if not all(expected.values()):
        return [f"well nodes, and not an offer of each: {expected}"]
    try:
        await eventually(is_as_told, EXPIRES_S / 2)
    except AssertionError:
        return [f"held: {await _holds(world)}, offered: {expected}"]
    return []


async def _stop(world: World) -> list[str]:
    try:
        await world.gateway.stop()
    except AssertionError:
        return ["the gateway did not end when it was told to"]
    return []


async def _holds(world: World) -> dict[str, int]:
    """Holds and bookings of each real node, by its own count."""
    found: dict[str, int] = {}
    for program in world.nodes:
        async with NodeClient(program.url, ADMIN) as node:
            found[program.folder.name] = await holds_of(node)
    return found
