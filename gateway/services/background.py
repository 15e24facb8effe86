"""Work that nobody asks for: supervised loops that log what goes wrong, wait and go on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.services.tasks import is_outage

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""After a failure a loop rests, twice as long after each one in a row, up to this."""

STORE_PAUSE_S: Final = 2.0
"""While the database is away. It says so at once, and when it is back there is work waiting."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """One loop: ``run`` does what is due and gives the seconds until it wants to run again.

    ``wake`` lets others call it earlier; it then runs ``after_s`` later, so that what they were
    about is answered first.
    """

    name: str
    run: Callable[[], Awaitable[float]]
    wake: asyncio.Event
    after_s: float = 0.0


class BackgroundService:
    """Runs duties until stopped; a duty that fails never ends, and never harms another."""

    def __init__(self, duties: tuple[Duty, ...]) -> None:
        self._duties = duties
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin all duties."""
        self._supervisor = asyncio.create_task(self._supervise(), name="background")

    async def stop(self) -> None:
        """End all duties and wait until they have ended."""
        if self._supervisor is None:
            return
        self._supervisor.cancel()
        await asyncio.wait([self._supervisor])
        self._supervisor = None

    async def _supervise(self) -> None:
        async with asyncio.TaskGroup() as group:
            for duty in self._duties:
                group.create_task(self._loop(duty), name=duty.name)

    async def _loop(self, duty: Duty) -> None:
        failures = 0
        while True:
            duty.wake.clear()
            try:
                pause_s = await duty.run()
                failures = 0
            except Exception as error:  # noqa: BLE001  # the one supervised place: logged, tried again
                if is_outage(error):
                    pause_s = STORE_PAUSE_S
                    _log.warning("background_duty_waits", duty=duty.name, pause_s=pause_s)
                else:
                    pause_s = min(FIRST_PAUSE_S * 2**failures, LONGEST_PAUSE_S)
                    failures = min(failures + 1, 16)
                    _log.exception("background_duty_failed", duty=duty.name, pause_s=pause_s)
            try:
                async with asyncio.timeout(max(pause_s, 0.0)):
                    await duty.wake.wait()
            except TimeoutError:
                continue
            if duty.after_s:
                await asyncio.sleep(duty.after_s)
