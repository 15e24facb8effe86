"""SQLite's own thread: in order, all of a piece of work at once, and stopped with who asked."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gateway.errors import StoreUnavailableError
from gateway.stores.sqlite import SqliteDatabase
from gateway.stores.sqlite_thread import SqliteThread

WAIT_S = 10.0


@pytest.fixture
async def thread(tmp_path: Path) -> AsyncIterator[SqliteThread]:
    made = SqliteThread(partial(sqlite3.connect, tmp_path / "some.db"), "test")
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def adds(text: str, to: list[str]) -> Any:
    return lambda _connection: to.append(text)


async def test_work_is_done_in_the_order_it_was_given(thread: SqliteThread) -> None:
    done: list[str] = []
    thread.post(adds("a", done), adds("b", done))
    thread.post(adds("c", done))
    assert await thread.run(adds("d", done), lambda _: "result") == "result"
    assert done == ["a", "b", "c", "d"]


async def test_what_fails_stops_the_steps_after_it_and_nothing_else(thread: SqliteThread) -> None:
    done: list[str] = []
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await thread.run(lambda c: c.execute("SELECT * FROM missing"), adds("never", done))
    thread.post(lambda c: c.execute("SELECT * FROM missing"), adds("never", done))
    await thread.run(adds("next", done))
    assert done == ["next"]


async def test_steps_that_were_to_come_are_not_taken_for_who_has_gone(thread: SqliteThread) -> None:
    done: list[str] = []
    is_at_work, may_go_on = Event(), Event()

    def slow(_connection: sqlite3.Connection) -> None:
        is_at_work.set()
        may_go_on.wait(WAIT_S)

    task = asyncio.create_task(thread.run(slow, adds("never", done)))
    await asyncio.to_thread(is_at_work.wait, WAIT_S)
    task.cancel()
    await asyncio.wait([task])
    may_go_on.set()
    await thread.run(adds("next", done))
    assert task.cancelled()
    assert done == ["next"]


async def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    made = SqliteThread(partial(sqlite3.connect, tmp_path), "test")
    with pytest.raises(sqlite3.OperationalError):
        await made.open()
    made._thread.join(WAIT_S)
    assert not made._thread.is_alive()
    await made.close()


async def test_a_transaction_in_which_nothing_is_done_reaches_no_thread(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "gateway.db")
    await database.open()
    async with database.transaction() as tx:
        await tx.execute_many("INSERT INTO missing VALUES (?)", [])
    assert not tx.has_begun
    await database.close()


async def test_a_failure_of_what_waits_shows_at_the_end_and_undoes_all(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "gateway.db")
    await database.open()
    row = ("u", "ann", "-", 1)
    insert = "INSERT INTO identities (uuid, username, password_hash, created) VALUES (?,?,?,?)"

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.execute_many(insert, [row])
            await tx.execute_many("INSERT INTO missing VALUES (?)", [("a",)])

    with pytest.raises(StoreUnavailableError):
        await fail()
    async with database.transaction() as tx:
        await tx.execute_many(insert, [row])
    async with database.reading() as reader:
        assert len(await reader.fetch("SELECT * FROM identities")) == 1
    await database.close()
