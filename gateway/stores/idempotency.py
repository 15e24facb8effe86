"""Idempotency keys: which request a key belongs to, and what it was answered with.

Source: the IETF draft *The Idempotency-Key HTTP Header Field* (draft-ietf-httpapi-idempotency-key).
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.stores.database import Transaction, from_micros, to_micros


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key in use: the digest of its body, and the offer set that answers it.

    ``holder`` is the process that answers it just now, or did when it was last heard of; ``beats``
    changes while that lives.
    """

    digest: str
    offerset: UUID
    session: UUID | None
    created: datetime
    holder: UUID | None
    beats: int


class IdempotencyStore:
    """Keys by owner and path."""

    async def reserve(
        self,
        tx: Transaction,
        *,
        owner: str,
        path: str,
        key: str,
        digest: str,
        offerset: UUID,
        holder: UUID,
        now: datetime,
    ) -> KeyRow:
        """Take the key for a new offer set, or give what it was taken for before."""
        await tx.execute(
            "INSERT INTO idempotency (owner, path, key, digest, offerset, holder, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, path, key) DO NOTHING",
            (owner, path, key, digest, str(offerset), str(holder), to_micros(now)),
        )
        row = await tx.fetch_one(
            "SELECT digest, offerset, session, created, holder, beats FROM idempotency "  # noqa: S608
            f"WHERE owner = ? AND path = ? AND key = ?{tx.for_update}",
            (owner, path, key),
        )
        assert row is not None, "the row was just written or was there"
        return KeyRow(
            digest=row["digest"],
            offerset=UUID(row["offerset"]),
            session=UUID(row["session"]) if row["session"] else None,
            created=from_micros(row["created"]),
            holder=UUID(row["holder"]) if row["holder"] else None,
            beats=row["beats"],
        )

    async def hold(self, tx: Transaction, offerset: UUID, holder: UUID) -> None:
        """Take over the key of this offer set from whoever had it."""
        await tx.execute(
            "UPDATE idempotency SET holder = ?, beats = beats + 1 WHERE offerset = ?",
            (str(holder), str(offerset)),
        )

    async def beat(self, tx: Transaction, offerset: UUID, holder: UUID) -> None:
        """Show that its holder lives, if that is still who holds it."""
        await tx.execute(
            "UPDATE idempotency SET beats = beats + 1 WHERE offerset = ? AND holder = ?",
            (str(offerset), str(holder)),
        )

    async def settle(self, tx: Transaction, *, offerset: UUID, session: UUID) -> None:
        """Note which session a direct request ended in."""
        await tx.execute(
            "UPDATE idempotency SET session = ? WHERE offerset = ?", (str(session), str(offerset))
        )

    async def session_of(self, tx: Transaction, offerset: UUID) -> UUID | None:
        """The session that a direct request ended in before, if it did."""
        row = await tx.fetch_one(
            "SELECT session FROM idempotency WHERE offerset = ? AND session IS NOT NULL",
            (str(offerset),),
        )
        return None if row is None else UUID(row["session"])

    async def release(self, tx: Transaction, offerset: UUID, holder: UUID) -> None:
        """Give a key back whose request came to nothing, if it was not taken over."""
        await tx.execute(
            "DELETE FROM idempotency WHERE offerset = ? AND holder = ?",
            (str(offerset), str(holder)),
        )

    async def forget(self, tx: Transaction, created_before: datetime) -> int:
        """Delete keys whose offer set is gone; how many."""
        return await tx.execute(
            "DELETE FROM idempotency WHERE (owner, path, key) IN (SELECT owner, path, key "  # noqa: S608
            "FROM idempotency WHERE created < ? AND NOT EXISTS "
            f"(SELECT 1 FROM offersets WHERE uuid = idempotency.offerset){tx.skip_locked})",
            (to_micros(created_before),),
        )
