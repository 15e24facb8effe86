"""Reading the node's database, inside a transaction or not."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import aiosqlite

from gateway.wire.documents import from_json
from node_stub.documents import OfferResult
from node_stub.records import (
    SESSION_COLUMNS,
    OfferSetRecord,
    SessionRecord,
    instant_of,
    to_session,
)

LIVE: Final = "intent <> 'DONE' AND phase NOT IN ('INITIAL', 'OFFERED', 'REJECTED', 'EXPIRED')"
"""True of accepted sessions whose work has not come to its end."""


async def all_rows(
    connection: aiosqlite.Connection, sql: str, parameters: Sequence[Any]
) -> list[Any]:
    """The rows that a query gives."""
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
