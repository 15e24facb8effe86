"""Kill the gateway at every step it takes, one after the other: its promises hold all the same.

One run without a kill writes down every step. Then for each of them a gateway is killed just there
with SIGKILL and started again on the same data, and its client goes on as any sensible one would:
who got no answer asks the same again, with the same key. Where not all steps are wanted, on
PostgreSQL it is killed only before its commits, which leaves the server to undo a transaction and
what it keeps from others: all else is the same.
"""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from gateway.wire.documents import Document
from gateway.wire.phases import TERMINAL_SESSION_PHASES
from tests.api.gateway.conftest import holds_of
from tests.support.crash_campaign import (
    PAUSE_S,
    SETTLED_S,
    TIMEOUT_S,
    Campaign,
    Victim,
    play_parts,
)
from tests.support.crash_labels import Label, Moment
from tests.support.crash_runs import Run, labelled_gateway, running_sites, uuids_of
from tests.support.crashing import is_request, is_update_of, ran_at
from tests.support.lost_node import WISH, kinds_of, message_of
from tests.support.nursery import Nursery
from tests.support.proxy import Moment as Passing
from tests.support.proxy import Weather, running_proxy
from tests.support.stores import Store
from tests.support.waiting import eventually

FAR: Final = "?fall_through=3&max_cost=1&start_before=2126-01-01T00:00:00Z"
ENDED: Final = frozenset(phase.value for phase in TERMINAL_SESSION_PHASES)

STEPS: Final = frozenset(
    {
        "AcceptanceService._intend:committed",
        "AcceptanceService._refused:before-commit",
        "AcceptanceService._take_in:before-commit",
        "AcceptanceService._tell:answered",
        "AcceptanceService._truth:answered",
        "Housekeeping.expire_offers:before-commit",
        "IdempotencyService._reserve:committed",
        "IdempotencyService.settle:committed",
        "LettingGoService.end:sending",
        "LettingGoService.let_go:committed",
        "NodeCall.answer:answered",
        "OfferBook.add:before-commit",
        "OfferBook.add_late:before-commit",
        "ResubmissionService._end_lost:committed",
        "ResubmissionService._note_offers:before-commit",
        "ResubmissionService._watch:before-commit",
        "ResubmissionService.run_due:committed",
        "Outbox._claim:committed",
        "Outbox._settle:before-commit",
        "SessionService._from_node:before-commit",
    }
)
"""Steps of which each has to be among those killed at."""


# -- what the client does --------------------------------------------------------------------------


async def leave_some_unwanted(run: Run) -> None:
    for uuid in uuids_of(await run.ask("brief")):
        run.ends[uuid] = "EXPIRED"


async def be_told_late(run: Run) -> None:
    gate = run.proxies["brief"].stop_at(Passing.ANSWERED, is_request)
    answer = await run.ask("alpha,brief", Prefer="wait=2", Idempotency_Key="late")
    gate.open()
    run.proxies["brief"].remove_gates()
    first = set(uuids_of(answer))
    assert {offer["federation"]["node"] for offer in answer["offers"]} == {"alpha"}

    async def has_joined() -> list[Document]:
        now = await run.call("GET", f"/offersets/{answer['meta']['uuid']}")
        offers: list[Document] = now.document["offers"]
        assert first <= {offer["meta"]["uuid"] for offer in offers}
        # Late answers are nobody's once the gateway has died: what they hold expires.
        return offers if len(offers) > len(first) or run.gateway.was_killed else []

    for offer in await eventually(has_joined, SETTLED_S):
        uuid = offer["meta"]["uuid"]
        run.ends[uuid] = "REJECTED" if uuid in first else "EXPIRED"
    for uuid in first:
        assert (await run.move(uuid, "REJECTED")).status == 200


async def ask_twice_and_accept(run: Run) -> None:
    offerset = await run.ask("alpha,beta", Idempotency_Key="one")
    again = await run.ask("alpha,beta", Idempotency_Key="one")
    assert again["meta"]["uuid"] == offerset["meta"]["uuid"]
    assert uuids_of(again) == uuids_of(offerset)
    uuids = uuids_of(offerset)
    await run.accept(offerset["offers"], uuids[1])
    assert (await run.move(uuids[0], "ACCEPTED")).status == 409
    assert (await run.move(uuids[1], "ACCEPTED")).status == 200


async def accept_unheard(run: Run) -> None:
    """The node's answer is lost, and it has to be asked what it did."""
    offerset = await run.ask("alpha,beta", Idempotency_Key="unheard")
    chosen = offerset["offers"][0]
    proxy = run.proxies[chosen["federation"]["node"]]
    proxy.applies_to = is_update_of(chosen["meta"]["uuid"])
    proxy.weather = Weather.REPLY_LOST
    await run.accept(offerset["offers"], chosen["meta"]["uuid"])
    proxy.weather = Weather.FINE


async def fall_through(run: Run) -> None:
    offerset = await run.ask("alpha,beta", Idempotency_Key="falls")
    first, second = offerset["offers"]
    await run.withdraw(first)
    accepted = await run.accept(offerset["offers"], first["meta"]["uuid"], FAR)
    assert accepted == second["meta"]["uuid"]


async def cancel(run: Run) -> None:
    offerset = await run.ask("endless", Idempotency_Key="cancelled")
    uuid = await run.accept(offerset["offers"], uuids_of(offerset)[0])
    assert (await run.move(uuid, "CANCELLED")).status == 200
    run.ends[uuid] = "CANCELLED"


