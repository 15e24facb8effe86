"""What every database promises to those who use it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.stores.database import Database, RowConflictError, Transaction
from tests.support.stores import Store

LARGE = 2**53 + 1
"""More than fits into 32 bits, or exactly into a double."""


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


async def put(tx: Transaction, name: str, password_hash: str = "-") -> None:
    await tx.execute(
        "INSERT INTO identities (uuid, username, password_hash, created) VALUES (?, ?, ?, ?)",
        (str(uuid4()), name, password_hash, LARGE),
    )


async def names(database: Database) -> list[str]:
    async with database.reading() as reader:
        rows = await reader.fetch("SELECT username FROM identities ORDER BY username")
    return [row["username"] for row in rows]


async def test_what_was_written_is_there_once_the_block_is_left(database: Database) -> None:
    async with database.transaction() as tx:
        await put(tx, "ann")
        assert await names(database) == []
    assert await names(database) == ["ann"]


async def test_a_block_that_raises_changes_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def write() -> None:
        async with database.transaction() as tx:
            await put(tx, "ann")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await write()
    assert await names(database) == []
    async with database.transaction(durable=True) as tx:
        await put(tx, "bob")
    assert await names(database) == ["bob"]
    assert not caplog.records, "it is nothing out of the ordinary"


async def test_a_cancelled_block_changes_nothing_and_keeps_nobody_out(database: Database) -> None:
    async def write() -> None:
        async with database.transaction() as tx:
            await put(tx, "ann")
            is_written.set()
            await asyncio.Event().wait()

    # More often than there are connections: none may be lost.
    for _ in range(12):
        is_written = asyncio.Event()
        task = asyncio.create_task(write())
        await is_written.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    async with database.transaction() as tx:
        await put(tx, "ann")
    assert await names(database) == ["ann"]


async def test_a_statement_cancelled_under_way_changes_nothing(database: Database) -> None:
    async def write() -> None:
        async with database.transaction() as tx:
            await tx.execute_many(
                "INSERT INTO identities (uuid, username, password_hash, created) "
                "VALUES (?, ?, '-', 1)",
                [(str(uuid4()), f"name-{n}") for n in range(20_000)],
            )

    task = asyncio.create_task(write())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await names(database) == []
    async with database.transaction() as tx:
        await put(tx, "ann")
    assert await names(database) == ["ann"]


async def test_who_comes_second_to_a_unique_name_is_told_so(database: Database) -> None:
    async with database.transaction() as tx:
        await put(tx, "ann")

    async def write() -> None:
        async with database.transaction() as tx:
            await put(tx, "bob")
            await put(tx, "ann")

    with pytest.raises(RowConflictError):
        await write()
    assert await names(database) == ["ann"]


async def test_a_snapshot_shows_nothing_of_a_commit_that_came_after_its_first_query(
    database: Database,
) -> None:
    async with database.snapshot() as reader:
        assert await reader.fetch("SELECT username FROM identities") == []
        async with database.transaction() as tx:
            await put(tx, "ann")
        assert await names(database) == ["ann"]
        assert await reader.fetch("SELECT username FROM identities") == []
    async with database.snapshot() as reader:
        assert len(await reader.fetch("SELECT username FROM identities")) == 1


async def test_values_come_back_as_they_were_put_in(database: Database) -> None:
    document = bytes(range(256)) * 100
    async with database.transaction() as tx:
        changed = await tx.execute(
            "INSERT INTO offersets "
            "(uuid, owner, created, request, record, federation, messages, is_open) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ("a?b", "it's", LARGE, document, b"", b"{}", b"[]", 1),
        )
        assert changed == 1
    async with database.reading() as reader:
        row = await reader.fetch_one(
            "SELECT * FROM offersets WHERE owner = 'it''s' AND uuid = ?", ("a?b",)
        )
    assert row is not None
    assert (row["request"], row["record"], row["created"]) == (document, b"", LARGE)
    async with database.transaction() as tx:
        assert await tx.execute("UPDATE offersets SET is_open = ? WHERE uuid = ?", (0, "x")) == 0


async def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    async with database.transaction() as tx:
        await put(tx, "ann")
        async with asyncio.timeout(2):
            assert await names(database) == []


async def test_many_writers_at_once_lose_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await put(tx, "ann", "0")

    async def add_one() -> None:
        async with database.transaction() as tx:
            row = await tx.fetch_one(
                f"SELECT password_hash FROM identities WHERE username = ?{tx.for_update}", ("ann",)
            )
            assert row is not None
            more = str(int(row["password_hash"]) + 1)
            await tx.execute("UPDATE identities SET password_hash = ?", (more,))

    await asyncio.gather(*(add_one() for _ in range(40)))
    async with database.reading() as reader:
        row = await reader.fetch_one("SELECT password_hash FROM identities")
    assert row is not None
    assert row["password_hash"] == "40"


async def test_closing_twice_is_closing_once(store: Store, tmp_path: Path) -> None:
    async with store.opened(tmp_path) as database:
        await database.check()
        await database.close()
