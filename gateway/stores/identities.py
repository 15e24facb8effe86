"""The people whom this gateway knows by a password of their own."""

from collections import OrderedDict
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.errors import StoreUnavailableError
from gateway.stores.database import Database, Transaction, to_micros
from gateway.wire.identity import DuplicateIdentityError, StoredIdentity

REMEMBERED: Final = 1000
"""People still known while the database is away: those who called last. Some 200 bytes each."""

_FIND = "SELECT uuid, username, password_hash FROM identities WHERE username = ?"


class SqlIdentityStore:
    """Identities by user name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._last_known: OrderedDict[str, StoredIdentity] = OrderedDict()

    async def find(self, username: str) -> StoredIdentity | None:
        """The identity of that name, if there is one.

        While the database is away, who called here lately is known still: identities never change.
        """
        try:
            async with self._database.reading() as reader:
                found = await _find(reader, username)
        except StoreUnavailableError:
            if username not in self._last_known:
                raise
            return self._last_known[username]
        if found is not None:
            self._last_known[username] = found
            self._last_known.move_to_end(username)
            if len(self._last_known) > REMEMBERED:
                self._last_known.popitem(last=False)
        return found

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
