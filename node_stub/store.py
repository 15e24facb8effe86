"""What the node remembers: one SQLite file with every offer set, session, hold and checkpoint.

Writes go through one connection, one transaction at a time; whoever holds the transaction may read,
decide and write with nobody in between. Reads elsewhere see the last committed state.
"""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

import aiosqlite

from gateway.wire.documents import from_json
from gateway.wire.phases import SessionPhase
from node_stub.errors import StoreUnavailableError
from node_stub.migrations import MIGRATIONS
from node_stub.platforms.base import Checkpoint
from node_stub.queries import (
    LIVE,
    all_rows,
    engine_failures,
    read_first,
    read_offerset,
    read_sessions,
)
from node_stub.records import OfferSetRecord, SessionRecord, to_instant
from node_stub.transaction import Transaction

BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for the file where another process (a backup, an operator) keeps it locked, and
for one's turn: a transaction takes milliseconds, so by then hundreds are waiting."""


class NewerDatabaseError(Exception):
    """The file was written by a later version of the program."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(f"{path} has schema version {version}, newer than {len(MIGRATIONS)}")
        self.path = path
        self.version = version


class DatabaseInUseError(Exception):
    """Another node works on this file: two would promise and run everything twice."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another process")
        self.path = path


class StoreClosedError(Exception):
    """The database is not open: before the start or after the end of the program's work."""


class Store:
    """The node's database, between :meth:`open` and :meth:`close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections: tuple[aiosqlite.Connection, aiosqlite.Connection] | None = None
        self._file_lock: BinaryIO | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, made or brought up to date where needed.

        Raises
        ------
        NewerDatabaseError
            A later version of the program wrote it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(self._path)
        try:
            self._connections = await self._connect()
        except BaseException:
            lock.close()
            raise
        self._file_lock = lock

    async def _connect(self) -> tuple[aiosqlite.Connection, aiosqlite.Connection]:
        writer = await self._connection()
        try:
            # An offer that was answered must survive a power cut: FULL waits for the disk.
            await writer.execute("PRAGMA journal_mode=WAL")
            await writer.execute("PRAGMA synchronous=FULL")
            await writer.execute("PRAGMA foreign_keys=ON")
            await _migrate(writer, self._path)
            reader = await self._connection()
            await reader.execute("PRAGMA query_only=ON")
        except BaseException:
            await writer.close()
            raise
        return writer, reader

    async def _connection(self) -> aiosqlite.Connection:
        return await aiosqlite.connect(self._path, isolation_level=None, timeout=BUSY_TIMEOUT_S)

    async def close(self) -> None:
        """Close the file after the transaction that is under way."""
        async with self._lock:
            if self._connections is not None:
                for connection in self._connections:
                    await connection.close()
            self._connections = None
            if self._file_lock is not None:
                self._file_lock.close()
            self._file_lock = None

    @property
    def _writer(self) -> aiosqlite.Connection:
        return self._opened()[0]

    @property
    def _reader(self) -> aiosqlite.Connection:
        return self._opened()[1]

    def _opened(self) -> tuple[aiosqlite.Connection, aiosqlite.Connection]:
        if self._connections is None:
            raise StoreClosedError
        return self._connections

    async def is_open(self) -> bool:
        """Whether the database answers.

        Raises
        ------
        StoreUnavailableError
        """
        return self._connections is not None and bool(await all_rows(self._reader, "SELECT 1", ()))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Alone with the database until the block ends; an exception undoes everything.

        Raises
        ------
        StoreUnavailableError
            The database failed, or others keep it busy; nothing of the transaction was done.
        """
        async with self._turn():
            writer = self._writer
            transaction = Transaction(writer)
            with engine_failures():
                try:
                    await writer.execute("BEGIN IMMEDIATE")
                    yield transaction
                    is_cancelled = await _to_the_end(writer.commit())
                except BaseException:
                    # Also after a commit that failed: it may have left its transaction open.
                    await _to_the_end(writer.rollback())
                    raise
            transaction.committed()
            if is_cancelled:
                raise asyncio.CancelledError

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(BUSY_TIMEOUT_S):
                await self._lock.acquire()
        except TimeoutError as error:
            raise StoreUnavailableError from error
        try:
            yield
        finally:
            self._lock.release()

    async def offerset(self, uuid: UUID) -> OfferSetRecord | None:
        """One offer set."""
        return await read_offerset(self._reader, uuid)

    async def session(self, uuid: UUID) -> SessionRecord | None:
        """One session."""
        return await read_first(self._reader, "uuid = ?", (str(uuid),))

    async def session_of_component(self, uuid: UUID) -> SessionRecord | None:
        """The session that has this component."""
        return await read_first(
            self._reader, "uuid = (SELECT session FROM components WHERE uuid = ?)", (str(uuid),)
        )

    async def sessions_of(self, offerset: UUID) -> list[SessionRecord]:
        """The sessions of an offer set, in the order of their offers."""
        return await read_sessions(self._reader, "offerset = ? ORDER BY position", (str(offerset),))

    async def live_sessions(self) -> list[SessionRecord]:
        """Accepted sessions whose work has not come to its end."""
        return await read_sessions(self._reader, LIVE, ())

    async def booked_sessions(self) -> list[SessionRecord]:
        """Every session that the ledger holds something for."""
        return await read_sessions(self._reader, "spans IS NOT NULL", ())

    async def holding_count(self) -> int:
        """How many offers and live sessions the ledger should hold something for."""
        sql = f"SELECT count(*) FROM sessions WHERE phase = 'OFFERED' OR ({LIVE})"  # noqa: S608
        rows = await all_rows(self._reader, sql, ())
        return int(rows[0][0])

    async def phase_counts(self) -> dict[SessionPhase, int]:
        """How many sessions stand in each phase."""
        rows = await all_rows(
            self._reader, "SELECT phase, count(*) FROM sessions GROUP BY phase", ()
        )
        return {SessionPhase(row[0]): row[1] for row in rows}

    async def next_expiry(self) -> datetime | None:
        """When the next offer expires."""
        rows = await all_rows(
            self._reader, "SELECT min(expires) FROM sessions WHERE phase = 'OFFERED'", ()
        )
        return to_instant(rows[0][0])

    async def checkpoints(self) -> dict[UUID, Checkpoint]:
        """Every job that has not been seen gone."""
        rows = await all_rows(self._reader, "SELECT session, checkpoint FROM checkpoints", ())
        return {
            UUID(row[0]): Checkpoint.from_document(UUID(row[0]), from_json(row[1])) for row in rows
        }

    async def rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """What a query of another store in this file gives, as it was last committed.

        Raises
        ------
        StoreUnavailableError
        """
        return await all_rows(self._reader, sql, parameters)


def _locked(path: Path) -> BinaryIO:
    """A lock beside the file, held until it is closed or the process ends in any way."""
    file = path.with_name(path.name + ".lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DatabaseInUseError(path) from error
    return file


async def _to_the_end(work: Coroutine[Any, Any, None]) -> bool:
    """Wait for it even when cancelled meanwhile; whether that was so.

    A commit or rollback that nobody waited for would let the next transaction begin inside it.
    """
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_cancelled = True
    task.result()
    return is_cancelled


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    rows = await all_rows(connection, "PRAGMA user_version", ())
    version = int(rows[0][0])
    if version > len(MIGRATIONS):
        raise NewerDatabaseError(path, version)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        await connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
