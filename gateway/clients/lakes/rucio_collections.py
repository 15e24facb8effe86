"""Datasets and containers in Rucio: how much of each part is where, first roughly, then exactly."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.clients.lakes.errors import LakeRequestError
from gateway.clients.lakes.rows import to_count
from gateway.clients.lakes.rucio_api import RucioApi
from gateway.clients.lakes.rucio_rows import (
    ChildRow,
    MetaRow,
    SizeRow,
    collection_holding,
    dataset_part,
    exact_parts,
    is_somewhere_whole,
)
from gateway.clients.lakes.rucio_rses import RseTable
from gateway.domain.holdings import Did, DidKind, Holding, Part

MAX_DEPTH: Final = 5
"""Containers in containers; what is deeper is not looked into."""

Hold: TypeAlias = Callable[[Holding], None]
"""Told what is known of a collection; a second time, what is known better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionLimits:
    """How much of one collection is looked into.

    ``datasets`` of a container; beyond it only its size is known. ``exact_files``: so many are
    listed one by one where no place has a whole dataset, and sums cannot tell who has which.
    """

    datasets: int = 500
    exact_files: int = 2_000


class TooLargeError(Exception):
    """The container has more than is looked into."""


class RucioCollections:
    """Looks into datasets and containers. Every method raises ``LakeError``."""

    def __init__(self, api: RucioApi, rses: RseTable, limits: CollectionLimits) -> None:
        self._api = api
        self._rses = rses
        self._limits = limits

    async def look_into(self, meta: MetaRow, hold: Hold, *, deadline: float) -> None:
        """Tell ``hold`` where the parts of it are; at least once."""
        if meta.kind is DidKind.DATASET:
            parts = {meta.did: await self._dataset(meta.did, _said(meta), deadline)}
        else:
            try:
                datasets = await self._datasets_below(meta.did, deadline)
            except TooLargeError:
                hold(await self._only_size(meta.did, deadline))
                return
            parts = await self._datasets(datasets, deadline)
        scattered = [did for did, part in parts.items() if not is_somewhere_whole(part)]
        hold(
            collection_holding(
                meta.did, meta.kind, tuple(parts.values()), is_approximate=bool(scattered)
            )
        )
        if scattered:
            await self._look_closer(meta, parts, scattered, hold, deadline)

    async def _dataset(self, did: Did, said: SizeRow, deadline: float) -> Part:
        rows = await self._api.dataset(did, deadline=deadline)
        rses = await self._rses.get(deadline=deadline)
        if not rows and said.bytes is None:
            # Open datasets have no size of their own, and without a copy nothing else gives it.
            said = await self._api.size(did, deadline=deadline)
        return dataset_part(did, rows, rses, said)

    async def _datasets(self, dids: Sequence[Did], deadline: float) -> dict[Did, Part]:
        tasks: dict[Did, asyncio.Task[Part]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for did in dids:
                    tasks[did] = group.create_task(self._dataset(did, SizeRow(), deadline))
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        return {did: task.result() for did, task in tasks.items()}

    async def _datasets_below(self, did: Did, deadline: float) -> list[Did]:
        """Every dataset in a container once, however it is reached.

        Raises
        ------
        TooLargeError
            There are too many, or they are too deep.
        """
        seen = {did}
        datasets: list[Did] = []
        level = [did]
        for _ in range(MAX_DEPTH):
            children = await self._children(level, deadline)
            fresh = {child.did: child for child in children if child.did not in seen}
            seen.update(fresh)
            datasets += [child.did for child in fresh.values() if child.type == DidKind.DATASET]
            level = [child.did for child in fresh.values() if child.type == DidKind.CONTAINER]
            if len(seen) > self._limits.datasets + 1:
                raise TooLargeError
            if not level:
                return datasets
        raise TooLargeError

    async def _children(self, dids: Sequence[Did], deadline: float) -> list[ChildRow]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._api.children(did, deadline=deadline)) for did in dids
                ]
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        return [child for task in tasks for child in task.result()]

    async def _only_size(self, did: Did, deadline: float) -> Holding:
        size = await self._api.size(did, deadline=deadline)
        return Holding(
            did,
            DidKind.CONTAINER,
            bytes=to_count(size.bytes),
            files=to_count(size.length),
            is_approximate=True,
        )

    async def _look_closer(
        self,
        meta: MetaRow,
        parts: dict[Did, Part],
        scattered: Sequence[Did],
        hold: Hold,
        deadline: float,
    ) -> None:
        left = self._limits.exact_files
        exact: dict[Did, tuple[Part, ...]] = {}
        for did in scattered:
            files = parts[did].files
            if files is None or files > left:
                continue
            left -= files
            try:
                rows = await self._api.replicas([did], deadline=deadline)
            except LakeRequestError:
                continue  # it went away meanwhile; the rough picture stands
            exact[did] = exact_parts(parts[did], rows)
        shown = tuple(piece for did, part in parts.items() for piece in exact.get(did, (part,)))
        is_approximate = len(exact) < len(scattered)
        hold(collection_holding(meta.did, meta.kind, shown, is_approximate=is_approximate))


def first_of(failures: BaseExceptionGroup) -> BaseException:
    """The first of several failures: they have one cause as a rule, and one is told."""
    failure = failures.exceptions[0]
    return first_of(failure) if isinstance(failure, BaseExceptionGroup) else failure


def _said(meta: MetaRow) -> SizeRow:
    return SizeRow(meta.bytes, meta.length)
