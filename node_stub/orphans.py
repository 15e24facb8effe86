"""Jobs that bear our mark and belong to no live session: found and removed, again and again."""

import asyncio
from collections import Counter
from typing import Final
from uuid import UUID

import structlog

from node_stub.config import ReconcilerSettings
from node_stub.metrics import NodeMetrics
from node_stub.platforms.base import Checkpoint, Platform, PlatformError
from node_stub.store import Store

LOOK_EVERY_S: Final = 300.0
"""Orphans are rare: a crash or a release that was given up leaves them behind."""

_log = structlog.get_logger(__name__)


class Orphans:
    """Releases what nobody else will."""

    def __init__(
        self, store: Store, platform: Platform, settings: ReconcilerSettings, metrics: NodeMetrics
    ) -> None:
        self._store = store
        self._platform = platform
        self._settings = settings
        self._metrics = metrics
        self._attempts: Counter[UUID] = Counter()

    async def run(self) -> None:
        """Look for orphans until cancelled."""
        failures = 0
        while True:
            try:
                is_clean = await self._release_all()
            except (PlatformError, TimeoutError) as error:
                self._metrics.count_error("recover")
                _log.warning("recover_failed", reason=repr(error))
                is_clean = False
            failures = 0 if is_clean else failures + 1
            await asyncio.sleep(LOOK_EVERY_S if is_clean else self._settings.wait_s(failures))

    async def _release_all(self) -> bool:
        """Whether there were none."""
        async with asyncio.timeout(self._settings.call_timeout_s):
            found = await self._platform.recover()
        # Asked for after the jobs: whatever runs by right has been saved as live before.
        live = {record.uuid for record in await self._store.live_sessions()}
        orphans = {checkpoint.session: checkpoint for checkpoint in found}
        for session in live:
            orphans.pop(session, None)
        self._attempts = Counter({uuid: self._attempts[uuid] for uuid in orphans})
        # One that cannot be removed comes after those that have not been tried as often.
        for session in sorted(orphans, key=lambda uuid: (self._attempts[uuid], uuid)):
            await self._release(orphans[session])
        return not orphans

    async def _release(self, orphan: Checkpoint) -> None:
        self._attempts[orphan.session] += 1
        _log.warning("orphan_released", session=str(orphan.session))
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                await self._platform.release(orphan)
        except (PlatformError, TimeoutError) as error:
            self._metrics.count_error("recover")
            _log.warning("orphan_remains", session=str(orphan.session), reason=repr(error))
