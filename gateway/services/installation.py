"""The gateway's identity, which its name in the settings is only a word for."""

from collections.abc import Callable
from uuid import UUID

from gateway.stores.database import Database
from gateway.stores.installation import InstallationStore


class Installation:
    """Who this gateway is; the same in all its processes.

    ``mint`` gives a fresh UUID, for the first process of all.
    """

    def __init__(self, database: Database, store: InstallationStore, mint: Callable[[], UUID]):
        self._database = database
        self._store = store
        self._mint = mint
        self._identity: UUID | None = None

    async def open(self) -> None:
        """Read the identity, once the database is open.

        Raises
        ------
        StoreUnavailableError
        """
        async with self._database.transaction() as tx:
            self._identity = await self._store.identity(tx, self._mint())

    @property
    def identity(self) -> UUID:
        """The same for as long as the database is kept; to be asked for after ``open``."""
        if self._identity is None:
            raise AssertionError("asked for before the database was read")
        return self._identity
