"""A database of an earlier version becomes one of this, while programs of the earlier one go on."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.stores.engines import database_of
from gateway.stores.migrating import SchemaTooNewError
from gateway.stores.migrations import MIGRATIONS, OLDEST_PROGRAM
from gateway.stores.postgres_sql import definition
from gateway.stores.sessions import SessionStore
from tests.support.stores import Store

OFFERSET, SESSION, NEW = (
    "5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01",
    "d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10",
    "e2f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a11",
)

ROWS = (
    f"INSERT INTO offersets VALUES ('{OFFERSET}', 'alice', 1, {{}}, {{}}, {{}}, {{}}, 1)",
    f"INSERT INTO sessions VALUES ('{SESSION}', '{OFFERSET}', 'alpha', 'alice', 1, 'RUNNING', "
    "'ACCEPTED', NULL, {}, {}, 1, 1)",
    "CREATE TABLE schema_version (version INTEGER NOT NULL)",
    "INSERT INTO schema_version VALUES (1)",
)
"""One session that runs; ``{}`` are documents."""

STATEMENTS: Sequence[tuple[str, tuple[Any, ...]]] = (
    (
        "INSERT INTO offersets "
        "(uuid, owner, created, request, record, federation, messages, is_open) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (NEW, "bob", 1, b"{}", b"{}", b"{}", b"[]", 1),
    ),
    (
        "INSERT INTO sessions (uuid, offerset, node, owner, position, phase, asked, expires, "
        "document, federation, observed, changed, restoring) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) "
        "ON CONFLICT (uuid) DO NOTHING",
        (NEW, NEW, "beta", "bob", 1, "OFFERED", None, 9, b"{}", b"{}", 1, 1, None),
    ),
    (
        "INSERT INTO components (uuid, session) VALUES (?, ?) ON CONFLICT (uuid) DO NOTHING",
        (NEW, NEW),
    ),
    ("UPDATE sessions SET asked = ? WHERE uuid = ?", ("ACCEPTED", NEW)),
    (
        "UPDATE sessions SET phase = ?, changed = ? WHERE uuid = ? AND phase = ?",
        ("ACCEPTED", 2, NEW, "OFFERED"),
    ),
    (
        "INSERT INTO commands (session, node, phase, attempts, created, due, give_up, fence) "
        "VALUES (?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET "
        "phase = excluded.phase, attempts = 0, created = excluded.created, due = excluded.due, "
        "give_up = excluded.give_up, fence = commands.fence + 1, last_error = NULL",
        (NEW, "beta", "ACCEPTED", 1, 1, 9, 1),
    ),
    ("DELETE FROM commands WHERE session = ? AND fence = ?", (NEW, 1)),
    (
        "INSERT INTO idempotency (owner, path, key, digest, offerset, created) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (owner, path, key) DO NOTHING",
        ("bob", "/requests", "k", "d", NEW, 1),
    ),
    ("UPDATE idempotency SET session = ? WHERE offerset = ?", (NEW, NEW)),
    (
        "INSERT INTO identities (uuid, username, password_hash, created) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (username) DO NOTHING",
        (NEW, "bob", "-", 1),
    ),
    (
        "INSERT INTO events (at, what, session, offerset, who, detail) VALUES (?,?,?,?,?,?)",
        (1, "offered", NEW, NEW, "bob", ""),
    ),
)
"""What programs of version 2 write, each kind once."""


def make(store: Store, at: Path, statements: Sequence[str]) -> None:
    """Put a database where a gateway will look for it, without any of our code."""
    url = store.url(at)
    if store.server is not None:
        theirs = [definition(sql.replace("{}", r"'\x7b7d'")) for sql in statements]
        store.server.ask(f"SET search_path TO {url.rpartition('=')[2]};" + ";".join(theirs))
        return
    at.mkdir(exist_ok=True)
    with closing(sqlite3.connect(at / "gateway.db")) as connection, connection:
        for sql in statements:
            connection.execute(sql.replace("{}", "x'7b7d'"))


async def test_a_session_of_the_first_version_is_read_as_its_node_showed_it(
    store: Store, tmp_path: Path
) -> None:
    make(store, tmp_path, [*MIGRATIONS[0], *ROWS])
    async with store.opened(tmp_path) as database, database.reading() as reader:
        row = await SessionStore().find(reader, UUID(SESSION))
        version = await reader.fetch_one("SELECT max(version) AS n FROM schema_version")
    assert row is not None
    assert row.document == b"{}"
    assert row.restoring is None
    assert version is not None
    assert version["n"] == len(MIGRATIONS)


async def test_what_is_up_to_date_is_left_as_it_is(store: Store, tmp_path: Path) -> None:
    versions = []
    for _ in range(2):
        async with store.opened(tmp_path) as database, database.reading() as reader:
            rows = await reader.fetch(
                "SELECT version, oldest_program FROM schema_version ORDER BY version"
            )
            versions.append([(row["version"], row["oldest_program"]) for row in rows])
    assert versions[0] == versions[1]
    assert versions[0][-1] == (len(MIGRATIONS), OLDEST_PROGRAM)


async def test_several_that_start_at_once_migrate_once(store: Store, tmp_path: Path) -> None:
    several = [database_of(store.url(tmp_path), tmp_path) for _ in range(6)]
    await asyncio.gather(*(database.open() for database in several))
    async with several[0].reading() as reader:
        rows = await reader.fetch("SELECT version FROM schema_version ORDER BY version")
    assert [row["version"] for row in rows] == list(range(1, len(MIGRATIONS) + 1))
    await asyncio.gather(*(database.close() for database in several))


async def test_programs_of_the_version_before_go_on_writing(store: Store, tmp_path: Path) -> None:
    async with store.opened(tmp_path) as database:
        async with database.transaction() as tx:
            for sql, parameters in STATEMENTS:
                assert await tx.execute(sql, parameters) == 1, sql
        async with database.reading() as reader:
            row = await SessionStore().find(reader, UUID(NEW))
    assert row is not None
    assert row.owner == "bob"


async def test_a_later_schema_is_used_where_it_only_adds(store: Store, tmp_path: Path) -> None:
    async with store.opened(tmp_path) as database, database.transaction() as tx:
        await tx.execute(
            "INSERT INTO schema_version (version, oldest_program) VALUES (?, ?)",
            (len(MIGRATIONS) + 1, len(MIGRATIONS)),
        )
    async with store.opened(tmp_path) as database:
        await database.check()


async def test_a_schema_that_is_too_new_is_refused_in_words(store: Store, tmp_path: Path) -> None:
    version = len(MIGRATIONS) + 2
    async with store.opened(tmp_path) as database, database.transaction() as tx:
        await tx.execute(
            "INSERT INTO schema_version (version, oldest_program) VALUES (?, ?)",
            (version, version),
        )

    async def use() -> None:
        async with store.opened(tmp_path):
            pass

    with pytest.raises(SchemaTooNewError, match=f"version {version}.*install a later one"):
        await use()
