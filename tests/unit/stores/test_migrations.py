"""A database of an earlier version becomes one of this, with all that is in it."""

import sqlite3
from pathlib import Path
from uuid import UUID

from gateway.stores.database import Database
from gateway.stores.migrations import MIGRATIONS
from gateway.stores.sessions import SessionStore

OFFERSET, SESSION = (
    "5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01",
    "d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10",
)


def first_version(path: Path) -> None:
    """A database as the first version left it, with one session that runs."""
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO offersets VALUES (?, 'alice', 1, x'7b7d', x'7b7d', x'7b7d', x'5b5d', 1)",
        (OFFERSET,),
    )
    connection.execute(
        "INSERT INTO sessions VALUES "
        "(?, ?, 'alpha', 'alice', 1, 'RUNNING', 'ACCEPTED', NULL, x'7b7d', x'7b7d', 1, 1)",
        (SESSION, OFFERSET),
    )
    connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
    connection.execute("INSERT INTO schema_version VALUES (1)")
    connection.commit()
    connection.close()


async def test_a_session_of_the_first_version_is_read_as_its_node_showed_it(
    tmp_path: Path,
) -> None:
    first_version(tmp_path / "gateway.db")
    database = Database(tmp_path / "gateway.db")
    try:
        await database.open()
        async with database.reading() as reader:
            row = await SessionStore().find(reader, UUID(SESSION))
    finally:
        await database.close()
    assert row is not None
    assert row.document == b"{}"
    assert row.restoring is None
