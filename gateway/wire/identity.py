"""Local identities: people whom a service knows by name and password.

Both services keep them; where they are kept is each service's own store.
"""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """One person. ``password_hash`` is an encoded argon2 hash, kept out of the representation."""

    uuid: UUID
    username: str
    password_hash: str = field(repr=False)


class DuplicateIdentityError(Exception):
    """The username is taken; ``existing`` is who has it."""

    def __init__(self, existing: StoredIdentity) -> None:
        super().__init__(f"the username {existing.username!r} is taken")
        self.existing = existing


class IdentityStore(Protocol):
    """Where a service keeps its identities. Usernames are compared exactly."""

    async def find(self, username: str) -> StoredIdentity | None:
        """The identity of that name."""
        ...

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        """Save a new identity and give it back.

        Raises
        ------
        DuplicateIdentityError
            If the username is taken, decided by the store itself (two may come at once).
        """
        ...
