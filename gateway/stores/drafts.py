"""Drafts: requests that are being written, and what they were asked as; and sets asked anew."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.stores.listing import Selection, clauses_of

_COLUMNS: Final = "uuid, owner, name, source, request, revision, created, changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRow:
    """One draft. ``owner`` is empty for the administrator.

    ``source`` (what it began from) and ``request`` are JSON. ``revision`` counts from 1 with every
    change of name or request.
    """

    uuid: UUID
    owner: str
    name: str | None
    source: bytes
    request: bytes
    revision: int
    created: datetime
    changed: datetime


@dataclass(frozen=True, slots=True)
class Submission:
    """A draft was asked with, as it was in that revision."""

    offerset: UUID
    revision: int
    at: datetime


class DraftStore:
    """Drafts by UUID and by owner."""

    async def add(self, tx: Transaction, row: DraftRow) -> None:
        """Keep a new draft."""
        await tx.execute(
            f"INSERT INTO drafts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                str(row.uuid),
                row.owner,
                row.name,
                row.source,
                row.request,
                row.revision,
                to_micros(row.created),
                to_micros(row.changed),
            ),
        )

    async def find(self, tx: Transaction, uuid: UUID) -> DraftRow | None:
        """The draft of that UUID, if there is one."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM drafts WHERE uuid = ?{tx.for_update}",  # noqa: S608
            (str(uuid),),
        )
        return None if row is None else _from_row(row)

    async def change(self, tx: Transaction, row: DraftRow) -> bool:
        """Save name and request as the revision after ``row.revision - 1``; whether that it was."""
        changed = await tx.execute(
            "UPDATE drafts SET name = ?, request = ?, revision = ?, changed = ? "
            "WHERE uuid = ? AND revision = ?",
            (
                row.name,
                row.request,
                row.revision,
                to_micros(row.changed),
                str(row.uuid),
                row.revision - 1,
            ),
        )
        return changed == 1

    async def remove(self, tx: Transaction, uuid: UUID) -> None:
        """Delete a draft with its history."""
        await tx.execute("DELETE FROM drafts WHERE uuid = ?", (str(uuid),))

    async def count_of(self, tx: Transaction, owner: str) -> int:
        """How many drafts somebody has."""
        row = await tx.fetch_one("SELECT count(*) AS n FROM drafts WHERE owner = ?", (owner,))
        assert row is not None, "a count has one row"
        count: int = row["n"]
        return count

    async def page(self, tx: Transaction, selection: Selection) -> list[DraftRow]:
        """The drafts of a page; phases and nodes mean nothing here."""
        clauses = clauses_of(
            selection,
            owner="owner",
            created="created",
            sorted_by="changed" if selection.sort.by_change else "created",
            uuid="uuid",
        )
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM drafts {clauses.to_sql()}",  # noqa: S608
            (*clauses.given, selection.limit),
        )
        return [_from_row(row) for row in rows]

    async def forget(self, tx: Transaction, changed_before: datetime) -> int:
        """Delete drafts that nobody has changed since; how many."""
        return await tx.execute(
            "DELETE FROM drafts WHERE uuid IN "  # noqa: S608
            f"(SELECT uuid FROM drafts WHERE changed < ?{tx.skip_locked})",
            (to_micros(changed_before),),
        )

    async def note_submission(self, tx: Transaction, draft: UUID, submission: Submission) -> None:
        """Keep that a draft was asked with; noting it again changes nothing."""
        await tx.execute(
            "INSERT INTO draft_submissions (draft, offerset, revision, at) "
            "SELECT uuid, ?, ?, ? FROM drafts WHERE uuid = ? "
            "ON CONFLICT (draft, offerset) DO NOTHING",
            (
                str(submission.offerset),
                submission.revision,
                to_micros(submission.at),
                str(draft),
            ),
        )

    async def submissions(self, tx: Transaction, draft: UUID, limit: int) -> list[Submission]:
        """What a draft was asked as lately, the last first."""
        rows = await tx.fetch(
            "SELECT offerset, revision, at FROM draft_submissions WHERE draft = ? "
            "ORDER BY at DESC, offerset LIMIT ?",
            (str(draft), limit),
        )
        return [
            Submission(UUID(row["offerset"]), row["revision"], from_micros(row["at"]))
            for row in rows
        ]


@dataclass(frozen=True, slots=True)
class Reasking:
    """An offer set that was asked for in place of another.

    ``key`` is the idempotency key it was asked with. It ``replaces`` the previous one if it has
    offers: then the holds of that one were let go.
    """

    offerset: UUID
    previous: UUID
    key: str | None
    replaces: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The offer set that one was asked in place of, and the one that was asked in its place."""

    previous: UUID | None = None
    next: UUID | None = None


class ReaskingStore:
    """Which offer set came of which."""

    async def add(self, tx: Transaction, reasking: Reasking) -> None:
        """Keep that a set was asked in place of another.

        Raises
        ------
        RowConflictError
            The other has been replaced already.
        """
        await tx.execute(
            "INSERT INTO reaskings (offerset, previous, idempotency_key, replaces, at) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                str(reasking.offerset),
                str(reasking.previous),
                reasking.key,
                int(reasking.replaces),
                to_micros(reasking.at),
            ),
        )

    async def of_offerset(self, tx: Transaction, offerset: UUID) -> Reasking | None:
        """How this set came to be asked for; None for one that was asked for by itself."""
        return await self._find(tx, "offerset = ?", offerset)

    async def replacement(self, tx: Transaction, previous: UUID) -> Reasking | None:
        """What took the place of this set, if anything did."""
        return await self._find(tx, "previous = ? AND replaces = 1", previous)

    async def neighbours(self, tx: Transaction, offerset: UUID) -> Neighbours:
        """What came before this set and what after."""
        rows = await tx.fetch(
            "SELECT previous, NULL AS next FROM reaskings WHERE offerset = ? UNION ALL "
            "SELECT NULL AS previous, offerset AS next FROM reaskings "
            "WHERE previous = ? AND replaces = 1",
            (str(offerset), str(offerset)),
        )
        previous = next((row["previous"] for row in rows if row["previous"]), None)
        following = next((row["next"] for row in rows if row["next"]), None)
        return Neighbours(
            UUID(previous) if previous else None, UUID(following) if following else None
        )

    async def _find(self, tx: Transaction, condition: str, uuid: UUID) -> Reasking | None:
        row = await tx.fetch_one(
            "SELECT offerset, previous, idempotency_key, replaces, at FROM reaskings "  # noqa: S608
            f"WHERE {condition}",
            (str(uuid),),
        )
        if row is None:
            return None
        return Reasking(
            offerset=UUID(row["offerset"]),
            previous=UUID(row["previous"]),
            key=row["idempotency_key"],
            replaces=bool(row["replaces"]),
            at=from_micros(row["at"]),
        )


def _from_row(row: Row) -> DraftRow:
    return DraftRow(
        uuid=UUID(row["uuid"]),
        owner=row["owner"],
        name=row["name"],
        source=row["source"],
        request=row["request"],
        revision=row["revision"],
        created=from_micros(row["created"]),
        changed=from_micros(row["changed"]),
    )
