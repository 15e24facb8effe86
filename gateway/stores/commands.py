"""The outbox: what nodes still have to be told. One command a session, the newest wish."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.stores.database import Row, Transaction, from_micros, to_micros, to_texts
from gateway.stores.leasing import Backlog, LeasedTable
from gateway.wire.phases import SessionPhase

_COLUMNS: Final = "session, node, phase, attempts, created, due, give_up, fence, last_error"


# Wishes come by the hundred; msgspec's structs are made five times as fast.
class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Ask ``node`` to bring ``session`` to ``phase``, from ``due`` on and until ``give_up``."""

    session: UUID
    node: str
    phase: SessionPhase
    created: datetime
    due: datetime
    give_up: datetime


class Command(Wish, frozen=True, kw_only=True):
    """A wish being carried out.

    ``fence`` grows with every claim and every newer wish: only the holder of the newest may report.
    """

    attempts: int
    fence: int
    last_error: str | None = None

    @property
    def told(self) -> int:
        """How many sessions the node is told of."""
        return 1

    @property
    def held(self) -> int:
        """How many holds stay at the node if it never hears of it."""
        return int(self.phase is not SessionPhase.ACCEPTED)

    def facts(self) -> Mapping[str, Any]:
        """What it is about, for the log."""
        return {"session": str(self.session), "phase": self.phase.value}


_TABLE: Final = LeasedTable("commands", _COLUMNS)


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

    async def put(self, tx: Transaction, wishes: Sequence[Wish]) -> None:
        """Want phases at nodes; an older wish for the same session is forgotten."""
        await tx.execute_many(
            "INSERT INTO commands (session, node, phase, attempts, created, due, give_up, fence) "
            "VALUES (?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET "
            "phase = excluded.phase, attempts = 0, created = excluded.created, due = excluded.due, "
            "give_up = excluded.give_up, fence = commands.fence + 1, last_error = NULL",
            [
                (
                    session,
                    wish.node,
                    wish.phase.value,
                    to_micros(wish.created),
                    to_micros(wish.due),
                    to_micros(wish.give_up),
                    # Not from 1: what is left of a wish that was settled may not pass for this one.
                    to_micros(wish.created),
                )
                for session, wish in zip(
                    to_texts([wish.session for wish in wishes]), wishes, strict=True
                )
            ],
        )

    async def find(self, tx: Transaction, session: UUID) -> Command | None:
        """The command under way for a session, if there is one."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM commands WHERE session = ?",  # noqa: S608
            (str(session),),
        )
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
        """Take due commands; see ``LeasedTable.claim``."""
        rows = await _TABLE.claim(
            tx, now=now, lease_until=lease_until, limit=limit, per_node=per_node, running=running
        )
        return [_from_row(row) for row in rows]

    async def take_over(self, tx: Transaction, session: UUID, *, due: datetime) -> Command | None:
        """Become the holder of a session's command, whoever holds it; others wait until ``due``."""
        row = await tx.fetch_one(
            "UPDATE commands SET due = ?, attempts = attempts + 1, fence = fence + 1 "  # noqa: S608
            f"WHERE session = ? RETURNING {_COLUMNS}",
            (to_micros(due), str(session)),
        )
        return None if row is None else _from_row(row)

    async def is_held(self, tx: Transaction, command: Command) -> bool:
        """Whether nobody has claimed the command since, and no newer wish has replaced it."""
        row = await tx.fetch_one(
            "SELECT fence FROM commands WHERE session = ?", (str(command.session),)
        )
        return row is not None and row["fence"] == command.fence

    async def done(self, tx: Transaction, command: Command) -> bool:
        """The command has done its work; False when a newer claim or wish has replaced it."""
        # Who keeps the row is just replacing it. Several are settled in one transaction, which
        # must not wait for one that keeps two of them in another order.
        removed = await tx.execute(
            "DELETE FROM commands WHERE id IN "  # noqa: S608
            f"(SELECT id FROM commands WHERE session = ? AND fence = ?{tx.skip_locked})",
            (str(command.session), command.fence),
        )
        return removed == 1

    async def done_all(self, tx: Transaction, commands: Sequence[Command]) -> None:
        """These have done their work, but for those that a newer claim or wish has replaced."""
        sessions = to_texts([command.session for command in commands])
        await tx.execute_many(
            "DELETE FROM commands WHERE session = ? AND fence = ?",
            [(uuid, one.fence) for uuid, one in zip(sessions, commands, strict=True)],
        )

    async def drop(self, tx: Transaction, session: UUID) -> None:
        """Whatever was wanted for this session is settled."""
        await tx.execute("DELETE FROM commands WHERE session = ?", (str(session),))

    async def again(self, tx: Transaction, command: Command, *, due: datetime, error: str) -> None:
        """Try once more at ``due``."""
        await tx.execute(
            "UPDATE commands SET due = ?, last_error = ? WHERE id IN "  # noqa: S608
            f"(SELECT id FROM commands WHERE session = ? AND fence = ?{tx.skip_locked})",
            (to_micros(due), error, str(command.session), command.fence),
        )

    async def hasten(self, tx: Transaction, command: Command, due: datetime) -> bool:
        """Try sooner than planned; False when the command is not held any more."""
        changed = await tx.execute(
            "UPDATE commands SET due = ? WHERE session = ? AND fence = ?",
            (to_micros(due), str(command.session), command.fence),
        )
        return changed == 1

    async def pull_in(self, tx: Transaction, *, beyond: datetime, due: datetime) -> int:
        """Have those that are due after ``beyond`` tried at ``due``; how many there were."""
        return await _TABLE.pull_in(tx, beyond=beyond, due=due)

    async def next_due(self, tx: Transaction) -> datetime | None:
        """When the next command is due, if there is any."""
        return await _TABLE.next_due(tx)

    async def backlog(self, tx: Transaction) -> dict[SessionPhase, Backlog]:
        """What waits, by the phase that nodes are to be told of; nothing for a phase with none."""
        rows = await tx.fetch(
            "SELECT phase, count(*) AS n, min(created) AS oldest FROM commands GROUP BY phase"
        )
        return {
            SessionPhase(row["phase"]): Backlog(row["n"], from_micros(row["oldest"]))
            for row in rows
        }
