"""A node that dies between any two steps: what lay on its disk at that moment is started again."""

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest

from node_stub.clock import SystemClock
from node_stub.platforms.base import Checkpoint, JobPhase, JobSpec
from node_stub.platforms.simulated import JobStep, SimulatedPlatform, SimulatedSettings
from tests.support.node import QUICK, NodeClient, ShiftedClock, node_settings, running_node
from tests.support.node_requests import MINIMAL
from tests.support.waiting import eventually, until

ENDLESS: Final = replace(QUICK, hang=frozenset({JobStep.RUN}))


@dataclass(frozen=True, slots=True)
class Moment:
    """Just before the platform does what it is asked for, or just after, before that is saved."""

    call: str
    is_done: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_done else 'before'}-{self.call}"


class DyingPlatform(SimulatedPlatform):
    """Keeps what is on the disk at one moment, and counts what was really started until then."""

    def __init__(
        self, data_dir: Path, settings: SimulatedSettings, moment: Moment | None = None
    ) -> None:
        super().__init__(settings, data_dir / "simulated.db", SystemClock(), Random(1))
        self.starts = 0
        self.starts_then: int | None = None
        self.kept = data_dir.with_name("kept")
        self._data_dir = data_dir
        self._moment = moment

    def _at(self, call: str, *, is_done: bool) -> None:
        if self.starts_then is None and self._moment == Moment(call, is_done):
            keep(self._data_dir, self.kept)
            self.starts_then = self.starts

    async def prepare(self, spec: JobSpec) -> Checkpoint:
        self._at("prepare", is_done=False)
        checkpoint = await super().prepare(spec)
        self._at("prepare", is_done=True)
        return checkpoint

    async def launch(self, spec: JobSpec, checkpoint: Checkpoint) -> Checkpoint:
        self._at("launch", is_done=False)
        seen = await self.observe([checkpoint])
        self.starts += seen[spec.session].phase is JobPhase.READY
        launched = await super().launch(spec, checkpoint)
        self._at("launch", is_done=True)
        return launched

    async def stop(self, checkpoint: Checkpoint) -> None:
        self._at("stop", is_done=False)
        await super().stop(checkpoint)
        self._at("stop", is_done=True)

    async def release(self, checkpoint: Checkpoint) -> None:
        self._at("release", is_done=False)
        await super().release(checkpoint)
        self._at("release", is_done=True)


def keep(data_dir: Path, into: Path) -> None:
    """Copy what a crash would leave behind; the shared memory beside a database is lost in one."""
    ignored = shutil.ignore_patterns("*-shm", "*.lock")
    shutil.copytree(data_dir, into, ignore=ignored)


async def is_free(node: NodeClient) -> bool:
    return "execbroker_node_ledger_bookings 0.0" in await node.text("/metrics")


def moments(*calls: str) -> list[Moment]:
    return [Moment(call, is_done) for call in calls for is_done in (False, True)]


@pytest.mark.parametrize("moment", moments("prepare", "launch", "release"), ids=str)
async def test_an_accepted_session_runs_exactly_once(tmp_path: Path, moment: Moment) -> None:
    live = tmp_path / "live"
    live.mkdir()
    dying = DyingPlatform(live, QUICK, moment)
    async with running_node(live, platform=dying) as node:
        offers = (await node.ask(MINIMAL)).document["offers"]
        chosen, sibling = (offer["meta"]["uuid"] for offer in offers)
        await node.update(chosen, "ACCEPTED")
        await until(lambda: dying.starts_then is not None)
    assert dying.starts_then is not None

    platform = DyingPlatform(dying.kept, QUICK)
    async with running_node(dying.kept, platform=platform) as node:
        session = await node.reaches(chosen, "COMPLETED", "FAILED")
        await eventually(lambda: is_free(node))

        assert session["phase"] == "COMPLETED"
        assert (await node.session(sibling))["phase"] == "REJECTED"
        assert dying.starts_then + platform.starts == 1
        assert await platform.recover() == []


@pytest.mark.parametrize("moment", moments("stop", "release"), ids=str)
async def test_a_cancelled_session_is_wound_down(tmp_path: Path, moment: Moment) -> None:
    live = tmp_path / "live"
    live.mkdir()
    dying = DyingPlatform(live, ENDLESS, moment)
    async with running_node(live, platform=dying) as node:
        answer = await node.direct(MINIMAL)
        await node.reaches(answer.uuid, "RUNNING")
        await node.update(answer.uuid, "CANCELLED")
        await until(lambda: dying.starts_then is not None)

    platform = DyingPlatform(dying.kept, ENDLESS)
    async with running_node(dying.kept, platform=platform) as node:
        await eventually(lambda: is_free(node))

        assert (await node.session(answer.uuid))["phase"] == "CANCELLED"
        assert platform.starts == 0
        assert await platform.recover() == []


async def test_offers_that_nobody_heard_of_hold_nothing_once_they_expired(tmp_path: Path) -> None:
    live, kept, clock = tmp_path / "live", tmp_path / "kept", ShiftedClock()
    live.mkdir()
    async with running_node(live, clock=clock) as node:
        await node.ask(MINIMAL)
        keep(live, kept)
    async with running_node(kept, clock=clock) as node:
        assert not await is_free(node)
        clock.advance(timedelta(seconds=301))
        await node.ask({})
        assert await is_free(node)


async def test_an_offer_that_was_made_can_be_accepted_and_then_only_once(tmp_path: Path) -> None:
    live, kept = tmp_path / "live", tmp_path / "kept"
    live.mkdir()
    async with running_node(live) as node:
        answer = await node.ask(MINIMAL)
        keep(live, kept)
    chosen, sibling = (offer["meta"]["uuid"] for offer in answer.document["offers"])
    async with running_node(kept, node_settings(platform=ENDLESS)) as node:
        assert (await node.update(chosen, "ACCEPTED")).document["phase"] == "ACCEPTED"
        keep(kept, tmp_path / "again")
    async with running_node(tmp_path / "again") as node:
        assert (await node.update(sibling, "ACCEPTED")).document["phase"] == "REJECTED"
        await node.reaches(chosen, "COMPLETED")
