"""A node killed like by a power cut, in every phase, loses no session and runs none twice."""

import resource
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire.documents import Document
from gateway.wire.times import format_instant
from tests.support.node import (
    ADMIN,
    NodeClient,
    add_identities,
    node_process,
    process_config,
)
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually

QUICK: Final = process_config()
LINGERING: Final[dict[str, dict[str, Any]]] = {
    "ACCEPTED": {},
    "WAITING": {},
    "PREPARING": {"hang": ["prepare"]},
    "AVAILABLE": {"prepare_s": 0.01},
    "RUNNING": {"run_s": 30},
    "RELEASING": {"release_s": 30},
}
"""A platform on which a session stays in the phase until the node is killed; the next is quick."""

STAYS: Final = process_config(
    platform={
        "type": "simulated",
        "prepare_s": 0,
        "run_s": 0,
        "release_s": 0,
        "hang": ["run"],
    }
)


async def is_free(node: NodeClient) -> bool:
    async with node.http.get("/metrics") as response:
        return "execbroker_node_ledger_bookings 0.0" in await response.text()


def launches(data_dir: Path) -> int:
    """How many jobs the platform knows; one is launched at most once, and removed at its end."""
    connection = sqlite3.connect(data_dir / "simulated.db")
    try:
        (count,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
    finally:
        connection.close()
    return int(count)


def request(phase: str) -> Document:
    """A request whose session stays in this phase as far as its start decides that."""
    if phase != "WAITING":
        return MINIMAL
    start = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    text = format_instant(start)
    return {**MINIMAL, "schedule": {"requested": {"start": f"{text}/{text}"}}}


@pytest.mark.parametrize("phase", LINGERING)
async def test_a_session_is_completed_although_its_node_was_killed(
    tmp_path: Path, phase: str
) -> None:
    platform = {**QUICK["platform"], **LINGERING[phase]}
    lingering = process_config(platform=platform, offers={"count": 2, "min_expires_s": 1})
    async with node_process(tmp_path, lingering) as process, NodeClient(process.url, ADMIN) as node:
        answer = await node.direct(request(phase))
        assert answer.status == 303, answer
        if phase != "ACCEPTED":
            await node.reaches(answer.uuid, phase)
        await process.kill()
    async with node_process(tmp_path, QUICK) as process, NodeClient(process.url, ADMIN) as node:
        session = await node.reaches(answer.uuid, "COMPLETED", "FAILED")

        assert session["phase"] == "COMPLETED", session
        assert [m["kind"] for m in session["compute"]["meta"]["messages"]] == [
            "urn:execution-ended"
        ]
        await eventually(lambda: is_free(node))
        assert await process.terminate() == 0
    assert launches(tmp_path) == 0


async def test_an_offer_that_was_answered_is_firm_although_its_node_was_killed(
    tmp_path: Path,
) -> None:
    key = "key-1"
    async with node_process(tmp_path, QUICK) as process, NodeClient(process.url) as node:
        await add_identities(node)
        before = await node.ask(MINIMAL, Idempotency_Key=key)
        await process.kill()
    async with node_process(tmp_path, QUICK) as process, NodeClient(process.url) as node:
        again = await node.ask(MINIMAL, Idempotency_Key=key)
        assert again.uuid == before.uuid
        chosen, sibling = (offer["meta"]["uuid"] for offer in again.document["offers"])
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"
        await process.kill()
    async with node_process(tmp_path, QUICK) as process, NodeClient(process.url) as node:
        assert (await node.session(sibling))["phase"] == "REJECTED"
        await node.reaches(chosen, "COMPLETED")


async def test_a_cancel_that_was_answered_holds_although_the_node_was_killed(
    tmp_path: Path,
) -> None:
    async with node_process(tmp_path, STAYS) as process, NodeClient(process.url, ADMIN) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "RUNNING")
        await node.update(answer.uuid, "CANCELLED")
        await process.kill()
    async with node_process(tmp_path, STAYS) as process, NodeClient(process.url, ADMIN) as node:
        assert (await node.session(answer.uuid))["phase"] == "CANCELLED"
        await eventually(lambda: is_free(node))
        session = await node.session(answer.uuid)
        assert session["compute"]["phase"] == "CANCELLED"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process's files")
async def test_a_full_disk_is_503_and_loses_nothing(tmp_path: Path) -> None:
    async with node_process(tmp_path, QUICK) as process, NodeClient(process.url, ADMIN) as node:
        before = await node.ask(MINIMAL)
        unlimited = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE)
        size = (tmp_path / "node.db-wal").stat().st_size
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (size, unlimited[1]))

        refused = [await node.ask(MINIMAL) for _ in range(3)]

        assert [answer.status for answer in refused] == [503] * 3
        assert "execbroker_node_ledger_bookings 2.0" in await node.text("/metrics")
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, unlimited)
        chosen = before.document["offers"][0]["meta"]["uuid"]
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"
        await node.reaches(chosen, "COMPLETED")
        await eventually(lambda: is_free(node))


async def test_a_node_that_is_asked_to_end_ends_well(tmp_path: Path) -> None:
    async with node_process(tmp_path, QUICK) as process:
        assert await process.terminate() == 0


async def test_settings_that_cannot_be_used_are_told_and_end_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not a setting"):
        async with node_process(tmp_path, {**QUICK, "colour": "green"}):
            pass
