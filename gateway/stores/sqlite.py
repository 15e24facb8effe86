"""The database of one machine: one file of SQLite in WAL mode."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.errors import StoreUnavailableError
from gateway.stores.database import RowConflictError
from gateway.stores.migrating import migrate
from gateway.stores.sqlite_thread import SqliteThread, Step

BUSY_TIMEOUT_S: Final = 5.0
"""How long a writer waits for another process; long commits here take milliseconds."""


class SqliteTransaction:
    """A ``Transaction``. While it writes nobody else does, so there are no rows to keep.

    Every trip to the connection's thread costs as much as a small statement. So whatever needs no
    answer waits for the next statement that does, or for the end: a failure shows there.
    ``begin`` goes with the first trip.
    """

    for_update: Final = ""
    skip_locked: Final = ""

    def __init__(self, thread: SqliteThread, begin: Step | None = None) -> None:
        self._thread = thread
        self._begin = begin
        self._waiting: list[Step] = []
        self.has_begun = False
        """Whether anything was sent that would have to be ended or undone."""

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        changed: int = await self.go(partial(_execute, sql, parameters))
        return changed

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of parameters, at the latest when the block is left."""
        if rows := list(rows):
            self._waiting.append(partial(_execute_many, sql, rows))

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        rows: list[sqlite3.Row] = await self.go(partial(_fetch, sql, parameters))
        return rows

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, if there is one."""
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None

    async def go(self, step: Step) -> Any:
        """The result of the step, after all that waits before it."""
        steps = [*self._waiting, step]
        self._waiting = []
        if self._begin is not None and not self.has_begun:
            self.has_begun = True
            steps.insert(0, self._begin)
        return await self._thread.run(*steps)

    async def commit(self) -> None:
        """End it; nothing is sent where nothing was done."""
        if self.has_begun or self._waiting:
            await self.go(_commit)


class SqliteDatabase:
    """A ``Database``: one writer and two readers on the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: SqliteThread | None = None
        self._reader: SqliteThread | None = None
        self._snapshots: SqliteThread | None = None
        self._write_lock = asyncio.Lock()
        self._snapshot_lock = asyncio.Lock()
        self._is_durable = False  # read and written in the writer's thread alone

    async def open(self) -> None:
        """Open the file, make it if need be, and bring it to this program's schema.

        Raises
        ------
        SchemaTooNewError
            The schema is of a later version, which this program would not understand.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._writer = await self._opened("writer")
            async with self.transaction(durable=True) as tx:
                await migrate(tx, str)
            self._reader = await self._opened("reader", _refuse_writes)
            self._snapshots = await self._opened("snapshots", _refuse_writes)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        for thread in (self._snapshots, self._reader, self._writer):
            if thread is not None:
                await thread.close()
        self._snapshots = self._reader = self._writer = None

    @asynccontextmanager
    async def transaction(self, *, durable: bool = False) -> AsyncIterator[SqliteTransaction]:
        """A write transaction: committed at the end of the block, undone when the block raises."""
        assert self._writer is not None, "the database is not open"
        async with self._write_lock:
            tx = SqliteTransaction(self._writer, partial(self._begin, durable))
            with _engine_failures():
                try:
                    yield tx
                    await tx.commit()
                except BaseException:
                    # Also when cancelled: the next writer must not find a transaction half-way.
                    # The thread works in order, so this comes after what it is at.
                    if tx.has_begun:
                        self._writer.post(_rollback)
                    raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteTransaction]:
        """Queries that see what has been committed so far; they never wait for a writer."""
        assert self._reader is not None, "the database is not open"
        with _engine_failures():
            yield SqliteTransaction(self._reader)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteTransaction]:
        """Several queries that see one state of the database: all of a commit, or nothing of it."""
        assert self._snapshots is not None, "the database is not open"
        async with self._snapshot_lock:
            tx = SqliteTransaction(self._snapshots, _begin_reading)
            with _engine_failures():
                try:
                    yield tx
                finally:
                    if tx.has_begun:
                        self._snapshots.post(_rollback)

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` when the database cannot be read."""
        async with self.reading() as reader:
            await reader.fetch_one("SELECT 1")

    def _begin(self, durable: bool, connection: sqlite3.Connection) -> None:
        if durable is not self._is_durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable
        connection.execute("BEGIN IMMEDIATE")

    async def _opened(self, name: str, *steps: Step) -> SqliteThread:
        thread = SqliteThread(partial(_connect, self._path), f"sqlite {name}")
        with _engine_failures():
            await thread.open()
            await thread.run(*steps)
        return thread


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _refuse_writes(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def _begin_reading(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _rollback(connection: sqlite3.Connection) -> None:
    connection.rollback()


def _execute(sql: str, parameters: Sequence[Any], connection: sqlite3.Connection) -> int:
    return connection.execute(sql, parameters).rowcount


def _execute_many(sql: str, rows: Sequence[Sequence[Any]], connection: sqlite3.Connection) -> None:
    connection.executemany(sql, rows)


def _fetch(
    sql: str, parameters: Sequence[Any], connection: sqlite3.Connection
) -> list[sqlite3.Row]:
    return connection.execute(sql, parameters).fetchall()


class _engine_failures:  # noqa: N801  # read as a word in ``with``
    """Turns what the engine raises into the two failures that callers know."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.IntegrityError):
            raise RowConflictError from error
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.ProgrammingError
        ):
            raise StoreUnavailableError from error
