"""Work that waits in a table until somebody takes it, carries it out, and says what came of it.

What such tables have in common: columns ``id``, ``node``, ``attempts``, ``due`` and ``fence``,
times as everywhere. Who takes a row puts ``due`` to the end of the lease and ``fence`` up by one,
so that nobody else gets it before, and whoever had it before may report nothing any more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.stores.database import Row, Transaction, from_micros, to_micros

SEEN_AT_ONCE: Final = 500
"""Due rows looked through for those whose nodes have room; SQLite takes 999 parameters."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many sessions nodes still have to be told of, and since when the oldest of them is."""

    pending: int
    oldest: datetime


class LeasedTable:
    """A table of waiting work. ``columns`` are what is given of a row that is taken."""

    def __init__(self, table: str, columns: str) -> None:
        self._table = table
        self._columns = columns

    async def claim(
        self,
        tx: Transaction,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        per_node: int,
        running: Mapping[str, int],
    ) -> Sequence[Row]:
        """Take due rows; nobody else gets them before the lease ends.

        At most ``limit`` of them, and of each node so many that ``per_node`` are under way, those
        ``running`` already included.
        """
        # A node with no room is not looked at, however much is due there: it hides nobody else's.
        full = [node for node, count in running.items() if count >= per_node]
        elsewhere = f"AND node NOT IN ({','.join('?' * len(full))}) " if full else ""
        due = await tx.fetch(
            f"SELECT id, node FROM {self._table} WHERE due <= ? {elsewhere}"  # noqa: S608
            f"ORDER BY due LIMIT ?{tx.skip_locked}",
            (to_micros(now), *full, SEEN_AT_ONCE),
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
        return await tx.fetch(
            f"UPDATE {self._table} "  # noqa: S608
            "SET due = ?, attempts = attempts + 1, fence = fence + 1 "
            f"WHERE id IN ({marks}) RETURNING {self._columns}",
            (to_micros(lease_until), *taken),
        )

    async def pull_in(self, tx: Transaction, *, beyond: datetime, due: datetime) -> int:
        """Have those that are due after ``beyond`` tried at ``due``; how many there were."""
        return await tx.execute(
            f"UPDATE {self._table} SET due = ? WHERE due > ?",  # noqa: S608
            (to_micros(due), to_micros(beyond)),
        )

    async def next_due(self, tx: Transaction) -> datetime | None:
        """When the next row is due, if there is any."""
        row = await tx.fetch_one(f"SELECT min(due) AS due FROM {self._table}")  # noqa: S608
        return None if row is None or row["due"] is None else from_micros(row["due"])
