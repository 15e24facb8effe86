"""What owners and groups hold: live offers and sessions, counted where nobody else can add any."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.database import Transaction, from_micros, to_micros

_OFFERS: Final = "phase = 'OFFERED' AND asked IS NULL AND position IS NOT NULL AND expires > ?"
_SESSIONS: Final = (
    "(phase IN ('ACCEPTED', 'WAITING', 'PREPARING', 'AVAILABLE', 'RUNNING', 'RELEASING') "
    "OR (phase = 'OFFERED' AND asked = 'ACCEPTED'))"
)
# From the live ones, which are few, to their sets: a group has asked much in thirty days.
_IN_GROUP: Final = (
    "EXISTS (SELECT 1 FROM offerset_groups "
    "WHERE offerset_groups.offerset = sessions.offerset AND offerset_groups.name = ?)"
)


@dataclass(frozen=True, slots=True)
class Held:
    """How many are held, and when the first of them expires, if any does."""

    count: int
    soonest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """An owner, or all members of a group together."""

    name: str
    is_group: bool = False


class QuotaStore:
    """Counts what is held.

    Whoever counts to add something keeps the holders first, so that what was counted stays true
    until the transaction is over, in every process. They are kept after the offer set and before
    any session is saved, and all at once, so that no two transactions wait for each other.
    """

    async def keep(self, tx: Transaction, holders: Iterable[Holder]) -> None:
        """Have everybody else who wants to add to these wait for the end of this transaction."""
        if not tx.for_update:
            return  # one transaction writes at a time
        for name in sorted(f"{'group' if one.is_group else 'owner'}:{one.name}" for one in holders):
            await tx.execute(
                "INSERT INTO quota_holders (name) VALUES (?) "
                "ON CONFLICT (name) DO UPDATE SET name = excluded.name",
                (name,),
            )

    async def offers(
        self, tx: Transaction, holder: Holder, now: datetime, *, besides: UUID | None = None
    ) -> Held:
        """Offers that were handed out, are not accepted and not expired.

        ``besides`` is an offer set whose offers do not count.
        """
        row = await tx.fetch_one(
            "SELECT count(*) AS n, min(expires) AS soonest FROM sessions "  # noqa: S608
            f"WHERE {_OFFERS} AND offerset <> ? AND {_whose(holder)}",
            (to_micros(now), str(besides or ""), holder.name),
        )
        assert row is not None, "an aggregate has a row"
        soonest = row["soonest"]
        return Held(row["n"], None if soonest is None else from_micros(soonest))

    async def sessions(self, tx: Transaction, holder: Holder) -> Held:
        """Sessions that are accepted, or being accepted, and have not ended."""
        row = await tx.fetch_one(
            f"SELECT count(*) AS n FROM sessions WHERE {_SESSIONS} AND {_whose(holder)}",  # noqa: S608
            (holder.name,),
        )
        assert row is not None, "an aggregate has a row"
        return Held(row["n"])

    async def add_groups(self, tx: Transaction, offerset: UUID, groups: Iterable[str]) -> None:
        """Keep in which groups its owner was when the offer set was asked for."""
        await tx.execute_many(
            "INSERT INTO offerset_groups (offerset, name) VALUES (?, ?)",
            [(str(offerset), name) for name in sorted(groups)],
        )

    async def groups_of(self, tx: Transaction, offerset: UUID) -> frozenset[str]:
        """The groups that were kept with an offer set."""
        rows = await tx.fetch(
            "SELECT name FROM offerset_groups WHERE offerset = ?", (str(offerset),)
        )
        return frozenset(row["name"] for row in rows)


def _whose(holder: Holder) -> str:
    return _IN_GROUP if holder.is_group else "owner = ?"
