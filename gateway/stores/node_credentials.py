"""What opens the door of registration: one-time tokens, and the credentials of nodes.

Only digests are kept: who reads the database can use neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.stores.database import Row, Transaction, from_micros, to_micros
from gateway.wire.documents import from_json, to_json

_COLUMNS: Final = "uuid, name, owners, user_groups, created, expires, attempts, used_name, used_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """One registration token.

    ``name`` is that of the only node it may register, None for any. ``owners`` and ``groups`` are
    those the node will be for. ``used_name`` and ``used_url`` are what it has registered.
    """

    uuid: UUID
    name: str | None
    owners: tuple[str, ...]
    groups: tuple[str, ...]
    created: datetime
    expires: datetime
    attempts: int = 0
    used_name: str | None = None
    used_url: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """For whom a node is; both empty: for everybody."""

    owners: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def _from_row(row: Row) -> TokenRow:
    return TokenRow(
        uuid=UUID(row["uuid"]),
        name=row["name"],
        owners=tuple(_names(row["owners"])),
        groups=tuple(_names(row["user_groups"])),
        created=from_micros(row["created"]),
        expires=from_micros(row["expires"]),
        attempts=row["attempts"],
        used_name=row["used_name"],
        used_url=row["used_url"],
    )


def _names(raw: bytes) -> Sequence[str]:
    names: Sequence[str] = from_json(raw)["names"]
    return names


def _to_json(names: Sequence[str]) -> bytes:
    return to_json({"names": list(names)})


class RegistrationTokenStore:
    """Tokens by their digest."""

    async def add(self, tx: Transaction, token: TokenRow, digest: str) -> None:
        """Save a new token."""
        await tx.execute(
            "INSERT INTO registration_tokens (uuid, digest, name, owners, user_groups, created, "
            "expires, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (
                str(token.uuid),
                digest,
                token.name,
                _to_json(token.owners),
                _to_json(token.groups),
                to_micros(token.created),
                to_micros(token.expires),
            ),
        )

    async def all(self, tx: Transaction, now: datetime) -> list[TokenRow]:
        """Every token whose time is not over, the oldest first."""
        rows = await tx.fetch(
            f"SELECT {_COLUMNS} FROM registration_tokens WHERE expires > ? "  # noqa: S608
            "ORDER BY created, uuid",
            (to_micros(now),),
        )
        return [_from_row(row) for row in rows]

    async def find(
        self, tx: Transaction, digest: str, *, now: datetime, max_attempts: int
    ) -> TokenRow | None:
        """The token of that digest, if it may still be used."""
        row = await tx.fetch_one(
            f"SELECT {_COLUMNS} FROM registration_tokens "  # noqa: S608
            "WHERE digest = ? AND expires > ? AND attempts < ?",
            (digest, to_micros(now), max_attempts),
        )
        return None if row is None else _from_row(row)

    async def attempt(
        self, tx: Transaction, uuid: UUID, *, now: datetime, max_attempts: int
    ) -> TokenRow | None:
        """Count one try before it is made; None where no more may be."""
        rows = await tx.fetch(
            "UPDATE registration_tokens SET attempts = attempts + 1 "  # noqa: S608
            f"WHERE uuid = ? AND expires > ? AND attempts < ? RETURNING {_COLUMNS}",
            (str(uuid), to_micros(now), max_attempts),
        )
        return _from_row(rows[0]) if rows else None

    async def use(
        self, tx: Transaction, uuid: UUID, *, name: str, url: str, now: datetime
    ) -> TokenRow | None:
        """Use the token for this node; None where it is over, or was used for another."""
        rows = await tx.fetch(
            "UPDATE registration_tokens SET used_name = ?, used_url = ? "  # noqa: S608
            "WHERE uuid = ? AND expires > ? "
            "AND (used_name IS NULL OR (used_name = ? AND used_url = ?)) "
            f"RETURNING {_COLUMNS}",
            (name, url, str(uuid), to_micros(now), name, url),
        )
        return _from_row(rows[0]) if rows else None

    async def delete(self, tx: Transaction, uuid: UUID) -> bool:
        """Delete a token; False where there is none."""
        return await tx.execute("DELETE FROM registration_tokens WHERE uuid = ?", (str(uuid),)) == 1

    async def forget_expired(self, tx: Transaction, now: datetime) -> int:
        """Delete the tokens whose time is over; how many."""
        return await tx.execute(
            "DELETE FROM registration_tokens WHERE expires <= ?", (to_micros(now),)
        )


class NodeCredentialStore:
    """The digest of each node's own credential. A name that has one belongs to who holds it."""

    async def node_of(self, tx: Transaction, digest: str) -> str | None:
        """The node whose credential this is."""
        row = await tx.fetch_one("SELECT node FROM node_credentials WHERE digest = ?", (digest,))
        return None if row is None else str(row["node"])

    async def granted_to(self, tx: Transaction, node: str) -> Granted | None:
        """For whom the node of this name is; None where nobody holds a credential for it."""
        row = await tx.fetch_one("SELECT granted FROM node_credentials WHERE node = ?", (node,))
        if row is None:
            return None
        kept = from_json(row["granted"])
        return Granted(tuple(kept["owners"]), tuple(kept["groups"]))

    async def save(
        self, tx: Transaction, node: str, digest: str, granted: Granted, now: datetime
    ) -> None:
        """Give the node this credential; the one before no longer holds."""
        kept = to_json({"owners": list(granted.owners), "groups": list(granted.groups)})
        await tx.execute(
            "INSERT INTO node_credentials (node, digest, granted, created) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (node) DO UPDATE SET digest = excluded.digest, "
            "granted = excluded.granted, created = excluded.created",
            (node, digest, kept, to_micros(now)),
        )

    async def revoke(self, tx: Transaction, node: str) -> None:
        """The node's credential no longer holds."""
        await tx.execute("DELETE FROM node_credentials WHERE node = ?", (node,))
