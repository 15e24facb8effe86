"""Through a real node broker in a process of its own, which is killed again and again."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.times import format_instant
from tests.platforms.conformance.behaviours import Behaviour
from tests.platforms.conformance.broker import running_broker, slow_source
from tests.platforms.conformance.kits import Kit
from tests.platforms.conformance.stage import Stage
from tests.support.node import NodeClient
from tests.support.nursery import Nursery
from tests.support.waiting import eventually, until

ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED")

SETTLED_S: Final = 40.0
"""Everything has come to its end long before, also on a machine with other work to do."""


async def accepted(client: NodeClient, request: Document) -> str:
    """The session of a request that is accepted at once."""
    answer = await client.direct(request)
    assert answer.status == 303, answer
    assert answer.document["phase"] != "FAILED", answer.messages
    return answer.uuid


def at_start(request: Document, after_s: int) -> Document:
    """The same, to be started so many seconds from now."""
    start = (datetime.now(UTC) + timedelta(seconds=after_s)).replace(microsecond=0)
    text = format_instant(start)
    requested = {**request["schedule"]["requested"], "start": f"{text}/{text}"}
    return {**request, "schedule": {"requested": requested}}


def lasting(request: Document, duration: str) -> Document:
    """The same, for so long."""
    return {**request, "schedule": {"requested": {"duration": duration}}}


def messages_of(session: Document) -> list[Document]:
    """All messages of a session and its components."""
    parts = [session, session["executable"], session["compute"]]
    parts += [*session.get("storage", ()), *session.get("data", ())]
    return [message for part in parts for message in part["meta"].get("messages", ())]


async def nothing_is_left(kit: Kit, *sessions: str) -> None:
    """Wait until it is: a session is over a moment before the last of it is gone."""
    left: list[str] = []

    async def is_clean() -> bool:
        nonlocal left
        await asyncio.sleep(0.05)  # looking everywhere takes time that others could use
        left = await asyncio.to_thread(kit.left, *map(UUID, sessions))
        return not left

    try:
        await eventually(is_clean, SETTLED_S)
    except AssertionError as error:
        raise AssertionError(left) from error


async def test_a_broker_that_is_killed_in_every_phase_loses_nothing_and_repeats_nothing(
    kit: Kit, nursery: Nursery
) -> None:
    async with (
        slow_source() as source,
        running_broker(nursery, kit.data_dir, kit.sections()) as (broker, client),
    ):
        sessions: dict[str, str] = {}

        async def begin(name: str, request: Document, *phases: str) -> None:
            """Have it in one of these phases, or further: a slow machine may miss one."""
            sessions[name] = await accepted(client, request)
            await client.reaches(sessions[name], *phases, *ENDED, within_s=SETTLED_S)

        await begin("releasing", kit.request(Behaviour.ENDS_BADLY), "RELEASING")
        available = at_start(kit.request(Behaviour.ENDS_WELL), 8)
        await begin("available", available, "AVAILABLE", "RUNNING")
        stopping = kit.request(Behaviour.IS_STUBBORN)
        await begin("stopping", stopping, "RUNNING")
        preparing = kit.slow_request(source.url)
        await begin("preparing", preparing, "PREPARING", "AVAILABLE", "RUNNING")
        await begin("running", kit.request(Behaviour.LASTS_A_WHILE), "RUNNING", "RELEASING")
        await begin("quick", kit.request(Behaviour.LASTS_A_MOMENT), "RUNNING", "RELEASING")
        await client.update(sessions["stopping"], "CANCELLED")
        await broker.kill()
        assert (kit.processes() != []) == kit.has_processes
        source.may_answer.set()
        for _ in range(3):  # once more while everything is taken up again
            await broker.start()
            await asyncio.sleep(0.05)
            await broker.kill()
        await broker.start()
        ends = await ends_of(client, sessions)
        await nothing_is_left(kit, *sessions.values())
        assert ends == {
            "available": "COMPLETED",
            "preparing": "COMPLETED",
            "running": "COMPLETED",
            "quick": "COMPLETED",
            "stopping": "CANCELLED",
            "releasing": "FAILED",
        }, broker.log()
        runs = {name: await kit.runs(UUID(session)) for name, session in sessions.items()}
        assert runs == dict.fromkeys(sessions, 1)


async def ends_of(client: NodeClient, sessions: Mapping[str, str]) -> dict[str, str]:
    """The phase in which each session ends."""
    ends = {}
    for name, session in sessions.items():
        found = await client.reaches(session, *ENDED, within_s=SETTLED_S)
        ends[name] = found["phase"]
    return ends


async def test_a_job_over_its_time_is_stopped_by_the_broker(kit: Kit, nursery: Nursery) -> None:
    async with running_broker(nursery, kit.data_dir, kit.sections()) as (_, client):
        session = await accepted(client, lasting(kit.request(Behaviour.LASTS), "PT2S"))
        found = await client.reaches(session, *ENDED, within_s=SETTLED_S)
        await nothing_is_left(kit, session)

    assert found["phase"] == "FAILED"
    assert "urn:over-time" in [message["kind"] for message in messages_of(found)]
    assert await kit.runs(UUID(session)) == 1


async def test_a_job_whose_time_ends_while_there_is_no_broker_is_stopped_when_it_is_back(
    kit: Kit, nursery: Nursery
) -> None:
    async with running_broker(nursery, kit.data_dir, kit.sections()) as (broker, client):
        session = await accepted(client, lasting(kit.request(Behaviour.LASTS), "PT2S"))
        await client.reaches(session, "RUNNING", within_s=SETTLED_S)
        await broker.kill()
        over_at = time.monotonic() + 2.1
        await until(lambda: time.monotonic() > over_at)
        await broker.start()
        found = await client.reaches(session, *ENDED, within_s=SETTLED_S)
        await nothing_is_left(kit, session)

    assert found["phase"] == "FAILED"
    assert await kit.runs(UUID(session)) == 1


async def test_data_that_is_not_what_it_should_be_fails_the_session_and_says_so(
    kit: Kit, nursery: Nursery
) -> None:
    async with running_broker(nursery, kit.data_dir, kit.sections()) as (_, client):
        session = await accepted(client, kit.request(Behaviour.HAS_BAD_DATA))
        found = await client.reaches(session, *ENDED, within_s=SETTLED_S)
        await nothing_is_left(kit, session)

    assert found["phase"] == "FAILED"
    (message,) = [m for m in messages_of(found) if m["level"] == "ERROR"]
    assert message["values"]["reason"] == "DATA"
    assert await kit.runs(UUID(session)) == 0


async def test_a_session_is_cancelled_while_it_is_prepared(kit: Kit, nursery: Nursery) -> None:
    async with (
        slow_source() as source,
        running_broker(nursery, kit.data_dir, kit.sections()) as (_, client),
    ):
        session = await accepted(client, kit.slow_request(source.url))
        await client.reaches(session, "PREPARING")
        await client.update(session, "CANCELLED")
        await nothing_is_left(kit, session)
        found = await client.session(session)

    assert found["phase"] == "CANCELLED"
    assert await kit.runs(UUID(session)) == 0


async def test_a_session_is_cancelled_while_it_runs(kit: Kit, nursery: Nursery) -> None:
    async with running_broker(nursery, kit.data_dir, kit.sections()) as (_, client):
        session = await accepted(client, kit.request(Behaviour.STOPS_SLOWLY))
        await client.reaches(session, "RUNNING", within_s=SETTLED_S)
        if kit.has_processes:

            async def has_begun() -> bool:
                """It runs a moment before what it runs does anything."""
                return await kit.runs(UUID(session)) == 1

            await eventually(has_begun, SETTLED_S)
        await client.update(session, "CANCELLED")
        await nothing_is_left(kit, session)
        found = await client.session(session)

    assert found["phase"] == "CANCELLED"
    assert await kit.runs(UUID(session)) == 1


async def test_a_job_that_the_broker_does_not_know_is_removed_when_it_starts(
    kit: Kit, nursery: Nursery
) -> None:
    async with kit.opened() as platform:
        drive = await Stage(kit, platform).start(Behaviour.IS_STUBBORN)
    async with running_broker(nursery, kit.data_dir, kit.sections()):
        await nothing_is_left(kit, str(drive.session))
