"""The outbox: what nodes still have to be told. One command a session, the newest wish."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.phases import SessionPhase

SEEN_AT_ONCE: Final = 500
"""Due commands looked through for those whose nodes have room; SQLite takes 999 parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Ask ``node`` to bring ``session`` to ``phase``, from ``due`` on and until ``give_up``."""

    session: UUID
    node: str
    phase: SessionPhase
    created: datetime
    due: datetime
    give_up: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Wish):
    """A wish being carried out.

    ``fence`` grows with every claim and every newer wish: only the holder of the newest may report.
    """

    attempts: int
    fence: int
    last_error: str | None = None


def _from_row(row: Row) -> Command:
    return Command(
        session=UUID(row["session"]),
        node=row["node"],
        phase=SessionPhase(row["phase"]),
        attempts=row["attempts"],
        created=from_micros(row["created"]),
        due=from_micros(row["due"]),
        give_up=from_micros(row["give_up"]),
        fence=row["fence"],
        last_error=row["last_error"],
    )


class CommandStore:
    """Commands by session and by when they are due."""

    async def put(self, tx: Transaction, wishes: Iterable[Wish]) -> None:
        """Want phases at nodes; an older wish for the same session is forgotten."""
        await tx.execute_many(
            "INSERT INTO commands (session, node, phase, attempts, created, due, give_up, fence) "
            "VALUES (?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET "
            "phase = excluded.phase, attempts = 0, created = excluded.created, due = excluded.due, "
            "give_up = excluded.give_up, fence = commands.fence + 1, last_error = NULL",
            [
                (
                    str(wish.session),
                    wish.node,
                    wish.phase.value,
                    to_micros(wish.created),
                    to_micros(wish.due),
                    to_micros(wish.give_up),
                    # Not from 1: what is left of a wish that was settled may not pass for this one.
                    to_micros(wish.created),
                )
                for wish in wishes
            ],
        )

    async def find(self, tx: Transaction, session: UUID) -> Command | None:
        """The command under way for a session, if there is one."""
        row = await tx.fetch_one("SELECT * FROM commands WHERE session = ?", (str(session),))
        return None if row is None else _from_row(row)

    async def claim(
        self,
        tx: Transaction,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        per_node: int,
        running: Mapping[str, int],
    ) -> list[Command]:
        """Take due commands; nobody else gets them before the lease ends.

        At most ``limit`` of them, and of each node so many that ``per_node`` of its commands are
        under way, those ``running`` already included.
        """
        due = await tx.fetch(
            "SELECT id, node FROM commands WHERE due <= ? ORDER BY due LIMIT ?",
            (to_micros(now), SEEN_AT_ONCE),
        )
        taken: list[int] = []
        of_node = Counter(running)
        for row in due:
            if len(taken) < limit and of_node[row["node"]] < per_node:
                of_node[row["node"]] += 1
                taken.append(row["id"])
        if not taken:
            return []
        marks = ",".join("?" * len(taken))
        rows = await tx.fetch(
            f"UPDATE commands SET due = ?, attempts = attempts + 1, fence = fence + 1 "  # noqa: S608
            f"WHERE id IN ({marks}) RETURNING *",
            (to_micros(lease_until), *taken),
        )
        return [_from_row(row) for row in rows]

    async def done(self, tx: Transaction, command: Command) -> bool:
        """The command has done its work; False when a newer claim or wish has replaced it."""
        removed = await tx.execute(
            "DELETE FROM commands WHERE session = ? AND fence = ?",
            (str(command.session), command.fence),
        )
        return removed == 1

    async def drop(self, tx: Transaction, session: UUID) -> None:
        """Whatever was wanted for this session is settled."""
        await tx.execute("DELETE FROM commands WHERE session = ?", (str(session),))

    async def again(self, tx: Transaction, command: Command, *, due: datetime, error: str) -> None:
        """Try once more at ``due``."""
        await tx.execute(
            "UPDATE commands SET due = ?, last_error = ? WHERE session = ? AND fence = ?",
            (to_micros(due), error, str(command.session), command.fence),
        )

    async def hasten(self, tx: Transaction, session: UUID, due: datetime) -> None:
        """Try sooner than planned."""
        await tx.execute(
            "UPDATE commands SET due = min(due, ?) WHERE session = ?",
            (to_micros(due), str(session)),
        )

    async def next_due(self, tx: Transaction) -> datetime | None:
        """When the next command is due, if there is any."""
        row = await tx.fetch_one("SELECT min(due) AS due FROM commands")
        return None if row is None or row["due"] is None else from_micros(row["due"])

    async def backlog(self, tx: Transaction) -> tuple[int, datetime | None]:
        """How many commands wait, and since when the oldest does."""
        row = await tx.fetch_one("SELECT count(*) AS n, min(created) AS oldest FROM commands")
        if row is None or row["oldest"] is None:
            return 0, None
        return row["n"], from_micros(row["oldest"])
