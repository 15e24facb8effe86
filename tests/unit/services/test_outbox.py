"""The outbox: nothing is sent once its lease is over, and no node hides what others wait for."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry

from gateway.assembly.foundation import Foundation
from gateway.assembly.sessions import SessionParts, build_sessions
from gateway.clients.broker import BrokerClient
from gateway.clients.transport import AiohttpTransport
from gateway.config import GatewaySettings
from gateway.domain.node import NodeProfile
from gateway.domain.permissions import Permissions
from gateway.services.gateway_metrics import COMMANDS, GatewayMetrics
from gateway.services.health_metrics import HealthMetrics
from gateway.services.housekeeping import Housekeeping
from gateway.services.installation import Installation
from gateway.services.node_calls import NodeCalls
from gateway.services.permissions import PermissionService
from gateway.services.registry import NodeRegistry
from gateway.services.transitions import Stores
from gateway.settings import HealthSettings
from gateway.stores.commands import Command, CommandStore, Wish
from gateway.stores.events import EventStore
from gateway.stores.idempotency import IdempotencyStore
from gateway.stores.installation import InstallationStore
from gateway.stores.leasing import SEEN_AT_ONCE
from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.resubmissions import ResubmissionStore
from gateway.stores.sessions import SessionRow, SessionStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.stores.unkept import UnkeptStore
from gateway.wire.phases import SessionPhase
from tests.support.faulty_nodes import (
    Asked,
    Behaviour,
    FaultyNode,
    answers_status,
    running,
)
from tests.support.gateway import QUICK_SESSIONS
from tests.support.pair import LASTING, TurnedClock
from tests.support.quotas import no_quotas

PER_NODE: Final = 4
HAS_NOTHING: Final = answers_status("404 Not Found")


class JumpyClock(TurnedClock):
    """A clock that is put forward between two looks at it, as a stopped process finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.jumps: list[timedelta] = []
        """By how much before each of the next looks."""

    def now(self) -> datetime:
        if self.jumps:
            self.shift += self.jumps.pop(0)
        return super().now()


@dataclass(slots=True)
class Bench:
    """What delivers commands to ``node``, on a database of its own."""

    database: SqliteDatabase
    stores: Stores
    parts: SessionParts
    housekeeping: Housekeeping
    metrics: CollectorRegistry
    clock: JumpyClock
    node: FaultyNode

    async def want(self, phases: Iterable[SessionPhase], *, node: str = "alpha") -> None:
        """Have a node told of the ends of sessions, each another one."""
        now, offerset = self.clock.now(), uuid4()
        rows = [session(offerset, node, phase, now) for phase in phases]
        async with self.database.transaction() as tx:
            await OfferSetStore().add(
                tx, OfferSetRow(offerset, "ann", now, b"{}", b"{}", b"{}", b"[]")
            )
            await self.stores.sessions.add(tx, rows)
            await self.stores.commands.put(
                tx,
                [
                    Wish(
                        session=row.uuid,
                        node=node,
                        phase=row.phase,
                        created=now,
                        due=now,
                        give_up=now + timedelta(days=1),
                    )
                    for row in rows
                ],
            )

    async def claim(self, **running_at: int) -> list[Command]:
        """Claim what is due, so many being under way at nodes already."""
        now = self.clock.now()
        async with self.database.transaction() as tx:
            return await self.stores.commands.claim(
                tx,
                now=now,
                lease_until=now + timedelta(seconds=30),
                limit=16,
                per_node=PER_NODE,
                running=running_at,
            )

    def told(self) -> list[Asked]:
        """What the node was told of sessions."""
        return [asked for asked in self.node.asked if asked.method == "POST"]

    def gauge(self, name: str, phase: SessionPhase) -> float | None:
        """A gauge of commands."""
        return self.metrics.get_sample_value(f"execbroker_{name}", {"phase": phase.value})


def session(offerset: UUID, node: str, phase: SessionPhase, now: datetime) -> SessionRow:
    """A session of the set, in that phase at that node."""
    return SessionRow(
        uuid=uuid4(),
        offerset=offerset,
        node=node,
        owner="ann",
        position=1,
        phase=phase,
        asked=None if phase is SessionPhase.ACCEPTED else phase,
        expires=None,
        document=b"{}",
        federation=b"{}",
        observed=now,
        changed=now,
    )


