"""A Rucio as a data lake: many files at a time, datasets by their sums, containers by their parts.

Listing the files of a dataset takes 40 to 90 times as long as asking for its sums by RSE, and a
container's own sums cannot say which RSE has which dataset.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.clients.lakes.base import Health, Settled
from gateway.clients.lakes.errors import LakeError, LakeRequestError
from gateway.clients.lakes.findings import Findings
from gateway.clients.lakes.rucio_api import RucioApi
from gateway.clients.lakes.rucio_collections import CollectionLimits, RucioCollections
from gateway.clients.lakes.rucio_rows import MetaRow, file_holding
from gateway.clients.lakes.rucio_rses import RseTable
from gateway.domain.holdings import Did, DidKind, Holding, LocateResult

MAX_BATCH: Final = 1_000
"""Identifiers in one call; Rucio refuses more."""

BISECTIONS: Final = 32
"""One ill-formed identifier has its whole batch refused. It is found by halving, so many times."""

_COLLECTIONS: Final = frozenset({DidKind.DATASET, DidKind.CONTAINER})


@dataclass(frozen=True, slots=True, kw_only=True)
class RucioLimits:
    """How much is asked for at once. ``batch`` identifiers are asked about in one call."""

    batch: int = 500
    collections: CollectionLimits = field(default_factory=CollectionLimits)


class RucioLake:
    """One Rucio. Keeps nothing but the table of its storage elements."""

    def __init__(self, name: str, api: RucioApi, limits: RucioLimits | None = None) -> None:
        self.name = name
        self._api = api
        self._limits = limits or RucioLimits()
        self._collections = RucioCollections(api, RseTable(api, name), self._limits.collections)

    async def locate(
        self, dids: Collection[Did], *, deadline: float, settled: Settled
    ) -> LocateResult:
        """What Rucio knows of each; the deadline is for all the calls together."""
        findings = Findings(self.name, dids, settled)
        async with asyncio.TaskGroup() as group:
            for batch in _batches(tuple(dict.fromkeys(dids)), self._limits.batch):
                group.create_task(self._locate_batch(batch, findings, deadline))
        return findings.result()

    async def health(self, *, deadline: float) -> Health:
        """Whether it answers, and its version."""
        try:
            version = await self._api.version(deadline=deadline)
        except LakeError as error:
            return Health(self.name, is_up=False, detail=str(error))
        return Health(self.name, is_up=True, detail=f"Rucio {version}")

    async def _locate_batch(self, dids: Sequence[Did], findings: Findings, deadline: float) -> None:
        described = _Description(self._api, findings, deadline)
        rows = await described.of(dids)
        files = [row for row in rows if row.kind is DidKind.FILE]
        async with asyncio.TaskGroup() as group:
            if files:
                group.create_task(self._locate_files(files, findings, deadline))
            for row in rows:
                if row.kind in _COLLECTIONS:
                    group.create_task(self._locate_collection(row, findings, deadline))
                elif row.kind is DidKind.UNKNOWN:
                    findings.hold(row.did, Holding(row.did))

    async def _locate_files(
        self, metas: Sequence[MetaRow], findings: Findings, deadline: float
    ) -> None:
        try:
            rows = await self._api.replicas([meta.did for meta in metas], deadline=deadline)
        except LakeError as error:
            findings.failed([meta.did for meta in metas], error)
            return
        found = {row.did: row for row in rows}
        for meta in metas:
            # A file without a copy has a row all the same: if one is missing, the answer was cut,
            # and nothing is found of it, not even that it has no copy.
            if meta.did in found:
                findings.hold(meta.did, file_holding(meta, found[meta.did]))

    async def _locate_collection(self, meta: MetaRow, findings: Findings, deadline: float) -> None:
        # What is in a container may be open even where the container is closed.
        is_open = meta.is_open is not False or meta.kind is DidKind.CONTAINER

        def hold(holding: Holding) -> None:
            findings.hold(meta.did, holding, is_open=is_open)

        try:
            await self._collections.look_into(meta, hold, deadline=deadline)
        except LakeError as error:
            findings.failed([meta.did], error)


class _Description:
    """Asks what identifiers are, and finds those that Rucio does not take for any."""

    def __init__(self, api: RucioApi, findings: Findings, deadline: float) -> None:
        self._api = api
        self._findings = findings
        self._deadline = deadline
        self._halvings_left = BISECTIONS

    async def of(self, dids: Sequence[Did]) -> list[MetaRow]:
        """Those that Rucio knows; of the others the findings tell."""
        try:
            rows = await self._api.describe(dids, deadline=self._deadline)
        except LakeRequestError as error:
            if len(dids) == 1 or not self._halvings_left:
                self._findings.failed(dids, error)
                return []
            self._halvings_left -= 1
            half = len(dids) // 2
            return await self.of(dids[:half]) + await self.of(dids[half:])
        except LakeError as error:
            self._findings.failed(dids, error)
            return []
        known = {row.did: row for row in rows}
        for did in dids:
            if did not in known:
                self._findings.not_found(did)
        return [known[did] for did in dids if did in known]


def _batches(dids: Sequence[Did], size: int) -> Iterator[Sequence[Did]]:
    for start in range(0, len(dids), size):
        yield dids[start : start + size]
