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

    async def forget(
        self, tx: Transaction, *, ended_before: datetime, expired_before: datetime
    ) -> int:
        """Delete offer sets that nobody needs any more; how many.

        A set goes when none of its sessions can still change and none has commands under way: once
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
                SELECT 1 FROM sessions WHERE sessions.offerset = offersets.uuid AND (
                  sessions.phase NOT IN
                    ('REJECTED', 'EXPIRED', 'COMPLETED', 'FAILED', 'CANCELLED')
                  OR (sessions.phase IN ('COMPLETED', 'FAILED', 'CANCELLED')
                      AND sessions.changed >= ?)
                  OR sessions.changed >= ?)){tx.skip_locked})
            """,  # noqa: S608
            (to_micros(expired_before), to_micros(ended_before), to_micros(expired_before)),
        )
