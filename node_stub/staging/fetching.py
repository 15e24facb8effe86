"""Fetching one file: source after source, attempt after attempt, resumed, bounded and verified."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from node_stub.staging import reasons
from node_stub.staging.checksums import Checksum
from node_stub.staging.errors import (
    ChangedError,
    MismatchError,
    RefusedError,
    SourceError,
    TransientError,
    UnobtainableError,
)
from node_stub.staging.parts import PartFile
from node_stub.staging.rates import Rates
from node_stub.staging.room import Lease
from node_stub.staging.settings import StagingSettings
from node_stub.staging.sources import Opening, Source
from node_stub.staging.threads import settled

BATCH_BYTES: Final = 1 << 20
"""How much is gathered before it is written: a thread for each packet would cost more than it."""

PROGRESS_BYTES: Final = 1 << 20
"""An attempt that brought so much was no failure, though it broke."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a file must be: its size and checksum where stated, and never above ``max_bytes``."""

    size: int | None
    checksum: Checksum | None
    max_bytes: int


class _Transfer:
    """One file while it is fetched."""

    def __init__(self, demand: Demand, part: PartFile, lease: Lease) -> None:
        self.demand = demand
        self.part = part
        self.lease = lease
        self.received = 0

    async def restart(self) -> None:
        """From the beginning, with nothing."""
        await settled(self.part.restart)
        self.lease.resize(0)

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """Write what comes; also what came before it broke."""
        pending: list[bytes] = []
        waiting = 0
        expected = self.part.size
        try:
            async for chunk in chunks:
                expected += len(chunk)
                self._check(expected)
                self.lease.resize(expected)
                pending.append(chunk)
                waiting += len(chunk)
                if waiting >= BATCH_BYTES:
                    data, pending, waiting = b"".join(pending), [], 0
                    await self._write(data)
        finally:
            await self._write(b"".join(pending))
            self.lease.resize(self.part.size)

    async def _write(self, data: bytes) -> None:
        if data:
            await settled(self.part.append, data)
            self.received += len(data)

    def _check(self, size: int) -> None:
        if self.demand.size is not None and size > self.demand.size:
            raise SourceError(f"it is larger than the stated {self.demand.size} bytes")
        if size > self.demand.max_bytes:
            raise RefusedError(
                reasons.FILE_TOO_LARGE, size=f">{size - 1}", limit=str(self.demand.max_bytes)
            )

    def check_total(self, total: int | None) -> None:
        """What the source says of its size, before anything is fetched."""
        if total is None:
            return
        if self.demand.size is not None and total != self.demand.size:
            raise SourceError(f"it has {total} bytes, not the stated {self.demand.size}")
        if total > self.demand.max_bytes:
            raise RefusedError(
                reasons.FILE_TOO_LARGE, size=str(total), limit=str(self.demand.max_bytes)
            )
        self.lease.resize(total)

    def check_whole(self, total: int | None) -> None:
        """Whether all is there, and is what it should be."""
        size, demand = self.part.size, self.demand
        if total is not None and size < total:
            raise TransientError(f"only {size} of {total} bytes came")
        if demand.size is not None and size != demand.size:
            raise MismatchError(
                f"it has {size} bytes, not the stated {demand.size}", is_glued=self.part.is_glued
            )
        found = self.part.digest()
        if demand.checksum is not None and found != demand.checksum.value:
            raise MismatchError(
                f"its {demand.checksum.type} is {found}, not {demand.checksum.value}",
                is_glued=self.part.is_glued,
            )

    def is_all_there(self, total: int | None) -> bool:
        """Whether nothing need be fetched: it was cut off between the last byte and its place."""
        size = self.part.size
        is_stated = self.demand.checksum is not None and size == self.demand.size
        return size > 0 and (size == total or is_stated)


class Fetcher:
    """Fetches files, a bounded number at once on the whole node."""

    def __init__(self, settings: StagingSettings, rates: Rates) -> None:
        self._settings = settings
        self._rates = rates
        self._slots = asyncio.Semaphore(settings.parallel)

    async def fetch(
        self, demand: Demand, sources: Sequence[Source], part: PartFile, lease: Lease
    ) -> int:
        """Make the part complete, verified; how many bytes were received for it.

        The time for the file is shared by its sources: one that drips leaves time for the others.

        Raises
        ------
        UnobtainableError
            No source gave it, and why.
        StorageError
            It has no room.
        """
        loop = asyncio.get_running_loop()
        transfer = _Transfer(demand, part, lease)
        failed = []
        async with self._slots:
            until = loop.time() + self._settings.file_timeout_s
            for i, source in enumerate(sources):
                left_s = (until - loop.time()) / (len(sources) - i)
                try:
                    async with asyncio.timeout(left_s):
                        await self._fetch_from(source, transfer)
                except TimeoutError:
                    failed.append(f"{source.shown}: not within {left_s:.3g} s")
                except (RefusedError, SourceError, TransientError) as error:
                    failed.append(f"{source.shown}: {error}")
                else:
                    return transfer.received
        raise UnobtainableError("; ".join(failed))

    async def _fetch_from(self, source: Source, transfer: _Transfer) -> None:
        failures = 0
        is_clean = False
        while True:
            before = transfer.received
            try:
                await self._attempt(source, transfer)
            except TransientError as error:
                has_progress = transfer.received - before >= PROGRESS_BYTES
                failures = 1 if has_progress else failures + 1
                if failures >= self._settings.attempts:
                    raise
                asked_s = min(error.retry_after_s, self._settings.max_backoff_s)
                await asyncio.sleep(max(self._settings.wait_s(failures), asked_s))
            except (ChangedError, MismatchError) as error:
                await transfer.restart()
                is_final = isinstance(error, MismatchError) and not error.is_glued
                if is_final or is_clean:
                    raise
                is_clean = True
            else:
                return

    async def _attempt(self, source: Source, transfer: _Transfer) -> None:
        loop = asyncio.get_running_loop()
        part = transfer.part
        known = await settled(part.resume, source.key)
        transfer.lease.resize(part.size)
        if transfer.is_all_there(known.total):
            transfer.check_whole(known.total)
            return
        before, began = transfer.received, loop.time()
        try:
            async with source.open(known.offset, known.validator) as opening:
                if known.total is not None and opening.total not in {None, known.total}:
                    raise ChangedError("its size has changed since it was begun")
                await self._take(source, opening, transfer)
        finally:
            self._rates.note(source.host, transfer.received - before, loop.time() - began)
        transfer.check_whole(opening.total)

    async def _take(self, source: Source, opening: Opening, transfer: _Transfer) -> None:
        if opening.offset != transfer.part.size:
            await transfer.restart()
        transfer.check_total(opening.total)
        await settled(transfer.part.note, source.key, opening.validator, opening.total)
        async with aclosing(opening.chunks) as chunks:
            await transfer.receive(chunks)
