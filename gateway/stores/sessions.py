"""Sessions: offers and what became of them, each with the node that holds it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.phases import SessionPhase

_COLUMNS = (
    "uuid, offerset, node, owner, position, phase, asked, expires, document, federation, observed, "
    "changed, restoring"
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as this gateway knows it.

    ``position`` is its rank from 1, None for a hold that was let go and is not shown. ``phase`` is
    what the gateway shows, ``asked`` what it has asked the node for. ``document`` is the node's
    last copy (JSON, None for what is not shown), seen at ``observed``; ``federation`` is what the
    gateway adds to it. ``changed`` is when the phase last moved. ``restoring`` is how every later
    copy is turned back into what the client asked for (``gateway.domain.restoring``).
    """

    uuid: UUID
    offerset: UUID
    node: str
    owner: str
    position: int | None
    phase: SessionPhase
    asked: SessionPhase | None
    expires: datetime | None
    document: bytes | None
    federation: bytes | None
    observed: datetime
    changed: datetime
    restoring: bytes | None = None


def _from_row(row: Row) -> SessionRow:
    return SessionRow(
        uuid=UUID(row["uuid"]),
        offerset=UUID(row["offerset"]),
        node=row["node"],
        owner=row["owner"],
        position=row["position"],
        phase=SessionPhase(row["phase"]),
        asked=SessionPhase(row["asked"]) if row["asked"] else None,
        expires=None if row["expires"] is None else from_micros(row["expires"]),
        document=row["document"],
        federation=row["federation"],
        observed=from_micros(row["observed"]),
        changed=from_micros(row["changed"]),
        restoring=row["restoring"],
    )


