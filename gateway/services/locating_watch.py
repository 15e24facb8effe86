"""Looking after the data lakes while nobody asks for data, so that operators see what is down.

Logging in happens on the way, so that the first request does not wait for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.clients.lakes.base import DataLake, Health
from gateway.clock import Clock
from gateway.services.locating_metrics import LocatingMetrics

EVERY_S: Final = 60.0
WITHIN_S: Final = 5.0

_log = structlog.stdlib.get_logger(__name__)


class LakeWatch:
    """Asks every lake how it is. ``look`` is a duty of the background."""

    def __init__(self, lakes: Sequence[DataLake], clock: Clock, metrics: LocatingMetrics) -> None:
        self._lakes = tuple(lakes)
        self._clock = clock
        self._metrics = metrics
        self._was_up: dict[str, bool] = {}

    async def look(self) -> float:
        """Ask them all at once; gives the seconds until this should run again."""
        deadline = self._clock.monotonic() + WITHIN_S
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(lake.health(deadline=deadline)) for lake in self._lakes]
        for task in asked:
            self._note(task.result())
        return EVERY_S

    def _note(self, health: Health) -> None:
        self._metrics.show_health(health.lake, is_up=health.is_up)
        was_up = self._was_up.get(health.lake)
        self._was_up[health.lake] = health.is_up
        if health.is_up and was_up is not True:
            _log.info("lake_is_up", lake=health.lake, detail=health.detail)
        elif not health.is_up and was_up is not False:
            _log.warning("lake_is_down", lake=health.lake, detail=health.detail)
