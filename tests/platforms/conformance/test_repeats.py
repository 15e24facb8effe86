"""Every call may come again, also from a broker that knows nothing of the first."""

import asyncio
from datetime import timedelta
from typing import Final

import pytest

from node_stub.platforms.base import EndReason, JobPhase, Observation, PlatformError
from tests.platforms.conformance.behaviours import Behaviour
from tests.platforms.conformance.driving import Drive, remove
from tests.platforms.conformance.kits import MOMENT_S, Kit
from tests.platforms.conformance.stage import Stage
from tests.support.waiting import eventually


async def test_preparing_twice_makes_one_job(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_WELL)
    await drive.prepare()
    await drive.prepare()
    await drive.reaches(JobPhase.READY)
    await drive.prepare()
    seen = await drive.run()
    await stage.let_go(drive)

    assert seen.reason is EndReason.OK
    assert await stage.kit.runs(drive.session) == 1


async def test_launching_twice_runs_a_job_once(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.LASTS_A_MOMENT)
    await drive.prepare()
    await drive.launch()
    await stage.platform.launch(drive.spec, drive.checkpoint)
    first = await drive.reaches(JobPhase.RUNNING, JobPhase.ENDED)
    await stage.platform.launch(drive.spec, drive.checkpoint)
    ended = await drive.reaches(JobPhase.ENDED)
    await stage.platform.launch(drive.spec, drive.checkpoint)
    seen = await drive.look()
    await stage.let_go(drive)

    assert seen.phase is JobPhase.ENDED
    assert first.started is not None
    assert ended.started is not None
    assert abs(ended.started - first.started) < timedelta(seconds=MOMENT_S / 2)
    assert (ended.started, ended.ended) == (seen.started, seen.ended)
    assert await stage.kit.runs(drive.session) == 1


async def test_launching_what_was_never_prepared_runs_nothing(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_WELL)
    with pytest.raises(PlatformError):
        await stage.platform.launch(drive.spec, drive.checkpoint)

    assert await stage.kit.runs(drive.session) == 0
    await stage.let_go(drive)


async def test_releasing_twice_is_releasing(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_WELL)
    await drive.run()
    await stage.platform.release(drive.checkpoint)
    await stage.platform.release(drive.checkpoint)
    report = await stage.let_go(drive)
    await stage.platform.release(drive.checkpoint)

    async def is_gone() -> bool:
        return (await drive.look()).phase is JobPhase.GONE

    await eventually(is_gone)
    assert report is not None
    assert await stage.kit.archive.report(drive.session) == report
    assert stage.kit.left(drive.session) == []


async def test_what_never_was_is_gone_and_can_be_stopped_and_released(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_WELL)

    assert (await drive.look()).phase is JobPhase.GONE
    await drive.stop()
    await stage.let_go(drive)


async def test_a_job_that_is_stopped_before_it_runs_never_runs(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_WELL)
    await drive.prepare()
    await drive.stop()
    await stage.let_go(drive)

    assert await stage.kit.runs(drive.session) == 0


async def test_stopping_what_has_ended_does_not_change_how(stage: Stage) -> None:
    drive = await stage.drive(Behaviour.ENDS_BADLY)
    before = await drive.run()
    await drive.stop()
    after = await drive.look()
    report = await stage.let_go(drive)

    assert (after.phase, after.reason) == (JobPhase.ENDED, before.reason)
    assert after.exit_code == before.exit_code
    assert report is not None
    assert report.reason is before.reason


async def test_a_job_leaves_its_neighbour_alone(stage: Stage) -> None:
    stopped = await stage.start(Behaviour.LASTS)
    neighbour = await stage.start(Behaviour.LASTS)
    await stopped.stop()
    await stopped.reaches(JobPhase.ENDED)
    await stopped.release()

    assert (await neighbour.look()).phase is JobPhase.RUNNING
    await neighbour.stop()
    await neighbour.reaches(JobPhase.ENDED)
    await stage.let_go(neighbour)
    await stage.let_go(stopped)


async def test_a_job_of_nobody_is_found_and_removed(kit: Kit) -> None:
    async with kit.opened() as platform:
        running = await Stage(kit, platform).start(Behaviour.IS_STUBBORN)
        ready = await Stage(kit, platform).drive(Behaviour.LASTS)
        await ready.prepare()
        await ready.reaches(JobPhase.READY)

    async with kit.opened() as platform:
        found = {checkpoint.session for checkpoint in await platform.recover()}
        assert found == {running.session, ready.session}
        for session in found:
            await remove(platform, session)
        assert await platform.recover() == []
    assert kit.left(running.session, ready.session) == []
    assert await kit.runs(ready.session) == 0


MOMENTS: Final = ("PREPARED", "READY", "LAUNCHED", "RUNNING", "ENDED")
"""How far a job has come when the platform is closed."""


async def brought_to(drive: Drive, moment: str) -> None:
    await drive.prepare()
    if moment == "READY":
        await drive.reaches(JobPhase.READY)
    elif moment != "PREPARED":
        await drive.launch()
        if moment != "LAUNCHED":
            await drive.reaches(JobPhase(moment), JobPhase.ENDED)


async def brought_to_its_end(drive: Drive) -> Observation:
    seen = await drive.reaches(JobPhase.READY, JobPhase.RUNNING, JobPhase.ENDED)
    if seen.phase is JobPhase.READY:
        await drive.launch()
    return await drive.reaches(JobPhase.ENDED)


async def test_jobs_go_on_under_a_platform_that_was_opened_again(kit: Kit) -> None:
    async with kit.opened() as platform:
        stage = Stage(kit, platform)
        drives = {moment: await stage.drive(Behaviour.LASTS_A_MOMENT) for moment in MOMENTS}
        await asyncio.gather(*(brought_to(drive, moment) for moment, drive in drives.items()))

    async with kit.opened() as platform:
        for drive in drives.values():
            drive.move_to(platform)
        ends = await asyncio.gather(*map(brought_to_its_end, drives.values()))
        await asyncio.gather(*(drive.release() for drive in drives.values()))
        assert await platform.recover() == []

    found = {
        moment: (seen.reason, seen.exit_code) for moment, seen in zip(drives, ends, strict=True)
    }
    assert found == dict.fromkeys(MOMENTS, (EndReason.OK, 0))
    assert kit.left(*(drive.session for drive in drives.values())) == []
    runs = {moment: await kit.runs(drive.session) for moment, drive in drives.items()}
    assert runs == dict.fromkeys(MOMENTS, 1)


async def test_a_job_that_is_being_stopped_ends_under_a_platform_that_was_opened_again(
    kit: Kit,
) -> None:
    async with kit.opened() as platform:
        drive = await Stage(kit, platform).start(Behaviour.IS_STUBBORN)
        await drive.stop()

    async with kit.opened() as platform:
        drive.move_to(platform)
        await drive.stop()
        seen = await drive.reaches(JobPhase.ENDED)
        assert kit.processes() == []
        await Stage(kit, platform).let_go(drive)

    assert seen.reason is EndReason.CANCELLED


async def test_a_job_that_is_being_released_goes_under_a_platform_that_was_opened_again(
    kit: Kit,
) -> None:
    async with kit.opened() as platform:
        drive = await Stage(kit, platform).drive(Behaviour.ENDS_WELL)
        await drive.run()
        await platform.release(drive.checkpoint)
        drive.is_released = True

    async with kit.opened() as platform:
        drive.move_to(platform)
        await Stage(kit, platform).let_go(drive)

    assert await kit.runs(drive.session) == 1
