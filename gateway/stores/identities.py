"""The people whom this gateway knows by a password of their own."""

from uuid import UUID

from gateway.clock import Clock
from gateway.stores.database import Database, Transaction, to_micros
from gateway.wire.identity import DuplicateIdentityError, StoredIdentity

_FIND = "SELECT uuid, username, password_hash FROM identities WHERE username = ?"


class SqlIdentityStore:
    """Identities by user name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, username: str) -> StoredIdentity | None:
        """The identity of that name, if there is one."""
        async with self._database.reading() as reader:
            return await _find(reader, username)

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        """Save a new identity and give it back.

        Raises
        ------
        DuplicateIdentityError
            The name is taken; nothing is changed then.
        """
        async with self._database.transaction() as tx:
            await tx.execute(
                "INSERT INTO identities (uuid, username, password_hash, created) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (username) DO NOTHING",
                (
                    str(identity.uuid),
                    identity.username,
                    identity.password_hash,
                    to_micros(self._clock.now()),
                ),
            )
            saved = await _find(tx, identity.username)
        if saved is None or saved.uuid != identity.uuid:
            raise DuplicateIdentityError(saved or identity)
        return saved


async def _find(tx: Transaction, username: str) -> StoredIdentity | None:
    row = await tx.fetch_one(_FIND, (username,))
    if row is None:
        return None
    return StoredIdentity(UUID(row["uuid"]), row["username"], row["password_hash"])
