"""Resubmissions: which sessions are asked for elsewhere when their node is lost, and how far.

A row lives as long as the session it is about. Its stage alone decides between the session at the
lost node and the one that takes its place: whoever changes it first has decided.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.domain.resubmission import Silence, Stage, is_replaceable
from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.phases import SessionPhase

_COLUMNS = (
    "session, stage, generation, attempts, fence, due, silent_since, silent_until, offerset, "
    "successor, changed, last_error"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the session stands that may be replaced; read without keeping others from it."""

    phase: SessionPhase
    observed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmission:
    """The wish for one session, and what became of it.

    ``generation`` counts how often the work has moved already, ``attempts`` how often it was asked
    for in vain. ``offerset`` is what other nodes offer, ``successor`` the session of it that is
    being accepted or was. ``due`` is when to look again, None when there is nothing left to do.
    ``fence`` grows with every claim: only the newest holder may go on. ``changed`` is when the
    stage last moved.
    """

    session: UUID
    stage: Stage
    generation: int
    attempts: int
    fence: int
    due: datetime | None
    silence: Silence | None
    offerset: UUID | None
    successor: UUID | None
    changed: datetime
    last_error: str | None

    @property
    def is_open(self) -> bool:
        """Whether the session may still come to be executed elsewhere."""
        return self.stage in {Stage.WATCHING, Stage.ASKING}

    @property
    def decides(self) -> bool:
        """Whether what becomes of the session is not for its node to say alone."""
        return self.is_open or self.stage is Stage.MOVED

    def may_be_replaced(self, standing: Standing | None) -> bool:
        """Whether another session may take this one's place, from where it stands now."""
        return (
            standing is not None
            and self.silence is not None
            and is_replaceable(
                standing.phase, observed=standing.observed, lost_since=self.silence.since
            )
        )


def _from_row(row: Row) -> Resubmission:
    is_silent = row["silent_since"] is not None
    return Resubmission(
        session=UUID(row["session"]),
        stage=Stage(row["stage"]),
        generation=row["generation"],
        attempts=row["attempts"],
        fence=row["fence"],
        due=None if row["due"] is None else from_micros(row["due"]),
        silence=Silence(from_micros(row["silent_since"]), from_micros(row["silent_until"]))
        if is_silent
        else None,
        offerset=UUID(row["offerset"]) if row["offerset"] else None,
        successor=UUID(row["successor"]) if row["successor"] else None,
        changed=from_micros(row["changed"]),
        last_error=row["last_error"],
    )


