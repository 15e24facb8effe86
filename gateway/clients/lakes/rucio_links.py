"""Links between Rucio's storage elements: what was transferred over them, or how far they are."""

import asyncio
from collections.abc import Sequence
from itertools import permutations
from typing import Final

import structlog

from gateway.clients.lakes.errors import LakeRequestError
from gateway.clients.lakes.rows import to_count
from gateway.clients.lakes.rucio_api import RucioApi
from gateway.clients.lakes.rucio_collections import first_of
from gateway.clients.lakes.rucio_rows import CountsRow, LinkRow
from gateway.domain.holdings import LakeLink

MAX_PAIRS: Final = 600
"""Distances are asked pair by pair: those of 25 storage elements, a few seconds in all."""

_log = structlog.stdlib.get_logger(__name__)


class RucioLinks:
    """What one Rucio knows of links."""

    def __init__(self, name: str, api: RucioApi) -> None:
        self.name = name
        self._api = api

    async def links(self, *, deadline: float) -> tuple[LakeLink, ...]:
        """Every link with a distance or with transfers.

        An account that may not see the transfers is told the distances alone.

        Raises
        ------
        LakeError
            There is no usable answer.
        """
        try:
            rows = await self._api.links(deadline=deadline)
        except LakeRequestError:
            return await self._distances(deadline)
        return tuple(_to_link(row) for row in rows if row.src_rse != row.dst_rse)

    async def _distances(self, deadline: float) -> tuple[LakeLink, ...]:
        rows = await self._api.storage_elements(deadline=deadline)
        pairs = list(permutations(sorted(row.rse for row in rows), 2))
        if len(pairs) > MAX_PAIRS:
            _log.warning("too_many_distances_to_ask", lake=self.name, pairs=len(pairs))
            return ()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._distance(pair, deadline)) for pair in pairs]
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        return tuple(link for task in tasks if (link := task.result()) is not None)

    async def _distance(self, pair: Sequence[str], deadline: float) -> LakeLink | None:
        source, target = pair
        rows = await self._api.distance(source, target, deadline=deadline)
        distance = to_count(rows[0].distance) if rows else None
        return None if distance is None else LakeLink(source, target, distance)


def _to_link(row: LinkRow) -> LakeLink:
    """A link that Rucio counts nothing on is unknown; what it leaves out of a count is none."""
    distance = to_count(row.distance)
    if row.files is None and row.bytes is None:
        return LakeLink(row.src_rse, row.dst_rse, distance)
    files, size = row.files or CountsRow(), row.bytes or CountsRow()
    return LakeLink(
        row.src_rse,
        row.dst_rse,
        distance,
        done_bytes=to_count(size.done) or 0,
        done_files=to_count(files.done) or 0,
        failed_files=to_count(files.failed) or 0,
        queued_files=to_count(files.queued) or 0,
    )
