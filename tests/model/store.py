"""The store that all gateways share: the product's schema in SQLite's memory, a turn at a time.

Every transaction waits for its turn and is whole: nobody sees half of it, which is what the
``Database`` protocol promises. A turn may also fail before the commit, or be committed and seem
to fail, as when the connection to the database is lost.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final

from gateway.errors import StoreUnavailableError
from gateway.stores.database import RowConflictError
from gateway.stores.sqlite import SqliteDatabase
from tests.model.loop import Owner


class Turn(StrEnum):
    """What becomes of one transaction."""

    RUNS = "runs"
    FAILS = "fails: the store is away"
    SEEMS_TO_FAIL = "is committed, and seems to fail"


class HeldAcrossWaitError(AssertionError):
    """A transaction was open while its coroutine waited for something else."""


class DeadOwnerError(BaseException):
    """A killed gateway reached for the store: it does nothing there any more."""


class MemoryTransaction:
    """A ``Transaction`` that is carried out on the spot."""

    for_update: Final = ""
    skip_locked: Final = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.IntegrityError as error:
            raise RowConflictError from error

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of parameters."""
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.IntegrityError as error:
            raise RowConflictError from error

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError as error:
            raise RowConflictError from error

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, if there is one."""
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None


def _copy_of_an_empty_one() -> sqlite3.Connection:
    """The product's own schema, as the product makes it in a new file."""

    async def make(path: Path) -> None:
        database = SqliteDatabase(path)
        await database.open()
        await database.close()

    memory = sqlite3.connect(":memory:", isolation_level=None)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        asyncio.run(make(path))
        with closing(sqlite3.connect(path)) as file:
            file.backup(memory)
    return memory


class SharedStore:
    """One database for the whole exploration; each schedule is undone in it at its end."""

    def __init__(self) -> None:
        self.connection = _copy_of_an_empty_one()
        self.connection.row_factory = sqlite3.Row
        self.is_open_to: str | None = None
        """Whose transaction is under way."""
        self.connection.execute("PRAGMA foreign_keys = ON")

    def change(self, schema: Iterable[str]) -> None:
        """Take something out of the schema, for a seeded bug."""
        for statement in schema:
            self.connection.execute(statement)

    def close(self) -> None:
        """Forget everything."""
        self.connection.close()

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is written inside is gone afterwards."""
        self.connection.execute("SAVEPOINT schedule")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK TO schedule")
            self.connection.execute("RELEASE schedule")

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """What is committed now, for whoever judges it."""
        return self.connection.execute(sql, parameters).fetchall()

    def now(self, work: Callable[[MemoryTransaction], Awaitable[None]]) -> None:
        """Carry out ``work``, which waits for nothing, at once."""
        running = work(MemoryTransaction(self.connection)).__await__()
        try:
            next(running)
        except StopIteration:
            return
        raise HeldAcrossWaitError


class GatewayDatabase:
    """A gateway's ``Database``. ``take_turn`` waits until the explorer lets it go on."""

    def __init__(
        self,
        store: SharedStore,
        owner: Owner,
        take_turn: Callable[[str], Awaitable[Turn]],
        note: Callable[[bool], None],
    ) -> None:
        self.store = store
        self.owner = owner
        self.take_turn = take_turn
        self.note = note

    async def open(self) -> None:
        """It always is."""

    async def close(self) -> None:
        """Nothing is kept open."""

    def transaction(
        self, *, durable: bool = False
    ) -> AbstractAsyncContextManager[MemoryTransaction]:
        """A write transaction; every commit here outlives every crash, durable or not."""
        del durable
        return _Transaction(self, "writes")

    def reading(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        """Queries, in a turn of their own."""
        return _Transaction(self, "reads")

    def snapshot(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        """Queries that see one state."""
        return _Transaction(self, "reads")

    async def check(self) -> None:
        """It can be read."""


class _Transaction:
    """One turn at the store, from its begin to its commit."""

    def __init__(self, database: GatewayDatabase, what: str) -> None:
        self._database = database
        self._what = what
        self._turn = Turn.RUNS
        self._changes = 0

    async def __aenter__(self) -> MemoryTransaction:
        database = self._database
        if database.owner.is_dead:
            raise DeadOwnerError
        self._turn = await database.take_turn(self._what)
        if self._turn is Turn.FAILS:
            raise StoreUnavailableError
        store = database.store
        if store.is_open_to is not None:
            raise HeldAcrossWaitError(store.is_open_to)
        store.is_open_to = database.owner.name
        self._changes = store.connection.total_changes
        store.connection.execute("SAVEPOINT turn")
        return MemoryTransaction(store.connection)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        store = self._database.store
        store.is_open_to = None
        if kind is not None:
            store.connection.execute("ROLLBACK TO turn")
        store.connection.execute("RELEASE turn")
        has_changed = kind is None and store.connection.total_changes != self._changes
        self._database.note(has_changed)
        if kind is None and self._turn is Turn.SEEMS_TO_FAIL:
            raise StoreUnavailableError
