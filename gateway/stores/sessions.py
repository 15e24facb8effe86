"""Sessions: offers and what became of them, each with the node that holds it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from gateway.stores.database import Row, Transaction, from_micros, to_micros, to_texts
from gateway.wire.phases import SessionPhase

_COLUMNS = (
    "uuid, offerset, node, owner, position, phase, asked, expires, document, federation, observed, "
    "changed, restoring"
)


# Rows come by the hundred; msgspec's structs are made five times as fast.
class SessionRow(msgspec.Struct, frozen=True):
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
    """Sessions by UUID, by offer set, and by what has to be done about them.

    Who reads sessions to change them keeps their offer set first, so that what was read stays true.
    """

    async def known(self, tx: Transaction, uuids: Sequence[UUID]) -> set[UUID]:
        """Which of these UUIDs belong to a session or component already."""
        found: set[UUID] = set()
        for start in range(0, len(uuids), 400):  # SQLite's default limit is 999 parameters
            part = to_texts(uuids[start : start + 400])
            marks = ",".join("?" * len(part))
            rows = await tx.fetch(
                f"SELECT uuid FROM sessions WHERE uuid IN ({marks}) "  # noqa: S608  # only marks
                f"UNION ALL SELECT uuid FROM components WHERE uuid IN ({marks})",
                [*part, *part],
            )
            found.update(UUID(row["uuid"]) for row in rows)
        return found

    async def add(self, tx: Transaction, rows: Sequence[SessionRow]) -> None:
        """Keep new sessions; one whose UUID is taken is passed over."""
        ordered = sorted(rows, key=lambda row: row.uuid.int)
        # In one order: two that save the same ones wait for each other at the first, if at all.
        await tx.execute_many(
            f"INSERT INTO sessions ({_COLUMNS}) VALUES ({','.join('?' * 13)}) "  # noqa: S608
            "ON CONFLICT (uuid) DO NOTHING",
            [
                (
                    uuid,
                    offerset,
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
                for row, uuid, offerset in zip(
                    ordered,
                    to_texts([row.uuid for row in ordered]),
                    to_texts([row.offerset for row in ordered]),
                    strict=True,
                )
            ],
        )

    async def add_components(
        self, tx: Transaction, components: Sequence[tuple[UUID, UUID]]
    ) -> None:
        """Keep which component (first) belongs to which session (second)."""
        await tx.execute_many(
            "INSERT INTO components (uuid, session) VALUES (?, ?) ON CONFLICT (uuid) DO NOTHING",
            sorted(
                zip(
                    to_texts([c for c, _ in components]),
                    to_texts([s for _, s in components]),
                    strict=True,
                )
            ),
        )

    async def find(self, tx: Transaction, uuid: UUID) -> SessionRow | None:
        """The session of that UUID, if there is one that is shown."""
        if tx.for_update:
            await tx.fetch(
                "SELECT uuid FROM offersets WHERE uuid = "  # noqa: S608
                f"(SELECT offerset FROM sessions WHERE uuid = ?){tx.for_update}",
                (str(uuid),),
            )
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM sessions WHERE uuid = ? AND document IS NOT NULL",  # noqa: S608
            (str(uuid),),
        )
        return None if row is None else _from_row(row)

    async def addressed(self, tx: Transaction, uuid: UUID) -> tuple[str | None, bytes | None]:
        """Whose session it is, also of one that is not shown, and the node's last copy of it."""
        row = await tx.fetch_one(
            "SELECT owner, document FROM sessions WHERE uuid = ?", (str(uuid),)
        )
        return (None, None) if row is None else (row["owner"], row["document"])

    async def find_by_component(self, tx: Transaction, component: UUID) -> SessionRow | None:
        """The session that a component belongs to."""
        row = await tx.fetch_one("SELECT session FROM components WHERE uuid = ?", (str(component),))
        return None if row is None else await self.find(tx, UUID(row["session"]))

    async def of_offerset(self, tx: Transaction, offerset: UUID) -> list[SessionRow]:
        """The shown sessions of an offer set, best first."""
        if tx.for_update:
            await tx.fetch(
                f"SELECT uuid FROM offersets WHERE uuid = ?{tx.for_update}",  # noqa: S608
                (str(offerset),),
            )
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM sessions "  # noqa: S608
            "WHERE offerset = ? AND position IS NOT NULL ORDER BY position",
            (str(offerset),),
        )
        return [_from_row(row) for row in rows]

    async def uuids_of_offerset(self, tx: Transaction, offerset: UUID) -> set[UUID]:
        """The sessions of an offer set, those that are not shown too."""
        rows = await tx.fetch("SELECT uuid FROM sessions WHERE offerset = ?", (str(offerset),))
        return {UUID(row["uuid"]) for row in rows}

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
        RowConflictError
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
        """Offers whose time is over and that are not being accepted.

        Those of sets that are being changed just now are left for the next time.
        """
        over = "phase = 'OFFERED' AND asked IS NULL AND expires <= ?"
        free = await tx.fetch(
            "SELECT uuid FROM offersets WHERE uuid IN "  # noqa: S608
            f"(SELECT offerset FROM sessions WHERE {over} LIMIT ?){tx.skip_locked}",
            (to_micros(now), limit),
        )
        if not free:
            return []
        marks = ",".join("?" * len(free))
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM sessions "  # noqa: S608
            f"WHERE {over} AND offerset IN ({marks}) LIMIT ?",
            (to_micros(now), *(row["uuid"] for row in free), limit),
        )
        return [_from_row(row) for row in rows]

    async def next_expiry(self, tx: Transaction) -> datetime | None:
        """When the next offer expires, if any is open."""
        row = await tx.fetch_one(
            "SELECT min(expires) AS expires FROM sessions WHERE phase = 'OFFERED' AND asked IS NULL"
        )
        return None if row is None or row["expires"] is None else from_micros(row["expires"])

    async def stale(
        self, tx: Transaction, observed_before: datetime, now: datetime, per_node: int
    ) -> list[UUID]:
        """Sessions on their way that have not been looked at for long, longest first.

        So are those looked at later than ``now``: the clock has been set back since. At most
        ``per_node`` of each node: those of one that is silent hide nobody else's.
        """
        rows = await tx.fetch(
            "SELECT uuid FROM (SELECT uuid, observed, "
            "row_number() OVER (PARTITION BY node ORDER BY observed) AS turn FROM sessions "
            "WHERE phase IN "
            "('ACCEPTED', 'WAITING', 'PREPARING', 'AVAILABLE', 'RUNNING', 'RELEASING') "
            "AND (observed < ? OR observed > ?)) AS stale WHERE turn <= ? ORDER BY turn, observed",
            (to_micros(observed_before), to_micros(now), per_node),
        )
        return [UUID(row["uuid"]) for row in rows]

    async def count_by_phase(self, tx: Transaction) -> dict[SessionPhase, int]:
        """How many sessions are in each phase."""
        rows = await tx.fetch("SELECT phase, count(*) AS n FROM sessions GROUP BY phase")
        return {SessionPhase(row["phase"]): row["n"] for row in rows}
