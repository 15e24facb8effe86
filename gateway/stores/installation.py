"""Who this gateway is: one identity for all its processes, for as long as the database is kept."""

from typing import Final
from uuid import UUID

from gateway.stores.database import Transaction

_ONE: Final = 1
"""The id of the only row."""


class InstallationStore:
    """The identity of the installation."""

    async def identity(self, tx: Transaction, fresh: UUID) -> UUID:
        """The identity; ``fresh`` becomes it where there is none yet."""
        await tx.execute(
            "INSERT INTO installation (id, identity) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
            (_ONE, str(fresh)),
        )
        row = await tx.fetch_one("SELECT identity FROM installation WHERE id = ?", (_ONE,))
        assert row is not None
        return UUID(row["identity"])
