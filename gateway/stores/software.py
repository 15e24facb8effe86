"""Execution templates: what they are called, every version of them, and by what they are found.

Found are those of which the latest version has all the words that are asked for, by a pattern over
one column. Neither engine's full-text search is used: they differ in what a word is, and the same
question would find other templates after a move. To look through ten thousand takes some 20 ms; an
index would pay for itself beyond that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.stores.listing import Place
from gateway.wire.documents import from_json, to_json

_COLUMNS: Final = (
    "software.uuid, software.owner, software.latest, software.created AS published, "
    "software_versions.number, software_versions.title, software_versions.description, "
    "software_versions.keywords, software_versions.kinds, software_versions.document, "
    "software_versions.source, software_versions.created"
)
_TABLES: Final = "software JOIN software_versions ON software_versions.software = software.uuid"


class Tag(StrEnum):
    """What templates are told apart by, besides their words."""

    KEYWORD = "keyword"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareRow:
    """One version of a template.

    ``owner`` is empty for the administrator. ``published`` is when the first version was made,
    ``created`` when this one was. ``document`` is the template itself, JSON, with its placeholders.
    ``source`` is the URL that it was imported from.
    """

    uuid: UUID
    owner: str
    number: int
    latest: int
    title: str
    description: str | None
    keywords: tuple[str, ...]
    kinds: tuple[str, ...]
    document: bytes
    source: str | None
    published: datetime
    created: datetime


@dataclass(frozen=True, slots=True)
class Marks:
    """By what the latest version of a template is found: folded words, and tags by their sort."""

    words: tuple[str, ...] = ()
    tags: tuple[tuple[Tag, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for: all of it must hold.

    ``words`` are folded beginnings of words, ``tags`` what the template must have of each sort.
    ``before`` is the place in the list, newest first, after which to go on.
    """

    words: tuple[str, ...] = ()
    tags: tuple[tuple[Tag, str], ...] = ()
    owner: str | None = None
    before: Place | None = None
    limit: int


class SoftwareStore:
    """Templates by UUID and version number, which counts from 1."""

    async def add(self, tx: Transaction, row: SoftwareRow, marks: Marks) -> None:
        """Keep the first version of a new template."""
        await tx.execute(
            "INSERT INTO software (uuid, owner, latest, words, created) VALUES (?, ?, ?, ?, ?)",
            (str(row.uuid), row.owner, row.number, _line(marks.words), to_micros(row.published)),
        )
        await self._add_version(tx, row, marks)

    async def add_version(self, tx: Transaction, row: SoftwareRow, marks: Marks) -> None:
        """Keep the next version, which takes the place of the latest. Its template is held."""
        await tx.execute(
            "UPDATE software SET latest = ?, words = ? WHERE uuid = ?",
            (row.number, _line(marks.words), str(row.uuid)),
        )
        await tx.execute("DELETE FROM software_tags WHERE software = ?", (str(row.uuid),))
        await self._add_version(tx, row, marks)

    async def version(
        self, tx: Transaction, uuid: UUID, number: int | None = None
    ) -> SoftwareRow | None:
        """One version of a template, or the latest one; None if there is none."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM {_TABLES} "  # noqa: S608
            "WHERE software.uuid = ? AND software_versions.number = COALESCE(?, software.latest)",
            (str(uuid), number),
        )
        return None if row is None else _row(row)

    async def hold(self, tx: Transaction, uuid: UUID) -> bool:
        """Keep others from changing the template until this transaction ends; whether it is one."""
        row = await tx.fetch_one(
            f"SELECT uuid FROM software WHERE uuid = ?{tx.for_update}",  # noqa: S608
            (str(uuid),),
        )
        return row is not None

    async def numbers(self, tx: Transaction, uuid: UUID) -> list[tuple[int, datetime]]:
        """The versions of a template and when each was made, newest first."""
        rows = await tx.fetch(
            "SELECT number, created FROM software_versions WHERE software = ? ORDER BY number DESC",
            (str(uuid),),
        )
        return [(row["number"], from_micros(row["created"])) for row in rows]

    async def search(self, tx: Transaction, search: Search) -> list[SoftwareRow]:
        """The latest versions of the templates that are looked for, newest template first."""
        wheres = ["software_versions.number = software.latest"]
        given: list[Any] = []
        for word in search.words:
            wheres.append("software.words LIKE ?")
            given.append(f"% {word}%")
        for sort, value in search.tags:
            wheres.append(
                "EXISTS (SELECT 1 FROM software_tags WHERE software_tags.software = software.uuid "
                "AND software_tags.sort = ? AND software_tags.value = ?)"
            )
            given += [sort.value, value]
        if search.owner is not None:
            wheres.append("software.owner = ?")
            given.append(search.owner)
        if search.before is not None:
            micros = to_micros(search.before.at)
            wheres.append("(software.created < ? OR (software.created = ? AND software.uuid < ?))")
            given += [micros, micros, str(search.before.uuid)]
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {' AND '.join(wheres)} "  # noqa: S608
            "ORDER BY software.created DESC, software.uuid DESC LIMIT ?",
            (*given, search.limit),
        )
        return [_row(row) for row in rows]

    async def count_of(self, tx: Transaction, owner: str) -> int:
        """How many templates somebody has."""
        row = await tx.fetch_one("SELECT COUNT(*) AS n FROM software WHERE owner = ?", (owner,))
        assert row is not None, "a count has one row"
        count: int = row["n"]
        return count

    async def remove(self, tx: Transaction, uuid: UUID) -> None:
        """Delete a template with all its versions."""
        await tx.execute("DELETE FROM software WHERE uuid = ?", (str(uuid),))

    async def _add_version(self, tx: Transaction, row: SoftwareRow, marks: Marks) -> None:
        await tx.execute(
            "INSERT INTO software_versions (software, number, title, description, keywords, kinds, "
            "document, source, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(row.uuid),
                row.number,
                row.title,
                row.description,
                to_json(row.keywords),
                to_json(row.kinds),
                row.document,
                row.source,
                to_micros(row.created),
            ),
        )
        await tx.execute_many(
            "INSERT INTO software_tags (software, sort, value) VALUES (?, ?, ?)",
            [(str(row.uuid), sort.value, value) for sort, value in sorted(set(marks.tags))],
        )


def _line(words: tuple[str, ...]) -> str:
    return f" {' '.join(words)} "


def _texts(json: bytes) -> tuple[str, ...]:
    listed: Sequence[str] = from_json(json)
    return tuple(listed)


def _row(row: Row) -> SoftwareRow:
    return SoftwareRow(
        uuid=UUID(row["uuid"]),
        owner=row["owner"],
        number=row["number"],
        latest=row["latest"],
        title=row["title"],
        description=row["description"],
        keywords=_texts(row["keywords"]),
        kinds=_texts(row["kinds"]),
        document=row["document"],
        source=row["source"],
        published=from_micros(row["published"]),
        created=from_micros(row["created"]),
    )
