"""The audit trail: who did what, to what, from where, and how it ended. Append-only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.audit import AuditedCall

_COLUMNS = "at, who, what, object, origin, request_id, status, reason"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call, and when it was made. ``id`` grows with every entry; 0 for one not saved yet."""

    at: datetime
    call: AuditedCall
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are wanted; None for any. ``since`` is included, ``until`` is not.

    ``what`` is the method and route of a call, as in ``POST /requests``.
    """

    who: str | None = None
    what: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditStore:
    """Entries, newest first."""

    async def add(self, tx: Transaction, entries: Iterable[AuditEntry]) -> None:
        """Append entries."""
        await tx.execute_many(
            f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [
                (
                    to_micros(entry.at),
                    entry.call.who,
                    entry.call.what,
                    entry.call.object,
                    entry.call.origin,
                    entry.call.request_id,
                    entry.call.status,
                    entry.call.reason,
                )
                for entry in entries
            ],
        )

    async def page(
        self, tx: Transaction, query: AuditQuery, *, before: int | None, limit: int
    ) -> list[AuditEntry]:
        """The newest entries that were saved earlier than the one with the id ``before``."""
        clauses, values = _clauses_of(query)
        if before is not None:
            clauses.append("id < ?")
            values.append(before)
        where = f"WHERE {' AND '.join(clauses)} " if clauses else ""
        rows = await tx.fetch(
            f"SELECT id, {_COLUMNS} FROM audit {where}ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return [_from_row(row) for row in rows]

    async def forget(self, tx: Transaction, before: datetime, limit: int) -> int:
        """Delete entries made before then, ``limit`` of them at most; how many."""
        return await tx.execute(
            "DELETE FROM audit WHERE id IN "  # noqa: S608
            f"(SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?{tx.skip_locked})",
            (to_micros(before), limit),
        )


def _clauses_of(query: AuditQuery) -> tuple[list[str], list[object]]:
    clauses: list[str] = []
    values: list[object] = []
    for clause, value in (
        ("who = ?", query.who),
        ("what = ?", query.what),
        ("object = ?", query.object),
        ("at >= ?", None if query.since is None else to_micros(query.since)),
        ("at < ?", None if query.until is None else to_micros(query.until)),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    return clauses, values


def _from_row(row: Row) -> AuditEntry:
    return AuditEntry(
        at=from_micros(row["at"]),
        call=AuditedCall(
            who=row["who"],
            what=row["what"],
            object=row["object"],
            origin=row["origin"],
            request_id=row["request_id"],
            status=row["status"],
            reason=row["reason"],
        ),
        id=row["id"],
    )
