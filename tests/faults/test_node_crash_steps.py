"""Kill a node at every step it takes: nothing lost, nothing run twice, nothing left.

As for the gateway: one run without a kill writes down every step, and then for each of them a node
is killed just there with SIGKILL and started again on the same data. What really ran is seen
outside of it, by triggers in the file in which its platform keeps its jobs.
"""

import asyncio
import copy
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import msgspec
import pytest
import yaml

from gateway.wire.documents import Document
from node_stub.platforms.simulated_jobs import Job
from tests.support.crash_campaign import (
    PAUSE_S,
    SETTLED_S,
    TIMEOUT_S,
    Campaign,
    Victim,
    play_parts,
)
from tests.support.crash_labels import Label
from tests.support.crashing import ran_at
from tests.support.node import ADMIN, Answer, NodeClient, process_config
from tests.support.nursery import Nursery
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

EXPIRES_S: Final = 5
"""Long enough to be started again within, on a busy machine not always."""

SETTINGS: Final = process_config(
    capacity={"cores": 1000, "memory_gib": 1000, "storage_gib": 1000},
    offers={"count": 2, "expires_s": EXPIRES_S, "min_expires_s": 1},
)
LONG: Final = "600"
"""Seconds that work goes on which is to be ended."""

STEPS: Final = frozenset(
    {
        "Installation.open:before-commit",
        "Installation.set_draining:committed",
        "Orphans._release.release:returned",
        "Orphans._release_all.recover:returned",
        "Reconciler._act:before-commit",
        "Reconciler._call.keep:returned",
        "Reconciler._call.launch:calling",
        "Reconciler._call.launch:returned",
        "Reconciler._call.prepare:calling",
        "Reconciler._call.prepare:returned",
        "Reconciler._call.release:calling",
        "Reconciler._call.release:returned",
        "Reconciler._call.stop:calling",
        "Reconciler._call.stop:returned",
        "Reconciler._decide_and_save[PREPARING, PREPARE]:committed",
        "Reconciler._decide_and_save[AVAILABLE, LAUNCH]:committed",
        "Reconciler._decide_and_save[RELEASING, RELEASE]:before-commit",
        "Reconciler._decide_and_save[COMPLETED, DONE]:before-commit",
        "Reconciler._decide_and_save[CANCELLED, DONE]:before-commit",
        "Reconciler._observe_together._forget:returned",
        "Scheduler.direct:committed",
        "Scheduler.offer:before-commit",
        "Scheduler.offer:committed",
        "Sessions.expire:before-commit",
        "Sessions.update:before-commit",
        "Sessions.update:committed",
    }
)
"""Steps of which each has to be among those killed at."""

WITNESS: Final = """
CREATE TABLE jobs (session TEXT PRIMARY KEY, job BLOB NOT NULL) STRICT;
CREATE TABLE seen (session TEXT NOT NULL, what TEXT NOT NULL);
CREATE TRIGGER prepared AFTER INSERT ON jobs BEGIN
  INSERT INTO seen VALUES (NEW.session, 'prepared');
END;
CREATE TRIGGER launched AFTER UPDATE ON jobs
WHEN json_extract(CAST(NEW.job AS TEXT), '$.launched_at') IS NOT NULL
 AND json_extract(CAST(OLD.job AS TEXT), '$.launched_at') IS NULL BEGIN
  INSERT INTO seen VALUES (NEW.session, 'launched');
END;
"""
"""The platform's file as the platform makes it, and in it what was done to its jobs."""

LEFT_BEHIND: Final = str(uuid4())
"""A job that bears the mark of a node which knows nothing of it."""


