"""Offer sets: what was asked, what every node answered, and what the ranking saw."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.stores.database import Transaction, from_micros, to_micros

_COLUMNS = "uuid, owner, created, request, record, federation, messages, is_open"


@dataclass(frozen=True, slots=True)
class OfferSetRow:
    """One offer set.

    ``owner`` is empty for the administrator. ``request``, ``record`` (the ranking's inputs),
    ``federation`` (with the coverage) and ``messages`` are JSON. A set that is not ``is_open``
    takes no late offers: its client was told that there is no answer.
    """

    uuid: UUID
    owner: str
    created: datetime
    request: bytes
    record: bytes
    federation: bytes
    messages: bytes
    is_open: bool = True


class OfferSetStore:
    """Offer sets by UUID."""

    async def add(self, tx: Transaction, row: OfferSetRow) -> None:
        """Keep a new offer set."""
        # Nothing is asked back, so that it goes along with what else is written.
        await tx.execute_many(
            f"INSERT INTO offersets ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [
                (
                    str(row.uuid),
                    row.owner,
                    to_micros(row.created),
                    row.request,
                    row.record,
                    row.federation,
                    row.messages,
                    int(row.is_open),
                )
            ],
        )

    async def find(self, tx: Transaction, uuid: UUID) -> OfferSetRow | None:
        """The offer set of that UUID, if there is one."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM offersets WHERE uuid = ?{tx.for_update}",  # noqa: S608
            (str(uuid),),
        )
        if row is None:
            return None
        return OfferSetRow(
            uuid=UUID(row["uuid"]),
            owner=row["owner"],
            created=from_micros(row["created"]),
            request=row["request"],
            record=row["record"],
            federation=row["federation"],
            messages=row["messages"],
            is_open=bool(row["is_open"]),
        )

    async def rank_anew(
        self, tx: Transaction, uuid: UUID, *, record: bytes, federation: bytes, messages: bytes
    ) -> None:
        """Replace what a late answer has changed."""
        await tx.execute(
            "UPDATE offersets SET record = ?, federation = ?, messages = ? WHERE uuid = ?",
            (record, federation, messages, str(uuid)),
        )

    async def is_replaced(self, tx: Transaction, uuid: UUID) -> bool:
        """Whether another set has been asked for in its place."""
        row = await tx.fetch_one(
            "SELECT offerset FROM reaskings WHERE previous = ? AND replaces = 1", (str(uuid),)
        )
        return row is not None

    async def claim(self, tx: Transaction, root: UUID, offerset: UUID, now: datetime) -> bool:
        """Whether this offer set is the one that answers a client's request here.

        Gateways above may bring a request by several ways; the first to come answers it.
        """
        changed = await tx.execute(
            "INSERT INTO client_requests (root, offerset, created) VALUES (?, ?, ?) "
            "ON CONFLICT (root) DO UPDATE SET created = client_requests.created "
            "WHERE client_requests.offerset = excluded.offerset",
            (str(root), str(offerset), to_micros(now)),
        )
        return changed > 0

    async def forget_claims(self, tx: Transaction, before: datetime) -> int:
        """Delete what ``claim`` wrote before that time; how many."""
        return await tx.execute(
            "DELETE FROM client_requests WHERE root IN "  # noqa: S608
            f"(SELECT root FROM client_requests WHERE created < ?{tx.skip_locked})",
            (to_micros(before),),
        )

    async def forget(
        self, tx: Transaction, *, ended_before: datetime, expired_before: datetime
    ) -> int:
        """Delete offer sets that nobody needs any more; how many.

        A set goes when none of its sessions can still change and no node is still to be told: once
        accepted, when all ended before ``ended_before``; never accepted, when created and expired
        before ``expired_before``.
        """
        return await tx.execute(
            f"""
            DELETE FROM offersets WHERE uuid IN (SELECT uuid FROM offersets WHERE created < ?
              AND NOT EXISTS (
                SELECT 1 FROM commands JOIN sessions ON sessions.uuid = commands.session
                WHERE sessions.offerset = offersets.uuid)
              AND NOT EXISTS (
                SELECT 1 FROM unkept_holds WHERE unkept_holds.offerset = offersets.uuid)
              AND NOT EXISTS (
                SELECT 1 FROM sessions WHERE sessions.offerset = offersets.uuid AND (
                  sessions.phase NOT IN
                    ('REJECTED', 'EXPIRED', 'COMPLETED', 'FAILED', 'CANCELLED')
                  OR (sessions.phase IN ('COMPLETED', 'FAILED', 'CANCELLED')
                      AND sessions.changed >= ?)
                  OR sessions.changed >= ?)){tx.skip_locked})
            """,  # noqa: S608
            (to_micros(expired_before), to_micros(ended_before), to_micros(expired_before)),
        )