@asynccontextmanager
async def bench(tmp_path: Path, behaviour: Behaviour = HAS_NOTHING) -> AsyncIterator[Bench]:
    """A node, one that has none of the sessions if nothing else is said, and what tells it."""
    database, clock, metrics = SqliteDatabase(tmp_path / "db"), JumpyClock(), CollectorRegistry()
    stores = Stores(
        SessionStore(), CommandStore(), EventStore(), ResubmissionStore(), UnkeptStore()
    )
    counts = GatewayMetrics(metrics)
    nodes = NodeRegistry(
        clock.now,
        monotonic=clock.monotonic,
        settings=HealthSettings(),
        metrics=HealthMetrics(metrics),
    )
    await database.open()
    try:
        async with (
            running(behaviour) as node,
            AiohttpTransport() as transport,
        ):
            nodes.add(BrokerClient(NodeProfile("alpha", node.url), transport))
            base = Foundation(
                settings=GatewaySettings(sessions=QUICK_SESSIONS, commands=LASTING),
                database=database,
                clock=clock,
                stores=stores,
                offersets=OfferSetStore(),
                keys=IdempotencyStore(),
                registry=nodes,
                nodes=NodeCalls(nodes),
                permissions=PermissionService(Permissions()),
                quotas=no_quotas(database, clock),
                installation=Installation(database, InstallationStore(), uuid4),
                metrics=metrics,
                counts=counts,
            )
            parts = build_sessions(base)
            housekeeping = Housekeeping(
                database=database,
                stores=stores,
                offersets=base.offersets,
                keys=base.keys,
                transitions=parts.transitions,
                sessions=parts.sessions,
                clock=clock,
                settings=QUICK_SESSIONS,
                metrics=counts,
            )
            yield Bench(database, stores, parts, housekeeping, metrics, clock, node)
    finally:
        await database.close()


async def test_nothing_is_sent_once_the_lease_on_it_is_over(tmp_path: Path) -> None:
    """As by a process that was stopped between the claim and the node."""
    async with bench(tmp_path) as it:
        await it.want([SessionPhase.CANCELLED])
        # Looks before the claim, for the lease, and before the node is told.
        it.clock.jumps = [timedelta(0), timedelta(0), timedelta(seconds=LASTING.lease_s + 1)]
        await it.parts.outbox.run_due()
        assert not it.clock.jumps
        assert not it.told()
        it.clock.shift += timedelta(seconds=LASTING.longest_s)
        await it.parts.outbox.run_due()
        assert len(it.told()) == 1
        assert not await it.claim()


async def test_a_node_with_much_to_be_told_hides_nobody_elses_commands(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.want([SessionPhase.REJECTED] * (SEEN_AT_ONCE + 10), node="busy")
        it.clock.shift += timedelta(seconds=1)
        await it.want([SessionPhase.REJECTED] * 3, node="quiet")
        first = await it.claim()
        assert [command.node for command in first] == ["busy"] * PER_NODE
        then = await it.claim(busy=PER_NODE)
        assert [command.node for command in then] == ["quiet"] * 3


async def test_a_silent_node_with_many_sessions_hides_nobody_elses(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        now = it.clock.now()
        silent = [session(uuid4(), "silent", SessionPhase.RUNNING, now) for _ in range(30)]
        later = now + timedelta(seconds=1)
        other = session(silent[0].offerset, "other", SessionPhase.RUNNING, later)
        async with it.database.transaction() as tx:
            for offerset in {row.offerset for row in silent}:
                row = OfferSetRow(offerset, "ann", now, b"{}", b"{}", b"{}", b"[]")
                await OfferSetStore().add(tx, row)
            await it.stores.sessions.add(tx, [*silent, other])
        async with it.database.reading() as reader:
            stale = it.stores.sessions.stale
            soon = now + timedelta(minutes=1)
            found = await stale(reader, soon, soon, per_node=10)
        assert len(found) == 11
        assert other.uuid in found[:2]


async def test_what_waits_is_measured_by_what_is_to_be_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.want([SessionPhase.CANCELLED])
        it.clock.shift += timedelta(seconds=100)
        await it.want([SessionPhase.REJECTED, SessionPhase.REJECTED, SessionPhase.CANCELLED])
        it.clock.shift += timedelta(seconds=100)
        await it.housekeeping.measure()
        pending = {phase: it.gauge("commands_pending", phase) for phase in COMMANDS}
        assert pending == {
            SessionPhase.ACCEPTED: 0,
            SessionPhase.REJECTED: 2,
            SessionPhase.CANCELLED: 2,
        }
        ages = {phase: it.gauge("commands_oldest_seconds", phase) for phase in COMMANDS}
        assert ages[SessionPhase.ACCEPTED] == 0
        assert 100 <= (ages[SessionPhase.REJECTED] or 0) < 130
        assert 200 <= (ages[SessionPhase.CANCELLED] or 0) < 230
        it.clock.shift += timedelta(seconds=1)
        await it.parts.outbox.run_due()
        await it.housekeeping.measure()
        assert it.gauge("commands_pending", SessionPhase.CANCELLED) == 0
        assert it.gauge("commands_oldest_seconds", SessionPhase.CANCELLED) == 0
