"""Whatever a job does, every platform says the same of it, keeps what came out, leaves nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from node_stub.platforms.base import EndReason, JobPhase, Stream
from tests.platforms.conformance.behaviours import EXIT_CODE, LOG_BYTES, LOG_LIMIT, Behaviour
from tests.platforms.conformance.driving import RefusedError
from tests.platforms.conformance.kits import GRACE_S, MOMENT_S
from tests.platforms.conformance.stage import REACTION_S, Stage


async def test_a_job_that_ends_well(stage: Stage) -> None:
    before = datetime.now(UTC)
    drive = await stage.drive(Behaviour.ENDS_WELL)
    seen = await drive.run()
    report = await stage.let_go(drive)

    assert (seen.phase, seen.reason, seen.exit_code) == (JobPhase.ENDED, EndReason.OK, 0)
    assert seen.started is not None
    assert seen.ended is not None
    second = timedelta(seconds=1)  # some platforms tell whole seconds
    assert before - second <= seen.started <= seen.ended + second
    assert report is not None
    assert (report.reason, report.exit_code) == (EndReason.OK, 0)
    assert await stage.kit.runs(drive.session) == 1


async def test_a_job_that_ends_badly(stage: Stage) -> None:
    seen, report = await stage.ended(Behaviour.ENDS_BADLY)

    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, EXIT_CODE)
    assert report is not None
    assert (report.reason, report.exit_code) == (EndReason.NONZERO, EXIT_CODE)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour.HAS_A_BAD_COMMAND, EndReason.LAUNCH),
        (Behaviour.HAS_A_BAD_IMAGE, EndReason.IMAGE),
        (Behaviour.HAS_BAD_DATA, EndReason.DATA),
    ],
)
async def test_a_job_that_cannot_begin_says_why_and_leaves_nothing(
    stage: Stage, behaviour: Behaviour, reason: EndReason
) -> None:
    if behaviour in stage.kit.refuses:
        with pytest.raises(RefusedError):
            await stage.drive(behaviour)
        return
    drive = await stage.drive(behaviour)
    seen = await drive.run()
    await stage.let_go(drive)

    assert seen.reason is reason
    assert seen.text
    assert await stage.kit.runs(drive.session) == 0


async def test_a_job_that_takes_too_much_memory(stage: Stage) -> None:
    if Behaviour.TAKES_TOO_MUCH_MEMORY in stage.kit.refuses:
        with pytest.raises(RefusedError):
            await stage.drive(Behaviour.TAKES_TOO_MUCH_MEMORY)
        return
    seen, report = await stage.ended(Behaviour.TAKES_TOO_MUCH_MEMORY)

    assert seen.reason is EndReason.OOM
    assert seen.exit_code != 0
    assert report is not None
    assert report.reason is EndReason.OOM


async def test_a_huge_log_is_cut_and_says_so(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.WRITES_A_HUGE_LOG)
    seen = await drive.run()
    live = await drive.log()
    await stage.let_go(drive)

    assert (seen.reason, seen.exit_code) == (EndReason.OK, 0)
    kept, _, last = live.rstrip(b"\n").rpartition(b"\n")
    assert LOG_LIMIT - 1 <= len(kept) <= LOG_LIMIT
    assert str(LOG_BYTES - LOG_LIMIT).encode() in last
    assert await drive.log() == live


async def test_a_job_that_is_asked_to_stop_may_take_its_time(stage: Stage) -> None:
    drive = await stage.start(Behaviour.STOPS_SLOWLY)
    await drive.stop()
    await drive.stop()
    seen = await drive.reaches(JobPhase.ENDED, within_s=GRACE_S + REACTION_S)
    report = await stage.let_go(drive)

    assert seen.reason is EndReason.CANCELLED
    # It ended by itself: nobody had to kill it.
    assert seen.exit_code in (0, 143)
    assert report is not None
    assert report.reason is EndReason.CANCELLED


async def test_a_stubborn_tree_is_killed_to_the_last_process(stage: Stage) -> None:
    drive = await stage.start(Behaviour.IS_STUBBORN)
    began = asyncio.get_running_loop().time()
    await drive.stop()
    seen = await drive.reaches(JobPhase.ENDED, within_s=GRACE_S + REACTION_S)
    took_s = asyncio.get_running_loop().time() - began

    assert stage.kit.processes() == []
    assert took_s >= GRACE_S / 2
    assert (seen.reason, seen.exit_code) == (EndReason.CANCELLED, 137)
    await stage.let_go(drive)


async def test_a_stubborn_tree_is_released_as_it_runs(stage: Stage) -> None:
    drive = await stage.start(Behaviour.IS_STUBBORN)
    await stage.let_go(drive)

    report = await stage.kit.archive.report(drive.session)
    assert report is not None
    assert report.reason is EndReason.CANCELLED


async def test_a_job_that_nobody_looks_after_ends_after_its_time(stage: Stage) -> None:
    """The broker sees to it in time; this is for the time when there is no broker."""
    drive = await stage.start(Behaviour.IS_STUBBORN, lasts_s=1.5)
    if stage.kit.backstop_s is None:
        # Only the broker can end it, and does when it is back: that is a test of the broker.
        assert (await drive.look()).phase is JobPhase.RUNNING
    else:
        within_s = stage.kit.backstop_s + REACTION_S
        seen = await drive.reaches(JobPhase.ENDED, within_s=within_s)
        assert stage.kit.processes() == []
        assert seen.reason is EndReason.TIMEOUT
    await stage.let_go(drive)


async def test_a_job_is_seen_ready_before_it_is_asked_to_run(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.LASTS_A_MOMENT)
    await drive.prepare()
    await drive.reaches(JobPhase.READY)
    await asyncio.sleep(0.05)
    assert (await drive.look()).phase is JobPhase.READY
    assert await stage.kit.runs(drive.session) == 0

    await drive.launch()
    seen = await drive.reaches(JobPhase.ENDED)
    assert seen.started is not None
    assert seen.ended is not None
    assert (seen.ended - seen.started).total_seconds() >= MOMENT_S / 2
    await stage.let_go(drive)


async def test_a_log_can_be_read_while_it_is_written(stage: Stage) -> None:
    drive = await stage.start(Behaviour.STOPS_SLOWLY)
    chunk = await stage.platform.read_log(drive.session, Stream.STDOUT, 0, 100)
    assert chunk is not None
    assert not chunk.is_complete
    await drive.stop()
    await drive.reaches(JobPhase.ENDED, within_s=GRACE_S + REACTION_S)
    await stage.let_go(drive)

    whole = await drive.log()
    assert whole.startswith(chunk.data)
