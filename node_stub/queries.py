"""Reading the node's database, inside a transaction or not."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import aiosqlite
import structlog

from gateway.wire.documents import from_json
from node_stub.documents import OfferResult
from node_stub.errors import StoreUnavailableError
from node_stub.records import (
    SESSION_COLUMNS,
    OfferSetRecord,
    SessionRecord,
    instant_of,
    to_session,
)

LIVE: Final = "intent <> 'DONE' AND phase NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED')"
"""True of accepted sessions whose work has not come to its end."""

_log = structlog.get_logger(__name__)


@contextmanager
def engine_failures() -> Iterator[None]:
    """What the engine cannot help becomes `StoreUnavailableError`: locked, disk full, file gone.

    A broken constraint or a wrong statement is a defect of ours and stays what it is.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        _log.error("database_failed", reason=str(error))
        raise StoreUnavailableError from error


async def all_rows(
    connection: aiosqlite.Connection, sql: str, parameters: Sequence[Any]
) -> list[Any]:
    """The rows that a query gives.

    Raises
    ------
    StoreUnavailableError
    """
    with engine_failures():
        return list(await connection.execute_fetchall(sql, parameters))


async def read_offerset(connection: aiosqlite.Connection, uuid: UUID) -> OfferSetRecord | None:
    """One offer set."""
    rows = await all_rows(
        connection,
        "SELECT owner, result, messages, created FROM offersets WHERE uuid = ?",
        (str(uuid),),
    )
    if not rows:
        return None
    owner, result, messages, created = rows[0]
    said = tuple(from_json(messages))
    return OfferSetRecord(uuid, owner, OfferResult(result), said, instant_of(created))


async def read_sessions(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[Any]
) -> list[SessionRecord]:
    """The sessions that a condition is true of."""
    sql = f"SELECT {SESSION_COLUMNS} FROM sessions WHERE {where}"  # noqa: S608 - our own constants
    return [to_session(row) for row in await all_rows(connection, sql, parameters)]


async def read_first(
    connection: aiosqlite.Connection, where: str, parameters: Sequence[Any]
) -> SessionRecord | None:
    """The first session that a condition is true of."""
    rows = await read_sessions(connection, where, parameters)
    return rows[0] if rows else None
