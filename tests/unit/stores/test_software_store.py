"""Execution templates in the store, on every database: the same question finds the same ones."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.stores.database import Database
from gateway.stores.listing import Place
from gateway.stores.software import Marks, Search, SoftwareRow, SoftwareStore, Tag
from tests.support.stores import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
STORE = SoftwareStore()


@pytest.fixture
async def database(store: Store, tmp_path: Path) -> AsyncIterator[Database]:
    async with store.opened(tmp_path) as opened:
        yield opened


def version(**changes: Any) -> SoftwareRow:
    values: dict[str, Any] = {
        "uuid": uuid4(),
        "owner": "ann",
        "number": 1,
        "latest": 1,
        "title": "Imaging",
        "description": None,
        "keywords": ("radio",),
        "kinds": ("docker",),
        "document": b'{"a":1}',
        "source": None,
        "published": NOW,
        "created": NOW,
    }
    return SoftwareRow(**values | changes)


async def keep(database: Database, row: SoftwareRow, *words: str, **tags: str) -> UUID:
    marks = Marks(words, tuple((Tag(sort), value) for sort, value in tags.items()))
    async with database.transaction() as tx:
        await STORE.add(tx, row, marks)
    return row.uuid


async def found(database: Database, **search: Any) -> list[UUID]:
    async with database.reading() as reader:
        rows = await STORE.search(reader, Search(**{"limit": 10} | search))
    return [row.uuid for row in rows]


async def test_a_template_comes_back_as_it_was_kept(database: Database) -> None:
    row = version(description="Cubes", keywords=("a", "b"), source="https://x.org/t.yaml")
    await keep(database, row, "imaging")
    async with database.reading() as reader:
        assert await STORE.version(reader, row.uuid) == row
        assert await STORE.version(reader, row.uuid, 1) == row
        assert await STORE.version(reader, row.uuid, 2) is None
        assert await STORE.version(reader, uuid4()) is None


async def test_a_new_version_is_found_and_the_old_one_still_read(database: Database) -> None:
    first = version(title="First")
    await keep(database, first, "first", keyword="old")
    second = version(
        uuid=first.uuid, number=2, latest=2, title="Second", created=NOW + timedelta(days=1)
    )
    async with database.transaction() as tx:
        assert await STORE.hold(tx, first.uuid)
        await STORE.add_version(tx, second, Marks(("second",), ((Tag.KEYWORD, "new"),)))
    assert await found(database, words=("first",)) == []
    assert await found(database, tags=((Tag.KEYWORD, "old"),)) == []
    assert await found(database, words=("second",), tags=((Tag.KEYWORD, "new"),)) == [first.uuid]
    async with database.reading() as reader:
        assert await STORE.version(reader, first.uuid) == second
        old = await STORE.version(reader, first.uuid, 1)
        numbers = await STORE.numbers(reader, first.uuid)
    assert old is not None
    assert (old.title, old.latest) == ("First", 2)
    assert numbers == [(2, second.created), (1, NOW)]


async def test_those_who_revise_at_the_same_time_make_one_version_each(database: Database) -> None:
    first = version()
    await keep(database, first)

    async def revise() -> None:
        async with database.transaction() as tx:
            await STORE.hold(tx, first.uuid)
            latest = await STORE.version(tx, first.uuid)
            assert latest is not None
            number = latest.number + 1
            await STORE.add_version(tx, replace(latest, number=number, latest=number), Marks())

    await asyncio.gather(*(revise() for _ in range(5)))
    async with database.reading() as reader:
        assert [n for n, _ in await STORE.numbers(reader, first.uuid)] == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        ((), True),
        (("cube",), True),
        (("cu",), True),
        (("cube", "wscl"), True),
        (("ube",), False),
        (("cubes",), False),
        (("cube", "optical"), False),
    ],
)
async def test_all_words_must_begin_words_of_the_template(
    database: Database, words: tuple[str, ...], *, is_found: bool
) -> None:
    uuid = await keep(database, version(), "cube", "imaging", "wsclean")
    assert await found(database, words=words) == ([uuid] if is_found else [])


async def test_tags_are_equal_to_the_letter_and_belong_to_their_sort(database: Database) -> None:
    uuid = await keep(database, version(), keyword="radio", kind="https://k/S3-data_x%.yaml")
    await keep(database, version(), keyword="radio astronomy", kind="radio")
    assert await found(database, tags=((Tag.KEYWORD, "radio"),)) == [uuid]
    assert await found(database, tags=((Tag.KIND, "https://k/S3-data_x%.yaml"),)) == [uuid]
    assert await found(database, tags=((Tag.KIND, "https://k/s3-data_x%.yaml"),)) == []
    assert await found(database, tags=((Tag.KIND, "https://k/%"),)) == []


async def test_pages_go_from_new_to_old_and_stay_when_something_is_added(
    database: Database,
) -> None:
    ages = [0, 1, 1, 2]
    rows = [version(published=NOW - timedelta(days=age)) for age in ages]
    for row in rows:
        await keep(database, row)
    ordered = sorted(rows, key=lambda row: (row.published, str(row.uuid)), reverse=True)
    assert await found(database, limit=2) == [row.uuid for row in ordered[:2]]
    await keep(database, version(published=NOW + timedelta(days=1)))
    last = ordered[1]
    rest = await found(database, before=Place(last.published, last.uuid))
    assert rest == [row.uuid for row in ordered[2:]]


async def test_owners_are_told_apart_and_counted(database: Database) -> None:
    uuid = await keep(database, version(owner="bob"))
    await keep(database, version())
    assert await found(database, owner="bob") == [uuid]
    async with database.reading() as reader:
        assert await STORE.count_of(reader, "bob") == 1
        assert await STORE.count_of(reader, "carol") == 0


async def test_nothing_is_left_of_a_template_that_is_removed(database: Database) -> None:
    uuid = await keep(database, version(), "word", keyword="radio")
    async with database.transaction() as tx:
        await STORE.remove(tx, uuid)
        assert not await STORE.hold(tx, uuid)
        for table in ("software_versions", "software_tags"):
            row = await tx.fetch_one(f"SELECT COUNT(*) AS n FROM {table}")
            assert row is not None
            assert row["n"] == 0
    assert await found(database) == []
