"""Two gateways in processes of their own on one PostgreSQL: killed, stopped, and both at once."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire.documents import Document
from node_stub.platforms.simulated import SimulatedSettings
from tests.soak.judging import node_sessions
from tests.support.crashing import (
    NODES,
    QUICK_SECTIONS,
    Federation,
    KillableGateway,
    is_request,
    is_update_of,
    killable_federation,
)
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.lost_node import RUNS_ON
from tests.support.node import QUICK
from tests.support.nursery import Nursery
from tests.support.pair import STRICT
from tests.support.postgres import PostgresServer
from tests.support.problems import problem
from tests.support.proxy import Gate, Moment
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

ROUNDS: Final = 12
"""Races of two processes: enough for either to win some."""

EXPIRES_S: Final = 60
"""Nothing here is let go because it expired."""

LEASE_S: Final = QUICK_SECTIONS["commands"]["lease_s"]

PATIENT: Final[Document] = {
    "federation": {"deadline_s": 10.0, "connect_s": 5.0, "late_s": 5.0},
    "sessions": QUICK_SECTIONS["sessions"] | {"read_deadline_s": 5.0, "update_deadline_s": 10.0},
    "commands": QUICK_SECTIONS["commands"] | {"deadline_s": 10.0, "lease_s": 21.0},
}
"""For races, in which no node is late only because the machine is busy."""

KEY: Final = "the-one-request"


@dataclass(slots=True)
class Twins:
    """Two gateways, the first of which gets killed or stopped, and all that is around them."""

    federation: Federation
    there: GatewayUnderTest
    url: str
    server: PostgresServer

    @property
    def here(self) -> GatewayUnderTest:
        """A client of the first."""
        return self.federation.client

    @property
    def process(self) -> KillableGateway:
        """The first."""
        return self.federation.gateway

    async def offers(self) -> list[Document]:
        """The best offer of each node, asked for at the first."""
        answer = await self.here.ask(minimal_request(), "?per_node=1")
        assert answer.status == 303, answer.text
        offers: list[Document] = answer.document["offers"]
        assert {offer["federation"]["node"] for offer in offers} == set(NODES)
        return offers

    def stop_update(self, offer: Document, moment: Moment) -> Gate:
        """A gate for what changes this offer's session, at its node."""
        applies = is_update_of(offer["meta"]["uuid"])
        return self.federation.stop_at(moment, applies, offer["federation"]["node"])[0]

    def remove_gates(self) -> None:
        """Let pass what comes from now on; what waits goes on waiting."""
        for proxy in self.federation.proxies.values():
            proxy.remove_gates()

    def pending(self) -> int:
        """How many commands are not delivered."""
        schema = self.url.rpartition("=")[2]
        return int(self.server.ask(f"SELECT count(*) FROM {schema}.commands"))

    async def settles(self) -> None:
        """Wait until every command is delivered."""

        async def look() -> bool:
            return self.pending() == 0

        await eventually(look, 15)

    async def is_seen_by_both(self, uuid: str, *phases: str) -> None:
        """Wait until either gateway shows the session in one of these phases.

        One that was stopped and goes on thinks itself overloaded for a moment, and says so.
        """

        async def look() -> bool:
            answers = [
                await which.call("GET", f"/sessions/{uuid}") for which in (self.here, self.there)
            ]
            return all(a.status == 200 and a.document["phase"] in phases for a in answers)

        await eventually(look, 15)

    async def no_offer_is_left(self) -> None:
        """Wait until all that any node still holds something for was accepted."""
        nodes = [self.federation.data_dir / name for name in NODES]

        async def look() -> bool:
            rows = [row for node in nodes for row in node_sessions(node).values()]
            return all(row.phase != "OFFERED" for row in rows)

        await eventually(look, 15)


@asynccontextmanager
async def twins(
    nursery: Nursery,
    postgres: PostgresServer,
    at: Path,
    *,
    platform: SimulatedSettings = QUICK,
    **sections: Any,
) -> AsyncIterator[Twins]:
    url = postgres.create_schema()
    settings = {"database": url, **sections}
    async with killable_federation(
        nursery, at, platform=platform, expires_s=EXPIRES_S, **settings
    ) as federation:
        nodes = {name: proxy.url for name, proxy in federation.proxies.items()}
        (at / "there").mkdir()
        second = KillableGateway(nursery, nodes, at / "there", **QUICK_SECTIONS | settings)
        await second.start()
        try:
            there = GatewayUnderTest(second.url, federation.client.session)
            yield Twins(federation, there, url, postgres)
        finally:
            await second.kill()
    postgres.drop_schema(url)


# -- both at once ----------------------------------------------------------------------------------


