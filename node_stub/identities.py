"""The people whom a node knows by a password, and those whose tokens it refuses."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from gateway.wire.documents import from_json, to_json
from gateway.wire.identity import (
    DuplicateIdentityError,
    IdentityChange,
    StoredIdentity,
    Subject,
)
from node_stub.store import Store
from node_stub.transaction import Transaction

_COLUMNS = "uuid, username, password_hash, member_of, is_revoked"
_FIND = f"SELECT {_COLUMNS} FROM identities WHERE username = ?"  # noqa: S608  # constants
_GET = f"SELECT {_COLUMNS} FROM identities WHERE uuid = ?"  # noqa: S608  # constants
_PAGE = (
    f"SELECT {_COLUMNS} FROM identities WHERE username > ?"  # noqa: S608  # constants
    " ORDER BY username LIMIT ?"
)


class Identities:
    """Identities, in the node's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, username: str) -> StoredIdentity | None:
        """Who has this name."""
        return _first(await self._store.rows(_FIND, (username,)))

    async def get(self, uuid: UUID) -> StoredIdentity | None:
        """Who has this UUID."""
        return _first(await self._store.rows(_GET, (str(uuid),)))

    async def page(self, after: str, limit: int) -> list[StoredIdentity]:
        """At most ``limit`` identities in the order of their names, from behind that name on."""
        return [_from_row(row) for row in await self._store.rows(_PAGE, (after, limit))]

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        """Save a new identity.

        Raises
        ------
        DuplicateIdentityError
            The username is taken.
        """
        async with self._store.transaction() as transaction:
            count = await transaction.execute(
                f"INSERT INTO identities ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608
                " ON CONFLICT DO NOTHING",
                (
                    str(identity.uuid),
                    identity.username,
                    identity.password_hash,
                    _groups_text(identity),
                    int(identity.is_revoked),
                ),
            )
            existing = _first(await transaction.rows(_FIND, (identity.username,)))
        if count == 1:
            return identity
        if existing is None:
            raise AssertionError("an identity that clashes with none: its UUID is not fresh")
        raise DuplicateIdentityError(existing)

    async def change(self, uuid: UUID, change: IdentityChange) -> StoredIdentity | None:
        """Change an identity and give it back; None where there is none."""
        async with self._store.transaction() as transaction:
            before = await _get(transaction, uuid)
            if before is None:
                return None
            after = change.of(before)
            await transaction.execute(
                "UPDATE identities SET password_hash = ?, member_of = ?, is_revoked = ?"
                " WHERE uuid = ?",
                (after.password_hash, _groups_text(after), int(after.is_revoked), str(uuid)),
            )
        return after

    async def remove(self, uuid: UUID) -> bool:
        """Forget an identity; whether there was one."""
        async with self._store.transaction() as transaction:
            sql = "DELETE FROM identities WHERE uuid = ?"
            return await transaction.execute(sql, (str(uuid),)) > 0


class RevokedSubjects:
    """Subjects of issuers whose tokens are refused, in the node's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def is_revoked(self, subject: Subject) -> bool:
        """Whether this one is shut out."""
        sql = "SELECT 1 FROM revocations WHERE issuer = ? AND subject = ?"
        return bool(await self._store.rows(sql, (subject.issuer, subject.subject)))

    async def revocations(self, after: Subject | None, limit: int) -> list[Subject]:
        """At most ``limit`` of them in order, from behind that one on."""
        last = after or Subject("", "")
        rows = await self._store.rows(
            "SELECT issuer, subject FROM revocations WHERE (issuer, subject) > (?, ?)"
            " ORDER BY issuer, subject LIMIT ?",
            (last.issuer, last.subject, limit),
        )
        return [Subject(*row) for row in rows]

    async def revoke(self, subject: Subject) -> None:
        """Shut somebody out; once more changes nothing."""
        async with self._store.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO revocations (issuer, subject) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (subject.issuer, subject.subject),
            )

    async def restore(self, subject: Subject) -> bool:
        """Let somebody in again; whether they were shut out."""
        async with self._store.transaction() as transaction:
            sql = "DELETE FROM revocations WHERE issuer = ? AND subject = ?"
            return await transaction.execute(sql, (subject.issuer, subject.subject)) > 0


async def _get(transaction: Transaction, uuid: UUID) -> StoredIdentity | None:
    return _first(await transaction.rows(_GET, (str(uuid),)))


def _first(rows: Sequence[Any]) -> StoredIdentity | None:
    return _from_row(rows[0]) if rows else None


def _from_row(row: Any) -> StoredIdentity:
    uuid, username, password_hash, groups, is_revoked = row
    return StoredIdentity(
        UUID(uuid), username, password_hash, frozenset(from_json(groups)), bool(is_revoked)
    )


def _groups_text(identity: StoredIdentity) -> str:
    return to_json(sorted(identity.groups)).decode()
