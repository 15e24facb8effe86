"""Local identities: people whom a service knows by name and password, and who is shut out.

Both services keep them; where they are kept is each service's own store.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self
from uuid import UUID

_OIDC: Final = "oidc:"


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """One person. ``password_hash`` is an encoded argon2 hash, kept out of the representation.

    ``is_revoked``: its credentials are refused, and what it owns is still its own.
    """

    uuid: UUID
    username: str
    password_hash: str = field(repr=False)
    groups: frozenset[str] = frozenset()
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """What is to be changed of an identity; None leaves it as it is."""

    password_hash: str | None = field(default=None, repr=False)
    groups: frozenset[str] | None = None
    is_revoked: bool | None = None

    def of(self, identity: StoredIdentity) -> StoredIdentity:
        """The identity after the change."""
        return StoredIdentity(
            identity.uuid,
            identity.username,
            identity.password_hash if self.password_hash is None else self.password_hash,
            identity.groups if self.groups is None else self.groups,
            identity.is_revoked if self.is_revoked is None else self.is_revoked,
        )


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Somebody whom an issuer of tokens vouches for: ``iss`` and ``sub`` of the tokens."""

    issuer: str
    subject: str

    @property
    def owner(self) -> str:
        """Who the things are owned by that it makes: the same for every token of the subject.

        No local identity is called so (theirs are UUIDs), and no two subjects alike: an issuer's
        URL has no ``@``, so the last one divides the two.
        """
        return f"{_OIDC}{self.subject}@{self.issuer}"

    @classmethod
    def of_owner(cls, owner: str) -> Self | None:
        """The subject that owns what is owned so; None where it is a local identity."""
        if not owner.startswith(_OIDC):
            return None
        subject, _, issuer = owner.removeprefix(_OIDC).rpartition("@")
        return cls(issuer, subject)


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

    async def get(self, uuid: UUID) -> StoredIdentity | None:
        """The identity with that UUID."""
        ...

    async def page(self, after: str, limit: int) -> Sequence[StoredIdentity]:
        """At most ``limit`` identities in the order of their names, from behind that name on."""
        ...

    async def add(self, identity: StoredIdentity) -> StoredIdentity:
        """Save a new identity and give it back.

        Raises
        ------
        DuplicateIdentityError
            If the username is taken, decided by the store itself (two may come at once).
        """
        ...

    async def change(self, uuid: UUID, change: IdentityChange) -> StoredIdentity | None:
        """Change an identity and give it back; None where there is none."""
        ...

    async def remove(self, uuid: UUID) -> bool:
        """Forget an identity; whether there was one. What it owned stays, and is nobody's."""
        ...


class RevocationStore(Protocol):
    """Where a service keeps which subjects of issuers are shut out, whatever tokens they have."""

    async def is_revoked(self, subject: Subject) -> bool:
        """Whether this one is."""
        ...

    async def revocations(self, after: Subject | None, limit: int) -> Sequence[Subject]:
        """At most ``limit`` of them in order, from behind that one on."""
        ...

    async def revoke(self, subject: Subject) -> None:
        """Shut somebody out; once more changes nothing."""
        ...

    async def restore(self, subject: Subject) -> bool:
        """Let somebody in again; whether they were shut out."""
        ...
