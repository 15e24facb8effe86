"""Webhooks: who is to be told of which events, how far that has got, and the last calls."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.documents import from_json, to_json

KEPT_CALLS: Final = 100
"""Of the calls to a webhook the last are kept: enough to see what is wrong with it."""

_COLUMNS: Final = (
    "uuid, owner, target, filters, created, cursor, attempts, due, fence, failing_since, "
    "disabled, last_error"
)
_HAS_NEWS: Final = """
  disabled IS NULL AND due <= ? AND (
    EXISTS (SELECT 1 FROM events
            WHERE events.owner = webhooks.owner AND events.position > webhooks.cursor)
    OR (webhooks.owner = '' AND webhooks.cursor < (SELECT last FROM event_order)))
"""
"""The administrator's, whose owner is empty, are told of everything."""


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """One webhook.

    ``target`` is its URL and secret, sealed. It has been told of everything up to ``cursor``;
    ``attempts`` of telling it the next have failed since ``failing_since``. Whoever claimed it with
    ``fence`` has it until ``due``. Once ``disabled`` nobody looks at it any more.
    """

    uuid: UUID
    owner: str
    target: bytes
    filters: tuple[str, ...]
    created: datetime
    cursor: int
    attempts: int = 0
    due: datetime | None = None
    fence: int = 0
    failing_since: datetime | None = None
    disabled: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call: of which event, the how-manieth try, and what came of it."""

    position: int
    at: datetime
    attempt: int
    status: int | None
    error: str | None
    took_ms: int


class WebhookStore:
    """Webhooks by UUID, by owner, and by what is to be told to them."""

    async def add(self, tx: Transaction, row: WebhookRow) -> None:
        """Keep a new webhook."""
        await tx.execute(
            f"INSERT INTO webhooks ({_COLUMNS}) VALUES (?,?,?,?,?,?,0,?,0,NULL,NULL,NULL)",  # noqa: S608
            (
                str(row.uuid),
                row.owner,
                row.target,
                to_json(row.filters).decode(),
                to_micros(row.created),
                row.cursor,
                to_micros(row.created),
            ),
        )

    async def find(self, tx: Transaction, uuid: UUID) -> WebhookRow | None:
        """The webhook of that UUID, if there is one."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM webhooks WHERE uuid = ?",  # noqa: S608
            (str(uuid),),
        )
        return None if row is None else _from_row(row)

    async def of_owner(self, tx: Transaction, owner: str) -> list[WebhookRow]:
        """The webhooks of one owner, oldest first."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM webhooks WHERE owner = ? ORDER BY created, uuid",  # noqa: S608
            (owner,),
        )
        return [_from_row(row) for row in rows]

    async def remove(self, tx: Transaction, uuid: UUID) -> bool:
        """Forget a webhook and its calls; whether there was one."""
        return await tx.execute("DELETE FROM webhooks WHERE uuid = ?", (str(uuid),)) == 1

    async def has_due(self, tx: Transaction, now: datetime) -> bool:
        """Whether there is a webhook to be told of something now."""
        row = await tx.fetch_one(
            f"SELECT 1 FROM webhooks WHERE {_HAS_NEWS} LIMIT 1",  # noqa: S608
            (to_micros(now),),
        )
        return row is not None

    async def claim(
        self, tx: Transaction, *, now: datetime, lease_until: datetime, limit: int
    ) -> list[WebhookRow]:
        """Take webhooks that are to be told of something; nobody else does until the lease ends."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM webhooks WHERE {_HAS_NEWS} "  # noqa: S608
            f"ORDER BY due LIMIT ?{tx.skip_locked}",
            (to_micros(now), limit),
        )
        await tx.execute_many(
            "UPDATE webhooks SET due = ?, fence = fence + 1 WHERE uuid = ?",
            [(to_micros(lease_until), row["uuid"]) for row in rows],
        )
        return [_from_row(row, fence=row["fence"] + 1) for row in rows]

    async def advance(
        self, tx: Transaction, row: WebhookRow, *, cursor: int, due: datetime
    ) -> bool:
        """It has been told of everything up to ``cursor``; whether it was still the caller's."""
        changed = await tx.execute(
            "UPDATE webhooks SET cursor = ?, due = ?, attempts = 0, failing_since = NULL, "
            "last_error = NULL WHERE uuid = ? AND fence = ?",
            (cursor, to_micros(due), str(row.uuid), row.fence),
        )
        return changed == 1

    async def fail(
        self,
        tx: Transaction,
        row: WebhookRow,
        *,
        due: datetime,
        since: datetime,
        attempts: int,
        error: str,
    ) -> None:
        """It could not be told, and is tried again when ``due``."""
        await tx.execute(
            "UPDATE webhooks SET due = ?, failing_since = ?, attempts = ?, last_error = ? "
            "WHERE uuid = ? AND fence = ?",
            (to_micros(due), to_micros(since), attempts, error, str(row.uuid), row.fence),
        )

    async def disable(
        self, tx: Transaction, row: WebhookRow, *, at: datetime, since: datetime, error: str
    ) -> None:
        """It is given up."""
        await tx.execute(
            "UPDATE webhooks SET disabled = ?, failing_since = ?, last_error = ? "
            "WHERE uuid = ? AND fence = ?",
            (to_micros(at), to_micros(since), error, str(row.uuid), row.fence),
        )

    async def add_call(self, tx: Transaction, row: WebhookRow, call: CallRow) -> None:
        """Keep what came of a call, and forget those of long ago.

        The webhook must have been changed in this transaction, so that it cannot be gone.
        """
        await tx.execute(
            "INSERT INTO webhook_deliveries (webhook, position, at, attempt, status, error, "
            "took_ms) VALUES (?,?,?,?,?,?,?)",
            (
                str(row.uuid),
                call.position,
                to_micros(call.at),
                call.attempt,
                call.status,
                call.error,
                call.took_ms,
            ),
        )
        await tx.execute(
            "DELETE FROM webhook_deliveries WHERE webhook = ? AND id <= ("
            "SELECT id FROM webhook_deliveries WHERE webhook = ? "
            "ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (str(row.uuid), str(row.uuid), KEPT_CALLS),
        )

    async def calls(self, tx: Transaction, webhook: UUID) -> list[CallRow]:
        """The last calls, newest first."""
        rows = await tx.fetch(
            "SELECT position, at, attempt, status, error, took_ms FROM webhook_deliveries "
            "WHERE webhook = ? ORDER BY id DESC",
            (str(webhook),),
        )
        return [
            CallRow(
                position=row["position"],
                at=from_micros(row["at"]),
                attempt=row["attempt"],
                status=row["status"],
                error=row["error"],
                took_ms=row["took_ms"],
            )
            for row in rows
        ]


def _from_row(row: Row, fence: int | None = None) -> WebhookRow:
    def instant(name: str) -> datetime | None:
        return None if row[name] is None else from_micros(row[name])

    return WebhookRow(
        uuid=UUID(row["uuid"]),
        owner=row["owner"],
        target=bytes(row["target"]),
        filters=tuple(from_json(row["filters"])),
        created=from_micros(row["created"]),
        cursor=row["cursor"],
        attempts=row["attempts"],
        due=instant("due"),
        fence=row["fence"] if fence is None else fence,
        failing_since=instant("failing_since"),
        disabled=instant("disabled"),
        last_error=row["last_error"],
    )
