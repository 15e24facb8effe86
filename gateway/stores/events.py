"""Events: what happened, when, to what, by whom, and why. Append-only."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.stores.database import Transaction, from_micros, to_micros


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``who`` is an owner, ``admin``, ``gateway`` or ``node:NAME``."""

    at: datetime
    what: str
    who: str
    session: UUID | None = None
    offerset: UUID | None = None
    detail: str = ""


class EventStore:
    """The audit trail."""

    async def add(self, tx: Transaction, event: Event) -> None:
        """Append one event."""
        # Nothing is asked back, so that it goes along with what else is written.
        await tx.execute_many(
            "INSERT INTO events (at, what, session, offerset, who, detail) VALUES (?,?,?,?,?,?)",
            [
                (
                    to_micros(event.at),
                    event.what,
                    str(event.session) if event.session else None,
                    str(event.offerset) if event.offerset else None,
                    event.who,
                    event.detail,
                )
            ],
        )

    async def of_session(self, tx: Transaction, session: UUID) -> list[Event]:
        """Everything that happened to a session, in order."""
        rows = await tx.fetch(
            "SELECT at, what, who, session, offerset, detail FROM events "
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
            )
            for row in rows
        ]

    async def forget(self, tx: Transaction, before: datetime) -> int:
        """Delete events older than ``before``; how many."""
        return await tx.execute(
            f"DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ?{tx.skip_locked})",  # noqa: S608
            (to_micros(before),),
        )
