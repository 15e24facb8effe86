"""The gateway's database: one file of SQLite in WAL mode, behind the few calls the stores need."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiosqlite

from gateway.errors import StoreUnavailableError
from gateway.stores.migrations import MIGRATIONS

BUSY_TIMEOUT_S: Final = 5.0
"""How long a writer waits for another process; long commits here take milliseconds."""

Row = sqlite3.Row


def to_micros(instant: datetime) -> int:
    """An instant as it is stored: microseconds since 1970, UTC."""
    return round(instant.timestamp() * 1_000_000)


def from_micros(micros: int) -> datetime:
    """A stored instant."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


class RowConflictError(Exception):
    """A unique constraint: somebody else was first."""


class Transaction:
    """What can be done inside one transaction; ended by the ``async with`` that gave it."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        cursor = await self._connection.execute(sql, parameters)
        changed = cursor.rowcount
        await cursor.close()
        return changed

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of parameters."""
        cursor = await self._connection.executemany(sql, rows)
        await cursor.close()

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        return list(await self._connection.execute_fetchall(sql, parameters))

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, if there is one."""
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None


class Database:
    """One writer and two readers on the same file.

    ``open`` before use, ``close`` after. Every failure of the engine itself (locked for too long,
    disk full, file gone) is a ``StoreUnavailableError``, and the transaction it met is undone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._snapshots: aiosqlite.Connection | None = None
        self._write_lock = asyncio.Lock()
        self._snapshot_lock = asyncio.Lock()
        self._is_durable = False

    async def open(self) -> None:
        """Open the file, make it if need be, and bring it to the present schema."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _engine_failures():
            self._writer = await self._connect()
            await self._migrate(self._writer)
            self._reader = await self._connect()
            self._snapshots = await self._connect()
            for connection in (self._reader, self._snapshots):
                await connection.execute("PRAGMA query_only = ON")

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        for connection in (self._snapshots, self._reader, self._writer):
            if connection is not None:
                await connection.close()
        self._snapshots = self._reader = self._writer = None

    @asynccontextmanager
    async def transaction(self, *, durable: bool = False) -> AsyncIterator[Transaction]:
        """A write transaction: committed at the end of the block, undone when the block raises.

        Every commit outlives the process; a ``durable`` one is on the disk before the block is left
        and outlives the machine too, which costs a disk flush.
        """
        assert self._writer is not None, "the database is not open"
        async with self._write_lock:
            with _engine_failures():
                try:
                    await self._set_durability(self._writer, durable=durable)
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield Transaction(self._writer)
                    await self._writer.execute("COMMIT")
                except BaseException:
                    # Also when cancelled: the next writer must not find a transaction half-way.
                    # The connection's thread works in order, so this comes after what it is at.
                    await asyncio.shield(self._writer.rollback())
                    raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """Queries that see what has been committed so far; they never wait for a writer."""
        assert self._reader is not None, "the database is not open"
        with _engine_failures():
            yield Transaction(self._reader)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Several queries that see one state of the database: all of a commit, or nothing of it."""
        assert self._snapshots is not None, "the database is not open"
        async with self._snapshot_lock:
            with _engine_failures():
                try:
                    await self._snapshots.execute("BEGIN")
                    yield Transaction(self._snapshots)
                finally:
                    await asyncio.shield(self._snapshots.rollback())

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` when the database cannot be read."""
        async with self.reading() as reader:
            await reader.fetch_one("SELECT 1")

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(
            self._path, isolation_level=None, timeout=BUSY_TIMEOUT_S
        )
        connection.row_factory = sqlite3.Row
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = NORMAL")
        await connection.execute("PRAGMA foreign_keys = ON")
        return connection

    async def _set_durability(self, connection: aiosqlite.Connection, *, durable: bool) -> None:
        if durable is not self._is_durable:
            await connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable

    async def _migrate(self, connection: aiosqlite.Connection) -> None:
        await connection.execute("BEGIN IMMEDIATE")
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"
            )
            rows = list(
                await connection.execute_fetchall(
                    "SELECT max(version) AS version FROM schema_version"
                )
            )
            version = rows[0]["version"] or 0
            for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    await connection.execute(statement)
                await connection.execute("INSERT INTO schema_version VALUES (?)", (number,))
            await connection.execute("COMMIT")
        except BaseException:
            await connection.execute("ROLLBACK")
            raise


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


def path_of(url: str, data_dir: Path) -> Path:
    """The file that a ``sqlite:///name`` URL names; relative names lie in ``data_dir``.

    Raises
    ------
    ValueError
        The URL is of another database.
    """
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise ValueError(f"only sqlite:///FILE is supported as a database, not {url!r}")
    return data_dir / url.removeprefix(prefix)
