"""What a request can wish of a simulated run, and what its log is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.documents import Document
from gateway.wire.kinds import DOCKER_CONTAINER
from gateway.wire.phases import ComponentPhase
from node_stub.archive import Archive
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    JobPhase,
    JobRefusedError,
    JobSpec,
    LogChunk,
    Observation,
    Stream,
    Usage,
)
from node_stub.platforms.simulated import SimulatedPlatform
from node_stub.platforms.simulated_log import read_simulated_log
from node_stub.platforms.simulated_wishes import Wishes, read_wishes
from node_stub.standing import Component
from tests.platforms.test_simulated import NOW, SESSION, SETTINGS, SetClock

EXECUTABLE: Final = "00000000-0000-0000-0000-0000000000e0"


def document(**environment: str) -> Document:
    executable = {
        "kind": DOCKER_CONTAINER,
        "meta": {"uuid": EXECUTABLE},
        "environment": environment,
    }
    return {"executable": executable}


class Rehearsal:
    """One job with wishes."""

    def __init__(self, platform: SimulatedPlatform, clock: SetClock) -> None:
        self.platform = platform
        self.clock = clock
        self._checkpoint = Checkpoint(SESSION, platform.name)
        self._spec = JobSpec(SESSION, {}, 1, 1, 1, NOW)

    async def prepare(self, **environment: str) -> None:
        self._spec = replace(self._spec, document=document(**environment))
        await self.platform.prepare(self._spec)

    async def launch(self, **environment: str) -> None:
        await self.prepare(**environment)
        self.clock.advance(2)
        await self.platform.launch(self._spec, self._checkpoint)

    async def stop(self) -> None:
        await self.platform.stop(self._checkpoint)

    async def release(self) -> None:
        await self.platform.release(self._checkpoint)

    async def look(self) -> Observation:
        return (await self.platform.observe([self._checkpoint]))[SESSION]

    async def log(self, offset: int = 0, limit: int = 2**20) -> LogChunk:
        chunk = await self.platform.read_log(SESSION, Stream.STDOUT, offset, limit)
        assert chunk is not None
        return chunk


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
async def rehearsal(tmp_path: Path, archive: Archive) -> AsyncIterator[Rehearsal]:
    clock = SetClock()
    settings = replace(SETTINGS, grace_s=4.0, log_bytes=1000)
    platform = SimulatedPlatform(settings, tmp_path / "s.db", clock, Random(1), archive)
    await platform.open()
    yield Rehearsal(platform, clock)
    await platform.close()
    assert not (tmp_path / "s.logs").exists() or not list((tmp_path / "s.logs").iterdir())


async def test_a_run_takes_as_long_as_wished(rehearsal: Rehearsal) -> None:
    await rehearsal.prepare(SIMULATE_PREPARE_S="7.5")

    assert (await rehearsal.look()).look_again == NOW + timedelta(seconds=7.5)


async def test_a_run_ends_as_wished(rehearsal: Rehearsal) -> None:
    await rehearsal.launch(SIMULATE_RUN_S="0.5", SIMULATE_EXIT_CODE="3")
    rehearsal.clock.advance(0.5)
    seen = await rehearsal.look()

    assert (seen.phase, seen.reason, seen.exit_code) == (JobPhase.ENDED, EndReason.NONZERO, 3)
    assert seen.usage == Usage(cpu_s=0.5)


@pytest.mark.parametrize("end", ["DATA", "IMAGE", "UNSCHEDULABLE"])
async def test_a_preparation_ends_as_wished(rehearsal: Rehearsal, end: str) -> None:
    await rehearsal.prepare(SIMULATE_END=end)
    rehearsal.clock.advance(2)
    seen = await rehearsal.look()

    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason(end))


@pytest.mark.parametrize(
    ("end", "phase", "exit_code"),
    [
        ("OOM", JobPhase.ENDED, 137),
        ("STORAGE", JobPhase.ENDED, 137),
        ("NODE", JobPhase.ENDED, None),
        ("LOST", JobPhase.LOST, None),
    ],
)
async def test_a_run_is_ended_as_wished(
    rehearsal: Rehearsal, end: str, phase: JobPhase, exit_code: int | None
) -> None:
    await rehearsal.launch(SIMULATE_END=end)
    rehearsal.clock.advance(3)
    seen = await rehearsal.look()

    assert (seen.phase, seen.reason, seen.exit_code) == (phase, EndReason(end), exit_code)


async def test_a_launch_fails_as_wished(rehearsal: Rehearsal) -> None:
    with pytest.raises(JobRefusedError) as caught:
        await rehearsal.launch(SIMULATE_END="LAUNCH")

    assert caught.value.reason is EndReason.LAUNCH


@pytest.mark.parametrize(("stop_s", "after_s", "exit_code"), [("2", 2, 143), ("60", 4, 137)])
async def test_a_slow_run_stops_later_and_a_stubborn_one_is_killed(
    rehearsal: Rehearsal, stop_s: str, after_s: int, exit_code: int
) -> None:
    await rehearsal.launch(SIMULATE_RUN_S="1000", SIMULATE_STOP_S=stop_s)
    await rehearsal.stop()
    stopping = await rehearsal.look()
    rehearsal.clock.advance(after_s)
    ended = await rehearsal.look()

    assert stopping.phase is JobPhase.STOPPING
    assert stopping.look_again == rehearsal.clock.now()
    assert (ended.phase, ended.reason, ended.exit_code) == (
        JobPhase.ENDED,
        EndReason.CANCELLED,
        exit_code,
    )


async def test_a_slow_run_that_ends_by_itself_keeps_its_exit_code(rehearsal: Rehearsal) -> None:
    await rehearsal.launch(SIMULATE_RUN_S="1", SIMULATE_STOP_S="3", SIMULATE_EXIT_CODE="9")
    await rehearsal.stop()
    rehearsal.clock.advance(1)
    seen = await rehearsal.look()

    assert (seen.reason, seen.exit_code) == (EndReason.CANCELLED, 9)


async def test_wishes_are_estimated_and_outlive_the_broker(
    tmp_path: Path, rehearsal: Rehearsal
) -> None:
    wish = document(SIMULATE_PREPARE_S="7.5")
    appraisal = await rehearsal.platform.estimate(wish)
    assert appraisal.remarks == ()
    assert appraisal.estimate(wish["executable"]).prepare_s == 8

    await rehearsal.prepare(SIMULATE_PREPARE_S="7.5")
    again = SimulatedPlatform(SETTINGS, tmp_path / "s.db", rehearsal.clock, Random(1))
    await again.open()
    seen = (await again.observe([Checkpoint(SESSION, "simulated")]))[SESSION]
    await again.close()

    assert seen.look_again == NOW + timedelta(seconds=7.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIMULATE_RUN_S", "-1"),
        ("SIMULATE_RUN_S", "nan"),
        ("SIMULATE_RUN_S", "86401"),
        ("SIMULATE_PREPARE_S", "soon"),
        ("SIMULATE_STOP_S", ""),
        ("SIMULATE_EXIT_CODE", "256"),
        ("SIMULATE_EXIT_CODE", "1.5"),
        ("SIMULATE_END", "WELL"),
        ("SIMULATE_END", "OK"),
        ("SIMULATE_LOG_BYTES", "-1"),
        ("SIMULATE_MIRACLE/S", "1"),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused(
    rehearsal: Rehearsal, name: str, value: str
) -> None:
    appraisal = await rehearsal.platform.estimate(document(**{name: value}))

    (remark,) = appraisal.remarks
    assert remark.path == "/executable/environment/" + name.replace("/", "~1")
    assert name in remark.reason.message(NOW, **remark.values)["message"]
    with pytest.raises(JobRefusedError):
        await rehearsal.prepare(**{name: value})


async def test_a_site_may_grant_no_wishes(tmp_path: Path, rehearsal: Rehearsal) -> None:
    settings = replace(SETTINGS, wishes=False)
    strict = SimulatedPlatform(settings, tmp_path / "strict.db", rehearsal.clock, Random(1))
    wish = document(SIMULATE_PREPARE_S="7.5", SIMULATE_MIRACLE="1")
    appraisal = await strict.estimate(wish)

    assert appraisal.remarks == ()
    assert appraisal.estimate(wish["executable"]).prepare_s == 2


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
def test_other_variables_are_no_wishes(environment: dict[str, str]) -> None:
    named = {f"X{name}": value for name, value in environment.items()}

    assert read_wishes({"environment": named}) == (Wishes(), ())


def test_an_executable_without_environment_wishes_nothing() -> None:
    assert read_wishes({"environment": None}) == (Wishes(), ())
    assert read_wishes({}) == (Wishes(), ())


async def test_data_is_said_to_be_there_before_the_executable(rehearsal: Rehearsal) -> None:
    await rehearsal.prepare()

    parts = (await rehearsal.look()).components
    assert parts == dict.fromkeys((Component.STORAGE, Component.DATA), ComponentPhase.AVAILABLE)


async def test_data_that_will_not_come_is_never_said_to_be_there(rehearsal: Rehearsal) -> None:
    await rehearsal.prepare(SIMULATE_END="DATA")

    assert (await rehearsal.look()).components == {}


async def test_a_platform_is_up_while_it_is_open(tmp_path: Path) -> None:
    platform = SimulatedPlatform(SETTINGS, tmp_path / "s.db", SetClock(), Random(1))
    assert not (await platform.probe()).is_up
    await platform.open()
    assert (await platform.probe()).is_up
    await platform.close()


async def test_hints_end_when_the_platform_is_closed(tmp_path: Path) -> None:
    platform = SimulatedPlatform(SETTINGS, tmp_path / "s.db", SetClock(), Random(1))
    await platform.open()

    async def collected() -> list[object]:
        return [hint async for hint in platform.events()]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        hints = group.create_task(collected())
        await asyncio.sleep(0)
        assert not hints.done()
        await platform.close()

    assert hints.result() == []


async def test_a_log_grows_as_the_job_runs_and_is_complete_when_it_has(
    rehearsal: Rehearsal,
) -> None:
    await rehearsal.launch(SIMULATE_RUN_S="10", SIMULATE_LOG_BYTES="640")
    before = await rehearsal.log()
    rehearsal.clock.advance(5)
    half = await rehearsal.log()
    rest = await rehearsal.log(half.next)
    rehearsal.clock.advance(5)
    more = await rehearsal.log(half.next)

    assert (before.data, before.is_complete) == (b"", False)
    assert (half.next, half.is_complete) == (320, False)
    assert (rest.data, rest.next) == (b"", 320)
    assert (more.next, more.is_complete) == (640, True)
    assert (half.data + more.data).splitlines()[-1] == b"simulated output, line       20"


async def test_what_a_job_wrote_is_read_from_the_archive_when_it_is_gone(
    rehearsal: Rehearsal,
) -> None:
    await rehearsal.launch(SIMULATE_LOG_BYTES="5000")
    rehearsal.clock.advance(3)
    whole = await rehearsal.log()
    await rehearsal.release()
    await rehearsal.release()
    rehearsal.clock.advance(1)

    assert (await rehearsal.look()).phase is JobPhase.GONE
    assert await rehearsal.log() == whole
    assert whole.data.endswith(b"\n[4000 bytes more were dropped: a log holds 1000]\n")
    first = await rehearsal.log(10, 20)
    assert (first.data, first.next, first.is_complete) == (whole.data[10:30], 30, False)


async def test_how_it_ended_is_kept(rehearsal: Rehearsal, archive: Archive) -> None:
    await rehearsal.launch(SIMULATE_EXIT_CODE="3")
    rehearsal.clock.advance(3)
    await rehearsal.release()

    report = await archive.report(SESSION)
    assert report is not None
    assert (report.reason, report.exit_code) == (EndReason.NONZERO, 3)
    assert report.ended == NOW + timedelta(seconds=5)


async def test_a_run_that_is_released_is_kept_as_cancelled(
    rehearsal: Rehearsal, archive: Archive
) -> None:
    await rehearsal.launch(SIMULATE_RUN_S="10", SIMULATE_LOG_BYTES="640")
    rehearsal.clock.advance(5)
    await rehearsal.release()
    rehearsal.clock.advance(0.5)

    report = await archive.report(SESSION)
    assert report is not None
    assert (report.reason, report.exit_code) == (EndReason.CANCELLED, 137)
    assert (await rehearsal.log()).next == 320


async def test_there_is_no_log_of_a_job_that_never_was(rehearsal: Rehearsal) -> None:
    assert await rehearsal.platform.read_log(SESSION, Stream.STDOUT, 0, 10) is None


@given(
    st.integers(0, 300), st.integers(0, 300), st.lists(st.integers(1, 100), min_size=1), st.data()
)
def test_a_log_is_the_same_in_whatever_pieces_it_is_read(
    written: int, limit: int, counts: list[int], data: st.DataObject
) -> None:
    whole = read_simulated_log(written, limit, 0, 10_000, is_complete=True)
    offset = data.draw(st.integers(0, len(whole)))
    pieces = b""
    for count in counts:
        at = offset + len(pieces)
        pieces += read_simulated_log(written, limit, at, count, is_complete=True)

    assert (b"were dropped" in whole) == (written > limit)
    assert pieces == whole[offset : offset + sum(counts)]
