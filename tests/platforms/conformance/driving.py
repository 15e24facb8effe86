"""Drives one job through a platform as the reconciler does, and sees that it never goes back."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from gateway.wire.documents import Document
from gateway.wire.phases import MessageLevel
from node_stub.appraisal import Remark
from node_stub.platforms.base import (
    Checkpoint,
    JobPhase,
    JobRefusedError,
    JobSpec,
    Observation,
    Platform,
    Stream,
)
from node_stub.policy import Verdict, conclude, examine
from node_stub.rules import SiteRules
from tests.support.waiting import eventually

REACH_S: Final = 30.0
"""Nothing takes as long, also on a machine with other work to do."""

_CHUNK: Final = 400_000
"""Small enough that a huge log is read in several pieces."""

_RANK: Final = {
    JobPhase.QUEUED: 0,
    JobPhase.STARTING: 0,
    JobPhase.READY: 1,
    JobPhase.RUNNING: 2,
    JobPhase.STOPPING: 3,
    JobPhase.ENDED: 4,
    JobPhase.LOST: 4,
}


class RefusedError(Exception):
    """The platform does not offer to run this."""

    def __init__(self, remarks: tuple[Remark, ...]) -> None:
        super().__init__("; ".join(f"{item.path} {item.reason.template}" for item in remarks))
        self.remarks = remarks


async def judged(platform: Platform, rules: SiteRules, request: Document) -> Verdict:
    """What the node would answer to a request.

    Raises
    ------
    RefusedError
        The platform would not run it.
    """
    draft = examine(request, site=rules, now=datetime.now(UTC), mint=uuid4)
    assert not draft.is_refused, draft.findings.messages()
    appraisal = await platform.estimate(draft.document)
    refusals = tuple(r for r in appraisal.remarks if r.reason.level is MessageLevel.ERROR)
    if refusals:
        raise RefusedError(refusals)
    verdict = conclude(draft, appraisal, site=rules)
    assert verdict.is_possible, verdict.messages
    return verdict


def job_of(verdict: Verdict, lasts_s: float) -> JobSpec:
    """The job of an offer of the least that was asked for, accepted now."""
    stores = [
        {**store, "size": {"min": store["size"]["min"], "max": store["size"]["min"]}}
        for store in verdict.document["storage"]
    ]
    return JobSpec(
        session=uuid4(),
        document={**verdict.document, "storage": stores},
        cores=verdict.need.cores,
        memory_gib=verdict.need.memory_gib,
        storage_gib=verdict.need.storage_gib,
        end_at=datetime.now(UTC) + timedelta(seconds=lasts_s),
    )


@dataclass(slots=True)
class Drive:
    """One job on one platform. ``platform`` may be exchanged for one that was opened later."""

    platform: Platform
    spec: JobSpec
    checkpoint: Checkpoint = field(init=False)
    last: Observation | None = None
    is_released: bool = False

    def __post_init__(self) -> None:
        self.checkpoint = Checkpoint(self.session, self.platform.name)

    @property
    def session(self) -> UUID:
        return self.spec.session

    def move_to(self, platform: Platform) -> None:
        """The same job on a platform that knows nothing of it but its session."""
        self.platform, self.checkpoint = platform, Checkpoint(self.session, platform.name)

    async def look(self) -> Observation:
        """How it stands; never before where it stood."""
        seen = (await self.platform.observe([self.checkpoint]))[self.session]
        if not self.is_released and seen.phase in _RANK:
            before = self.last or seen
            assert _RANK[seen.phase] >= _RANK[before.phase], (before, seen)
            self.last = seen
        return seen

    async def reaches(self, *phases: JobPhase, within_s: float = REACH_S) -> Observation:
        """Look until it stands in one of these phases."""
        seen = await self.look()

        async def is_there() -> bool:
            nonlocal seen
            seen = await self.look()
            return seen.phase in phases

        try:
            await eventually(is_there, within_s)
        except AssertionError as error:
            raise AssertionError(f"not {phases}, but {seen}") from error
        return seen

    async def prepare(self) -> None:
        self.checkpoint = await self.platform.prepare(self.spec)

    async def launch(self) -> None:
        """Wait until it is ready, and let it run."""
        seen = await self.reaches(JobPhase.READY, JobPhase.ENDED)
        assert seen.phase is JobPhase.READY, seen
        self.checkpoint = await self.platform.launch(self.spec, self.checkpoint)

    async def start(self) -> Observation:
        """Get it running."""
        await self.prepare()
        await self.launch()
        return await self.reaches(JobPhase.RUNNING)

    async def stop(self) -> None:
        await self.platform.stop(self.checkpoint)

    async def run(self) -> Observation:
        """From nothing to the end, whatever that is: one that was refused has ended, too."""
        try:
            await self.prepare()
            seen = await self.reaches(JobPhase.READY, JobPhase.ENDED)
            if seen.phase is JobPhase.READY:
                self.checkpoint = await self.platform.launch(self.spec, self.checkpoint)
                seen = await self.reaches(JobPhase.ENDED, JobPhase.LOST)
        except JobRefusedError as error:
            return refused(error)
        return seen

    async def release(self, within_s: float = REACH_S) -> None:
        """Ask for its removal, again where that is needed, until it is gone."""
        self.is_released = True
        async with asyncio.timeout(within_s):
            await self.platform.release(self.checkpoint)
            while True:
                seen = await self.look()
                if seen.phase is JobPhase.GONE:
                    return
                if seen.phase is not JobPhase.STOPPING:
                    await self.platform.release(self.checkpoint)
                await asyncio.sleep(0.01)

    async def log(self, stream: Stream = Stream.STDOUT) -> bytes:
        """All that it has written so far, in pieces."""
        data = b""
        while True:
            chunk = await self.platform.read_log(self.session, stream, len(data), _CHUNK)
            assert chunk is not None, "there is no log"
            assert len(chunk.data) <= _CHUNK
            data += chunk.data
            assert chunk.next == len(data)
            if chunk.is_complete or not chunk.data:
                return data


def refused(error: JobRefusedError) -> Observation:
    """How a job ended that the platform would not run."""
    return Observation(JobPhase.ENDED, datetime.now(UTC), error.reason, text=str(error))


async def remove(platform: Platform, session: UUID) -> None:
    """Release a job of which nothing is known but its session."""
    bare = Checkpoint(session, platform.name)

    async def is_gone() -> bool:
        seen = await platform.observe([bare])
        await platform.release(bare)
        return seen[session].phase is JobPhase.GONE

    await eventually(is_gone, REACH_S)
