"""Holds that nobody was shown: to be let go of at their nodes, and then forgotten.

One row for those of a request at one node. Nobody reads them, moves them or asks for anything else,
so they need no session.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.stores.leasing import Backlog, LeasedTable
from gateway.wire.phases import SessionPhase

_COLUMNS: Final = "id, node, owner, uuids, attempts, created, due, give_up, fence"
_TABLE: Final = LeasedTable("unkept_holds", _COLUMNS)
_UUIDS: Final = msgspec.json.Decoder(tuple[UUID, ...])
_ENCODER: Final = msgspec.json.Encoder()


class Unkept(msgspec.Struct, frozen=True, kw_only=True):
    """Holds of the ``offerset`` at a ``node``, which is told until ``give_up``.

    ``owner`` is whose request it was.
    """

    offerset: UUID
    node: str
    owner: str
    uuids: tuple[UUID, ...]
    give_up: datetime


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    """The same while a node is being told; ``uuids`` are those it was not told of yet.

    Only the holder of the newest ``fence`` may report. ``due`` is when the lease on it ends.
    """

    id: int
    node: str
    owner: str
    uuids: tuple[UUID, ...]
    attempts: int
    created: datetime
    due: datetime
    give_up: datetime
    fence: int

    @property
    def told(self) -> int:
        """How many sessions the node is told of."""
        return len(self.uuids)

    @property
    def held(self) -> int:
        """How many holds stay at the node if it never hears of it."""
        return len(self.uuids)

    def facts(self) -> Mapping[str, Any]:
        """What it is about, for the log."""
        return {"sessions": [str(uuid) for uuid in self.uuids], "phase": "REJECTED"}


def _from_row(row: Row) -> Leased:
    return Leased(
        id=row["id"],
        node=row["node"],
        owner=row["owner"],
        uuids=_UUIDS.decode(row["uuids"]),
        attempts=row["attempts"],
        created=from_micros(row["created"]),
        due=from_micros(row["due"]),
        give_up=from_micros(row["give_up"]),
        fence=row["fence"],
    )


class UnkeptStore:
    """Holds that are to be let go of, by when their node is due to be told."""

    async def put(self, tx: Transaction, holds: Sequence[Unkept], now: datetime) -> None:
        """Have nodes told of them, from now on."""
        at = to_micros(now)
        await tx.execute_many(
            "INSERT INTO unkept_holds "
            "(offerset, node, owner, uuids, held, attempts, created, due, give_up, fence) "
            "VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, 1)",
            [
                (
                    str(one.offerset),
                    one.node,
                    one.owner,
                    _ENCODER.encode(one.uuids),
                    len(one.uuids),
                    at,
                    at,
                    to_micros(one.give_up),
                )
                for one in holds
            ],
        )

    async def claim(
        self,
        tx: Transaction,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        per_node: int,
        running: Mapping[str, int],
    ) -> list[Leased]:
        """Take what is due; see ``LeasedTable.claim``."""
        rows = await _TABLE.claim(
            tx, now=now, lease_until=lease_until, limit=limit, per_node=per_node, running=running
        )
        return [_from_row(row) for row in rows]

    async def done_all(self, tx: Transaction, holds: Sequence[Leased]) -> None:
        """Of these nodes were told, but for those that somebody else has taken since."""
        await tx.execute_many(
            "DELETE FROM unkept_holds WHERE id = ? AND fence = ?",
            [(one.id, one.fence) for one in holds],
        )

    async def again(self, tx: Transaction, holds: Leased, *, due: datetime, error: str) -> None:
        """Try once more at ``due`` with those that are still among them."""
        await tx.execute_many(
            "UPDATE unkept_holds SET due = ?, uuids = ?, held = ?, last_error = ? "
            "WHERE id = ? AND fence = ?",
            [
                (
                    to_micros(due),
                    _ENCODER.encode(holds.uuids),
                    len(holds.uuids),
                    error,
                    holds.id,
                    holds.fence,
                )
            ],
        )

    async def pull_in(self, tx: Transaction, *, beyond: datetime, due: datetime) -> int:
        """Have those that are due after ``beyond`` tried at ``due``; how many rows there were."""
        return await _TABLE.pull_in(tx, beyond=beyond, due=due)

    async def next_due(self, tx: Transaction) -> datetime | None:
        """When the next node is due to be told, if any is."""
        return await _TABLE.next_due(tx)

    async def backlog(self, tx: Transaction) -> dict[SessionPhase, Backlog]:
        """How many holds wait, as part of all that nodes are to be told; nothing for none."""
        row = await tx.fetch_one("SELECT sum(held) AS n, min(created) AS oldest FROM unkept_holds")
        if row is None or not row["n"]:
            return {}
        return {SessionPhase.REJECTED: Backlog(int(row["n"]), from_micros(row["oldest"]))}