@dataclass(slots=True)
class Run:
    """One node and its client, which remembers what it was told."""

    node: Victim
    folder: Path
    ends: dict[str, str] = field(default_factory=dict)
    """The phase that each session has to end in."""
    launched: set[str] = field(default_factory=set)
    """The sessions whose work has to begin, once."""
    hurried: set[str] = field(default_factory=set)
    """Sessions whose time may be over before their work begins."""

    async def call(self, method: str, path: str, document: Any = None, key: str = "") -> Answer:
        """One exchange, repeated once if it ended with the node."""
        headers = {"Idempotency-Key": key} if key else {}
        for _ in range(2):
            try:
                async with NodeClient(self.node.url, ADMIN) as client:
                    return await client.call(method, path, json=document, headers=headers)
            except aiohttp.ClientError:
                await self.node.revive()
        raise AssertionError("a node that was started again does not answer")

    async def offers(self, request: Document, key: str) -> list[str]:
        """The offers that a request gets."""
        answer = await self.call("POST", "/requests", request, key)
        assert answer.status == 303, answer
        return [offer["meta"]["uuid"] for offer in answer.document.get("offers", [])]

    async def session(self, uuid: str) -> Document:
        """A session as the node shows it."""
        answer = await self.call("GET", f"/sessions/{uuid}")
        assert answer.status == 200, answer
        return answer.document

    async def move(self, uuid: str, phase: str) -> str:
        """Ask for another phase; the one that it is in then."""
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": phase}
        answer = await self.call("POST", f"/sessions/{uuid}", update)
        assert answer.status == 200, answer
        moved: str = answer.document["phase"]
        return moved

    async def accepted(self, request: Document, key: str, end: str = "COMPLETED") -> str:
        """A session that is accepted, and is to end so; offers that expired before do so, too."""
        for attempt in range(3):
            chosen, *others = await self.offers(request, f"{key}-{attempt}")
            if await self.move(chosen, "ACCEPTED") != "EXPIRED":
                self.ends |= {chosen: end} | dict.fromkeys(others, "REJECTED")
                return chosen
            self.ends |= dict.fromkeys([chosen, *others], "EXPIRED")
        raise AssertionError("no offer lives long enough to be accepted")

    async def reaches(self, uuid: str, *phases: str) -> None:
        """Wait until a session is in one of these phases."""

        async def look() -> bool:
            await asyncio.sleep(PAUSE_S)
            return (await self.session(uuid))["phase"] in phases

        await eventually(look, SETTLED_S)

    def rows(self, file: str, sql: str) -> list[tuple[Any, ...]]:
        """What lies in one of the node's files."""
        with closing(sqlite3.connect(self.folder / file)) as connection:
            return connection.execute(sql).fetchall()


def wishing(duration: str = "PT10M", **wishes: str) -> Document:
    """A request whose simulated run goes so."""
    request = copy.deepcopy(minimal_request(schedule={"requested": {"duration": duration}}))
    named = {f"SIMULATE_{name}": value for name, value in wishes.items()}
    request["executable"]["environment"] = named
    return request


# -- what the client does --------------------------------------------------------------------------


async def leave_some_unwanted(run: Run) -> None:
    run.ends |= dict.fromkeys(await run.offers(minimal_request(), "unwanted"), "EXPIRED")


async def ask_twice_and_accept(run: Run) -> None:
    uuid = await run.accepted(minimal_request(), "accepted")
    run.launched.add(uuid)
    assert await run.move(uuid, "ACCEPTED") not in {"OFFERED", "REJECTED", "EXPIRED"}


async def reject(run: Run) -> None:
    uuids = await run.offers(minimal_request(), "rejected")
    assert await run.offers(minimal_request(), "rejected") == uuids
    for uuid in uuids:
        run.ends[uuid] = await run.move(uuid, "REJECTED")
        assert run.ends[uuid] in {"REJECTED", "EXPIRED"}


async def execute_directly(run: Run) -> None:
    answers = [await run.call("POST", "/direct", minimal_request(), "direct") for _ in range(2)]
    assert [answer.status for answer in answers] == [303, 303]
    (uuid,) = {answer.uuid for answer in answers}
    run.ends[uuid] = "COMPLETED"
    run.launched.add(uuid)


async def cancel_while_it_runs(run: Run) -> None:
    uuid = await run.accepted(wishing(RUN_S=LONG, STOP_S="0.3"), "running", "CANCELLED")
    run.launched.add(uuid)
    await run.reaches(uuid, "RUNNING")
    assert await run.move(uuid, "CANCELLED") == "CANCELLED"


async def cancel_while_it_waits(run: Run) -> None:
    later = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 3600, UTC)
    start = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    request = minimal_request(
        schedule={"requested": {"duration": "PT1M", "start": f"{start}/PT10M"}}
    )
    uuid = await run.accepted(request, "waiting", "CANCELLED")
    await run.reaches(uuid, "WAITING")
    assert await run.move(uuid, "CANCELLED") == "CANCELLED"


