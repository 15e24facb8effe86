"""Holding what there is, once: public failures of other brokers, and this one."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final

from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_COMPUTE
from gateway.wire.times import parse_instant
from node_stub.config import OfferSettings
from node_stub.ledger import Amounts
from tests.api.gateway.conftest import Federation, holds_of, running_federation
from tests.bench.open_load import outcomes
from tests.faults.compared.sites import SETTLES_S, starting_at, starting_in
from tests.support.crashing import is_request, killable_node
from tests.support.gateway import Answer, running_gateway
from tests.support.nursery import Nursery
from tests.support.proxy import Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually, until

# -- twenty at once --------------------------------------------------------------------------------


SITES: Final = ("alpha", "beta")
ROOM: Final = 2
"""How many of the requests each site has room for at one time."""

AT_ONCE: Final = 20
SOON: Final = timedelta(minutes=5)
ONE_CORE: Final = {
    "kind": SIMPLE_COMPUTE,
    "cores": {"min": 1, "max": 1},
    "memory": {"min": 1, "max": 1},
}


@asynccontextmanager
async def two_small_sites(at: Path) -> AsyncIterator[Federation]:
    """Two sites of two cores and two GiB, as in the report."""
    small = {
        "capacity": Amounts(cores=ROOM, memory_gib=ROOM, storage_gib=100),
        "offers": OfferSettings(count=1),
    }
    changes = dict.fromkeys(SITES, small)
    async with running_federation(at, SITES, node_changes=changes) as federation:
        yield federation


async def asked_at_once(federation: Federation, *queries: str) -> list[Document]:
    """The answers to the same request, asked with each of these queries at the same time."""
    request = starting_in(SOON, compute=ONE_CORE)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(federation.gateway.ask(request, query)) for query in queries]
    answers: list[Answer] = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {303}, [answer.text for answer in answers]
    return [answer.document for answer in answers]


def next_free(answer: Document, node: str) -> str:
    """When that site says that it has room again."""
    entry = outcomes(answer)[node]
    assert (entry["outcome"], entry["reason"]["code"]) == ("no", "node_said_no")
    text = entry["reason"]["values"]["detail"]
    assert "the next free start is" in text
    return str(text).rpartition("[")[2].rstrip("]")


async def check_ledgers(federation: Federation) -> None:
    """Each site holds what it has, and not one more."""
    for node in federation.nodes.values():
        assert await holds_of(node) == ROOM


async def test_karmada_1385_of_twenty_at_once_four_are_held_and_sixteen_told_when(
    tmp_path: Path,
) -> None:
    """Two clusters of two cores, twenty deployments of one core, made at the same time.

    Karmada sent four of them to a cluster with room for two: each was placed by what was free
    before any of the others had arrived (karmada-io/karmada#1385, 2022; again #6783, 2025).

    Here a site writes down what it offers before it says so, one request after the other. Ten that
    come to each site at once get two offers there; the other eight are told NO and from when on
    there is room, and that is so.
    """
    async with two_small_sites(tmp_path) as federation:
        queries = [f"?nodes={SITES[number % 2]}" for number in range(AT_ONCE)]
        answers = await asked_at_once(federation, *queries)
        held = [answer for answer in answers if answer["result"] == "YES"]
        told = [answer for answer in answers if answer["result"] == "NO"]
        assert (len(held), len(told)) == (len(SITES) * ROOM, AT_ONCE - len(SITES) * ROOM)
        assert [len(answer["offers"]) for answer in held] == [1] * len(held)
        await check_ledgers(federation)

        for offer in (answer["offers"][0] for answer in held):
            accepted = await federation.gateway.move(
                offer["meta"]["uuid"], "ACCEPTED", Prefer="handling=strict"
            )
            assert accepted.status == 200, accepted.text
        await check_ledgers(federation)

        for number, answer in enumerate(answers):
            if answer["result"] == "YES":
                continue
            site = SITES[number % 2]
            then = parse_instant(next_free(answer, site))
            later = await federation.gateway.ask(
                starting_at(then, compute=ONE_CORE), f"?nodes={site}"
            )
            assert later.document["result"] == "YES", "there was to be room"
            break


async def test_karmada_1385_whoever_asks_all_sites_at_once_never_gets_more_than_there_is(
    tmp_path: Path,
) -> None:
    """The same twenty, each of which would take either site."""
    async with two_small_sites(tmp_path) as federation:
        answers = await asked_at_once(federation, *[""] * AT_ONCE)
        await check_ledgers(federation)
        told = [answer for answer in answers if answer["result"] == "NO"]
        held = [offer for answer in answers for offer in answer.get("offers", [])]
        assert len(held) == len(SITES) * ROOM
        assert len(told) >= AT_ONCE - len(SITES) * ROOM
        for answer in told:
            assert all(parse_instant(next_free(answer, site)) for site in SITES)


# -- nobody who lets go ----------------------------------------------------------------------------


EXPIRES_S: Final = 2


async def test_akash_support_515_a_site_killed_between_reserve_and_offer_leaves_no_orphan(
    nursery: Nursery, tmp_path: Path
) -> None:
    """Akash's providers reserve what they bid with, and give it back when an event says so.

    The event of a lease that ended for want of money was never passed on, and nothing compared the
    two: a provider counted 60 leases where there were 38, and turned down orders for 8 cores while
    some 300 were idle (akash-network/support#515, 2026; four more such leaks since 2021).

    Here the broker is killed when it has reserved the whole site and nobody has its answer; nobody
    will ever reject that, and its expiry passes while the broker is away. Started again, it holds
    nothing, and offers the whole site.
    """
    (tmp_path / "alpha").mkdir()
    capacity = {"cores": 4, "memory_gib": 4, "storage_gib": 10}
    whole_site = {
        "kind": SIMPLE_COMPUTE,
        "cores": {"min": capacity["cores"]},
        "memory": {"min": capacity["memory_gib"]},
    }
    offers = {"count": 1, "expires_s": EXPIRES_S, "min_expires_s": 1}
    request = minimal_request(compute=whole_site)
    async with (
        killable_node(nursery, tmp_path / "alpha", offers=offers, capacity=capacity) as broker,
        running_gateway({"alpha": broker.proxy.url}, tmp_path / "gateway") as gateway,
    ):
        gate = broker.proxy.stop_at(Moment.ANSWERED, is_request)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(gateway.ask(request))
            await gate.reached.wait()
            await broker.kill()
            gate.lose()
        assert call.result().status == 503, call.result().text
        assert reserved_at(tmp_path / "alpha") == 1, "killed before it had reserved"
        killed = monotonic()
        await until(lambda: monotonic() - killed > EXPIRES_S + 1)
        broker.proxy.remove_gates()
        await broker.start()

        async def is_free() -> bool:
            return await broker.holds() == 0

        await eventually(is_free, SETTLES_S)
        assert reserved_at(tmp_path / "alpha") == 0
        answer = await gateway.ask(request)
        assert answer.status == 303, answer.text
        (offer,) = answer.document["offers"]
        start = offer["compute"]["schedule"]["available"]["start"].partition("/")[0]
        wait = parse_instant(start) - parse_instant(offer["meta"]["created"])
        assert wait < timedelta(seconds=30)
        assert await broker.holds() <= 1


def reserved_at(data_dir: Path) -> int:
    """How many offers the broker's own records say it holds something for."""
    connection = sqlite3.connect(data_dir / "node.db")
    try:
        (count,) = connection.execute(
            "SELECT count(*) FROM sessions WHERE phase = 'OFFERED'"
        ).fetchone()
    finally:
        connection.close()
    return int(count)