async def reject(run: Run) -> None:
    """All of a set, of which one was wanted and its node did not keep to it."""
    offerset = await run.ask("alpha,beta", Idempotency_Key="rejected")
    await run.withdraw(offerset["offers"][0])
    refused, *others = uuids_of(offerset)
    assert (await run.move(refused, "ACCEPTED")).status == 409
    for uuid in others:
        assert (await run.move(uuid, "REJECTED")).status == 200
    run.ends |= dict.fromkeys(uuids_of(offerset), "REJECTED")


async def execute_directly(run: Run) -> None:
    session = await run.ask("alpha,beta", "/direct", Idempotency_Key="direct")
    again = await run.ask("alpha,beta", "/direct", Idempotency_Key="direct")
    assert again["meta"]["uuid"] == session["meta"]["uuid"]
    run.ends[session["meta"]["uuid"]] = "COMPLETED"


async def lose_a_node(run: Run) -> None:
    """It is lost before the work runs, and the owner wants it executed elsewhere then."""
    offerset = await run.ask("alpha,stuck", Idempotency_Key="lost")
    offers = {offer["federation"]["node"]: offer["meta"]["uuid"] for offer in offerset["offers"]}
    lost = await run.accept(offerset["offers"], offers["stuck"], **WISH)
    run.ends[lost] = "CANCELLED"
    await run.sites["stuck"].client.reaches(lost, "PREPARING")
    await run.proxies["stuck"].close()

    async def has_successor() -> Document | None:
        session = await run.session(lost)
        return session if "urn:resubmitted-as" in kinds_of(session) else None

    moved = await eventually(has_successor, SETTLED_S)
    assert moved is not None
    run.ends[message_of(moved, "urn:resubmitted-as")["values"]["session"]] = "COMPLETED"
    await run.proxies["stuck"].open()


SCRIPT: Final = (
    leave_some_unwanted,
    be_told_late,
    ask_twice_and_accept,
    accept_unheard,
    fall_through,
    cancel,
    reject,
    execute_directly,
    lose_a_node,
)


# -- what has to hold ------------------------------------------------------------------------------


async def comes_to_rest(run: Run) -> None:
    """Every session ends as the client was told, and nothing is left to be said to any node."""
    last: dict[str, str] = {}

    async def has_ended() -> bool:
        for uuid, end in run.ends.items():
            if last.get(uuid) != end:
                last[uuid] = (await run.session(uuid))["phase"]
            if last[uuid] != end:
                await asyncio.sleep(PAUSE_S)
                return False
        return True

    async def is_quiet() -> bool:
        return not await run.rows("SELECT id FROM commands UNION ALL SELECT id FROM unkept_holds")

    async def is_over() -> bool:
        for uuid, node in await run.rows("SELECT uuid, node FROM sessions"):
            if (await run.sites[node].client.session(uuid))["phase"] not in ENDED:
                await asyncio.sleep(PAUSE_S)
                return False
        return True

    try:
        for look in (has_ended, is_quiet, is_over):
            await eventually(look, SETTLED_S)
    except AssertionError as error:
        wrong = {uuid: (last.get(uuid), end) for uuid, end in run.ends.items()}
        error.add_note(f"shown and expected: {wrong}")
        error.add_note(f"commands: {await run.rows('SELECT * FROM commands')}")
        raise


async def check(run: Run) -> None:
    """What ran is what was accepted, at one node once, and one of a set."""
    ran = {name: ran_at(site.data_dir) for name, site in run.sites.items()}
    kept = {
        uuid: (offerset, node)
        for uuid, offerset, node in await run.rows("SELECT uuid, offerset, node FROM sessions")
    }
    for uuid, end in run.ends.items():
        where = [name for name, uuids in ran.items() if uuid in uuids]
        assert where == ([kept[uuid][1]] if end in {"COMPLETED", "CANCELLED"} else []), uuid
    begun = {uuid for uuid in kept if any(uuid in uuids for uuids in ran.values())}
    assert begun <= run.ends.keys(), "more ran than the client was told"
    taken = [kept[uuid][0] for uuid in begun]
    assert len(taken) == len(set(taken)), "two of one set ran"


# -- the runs --------------------------------------------------------------------------------------


def is_enough(store: Store, label: Label) -> bool:
    """Whether a gateway on this database is to be killed there, where not all steps are wanted."""
    return store.server is None or label.moment is Moment.BEFORE_COMMIT


@pytest.mark.timeout(TIMEOUT_S)
async def test_a_gateway_killed_at_any_of_its_steps_keeps_its_promises(
    nursery: Nursery, store_of_gateways: Store, tmp_path: Path
) -> None:
    async with running_sites(tmp_path) as sites:

        async def play(folder: Path, dies_at: Label | None) -> Victim:
            async with AsyncExitStack() as stack:
                proxies = {
                    name: await stack.enter_async_context(running_proxy(site.client.url))
                    for name, site in sites.items()
                }
                urls = {name: proxy.url for name, proxy in proxies.items()}
                gateway = labelled_gateway(nursery, urls, folder, dies_at)
                stack.push_async_callback(gateway.kill)
                await gateway.start()
                # One connection for each call: if it is refused or cut, the gateway has ended.
                connector = aiohttp.TCPConnector(force_close=True)
                http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
                run = Run(gateway, sites, proxies, folder, http)
                await play_parts([partial(part, run) for part in SCRIPT], gateway)
                await comes_to_rest(run)
                await check(run)
            return gateway

        campaign = Campaign(tmp_path, play)
        await campaign.kill_everywhere(STEPS, partial(is_enough, store_of_gateways))

        async def is_free() -> bool:
            return {await holds_of(site.client) for site in sites.values()} == {0}

        await eventually(is_free, SETTLED_S)
