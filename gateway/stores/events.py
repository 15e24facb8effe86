"""Events: what happened, when, to what, by whom, and why. Append-only.

An event is written in the transaction that makes it happen, with others beside it that begin and
end in any order. So the order in which events were written is none that a reader could go by: one
with a smaller number may be committed, and seen, later. Every event is therefore given its position
afterwards, when it has been committed, by one at a time who keeps the row of ``event_order``: the
positions that can be seen have no gap, and whatever comes later has a greater one.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.domain.cloud_events import Occurrence
from gateway.stores.database import Row, Transaction, from_micros, to_micros

_COLUMNS: Final = "position, owner, at, what, who, session, offerset, detail"
_OVER: Final = "('REJECTED', 'EXPIRED', 'COMPLETED', 'FAILED', 'CANCELLED')"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``who`` is an owner, ``admin``, ``gateway`` or ``node:NAME``.

    ``owner`` is whom it concerns; None for the owner of the offer set.
    """

    at: datetime
    what: str
    who: str
    session: UUID | None = None
    offerset: UUID | None = None
    detail: str = ""
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class EventScope:
    """Which events: those of one session, one offer set with its sessions, or one owner; or all."""

    session: UUID | None = None
    offerset: UUID | None = None
    owner: str | None = None

    @property
    def condition(self) -> tuple[str, tuple[str, ...]]:
        """The same in SQL, with its parameters."""
        if self.session is not None:
            return "session = ?", (str(self.session),)
        if self.offerset is not None:
            return "offerset = ?", (str(self.offerset),)
        return ("owner = ?", (self.owner,)) if self.owner is not None else ("1 = 1", ())


class EventStore:
    """The audit trail, and the stream that is read from it.

    ``wake`` is set, and ``written`` counts, whenever an event was written by this process, for
    whoever gives it its position; it is committed only a little later, if at all.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.written = 0

    async def add(self, tx: Transaction, event: Event) -> None:
        """Append one event."""
        # Nothing is asked back, so that it goes along with what else is written.
        await tx.execute_many(
            "INSERT INTO events (at, what, session, offerset, who, detail, owner) "
            "VALUES (?,?,?,?,?,?,?)",
            [
                (
                    to_micros(event.at),
                    event.what,
                    str(event.session) if event.session else None,
                    str(event.offerset) if event.offerset else None,
                    event.who,
                    event.detail,
                    event.owner,
                )
            ],
        )
        self.written += 1
        self.wake.set()

    async def of_session(self, tx: Transaction, session: UUID) -> list[Event]:
        """Everything that happened to a session, in order."""
        rows = await tx.fetch(
            "SELECT at, what, who, session, offerset, detail, owner FROM events "
            "WHERE session = ? ORDER BY id",
            (str(session),),
        )
        return [
            Event(
                at=from_micros(row["at"]),
                what=row["what"],
                who=row["who"],
                session=UUID(row["session"]),
                offerset=UUID(row["offerset"]) if row["offerset"] else None,
                detail=row["detail"],
                owner=row["owner"],
            )
            for row in rows
        ]

    async def has_unplaced(self, tx: Transaction) -> bool:
        """Whether there are events without a position."""
        return await tx.fetch_one("SELECT 1 FROM events WHERE position IS NULL LIMIT 1") is not None

    async def place(self, tx: Transaction, limit: int) -> int:
        """Give their positions, and owners, to events that have none; how many."""
        # Whoever else does this waits here, and sees then what has been placed.
        order = await tx.fetch_one(f"SELECT last FROM event_order{tx.for_update}")  # noqa: S608
        assert order is not None, "the table of the order has one row"
        rows = await tx.fetch(
            "SELECT events.id AS id, coalesce(events.owner, offersets.owner, '') AS owner "
            "FROM events LEFT JOIN offersets ON offersets.uuid = events.offerset "
            "WHERE events.position IS NULL ORDER BY events.id LIMIT ?",
            (limit,),
        )
        last = int(order["last"])
        await tx.execute_many(
            "UPDATE events SET position = ?, owner = ? WHERE id = ?",
            [
                (position, row["owner"], row["id"])
                for position, row in enumerate(rows, start=last + 1)
            ],
        )
        if rows:
            await tx.execute("UPDATE event_order SET last = ?", (last + len(rows),))
        return len(rows)

    async def last(self, tx: Transaction) -> int:
        """The last position that was given; 0 for none. While writing, nobody gives more."""
        row = await tx.fetch_one(f"SELECT last FROM event_order{tx.for_update}")  # noqa: S608
        assert row is not None, "the table of the order has one row"
        return int(row["last"])

    async def after(
        self, tx: Transaction, scope: EventScope, position: int, limit: int
    ) -> list[Occurrence]:
        """The first ``limit`` events behind this position, in order."""
        condition, parameters = scope.condition
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM events "  # noqa: S608  # fixed texts
            f"WHERE {condition} AND position > ? ORDER BY position LIMIT ?",
            (*parameters, position, limit),
        )
        return [_from_row(row) for row in rows]

    async def is_over(self, tx: Transaction, scope: EventScope, position: int) -> bool:
        """Whether nothing is known behind this position, and all has ended that it would be about.

        An offer set without offers has not: late answers may bring some.
        """
        if scope.session is None and scope.offerset is None:
            return False
        condition, parameters = scope.condition
        more = await tx.fetch_one(
            f"SELECT 1 FROM events WHERE {condition} "  # noqa: S608  # fixed texts
            "AND (position IS NULL OR position > ?) LIMIT 1",
            (*parameters, position),
        )
        return more is None and await self._has_ended(tx, scope)

    async def _has_ended(self, tx: Transaction, scope: EventScope) -> bool:
        if scope.session is not None:
            shown, parameter = "uuid = ?", str(scope.session)
        else:
            shown, parameter = "offerset = ? AND position IS NOT NULL", str(scope.offerset)
        row = await tx.fetch_one(
            "SELECT count(*) AS known, "  # noqa: S608  # fixed texts
            f"coalesce(sum(CASE WHEN phase IN {_OVER} THEN 1 ELSE 0 END), 0) AS ended "
            f"FROM sessions WHERE {shown}",
            (parameter,),
        )
        return row is not None and 0 < row["known"] == row["ended"]

    async def forget(self, tx: Transaction, before: datetime) -> int:
        """Delete events older than ``before``; how many."""
        return await tx.execute(
            f"DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ?{tx.skip_locked})",  # noqa: S608
            (to_micros(before),),
        )


def _from_row(row: Row) -> Occurrence:
    return Occurrence(
        position=row["position"],
        owner=row["owner"],
        at=from_micros(row["at"]),
        what=row["what"],
        who=row["who"],
        session=UUID(row["session"]) if row["session"] else None,
        offerset=UUID(row["offerset"]) if row["offerset"] else None,
        detail=row["detail"],
    )