class SessionStore:
    """Sessions by UUID, by offer set, and by what has to be done about them."""

    async def known(self, tx: Transaction, uuids: Sequence[UUID]) -> set[UUID]:
        """Which of these UUIDs belong to a session or component already."""
        found: set[UUID] = set()
        for start in range(0, len(uuids), 400):  # SQLite's default limit is 999 parameters
            part = [str(u) for u in uuids[start : start + 400]]
            marks = ",".join("?" * len(part))
            rows = await tx.fetch(
                f"SELECT uuid FROM sessions WHERE uuid IN ({marks}) "  # noqa: S608  # only marks
                f"UNION ALL SELECT uuid FROM components WHERE uuid IN ({marks})",
                [*part, *part],
            )
            found.update(UUID(row["uuid"]) for row in rows)
        return found

    async def add(self, tx: Transaction, rows: Iterable[SessionRow]) -> None:
        """Keep new sessions; one whose UUID is taken is passed over."""
        await tx.execute_many(
            f"INSERT INTO sessions ({_COLUMNS}) VALUES ({','.join('?' * 13)}) "  # noqa: S608
            "ON CONFLICT (uuid) DO NOTHING",
            [
                (
                    str(row.uuid),
                    str(row.offerset),
                    row.node,
                    row.owner,
                    row.position,
                    row.phase.value,
                    row.asked.value if row.asked else None,
                    None if row.expires is None else to_micros(row.expires),
                    row.document,
                    row.federation,
                    to_micros(row.observed),
                    to_micros(row.changed),
                    row.restoring,
                )
                for row in rows
            ],
        )

    async def add_components(
        self, tx: Transaction, components: Iterable[tuple[UUID, UUID]]
    ) -> None:
        """Keep which component (first) belongs to which session (second)."""
        await tx.execute_many(
            "INSERT INTO components (uuid, session) VALUES (?, ?) ON CONFLICT (uuid) DO NOTHING",
            [(str(component), str(session)) for component, session in components],
        )

    async def find(self, tx: Transaction, uuid: UUID) -> SessionRow | None:
        """The session of that UUID, if there is one that is shown."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM sessions WHERE uuid = ? AND document IS NOT NULL",  # noqa: S608
            (str(uuid),),
        )
        return None if row is None else _from_row(row)

    async def owner_of(self, tx: Transaction, uuid: UUID) -> str | None:
        """Whose session it is, also of one that is not shown."""
        row = await tx.fetch_one("SELECT owner FROM sessions WHERE uuid = ?", (str(uuid),))
        return None if row is None else str(row["owner"])

    async def find_by_component(self, tx: Transaction, component: UUID) -> SessionRow | None:
        """The session that a component belongs to."""
        row = await tx.fetch_one("SELECT session FROM components WHERE uuid = ?", (str(component),))
        return None if row is None else await self.find(tx, UUID(row["session"]))

    async def of_offerset(self, tx: Transaction, offerset: UUID) -> list[SessionRow]:
        """The shown sessions of an offer set, best first."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM sessions "  # noqa: S608
            "WHERE offerset = ? AND position IS NOT NULL ORDER BY position",
            (str(offerset),),
        )
        return [_from_row(row) for row in rows]

    async def move(
        self,
        tx: Transaction,
        uuid: UUID,
        *,
        was: SessionPhase,
        phase: SessionPhase,
        at: datetime,
    ) -> bool:
        """Change the phase if it still is ``was``; whether it was."""
        changed = await tx.execute(
            "UPDATE sessions SET phase = ?, changed = ? WHERE uuid = ? AND phase = ?",
            (phase.value, to_micros(at), str(uuid), was.value),
        )
        return changed == 1

    async def ask(self, tx: Transaction, uuid: UUID, phase: SessionPhase | None) -> None:
        """Note what the node is asked for, or with None that nothing is asked of it any more.

        Raises
        ------
        sqlite3.IntegrityError
            ACCEPTED is asked for while another session of the same offer set has it.
        """
        await tx.execute(
            "UPDATE sessions SET asked = ? WHERE uuid = ?",
            (phase.value if phase else None, str(uuid)),
        )

    async def accepted_sibling(self, tx: Transaction, row: SessionRow) -> UUID | None:
        """The other session of the same offer set that is accepted or being accepted, if any."""
        found = await tx.fetch_one(
            "SELECT uuid FROM sessions WHERE offerset = ? AND asked = 'ACCEPTED' AND uuid <> ?",
            (str(row.offerset), str(row.uuid)),
        )
        return None if found is None else UUID(found["uuid"])

    async def observe(
        self, tx: Transaction, uuid: UUID, *, document: bytes, observed: datetime
    ) -> None:
        """Keep another copy of the node's document."""
        await tx.execute(
            "UPDATE sessions SET document = ?, observed = ? WHERE uuid = ?",
            (document, to_micros(observed), str(uuid)),
        )

    async def place(
        self, tx: Transaction, uuid: UUID, *, position: int | None, federation: bytes | None
    ) -> None:
        """Put a session at another rank of its offer set."""
        await tx.execute(
            "UPDATE sessions SET position = ?, federation = ? WHERE uuid = ?",
            (position, federation, str(uuid)),
        )

    async def expired(self, tx: Transaction, now: datetime, limit: int) -> list[SessionRow]:
        """Offers whose time is over and that are not being accepted."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM sessions "  # noqa: S608
            "WHERE phase = 'OFFERED' AND asked IS NULL AND expires <= ? LIMIT ?",
            (to_micros(now), limit),
        )
        return [_from_row(row) for row in rows]

    async def next_expiry(self, tx: Transaction) -> datetime | None:
        """When the next offer expires, if any is open."""
        row = await tx.fetch_one(
            "SELECT min(expires) AS expires FROM sessions WHERE phase = 'OFFERED' AND asked IS NULL"
        )
        return None if row is None or row["expires"] is None else from_micros(row["expires"])

    async def stale(self, tx: Transaction, observed_before: datetime, limit: int) -> list[UUID]:
        """Sessions on their way that have not been looked at for long, longest first."""
        rows = await tx.fetch(
            "SELECT uuid FROM sessions WHERE phase IN "
            "('ACCEPTED', 'WAITING', 'PREPARING', 'AVAILABLE', 'RUNNING', 'RELEASING') "
            "AND observed < ? ORDER BY observed LIMIT ?",
            (to_micros(observed_before), limit),
        )
        return [UUID(row["uuid"]) for row in rows]

    async def count_by_phase(self, tx: Transaction) -> dict[SessionPhase, int]:
        """How many sessions are in each phase."""
        rows = await tx.fetch("SELECT phase, count(*) AS n FROM sessions GROUP BY phase")
        return {SessionPhase(row["phase"]): row["n"] for row in rows}