async def overrun(run: Run) -> None:
    """It goes on for longer than was asked for, and is ended."""
    run.hurried.add(await run.accepted(wishing("PT2S", RUN_S=LONG), "overrun", "FAILED"))


async def fail(run: Run) -> None:
    for end in ("IMAGE", "LAUNCH"):
        await run.accepted(wishing(END=end), f"fails-{end}", "FAILED")
    run.launched.add(await run.accepted(wishing(EXIT_CODE="3"), "fails", "FAILED"))


async def drain(run: Run) -> None:
    assert (await run.call("POST", "/admin/drain")).document == {"draining": True}
    assert await run.offers(minimal_request(), "drained") == []
    assert (await run.call("POST", "/admin/resume")).document == {"draining": False}


SCRIPT: Final = (
    leave_some_unwanted,
    ask_twice_and_accept,
    reject,
    execute_directly,
    cancel_while_it_runs,
    cancel_while_it_waits,
    overrun,
    fail,
    drain,
)


# -- what has to hold ------------------------------------------------------------------------------


async def comes_to_rest(run: Run) -> None:
    """Every session ends as it should, and nothing is left of it but what came out."""
    shown: dict[str, str] = {}

    async def has_ended() -> bool:
        await asyncio.sleep(PAUSE_S)
        for uuid in run.ends:
            shown[uuid] = (await run.session(uuid))["phase"]
        return shown == run.ends

    async def is_free() -> bool:
        await asyncio.sleep(PAUSE_S)
        async with NodeClient(run.node.url, ADMIN) as client:
            is_booked = "execbroker_node_ledger_bookings 0.0" not in await client.text("/metrics")
        left = run.rows("node.db", "SELECT session FROM checkpoints")
        left += run.rows("node.db", "SELECT uuid FROM sessions WHERE spans IS NOT NULL")
        left += run.rows("simulated.db", "SELECT session FROM jobs")
        return not is_booked and not left and not list(run.folder.glob("results/*.partial"))

    try:
        await eventually(has_ended, SETTLED_S)
        await eventually(is_free, SETTLED_S)
    except AssertionError as error:
        wrong = {uuid: (shown.get(uuid), end) for uuid, end in run.ends.items()}
        error.add_note(f"shown and expected: {wrong}")
        error.add_note(f"jobs: {run.rows('simulated.db', 'SELECT * FROM jobs')}")
        raise


def check(run: Run) -> None:
    """The client knows all there is; what was to run did, once, and its results are there."""
    made = {uuid for (uuid,) in run.rows("node.db", "SELECT uuid FROM sessions")}
    assert made == run.ends.keys()
    seen = run.rows("simulated.db", "SELECT session, what FROM seen")
    assert len(seen) == len(set(seen)), "something was made or begun twice"
    launched = {session for session, what in seen if what == "launched"}
    assert launched - run.hurried == run.launched
    assert run.launched <= ran_at(run.folder)
    results = {path.name for path in run.folder.glob("results/*-*")}
    assert results >= run.launched


# -- the runs --------------------------------------------------------------------------------------


@asynccontextmanager
async def node_of(nursery: Nursery, folder: Path, dies_at: Label | None) -> AsyncIterator[Victim]:
    """A running node whose platform has a job that nobody knows of."""
    (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    with closing(sqlite3.connect(folder / "simulated.db")) as connection, connection:
        connection.executescript(WITNESS)
        job = msgspec.json.encode(Job(datetime.now(UTC)))
        connection.execute("INSERT INTO jobs VALUES (?, ?)", (LEFT_BEHIND, job))
        connection.execute("DELETE FROM seen")
    environ = {"ADMIN_PASSWORD": ADMIN.password}
    node = Victim(nursery, "tests.support.crash_node", folder, environ, dies_at)
    try:
        await node.start()
        yield node
    finally:
        await node.kill()


@pytest.mark.timeout(TIMEOUT_S)
async def test_a_node_killed_at_any_of_its_steps_loses_repeats_and_leaves_nothing(
    nursery: Nursery, tmp_path: Path
) -> None:
    async def play(folder: Path, dies_at: Label | None) -> Victim:
        async with node_of(nursery, folder, dies_at) as node:
            run = Run(node, folder)
            await play_parts([partial(part, run) for part in SCRIPT], node)
            await comes_to_rest(run)
            check(run)
        return node

    await Campaign(tmp_path, play).kill_everywhere(STEPS)
