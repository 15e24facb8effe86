"""The people whom this gateway knows by a password of their own."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.stores.database import Database, Row, Transaction, to_micros
from gateway.wire.documents import from_json, to_json
from gateway.wire.identity import DuplicateIdentityError, IdentityChange, StoredIdentity

REMEMBERED: Final = 1000
"""People still known while the database is away: those who called last. Some 200 bytes each."""

REMEMBERED_S: Final = 300.0
"""For so long after it was read: who was revoked elsewhere just before the database went away gets
no further. Nobody can be revoked while it is away, and all that is answered then is reading."""

_COLUMNS = "uuid, username, password_hash, member_of, is_revoked"
_FIND = f"SELECT {_COLUMNS} FROM identities WHERE username = ?"  # noqa: S608  # constants
_GET = f"SELECT {_COLUMNS} FROM identities WHERE uuid = ?"  # noqa: S608  # constants
_PAGE = (
    f"SELECT {_COLUMNS} FROM identities WHERE username > ? "  # noqa: S608  # constants
    "ORDER BY username LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class _Remembered:
    identity: StoredIdentity
    until: float


class SqlIdentityStore:
    """Identities by user name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._last_known: OrderedDict[str, _Remembered] = OrderedDict()

    async def find(self, username: str) -> StoredIdentity | None:
        """The identity of that name, if there is one.

        While the database is away, who called here lately is still known.
        """
        try:
            async with self._database.reading() as reader:
                row = await reader.fetch_one(_FIND, (username,))
        except StoreUnavailableError:
            known = self._last_known.get(username)
            if known is None or known.until < self._clock.monotonic():
                raise
            return known.identity
        if row is None:
            self._last_known.pop(username, None)
            return None
        found = _from_row(row)
        self._remember(found)
        return found

    async def get(self, uuid: UUID) -> StoredIdentity | None:
        """The identity with that UUID, if there is one."""
        async with self._database.reading() as reader:
            row = await reader.fetch_one(_GET, (str(uuid),))
        return None if row is None else _from_row(row)

    async def page(self, after: str, limit: int) -> list[StoredIdentity]:
        """At most ``limit`` identities in the order of their names, from behind that name on."""
        async with self._database.reading() as reader:
            rows = await reader.fetch(_PAGE, (after, limit))
        return [_from_row(row) for row in rows]

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        """Save a new identity and give it back.

        Raises
        ------
        DuplicateIdentityError
            The name is taken; nothing is changed then.
        """
        async with self._database.transaction() as tx:
            await tx.execute(
                "INSERT INTO identities "
                "(uuid, username, password_hash, member_of, is_revoked, created) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (username) DO NOTHING",
                (
                    str(identity.uuid),
                    identity.username,
                    identity.password_hash,
                    _groups_text(identity),
                    int(identity.is_revoked),
                    to_micros(self._clock.now()),
                ),
            )
            row = await tx.fetch_one(_FIND, (identity.username,))
        saved = identity if row is None else _from_row(row)
        if row is None or saved.uuid != identity.uuid:
            raise DuplicateIdentityError(saved)
        return saved

    async def change(self, uuid: UUID, change: IdentityChange) -> StoredIdentity | None:
        """Change an identity and give it back; None where there is none."""
        async with self._database.transaction(durable=True) as tx:
            before = await _kept(tx, uuid)
            if before is None:
                return None
            after = change.of(before)
            await tx.execute(
                "UPDATE identities SET password_hash = ?, member_of = ?, is_revoked = ? "
                "WHERE uuid = ?",
                (after.password_hash, _groups_text(after), int(after.is_revoked), str(uuid)),
            )
        self._last_known.pop(after.username, None)
        return after

    async def remove(self, uuid: UUID) -> bool:
        """Forget an identity; whether there was one."""
        async with self._database.transaction(durable=True) as tx:
            before = await _kept(tx, uuid)
            if before is None:
                return False
            await tx.execute("DELETE FROM identities WHERE uuid = ?", (str(uuid),))
        self._last_known.pop(before.username, None)
        return True

    def _remember(self, identity: StoredIdentity) -> None:
        until = self._clock.monotonic() + REMEMBERED_S
        self._last_known[identity.username] = _Remembered(identity, until)
        self._last_known.move_to_end(identity.username)
        if len(self._last_known) > REMEMBERED:
            self._last_known.popitem(last=False)


async def _kept(tx: Transaction, uuid: UUID) -> StoredIdentity | None:
    row = await tx.fetch_one(_GET + tx.for_update, (str(uuid),))
    return None if row is None else _from_row(row)


def _groups_text(identity: StoredIdentity) -> str:
    return to_json(sorted(identity.groups)).decode()


def _from_row(row: Row) -> StoredIdentity:
    return StoredIdentity(
        UUID(row["uuid"]),
        row["username"],
        row["password_hash"],
        frozenset(from_json(row["member_of"])),
        bool(row["is_revoked"]),
    )
