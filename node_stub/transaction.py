"""One transaction on the node's database: reads and writes that happen together or not at all."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import aiosqlite
import structlog

from gateway.wire.documents import to_json
from node_stub.platforms.base import Checkpoint
from node_stub.queries import LIVE, all_rows, read_first, read_offerset, read_sessions
from node_stub.records import (
    SESSION_COLUMNS,
    IdempotencyRecord,
    OfferSetRecord,
    SessionRecord,
    from_session,
    to_micros,
)

_FORGET_OFFERS: Final = (
    "DELETE FROM sessions WHERE modified < ? AND"
    " (phase IN ('REJECTED', 'EXPIRED') OR (phase = 'CANCELLED' AND start_at IS NULL))"
)
_FORGET_EMPTY_OFFERSETS: Final = (
    "DELETE FROM offersets WHERE created < ? AND NOT EXISTS"
    " (SELECT 1 FROM sessions WHERE sessions.offerset = offersets.uuid)"
)
_FORGET_ANSWERS: Final = (
    "DELETE FROM idempotency WHERE created < ?"
    " AND NOT EXISTS (SELECT 1 FROM offersets WHERE uuid = idempotency.result)"
    " AND NOT EXISTS (SELECT 1 FROM sessions WHERE uuid = idempotency.result)"
)
_FORGET_OFFERSETS: Final = (
    "DELETE FROM offersets WHERE created < ? AND NOT EXISTS (SELECT 1 FROM sessions"  # noqa: S608
    f" WHERE sessions.offerset = offersets.uuid AND (phase = 'OFFERED' OR ({LIVE})))"
)

_log = structlog.get_logger(__name__)


class Transaction:
    """Reads and writes that happen together or not at all. Made by ``Store.transaction``."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._afterwards: list[Callable[[], object]] = []

    def afterwards(self, act: Callable[[], object]) -> None:
        """Call this once the transaction is committed, before anybody else can begin one."""
        self._afterwards.append(act)

    def committed(self) -> None:
        """Call what was asked for afterwards."""
        for act in self._afterwards:
            act()

    async def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run a statement of another store in this file; the number of rows it changed."""
        cursor = await self._connection.execute(sql, parameters)
        return cursor.rowcount

    async def rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """What a query of another store in this file gives."""
        return await all_rows(self._connection, sql, parameters)

    async def offerset(self, uuid: UUID) -> OfferSetRecord | None:
        """One offer set."""
        return await read_offerset(self._connection, uuid)

    async def session(self, uuid: UUID) -> SessionRecord | None:
        """One session."""
        return await read_first(self._connection, "uuid = ?", (str(uuid),))

    async def sessions_of(self, offerset: UUID) -> list[SessionRecord]:
        """The sessions of an offer set, in the order of their offers."""
        return await read_sessions(
            self._connection, "offerset = ? ORDER BY position", (str(offerset),)
        )

    async def expired_offers(self, now: datetime) -> list[SessionRecord]:
        """Sessions that are still offered although they have expired."""
        return await read_sessions(
            self._connection, "phase = 'OFFERED' AND expires <= ?", (to_micros(now),)
        )

    async def add_offerset(self, record: OfferSetRecord) -> None:
        """Save a new offer set."""
        await self._connection.execute(
            "INSERT INTO offersets (uuid, owner, result, messages, created) VALUES (?, ?, ?, ?, ?)",
            (
                str(record.uuid),
                record.owner,
                record.result.value,
                to_json(record.messages),
                to_micros(record.created),
            ),
        )

    async def add_session(self, record: SessionRecord, components: Iterable[UUID]) -> None:
        """Save a new session and where to find its components."""
        await self._connection.execute(
            f"INSERT INTO sessions ({SESSION_COLUMNS})"  # noqa: S608 - our own constant
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            from_session(record),
        )
        await self._connection.executemany(
            "INSERT INTO components (uuid, session) VALUES (?, ?)",
            [(str(uuid), str(record.uuid)) for uuid in components],
        )
        await self._add_event(record)

    async def save_session(self, record: SessionRecord, before: SessionRecord) -> None:
        """Save a session that has changed, if nobody else changed it meanwhile."""
        values = from_session(record)
        cursor = await self._connection.execute(
            "UPDATE sessions SET phase = ?, target = ?, intent = ?, intent_at = ?, components = ?,"
            " document = ?, slot = ?, spans = ?, start_at = ?, expires = ?, created = ?,"
            " modified = ?, messages = ? WHERE uuid = ? AND phase = ? AND intent = ?",
            (*values[4:], values[0], before.phase.value, before.standing.intent.value),
        )
        if cursor.rowcount != 1:
            raise AssertionError("a session changed under a transaction")
        if record.phase is not before.phase:
            await self._add_event(record)
            self.afterwards(lambda: _log_move(before, record))

    async def _add_event(self, record: SessionRecord) -> None:
        await self._connection.execute(
            "INSERT INTO events (time, session, owner, phase) VALUES (?, ?, ?, ?)",
            (
                to_micros(record.modified),
                str(record.uuid),
                record.owner,
                record.phase.value,
            ),
        )

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save what the platform needs to find a job again."""
        await self._connection.execute(
            "INSERT INTO checkpoints (session, checkpoint) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET checkpoint = excluded.checkpoint",
            (str(checkpoint.session), to_json(checkpoint.to_document())),
        )

    async def remove_checkpoint(self, session: UUID) -> None:
        """Forget a job that is gone."""
        await self._connection.execute("DELETE FROM checkpoints WHERE session = ?", (str(session),))

    async def answered(self, owner: str, key: str) -> IdempotencyRecord | None:
        """What a request with this key was answered with."""
        rows = await all_rows(
            self._connection,
            "SELECT path, digest, result FROM idempotency WHERE owner = ? AND key = ?",
            (owner, key),
        )
        if not rows:
            return None
        path, digest, result = rows[0]
        return IdempotencyRecord(owner, key, path, digest, UUID(result))

    async def add_answer(self, record: IdempotencyRecord, now: datetime) -> None:
        """Remember what a request was answered with."""
        await self._connection.execute(
            "INSERT INTO idempotency (owner, key, path, digest, result, created)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                record.owner,
                record.key,
                record.path,
                record.digest,
                str(record.result),
                to_micros(now),
            ),
        )

    async def installation(self) -> tuple[UUID, bool] | None:
        """The identity of this installation, and whether it drains; None before it has one."""
        rows = await all_rows(
            self._connection, "SELECT identity, is_draining FROM installation", ()
        )
        return (UUID(rows[0][0]), bool(rows[0][1])) if rows else None

    async def set_installation(self, identity: UUID, *, is_draining: bool) -> None:
        """Save both."""
        await self._connection.execute(
            "INSERT INTO installation (one, identity, is_draining) VALUES (1, ?, ?)"
            " ON CONFLICT (one) DO UPDATE SET is_draining = excluded.is_draining",
            (str(identity), int(is_draining)),
        )

    async def claim_root(self, root: UUID, key: str | None, now: datetime) -> bool:
        """Whether this is the first that is asked for a client's request, or the same once more.

        Ways to this node differ in their keys; without a key nothing is the same once more.
        """
        cursor = await self._connection.execute(
            "INSERT INTO federation_requests (root, key, created) VALUES (?, ?, ?)"
            " ON CONFLICT (root) DO UPDATE SET created = created WHERE key = excluded.key",
            (str(root), key, to_micros(now)),
        )
        return cursor.rowcount > 0

    async def forget(self, offersets_before: datetime, offers_before: datetime) -> int:
        """Remove what is kept long enough; how many rows.

        What a request was answered with is remembered as long as that can be read.

        Parameters
        ----------
        offersets_before
            Offer sets made before this, unless a session of theirs has not come to its end.
        offers_before
            Offers that were never accepted and ended before this, and sets left with none.
        """
        removed = 0
        for sql, limit in (
            (_FORGET_OFFERS, offers_before),
            (_FORGET_EMPTY_OFFERSETS, offers_before),
            (_FORGET_OFFERSETS, offersets_before),
            (_FORGET_ANSWERS, offers_before),
            ("DELETE FROM federation_requests WHERE created < ?", offers_before),
            ("DELETE FROM events WHERE time < ?", offersets_before),
        ):
            cursor = await self._connection.execute(sql, (to_micros(limit),))
            removed += cursor.rowcount
        return removed


def _log_move(before: SessionRecord, after: SessionRecord) -> None:
    _log.info(
        "session_moved",
        session=str(after.uuid),
        owner=after.owner,
        before=before.phase.value,
        phase=after.phase.value,
    )
