"""A disk that is full, really: refused cleanly, nothing lost, and on it goes when there is room."""

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.app import RESULTS_DIR
from node_stub.archive import Archive, Output, Report
from node_stub.archive_moves import Mover
from node_stub.platforms.base import EndReason, Stream, Usage
from node_stub.platforms.runner import Workspace
from tests.support.crashing import killable_federation, ran_at
from tests.support.lost_node import RUNS_ON
from tests.support.node import ADMIN, NodeClient, node_process, process_config
from tests.support.nursery import Nursery
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


SIMULATED: Final[Document] = {"type": "simulated", "prepare_s": 0, "run_s": 1, "release_s": 0}
IMAGE: Final = "site/shell:1"
DIGEST: Final = "sha256:" + "0" * 64
SHELL: Final[Document] = {
    "type": "local",
    "sandbox": "plain",
    "programs": [{"images": [IMAGE], "digest": DIGEST, "command": ["/bin/sh", "-c"]}],
}


def writing(platform: Document) -> Document:
    """Work that takes a moment and leaves 128 KiB in its log."""
    if platform["type"] == "simulated":
        return wishing(LOG_BYTES="131072")
    image = {"locations": [IMAGE], "digest": DIGEST}
    command = ["sleep 1; head -c 131072 /dev/zero | tr '\\0' x"]
    executable = {"kind": kinds.DOCKER_CONTAINER, "image": image, "command": command}
    return minimal_request(executable=executable)


def said(session: Document, kind: str) -> list[Document]:
    """What the session as a whole says of this kind."""
    return [one for one in session["meta"].get("messages", []) if one["kind"] == kind]


@pytest.mark.parametrize("platform", [SIMULATED, SHELL], ids=["simulated", "local"])
async def test_results_without_room_are_waited_for_and_their_session_is_completed(
    tmp_path: Path, platform: Document
) -> None:
    quick = {"attempts": 2, "backoff_s": 0.05, "max_backoff_s": 0.2, "release_s": 0.5}
    (tmp_path / "node").mkdir()
    with small_disk(tmp_path / "node" / RESULTS_DIR, mib=1) as disk:
        config = process_config(platform=platform, reconciler=quick)
        async with (
            node_process(tmp_path / "node", config) as process,
            NodeClient(process.url, ADMIN) as node,
        ):
            disk.fill()
            uuid = (await node.direct(writing(platform))).uuid

            async def is_told() -> bool:
                return bool(said(await node.session(uuid), "urn:results-waiting"))

            await eventually(is_told, SOON_S)
            await many_attempts(node)
            shown = await node.session(uuid)
            assert shown["phase"] == "RELEASING", shown["compute"]["meta"]
            (told,) = said(shown, "urn:results-waiting")
            assert told["level"] == "WARN"
            assert told["values"]["detail"] == "No space left on device"
            assert told["values"]["until"] in told["message"]

            disk.clear()
            shown = await node.reaches(uuid, "COMPLETED", "FAILED", within_s=SOON_S)
            assert shown["phase"] == "COMPLETED", shown["meta"]
            assert len(await node.text(f"/streams/{uuid}/stdout")) == 131072
            await eventually(lambda: is_free(node), SOON_S)


async def many_attempts(node: NodeClient) -> None:
    """More than anything else is tried here, and for longer than releasing may take."""

    async def were_made() -> bool:
        lines = (await node.text("/metrics")).splitlines()
        head = 'execbroker_node_reconcile_errors_total{step="archive"} '
        found = [float(line.removeprefix(head)) for line in lines if line.startswith(head)]
        return found >= [8.0]

    await eventually(were_made, SOON_S)


async def test_results_without_room_for_too_long_fail_a_session_whose_work_did_not_fail(
    tmp_path: Path,
) -> None:
    node_dir = tmp_path / "node"
    node_dir.mkdir()
    with small_disk(node_dir / RESULTS_DIR, mib=1) as disk:
        config = process_config(platform=SHELL, reconciler={"backoff_s": 0.05, "archive_s": 1})
        async with (
            node_process(node_dir, config) as process,
            NodeClient(process.url, ADMIN) as node,
        ):
            disk.fill()
            uuid = (await node.direct(writing(SHELL))).uuid
            shown = await node.reaches(uuid, "COMPLETED", "FAILED", within_s=SOON_S)
            assert shown["phase"] == "FAILED"
            (why,) = said(shown, "urn:results-unarchived")
            assert why["level"] == "ERROR"
            assert "[OK] with exit code [0]" in why["message"]
            assert "No space left on device" in why["message"]
            log = node_dir / why["values"]["place"] / "logs" / "stdout"
            assert log.stat().st_size == 131072
        disk.clear()
        # It was given up, not thrown away: with room again it can be read.
        async with (
            node_process(node_dir, config) as process,
            NodeClient(process.url, ADMIN) as node,
        ):

            async def is_kept() -> bool:
                return (await node.call("GET", f"/sessions/{uuid}/results")).status == 200

            await eventually(is_kept, SOON_S)
            assert len(await node.text(f"/streams/{uuid}/stdout")) == 131072
            assert (await node.session(uuid))["phase"] == "FAILED"


async def test_a_copy_that_found_no_room_leaves_the_room_to_others(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"f" * 3 * MIB)
    with small_disk(tmp_path / "results", mib=4) as disk:
        disk.fill(leaving=2 * MIB)
        mover = Mover(disk.at, threading.Event())
        with pytest.raises(OSError, match="No space left"):
            mover.move(source, disk.at / "kept")
        (disk.at / "other").write_bytes(b"o" * MIB)


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