async def test_of_two_siblings_accepted_at_two_processes_at_once_exactly_one_is(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with twins(nursery, postgres, tmp_path, **PATIENT) as two:
        won: set[str] = set()
        for _ in range(ROUNDS):
            uuids = [offer["meta"]["uuid"] for offer in await two.offers()]
            answers = await asyncio.gather(
                two.here.move(uuids[0], "ACCEPTED", **STRICT),
                two.there.move(uuids[1], "ACCEPTED", **STRICT),
            )
            assert sorted(a.status for a in answers) == [200, 409], [a.text for a in answers]
            loser = next(answer for answer in answers if answer.status == 409)
            assert problem(loser, 409)["type"].endswith("update-refused")
            won |= {uuid for uuid, a in zip(uuids, answers, strict=True) if a.status == 200}

        async def they_ran() -> bool:
            return two.federation.ran() == won

        await eventually(they_ran, 15)
        await two.settles()
        await two.no_offer_is_left()


async def test_a_keyed_direct_request_sent_to_both_at_once_is_one_session(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with twins(nursery, postgres, tmp_path, **PATIENT) as two:
        found: set[str] = set()
        for number in range(ROUNDS // 3):
            answers = await asyncio.gather(
                *(
                    which.call("POST", "/direct", minimal_request(), Idempotency_Key=str(number))
                    for which in (two.here, two.there, two.there, two.here)
                )
            )
            assert {a.status for a in answers} == {303}, [a.text for a in answers]
            (uuid,) = {answer.document["meta"]["uuid"] for answer in answers}
            found.add(uuid)

        async def they_ran() -> bool:
            return two.federation.ran() == found

        await eventually(they_ran, 15)
        assert len(found) == ROUNDS // 3


# -- the first is killed ---------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [Moment.ASKED, Moment.ANSWERED])
async def test_a_keyed_request_whose_gateway_dies_half_way_is_taken_over_with_the_same_holds(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path, moment: Moment
) -> None:
    async with twins(nursery, postgres, tmp_path, **PATIENT) as two:
        federation = two.federation

        async def ask(which: GatewayUnderTest) -> Answer:
            return await which.ask(minimal_request(), Idempotency_Key=KEY)

        gates = federation.stop_at(moment, is_request)
        async with asyncio.TaskGroup() as group:
            call = federation.killed_during(ask(two.here), gates)
            first = group.create_task(call)
            await asyncio.gather(*(gate.reached.wait() for gate in gates))
            two.remove_gates()
            second = group.create_task(ask(two.there))
        assert first.result() is None
        for gate in gates:
            gate.open()
        answer = second.result()
        assert answer.status == 303, answer.text
        shown = len(answer.document["offers"])

        async def are_held() -> bool:
            return sum((await federation.holds()).values()) == shown

        await eventually(are_held, 10)
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        assert (await two.there.move(uuid, "ACCEPTED", **STRICT)).status == 200
        await two.settles()
        assert federation.ran() == {uuid}


async def test_a_cancel_that_its_gateway_did_not_live_to_deliver_is_delivered_by_the_other(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with twins(nursery, postgres, tmp_path, platform=RUNS_ON) as two:
        offer, other = await two.offers()
        uuid = offer["meta"]["uuid"]
        assert (await two.here.move(uuid, "ACCEPTED", **STRICT)).status == 200
        await two.settles()
        gate = two.stop_update(offer, Moment.ASKED)
        await two.federation.killed_during(two.here.move(uuid, "CANCELLED"), [gate])
        assert (await two.there.read(uuid))["phase"] == "CANCELLED"
        assert two.pending() == 1
        two.federation.lose_all([gate])
        await two.settles()
        node = two.federation.nodes[offer["federation"]["node"]]
        assert (await node.session(uuid))["phase"] == "CANCELLED"
        assert (await two.there.read(other["meta"]["uuid"]))["phase"] == "REJECTED"


# -- the first is stopped, for longer than its lease -----------------------------------------------


async def test_an_acceptance_that_its_gateway_slept_over_is_made_by_the_other_and_only_once(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with twins(nursery, postgres, tmp_path) as two:
        offer, other = await two.offers()
        uuid = offer["meta"]["uuid"]
        gate = two.stop_update(offer, Moment.ASKED)
        async with asyncio.TaskGroup() as group:
            group.create_task(two.here.move(uuid, "ACCEPTED"))
            await gate.reached.wait()
            two.process.signal(signal.SIGSTOP)
            two.remove_gates()

            async def has_run() -> bool:
                return two.federation.ran() == {uuid}

            await eventually(has_run, LEASE_S + 10)
            refused = await two.there.move(other["meta"]["uuid"], "ACCEPTED", **STRICT)
            assert refused.status == 409, refused.text
            gate.open()
            two.process.signal(signal.SIGCONT)
        await two.settles()
        await two.is_seen_by_both(uuid, "COMPLETED")
        assert two.federation.ran() == {uuid}


async def test_a_gateway_that_wakes_up_does_not_accept_what_was_cancelled_at_the_other_meanwhile(
    nursery: Nursery, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with twins(nursery, postgres, tmp_path) as two:
        offer, other = await two.offers()
        uuid = offer["meta"]["uuid"]
        gate = two.stop_update(offer, Moment.ASKED)
        async with asyncio.TaskGroup() as group:
            group.create_task(two.here.move(uuid, "ACCEPTED"))
            await gate.reached.wait()
            two.process.signal(signal.SIGSTOP)
            two.remove_gates()
            cancelled = await two.there.move(uuid, "CANCELLED", **STRICT)
            assert cancelled.status == 200, cancelled.text
            await two.settles()
            gate.open()  # only now the node hears of the acceptance
            two.process.signal(signal.SIGCONT)
        await two.settles()
        await two.is_seen_by_both(uuid, "CANCELLED", "REJECTED")
        assert (await two.there.move(other["meta"]["uuid"], "REJECTED")).status == 200
        await two.settles()
        await two.no_offer_is_left()
        assert two.federation.ran() == set()
