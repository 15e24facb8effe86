"""A disk that is full, really: refused cleanly, nothing lost, and on it goes when there is room."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from gateway.wire.documents import Document
from node_stub.archive import Archive, Output, Report
from node_stub.platforms.base import EndReason, Stream, Usage
from node_stub.platforms.runner import Workspace
from tests.support.crashing import killable_federation, ran_at
from tests.support.lost_node import RUNS_ON
from tests.support.node import ADMIN, NodeClient, node_process, process_config
from tests.support.nursery import Nursery, running_nursery
from tests.support.requests import minimal_request
from tests.support.small_disk import MIB, SmallDisk, small_disk
from tests.support.waiting import eventually
from tests.unit.node.staging.archive import running_archive
from tests.unit.node.staging.sessions import (
    loopback,
    running_stager,
    session,
    simple,
    staged,
    staged_file,
    workspace_in,
)

STRICT: Final = {"Prefer": "handling=strict"}
LIVES_S: Final = 120
"""Offers here outlive every test."""

SOON_S: Final = 20.0
KIB: Final = 1024
MOST_ASKED: Final = 2000
"""So many requests fill whatever room there is in files that have grown before."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with running_nursery() as running:
        yield running


async def refused(disk: SmallDisk, ask: Callable[[], Awaitable[Any]], status: int) -> Any:
    """The first refusal; until then the room in files that have grown before is used up."""
    for _ in range(MOST_ASKED):
        answer = await ask()
        if answer.status != status:
            return answer
        disk.fill()
    raise AssertionError("a full disk refuses nothing")


# -- the gateway -----------------------------------------------------------------------------------


async def test_a_gateway_without_room_refuses_cleanly_and_then_goes_on(
    nursery: Nursery, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "gateway", mib=12) as disk:
        async with killable_federation(
            nursery, tmp_path, platform=RUNS_ON, expires_s=LIVES_S
        ) as federation:
            client = federation.client
            first = (await client.ask(minimal_request())).document["offers"]
            running = first[0]["meta"]["uuid"]
            assert (await client.move(running, "ACCEPTED", **STRICT)).status == 200
            offered = (await client.ask(minimal_request())).document["offers"]
            uuid = offered[0]["meta"]["uuid"]
            disk.fill()

            answer = await refused(disk, lambda: client.ask(minimal_request()), 303)
            assert answer.status == 503, answer.text
            assert answer.document["type"].endswith("store-unavailable")
            assert answer.headers["Retry-After"]
            moved = await client.move(uuid, "ACCEPTED", **STRICT)
            assert moved.status in {200, 503}, moved.text
            is_accepted = moved.status == 200
            assert (uuid in federation.ran()) <= is_accepted
            # What is known is still told.
            assert (await client.read(running))["phase"] not in {"FAILED", "CANCELLED"}

            disk.clear()

            async def is_taken() -> bool:
                return (await client.move(uuid, "ACCEPTED", **STRICT)).status == 200

            await eventually(is_taken, SOON_S)
            for one in (running, uuid):
                assert (await client.move(one, "CANCELLED", **STRICT)).status == 200
            assert federation.ran() <= {running, uuid}
            last = await federation.comes_to_rest([*first, *offered])
            assert {last[running], last[uuid]} == {"CANCELLED"}
            assert set(last.values()) == {"CANCELLED", "REJECTED"}


# -- the node --------------------------------------------------------------------------------------


def wishing(**wishes: str) -> Document:
    request = minimal_request(schedule={"requested": {"duration": "PT10M"}})
    named = {f"SIMULATE_{name}": value for name, value in wishes.items()}
    request["executable"]["environment"] = named
    return request


async def is_free(node: NodeClient) -> bool:
    return "execbroker_node_ledger_bookings 0.0" in await node.text("/metrics")


async def test_a_node_without_room_refuses_cleanly_and_what_runs_ends_well_later(
    tmp_path: Path,
) -> None:
    capacity = {"cores": 100_000, "memory_gib": 100_000, "storage_gib": 100_000}
    config = process_config(capacity=capacity, offers={"count": 1, "expires_s": LIVES_S})
    with small_disk(tmp_path / "node", mib=12) as disk:
        async with (
            node_process(disk.at, config) as process,
            NodeClient(process.url, ADMIN) as node,
        ):
            running = (await node.direct(wishing(RUN_S="1", LOG_BYTES="65536"))).uuid
            lasting = (await node.direct(wishing(RUN_S="600"))).uuid
            for uuid in (running, lasting):
                await node.reaches(uuid, "RUNNING")
            offer = (await node.ask(minimal_request())).document["offers"][0]["meta"]["uuid"]
            disk.fill()

            answer = await refused(disk, lambda: node.ask(minimal_request()), 303)
            assert answer.status == 503, answer
            assert answer.document["type"].endswith("store-unavailable")
            # Its work is over or nearly so, and what came out of it has nowhere to go.
            assert (await node.session(running))["phase"] in {"RUNNING", "RELEASING"}
            assert (await node.session(lasting))["phase"] == "RUNNING"
            assert (await node.session(offer))["phase"] == "OFFERED"

            disk.clear()
            shown = await node.reaches(running, "COMPLETED", "FAILED", within_s=SOON_S)
            assert shown["phase"] == "COMPLETED", shown["compute"]["meta"]
            log = await node.text(f"/streams/{running}/stdout")
            assert len(log) == 65536
            assert (await node.update(offer, "ACCEPTED")).document["phase"] == "ACCEPTED"
            await node.reaches(offer, "COMPLETED", within_s=SOON_S)
            assert (await node.update(lasting, "CANCELLED")).document["phase"] == "CANCELLED"
            assert ran_at(disk.at) == {running, lasting, offer}


async def test_results_that_have_no_room_are_kept_whole_once_there_is(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "image.fits").write_bytes(b"f" * 2 * MIB)
    (tmp_path / "log").write_bytes(b"log")
    report = Report(0, EndReason.OK, "", None, None, Usage())
    with small_disk(tmp_path / "results", mib=4) as disk:
        archive = Archive(disk.at / "archive")
        keep = partial(
            archive.keep,
            uuid4(),
            report,
            {Stream.STDOUT: tmp_path / "log"},
            [Output(work, "", frozenset())],
        )
        disk.fill()
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                await keep()
        disk.clear()
        assert [(file.path, file.size) for file in (await keep()).files] == [
            ("image.fits", 2 * MIB)
        ]


async def test_data_that_has_no_room_fails_its_session_alone_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "work", mib=8) as disk:
        async with (
            running_archive() as archive,
            running_stager(disk.at, loopback()) as stager,
        ):
            url = archive.add("/image.fits", b"f" * 2 * MIB)
            disk.fill()
            refused_one = workspace_in_full(disk)
            state = await staged(stager, refused_one, session(simple(url)))
            assert state.failure is not None
            assert state.failure.reason is EndReason.STORAGE, state.failure
            assert [path for path in refused_one.storage.rglob("*") if path.is_file()] == []
            disk.clear()
            next_one = workspace_in(disk.at)
            state = await staged(stager, next_one, session(simple(url)))
            assert state.failure is None
            assert staged_file(next_one, "image.fits").stat().st_size == 2 * MIB


def workspace_in_full(disk: SmallDisk) -> Workspace:
    """A workspace on a disk that has room for directories and the notes beside them, no more."""
    disk.clear()
    workspace = workspace_in(disk.at)
    disk.fill(leaving=256 * KIB)
    return workspace