class ResubmissionStore:
    """Resubmissions by the session they are about, and by when something is due."""

    async def wish(
        self, tx: Transaction, session: UUID, *, generation: int, due: datetime, now: datetime
    ) -> None:
        """Keep the owner's wish; one that is kept already stays as it is."""
        await tx.execute(
            "INSERT INTO resubmissions (session, stage, generation, attempts, fence, due, changed) "
            "VALUES (?, ?, ?, 0, 0, ?, ?) ON CONFLICT (session) DO NOTHING",
            (str(session), Stage.WATCHING.value, generation, to_micros(due), to_micros(now)),
        )

    async def find(self, tx: Transaction, session: UUID) -> Resubmission | None:
        """The resubmission of a session, if its owner wishes one."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM resubmissions WHERE session = ?",  # noqa: S608
            (str(session),),
        )
        return None if row is None else _from_row(row)

    async def around(self, tx: Transaction, session: UUID) -> list[Resubmission]:
        """The resubmission of a session, and the one that it came from."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM resubmissions WHERE session = ? OR successor = ?",  # noqa: S608
            (str(session), str(session)),
        )
        return [_from_row(row) for row in rows]

    async def standing(self, tx: Transaction, session: UUID) -> Standing | None:
        """Where the session stands that the resubmission is about."""
        row = await tx.fetch_one(
            "SELECT phase, observed FROM sessions WHERE uuid = ?", (str(session),)
        )
        if row is None:
            return None
        return Standing(SessionPhase(row["phase"]), from_micros(row["observed"]))

    async def claim(
        self, tx: Transaction, *, now: datetime, lease_until: datetime, limit: int
    ) -> list[Resubmission]:
        """Take what is due; nobody else gets it before the lease ends."""
        rows = await tx.fetch(
            "UPDATE resubmissions SET due = ?, fence = fence + 1 WHERE session IN "  # noqa: S608
            "(SELECT session FROM resubmissions WHERE due <= ? ORDER BY due "
            f"LIMIT ?{tx.skip_locked}) RETURNING {_COLUMNS}",
            (to_micros(lease_until), to_micros(now), limit),
        )
        return [_from_row(row) for row in rows]

    async def next_due(self, tx: Transaction) -> datetime | None:
        """When something is due next, if anything is."""
        row = await tx.fetch_one("SELECT min(due) AS due FROM resubmissions")
        return None if row is None or row["due"] is None else from_micros(row["due"])

    async def note_silence(
        self, tx: Transaction, held: Resubmission, silence: Silence, *, due: datetime
    ) -> bool:
        """Keep since when the node does not answer; False when ``held`` is no longer held."""
        return await self._change(
            tx,
            held,
            "silent_since = ?, silent_until = ?, due = ?",
            (to_micros(silence.since), to_micros(silence.until), to_micros(due)),
        )

    async def look_again(
        self, tx: Transaction, held: Resubmission, *, due: datetime | None
    ) -> bool:
        """Look at it again at ``due``, None for never."""
        return await self._change(tx, held, "due = ?", (None if due is None else to_micros(due),))

    async def move(
        self,
        tx: Transaction,
        held: Resubmission,
        stage: Stage,
        *,
        now: datetime,
        due: datetime | None,
    ) -> bool:
        """Bring what is held to another stage."""
        return await self._change(
            tx,
            held,
            "stage = ?, changed = ?, due = ?",
            (stage.value, to_micros(now), None if due is None else to_micros(due)),
        )

    async def watch_again(self, tx: Transaction, held: Resubmission, *, due: datetime) -> bool:
        """Begin from the beginning: the node is there again, and may be lost again."""
        return await self._change(
            tx,
            held,
            "stage = ?, attempts = 0, offerset = NULL, successor = NULL, silent_since = NULL, "
            "silent_until = NULL, last_error = NULL, due = ?",
            (Stage.WATCHING.value, to_micros(due)),
        )

    async def note_offers(self, tx: Transaction, held: Resubmission, offerset: UUID) -> bool:
        """Keep what was offered, before any of it is accepted."""
        return await self._change(tx, held, "offerset = ?", (str(offerset),))

    async def choose(self, tx: Transaction, held: Resubmission, successor: UUID) -> bool:
        """Keep which offer is being accepted; False when it is not to be any more."""
        return await self._change(tx, held, "successor = ?", (str(successor),))

    async def ask_anew(
        self, tx: Transaction, held: Resubmission, *, error: str, due: datetime
    ) -> bool:
        """It was asked for in vain: once more at ``due``."""
        return await self._change(
            tx,
            held,
            "attempts = attempts + 1, offerset = NULL, successor = NULL, last_error = ?, due = ?",
            (error, to_micros(due)),
        )

    async def arrive(self, tx: Transaction, successor: UUID, now: datetime) -> bool:
        """The successor was accepted: it counts, unless the resubmission was called off before."""
        return (
            await tx.execute(
                "UPDATE resubmissions SET stage = ?, changed = ?, due = ?, fence = fence + 1 "
                "WHERE successor = ? AND stage = ?",
                (
                    Stage.MOVED.value,
                    to_micros(now),
                    to_micros(now),
                    str(successor),
                    Stage.ASKING.value,
                ),
            )
            == 1
        )

    async def of_successor(self, tx: Transaction, successor: UUID) -> Resubmission | None:
        """The resubmission that a session takes part in as the one in another's place."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM resubmissions WHERE successor = ?",  # noqa: S608
            (str(successor),),
        )
        return None if row is None else _from_row(row)

    async def call_off(self, tx: Transaction, session: UUID, now: datetime) -> None:
        """The session is not to be replaced, unless it has been already."""
        await tx.execute(
            "UPDATE resubmissions SET stage = ?, changed = ?, due = ?, fence = fence + 1 "
            "WHERE session = ? AND stage = ?",
            (
                Stage.CALLED_OFF.value,
                to_micros(now),
                to_micros(now),
                str(session),
                Stage.ASKING.value,
            ),
        )

    async def end(self, tx: Transaction, held: Resubmission) -> None:
        """Forget a wish that is over without having been fulfilled."""
        await tx.execute(
            "DELETE FROM resubmissions WHERE session = ? AND stage = ? AND fence = ?",
            (str(held.session), held.stage.value, held.fence),
        )

    async def _change(
        self, tx: Transaction, held: Resubmission, change: str, values: tuple[Any, ...]
    ) -> bool:
        changed = await tx.execute(
            f"UPDATE resubmissions SET {change} WHERE session = ? AND stage = ? AND fence = ?",  # noqa: S608  # constants of this class
            (*values, str(held.session), held.stage.value, held.fence),
        )
        return changed == 1
