"""Rucio's table of storage elements, kept for a while: which are tape, and which may be read."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.clients.lakes.errors import LakeError
from gateway.clients.lakes.rucio_api import RucioApi
from gateway.clients.lakes.rucio_rows import RseRow

KEPT_S: Final = 600.0
KEPT_AFTER_FAILURE_S: Final = 30.0
REFRESH_S: Final = 2.0
"""A look-up waits so long for the table to be renewed, then goes on with the old one."""

_log = structlog.stdlib.get_logger(__name__)


class RseTable:
    """The table by name. Without one nothing is known of any RSE, which stops no look-up."""

    def __init__(self, api: RucioApi, lake: str) -> None:
        self._api = api
        self._lake = lake
        self._lock = asyncio.Lock()
        self._rows: Mapping[str, RseRow] = {}
        self._until = float("-inf")

    async def get(self, *, deadline: float) -> Mapping[str, RseRow]:
        """The table, renewed if it is old and that is possible."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            return self._rows
        async with self._lock:
            if loop.time() >= self._until:
                await self._renew(min(deadline, loop.time() + REFRESH_S))
        return self._rows

    async def _renew(self, deadline: float) -> None:
        try:
            rows = await self._api.storage_elements(deadline=deadline)
        except LakeError as error:
            _log.warning("rse_table_not_renewed", lake=self._lake, error=str(error))
            kept_s = KEPT_AFTER_FAILURE_S
        else:
            self._rows = {row.rse: row for row in rows}
            kept_s = KEPT_S
        self._until = asyncio.get_running_loop().time() + kept_s
