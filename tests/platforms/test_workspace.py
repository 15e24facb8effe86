"""Jobs in directories of ours: what they may write, what is kept of it, where it is sent."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.archive import Archive, Report
from node_stub.clock import SystemClock
from node_stub.ledger import Amounts
from node_stub.platform_factory import WORKSPACES_DIR, build_platform
from node_stub.platforms.base import (
    EndReason,
    JobPhase,
    Observation,
    Platform,
    Stream,
    Unarchived,
    UnarchivedError,
)
from node_stub.platforms.local.settings import LocalSettings, ProgramSettings
from node_stub.platforms.workspace_settings import WorkspaceSettings
from node_stub.rules import SiteRules
from node_stub.staging.settings import PushSettings, StagingSettings
from tests.platforms.conformance.driving import Drive, job_of, judged
from tests.support.node import node_settings

DIGEST: Final = "sha256:" + "1" * 64
IMAGE: Final = "eb.test/shell:1"
MIB: Final = 1 << 20


@dataclass
class Bench:
    """A platform of local processes over one data directory."""

    data_dir: Path
    staging: StagingSettings
    archive: Archive = field(init=False)
    platform: Platform = field(init=False)

    def __post_init__(self) -> None:
        self.archive = Archive(self.data_dir / "results")
        self.platform = self.new_platform()

    def new_platform(self) -> Platform:
        programs = (ProgramSettings(images=(IMAGE,), digest=DIGEST, command=("/bin/sh", "-c")),)
        settings = node_settings(
            platform=LocalSettings(programs=programs, grace_s=0.5),
            workspace=WorkspaceSettings(disk_check_s=0.1, stop_grace_s=0.5),
            staging=self.staging,
        )
        return build_platform(settings, self.data_dir, self.archive, SystemClock())

    async def drive(self, script: str, **parts: Any) -> Drive:
        """A job of the shell, not begun; the parts are those of the request."""
        volumes = parts.pop("volumes", [])
        request = {
            "executable": {
                "kind": kinds.DOCKER_CONTAINER,
                "image": {"locations": [IMAGE], "digest": DIGEST},
                "command": [script],
            },
            "compute": {
                "kind": kinds.SIMPLE_COMPUTE,
                "cores": {"min": 1},
                "memory": {"min": 1},
                "volumes": [{"kind": kinds.SIMPLE_VOLUME, **volume} for volume in volumes],
            },
            **parts,
        }
        rules = SiteRules(limits=Amounts(8, 8, 100), kinds=self.platform.kinds)
        verdict = await judged(self.platform, rules, request)
        return Drive(self.platform, job_of(verdict, 60.0))

    async def ended(self, drive: Drive) -> tuple[Observation, Report]:
        """How it ended and what was kept; nothing else is left of it."""
        seen = await drive.run()
        await drive.release()
        assert list((self.data_dir / WORKSPACES_DIR).iterdir()) == []
        report = await self.archive.report(drive.session)
        assert report is not None
        return seen, report


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "cube.fits").write_bytes(b"SIMPLE")
    made = Bench(
        tmp_path / "data",
        StagingSettings(
            schemes=("file", "http"),
            hosts=("127.0.0.1",),
            private_addresses=True,
            file_roots=(str(sources),),
            attempts=2,
            backoff_s=0.01,
            push=PushSettings(schemes=("http",), hosts=("127.0.0.1",), private_addresses=True),
        ),
    )
    await made.platform.open()
    yield made
    await made.platform.close()


def storage(name: str, **members: Any) -> Document:
    return {
        "kind": kinds.SIMPLE_STORAGE,
        "meta": {"name": name},
        "size": {"min": 1, "max": 1},
        **members,
    }


def cube(bench: Bench, **members: Any) -> Document:
    location = (bench.data_dir.parent / "sources" / "cube.fits").as_uri()
    return {
        "kind": kinds.SIMPLE_DATA,
        "meta": {"name": "cube"},
        "location": location,
        **members,
    }


def paths_of(report: Report) -> list[str]:
    return [file.path for file in report.files]


async def test_data_lies_under_its_own_name_where_its_volume_is(bench: Bench) -> None:
    drive = await bench.drive(
        "cat /data/cube.fits && cat $HOME/in/cube.fits && ! echo x > /data/cube.fits",
        data=[cube(bench)],
        volumes=[
            {"path": "/data", "resource": "cube"},
            {"path": "in", "resource": "cube"},
        ],
    )
    seen, report = await bench.ended(drive)

    assert seen.reason is EndReason.OK, seen
    log = await bench.platform.read_log(drive.session, Stream.STDOUT, 0, 100)
    assert log is not None
    assert log.data == b"SIMPLESIMPLE"
    assert report.usage.bytes_staged == 6
    assert paths_of(report) == []


async def test_what_a_job_writes_is_kept_but_not_what_was_staged(bench: Bench) -> None:
    drive = await bench.drive(
        "mkdir -p plots && echo 1 > plots/a.png && echo 2 > /out/b.txt && ln -s /etc/passwd link",
        storage=[storage("out")],
        data=[cube(bench, storage="out")],
        volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
    )
    _, report = await bench.ended(drive)

    assert paths_of(report) == ["out/b.txt", "plots/a.png"]
    assert any("link" in note for note in report.notes)


async def test_a_volume_within_a_read_only_volume_is_mounted(bench: Bench) -> None:
    drive = await bench.drive(
        "cat /data/cube.fits && echo x > /data/out/x",
        storage=[storage("out")],
        data=[cube(bench)],
        volumes=[
            {"path": "/data", "resource": "cube"},
            {"path": "/data/out", "resource": "out", "mode": "READWRITE"},
        ],
    )
    seen, report = await bench.ended(drive)

    assert seen.reason is EndReason.OK, seen
    assert paths_of(report) == ["out/x"]


async def test_a_job_that_writes_more_than_its_storage_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A GiB takes long to write: here it has one MiB.
    monkeypatch.setattr("node_stub.staging.layout.BYTES_PER_GIB", MIB)
    drive = await bench.drive(
        "head -c 3000000 /dev/zero | tr '\\0' x > /out/much; sleep 60",
        storage=[storage("out")],
        volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
    )
    seen, report = await bench.ended(drive)

    assert seen.reason is EndReason.STORAGE
    assert "out" in seen.text
    assert report.reason is EndReason.STORAGE


async def test_a_platform_that_was_opened_anew_goes_on_with_what_was_getting_ready(
    bench: Bench,
) -> None:
    async with _served({"cube.fits": b"SIMPLE"}) as (url, gate):
        gate.close()
        drive = await bench.drive(
            "cat /data/cube.fits",
            data=[cube(bench, location=f"{url}/cube.fits")],
            volumes=[{"path": "/data", "resource": "cube"}],
        )
        await drive.prepare()
        await drive.reaches(JobPhase.STARTING)
        await bench.platform.close()
        bench.platform = bench.new_platform()
        await bench.platform.open()
        drive.move_to(bench.platform)
        gate.open()
        await drive.launch()
        seen = await drive.reaches(JobPhase.ENDED)

    assert seen.reason is EndReason.OK
    await drive.release()


async def test_results_are_sent_where_their_storage_says_and_kept_too(bench: Bench) -> None:
    async with _taking() as (url, taken):
        drive = await bench.drive(
            "mkdir /out/deep && echo -n 1 > /out/deep/a && echo -n 2 > /out/b",
            storage=[storage("out", location=f"{url}/up")],
            volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
        )
        _, report = await bench.ended(drive)

    assert taken == {"/up/deep/a": b"1", "/up/b": b"2"}
    assert paths_of(report) == ["out/b", "out/deep/a"]
    assert report.unsent == ()


async def test_results_that_nobody_takes_are_kept_and_said_to_be_unsent(bench: Bench) -> None:
    async with _taking(status=403) as (url, _):
        drive = await bench.drive(
            "echo 1 > /out/a",
            storage=[storage("out", location=f"{url}/up")],
            volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
        )
        _, report = await bench.ended(drive)
        gone = await drive.look()

    assert paths_of(report) == ["out/a"]
    assert len(report.unsent) == 1
    assert gone.reason is EndReason.RESULTS
    assert "403" in gone.text


async def test_results_are_sent_once_however_often_they_find_no_place_here(bench: Bench) -> None:
    async with _taking() as (url, taken):
        drive = await bench.drive(
            "echo -n 1 > /out/a; exit 0",
            storage=[storage("out", location=f"{url}/up")],
            volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
        )
        await drive.run()
        in_the_way = bench.data_dir / "results" / f"{drive.session}.partial"
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.touch()
        left = await _not_archived(drive)
        assert (left.reason, left.exit_code) == (EndReason.OK, 0)
        assert (bench.data_dir / left.place / "storage").is_dir()
        assert taken == {"/up/a": b"1"}
        taken.clear()
        await _not_archived(drive)
        in_the_way.unlink()
        await drive.release()
        report = await bench.archive.report(drive.session)

    assert taken == {}
    assert report is not None
    assert paths_of(report) == ["out/a"]
    assert any("/up/a" in note for note in report.notes)


async def _not_archived(drive: Drive) -> Unarchived:
    """What one attempt at its release leaves, as the next call tells."""
    drive.is_released = True
    await drive.platform.release(drive.checkpoint)
    await drive.reaches(JobPhase.ENDED)
    with pytest.raises(UnarchivedError) as raised:
        await drive.platform.release(drive.checkpoint)
    return raised.value.left


async def test_results_of_a_failed_job_are_not_sent(bench: Bench) -> None:
    async with _taking() as (url, taken):
        drive = await bench.drive(
            "echo 1 > /out/a; exit 4",
            storage=[storage("out", location=f"{url}/up")],
            volumes=[{"path": "/out", "resource": "out", "mode": "READWRITE"}],
        )
        _, report = await bench.ended(drive)

    assert taken == {}
    assert paths_of(report) == ["out/a"]
    assert any("did not end well" in note for note in report.notes)


class _Gate:
    """Lets requests through, or keeps them waiting."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._event.set()

    def close(self) -> None:
        self._event.clear()

    def open(self) -> None:
        self._event.set()

    async def pass_through(self) -> None:
        await self._event.wait()


@asynccontextmanager
async def _served(files: Mapping[str, bytes]) -> AsyncIterator[tuple[str, _Gate]]:
    gate = _Gate()

    async def get(request: web.Request) -> web.Response:
        await gate.pass_through()
        return web.Response(body=files[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name}", get)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), gate
        gate.open()


@asynccontextmanager
async def _taking(status: int = 201) -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    taken: dict[str, bytes] = {}

    async def put(request: web.Request) -> web.Response:
        body = await request.read()
        if status < 300:
            taken[request.path] = body
        return web.Response(status=status)

    app = web.Application()
    app.router.add_put("/{name:.*}", put)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), taken
