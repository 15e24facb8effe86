"""Telling nodes of holds that nobody was shown: each of them, and nothing that is somebody's."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from gateway.stores.offersets import OfferSetRow, OfferSetStore
from gateway.stores.unkept import Unkept
from gateway.wire.phases import SessionPhase
from tests.support.faulty_nodes import Asked, answers_status, http_reply
from tests.support.pair import LASTING
from tests.unit.services.test_outbox import Bench, bench, session


async def let_go(it: Bench, uuids: Sequence[UUID], node: str = "alpha") -> None:
    """Have the node told of these holds."""
    now, offerset = it.clock.now(), uuid4()
    holds = Unkept(
        offerset=offerset,
        node=node,
        owner="ann",
        uuids=tuple(uuids),
        give_up=now + timedelta(minutes=6),
    )
    async with it.database.transaction() as tx:
        row = OfferSetRow(offerset, "ann", now, b"{}", b"{}", b"{}", b"[]")
        await OfferSetStore().add(tx, row)
        await it.stores.unkept.put(tx, [holds], now)


def told(it: Bench) -> list[UUID]:
    """Which sessions the node was told of, in order."""
    return [UUID(asked.path.rpartition("/")[2]) for asked in it.told()]


async def pending(it: Bench) -> int:
    """How many holds the node is still to be told of."""
    async with it.database.reading() as reader:
        backlog = await it.stores.unkept.backlog(reader)
    return sum(one.pending for one in backlog.values())


async def test_a_node_is_told_of_every_hold_once(tmp_path: Path) -> None:
    holds = [uuid4() for _ in range(3)]
    async with bench(tmp_path) as it:
        await let_go(it, holds)
        await it.parts.unkept.run_due()
        assert told(it) == holds
        assert await pending(it) == 0


async def test_only_what_a_node_was_not_told_of_is_told_again(tmp_path: Path) -> None:
    holds = [uuid4() for _ in range(3)]
    away = str(holds[1])

    async def fails_for_one(asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = "503 Service Unavailable" if asked.path.endswith(away) else "404 Not Found"
        writer.write(http_reply(b"{}", status=status))

    async with bench(tmp_path, fails_for_one) as it:
        await let_go(it, holds)
        await it.parts.unkept.run_due()
        assert told(it) == holds
        assert await pending(it) == 1
        it.clock.shift += timedelta(seconds=LASTING.longest_s)
        await it.parts.unkept.run_due()
        assert told(it) == [*holds, holds[1]]


async def test_a_hold_with_the_uuid_of_a_session_is_not_let_go_of(tmp_path: Path) -> None:
    """A node that gives a UUID twice would else be told to end what runs under it."""
    async with bench(tmp_path) as it:
        running = session(uuid4(), "alpha", SessionPhase.RUNNING, it.clock.now())
        other = uuid4()
        async with it.database.transaction() as tx:
            row = OfferSetRow(running.offerset, "ann", it.clock.now(), b"{}", b"{}", b"{}", b"[]")
            await OfferSetStore().add(tx, row)
            await it.stores.sessions.add(tx, [running])
        await let_go(it, [running.uuid, other])
        await it.parts.unkept.run_due()
        assert told(it) == [other]
        assert await pending(it) == 0


async def test_no_hold_is_let_go_of_once_the_lease_on_it_is_over(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await let_go(it, [uuid4()])
        # Looks before the claim, for the lease, for the deadline, and before the node is told.
        lasts = timedelta(seconds=LASTING.lease_s + 1)
        it.clock.jumps = [timedelta(0), timedelta(0), timedelta(0), lasts]
        await it.parts.unkept.run_due()
        assert not it.clock.jumps
        assert not it.told()
        assert await pending(it) == 1


async def test_holds_that_their_node_never_heard_of_are_counted_as_left_behind(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, answers_status("503 Service Unavailable")) as it:
        await let_go(it, [uuid4(), uuid4()])
        it.clock.shift += timedelta(minutes=6)
        await it.parts.unkept.run_due()
        name, labels = "execbroker_holds_orphaned_total", {"node": "alpha"}
        assert it.metrics.get_sample_value(name, labels) == 2
        assert await pending(it) == 0


async def test_another_hold_comes_first_the_next_time(tmp_path: Path) -> None:
    """One at which the node hangs would else use up the time of all."""
    one, other = uuid4(), uuid4()
    async with bench(tmp_path, answers_status("503 Service Unavailable")) as it:
        await let_go(it, [one, other])
        await it.parts.unkept.run_due()
        it.clock.shift += timedelta(seconds=LASTING.longest_s)
        await it.parts.unkept.run_due()
        assert told(it) == [one, other, other, one]
