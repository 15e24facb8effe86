"""One platform, open, and what a test does with it."""

from dataclasses import dataclass
from typing import Final

from node_stub.archive import Report
from node_stub.platforms.base import Observation, Platform
from tests.platforms.conformance.behaviours import Behaviour
from tests.platforms.conformance.driving import REACH_S, Drive, job_of, judged
from tests.platforms.conformance.kits import Kit
from tests.support.waiting import eventually

LASTS_S: Final = 60.0
"""How long a job may last here, if nothing else is said."""

REACTION_S: Final = 8.0
"""A platform on a busy machine does within this time what it is asked for."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A kit and its platform."""

    kit: Kit
    platform: Platform

    async def drive(self, behaviour: Behaviour, lasts_s: float = LASTS_S) -> Drive:
        """A job that behaves so, not begun.

        Raises
        ------
        RefusedError
        """
        verdict = await judged(self.platform, self.kit.rules, self.kit.request(behaviour))
        return Drive(self.platform, job_of(verdict, lasts_s))

    async def start(self, behaviour: Behaviour, lasts_s: float = LASTS_S) -> Drive:
        """A job that behaves so, and has begun to."""
        drive = await self.drive(behaviour, lasts_s)
        await drive.start()
        if self.kit.has_processes:

            async def has_begun() -> bool:
                return b"started" in await drive.log()

            await eventually(has_begun, REACH_S)
        return drive

    async def let_go(self, drive: Drive) -> Report | None:
        """Release it; nothing is left then but what is in the archive."""
        await drive.release()
        left = self.kit.left(drive.session)
        assert not left, left
        return await self.kit.archive.report(drive.session)

    async def ended(self, behaviour: Behaviour) -> tuple[Observation, Report | None]:
        """How a job ended that behaves so, and what the archive knows of it afterwards."""
        drive = await self.drive(behaviour)
        seen = await drive.run()
        return seen, await self.let_go(drive)
