"""What the stores need of a database, whichever engine is behind it.

One SQL for all engines: ``?`` for parameters, no function that only one of them has. How writers
keep out of each other's way: on SQLite one transaction writes at a time; on PostgreSQL a writing
transaction that reads rows to decide on them keeps them first, with ``Transaction.for_update``.
The row that stands for all the others is the offer set's: who keeps it may read and change its
sessions and their commands. A transaction keeps one offer set and waits for no second one; what
goes over rows of many passes by those that are kept (``Transaction.skip_locked``). So no two can
wait for each other.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import msgspec


@lru_cache(1024)
def to_micros(instant: datetime) -> int:
    """An instant as it is stored: microseconds since 1970, UTC."""
    return round(instant.timestamp() * 1_000_000)


def from_micros(micros: int) -> datetime:
    """A stored instant."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def to_texts(uuids: Sequence[UUID]) -> list[str]:
    """UUIDs as they are stored, a tenth of the time that ``str`` takes for each."""
    texts: list[str] = msgspec.to_builtins(uuids)
    return texts


class RowConflictError(Exception):
    """A unique constraint: somebody else was first."""


class Row(Protocol):
    """One row of an answer."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of the column of that name."""
        ...


class Transaction(Protocol):
    """What can be done inside one transaction; ended by the ``async with`` that gave it.

    ``for_update`` ends a query whose rows nobody else may change until this transaction is over,
    ``skip_locked`` one that passes by the rows that another keeps. Both are empty where they are
    not needed: in transactions that only read, and where one transaction writes at a time.
    """

    @property
    def for_update(self) -> str: ...  # noqa: D102  # said above

    @property
    def skip_locked(self) -> str: ...  # noqa: D102  # said above

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of parameters.

        It may be run as late as the next one that gives something back, or the end of the block,
        and fail there.
        """
        ...

    async def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Row]:
        """All rows of a query."""
        ...

    async def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, if there is one."""
        ...


class Database(Protocol):
    """Where the gateway keeps what it must not forget.

    ``open`` before use, ``close`` after. Every failure of the engine itself (away, locked for too
    long, disk full) is a ``StoreUnavailableError``, and the transaction it met is undone.
    """

    async def open(self) -> None:
        """Connect, and bring the schema to this program's version.

        Raises
        ------
        SchemaTooNewError
            The schema is of a later version, which this program would not understand.
        """
        ...

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        ...

    def transaction(self, *, durable: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """A write transaction: committed at the end of the block, undone when the block raises.

        Every commit outlives the process; a ``durable`` one is on the disk before the block is left
        and outlives the machine too, which costs a disk flush.

        Raises
        ------
        RowConflictError
            From a statement in it that breaks a unique constraint.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """Queries that see what has been committed so far; they never wait for a writer."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Transaction]:
        """Several queries that see one state of the database: all of a commit, or nothing of it."""
        ...

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` when the database cannot be read."""
        ...
