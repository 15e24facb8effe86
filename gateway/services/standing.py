"""Whether somebody whom something belongs to may still read it, when nobody is there to log in."""

from collections.abc import Collection
from uuid import UUID

from gateway.services.caller import ADMIN_OWNER
from gateway.wire.identity import IdentityStore, RevocationStore, Subject


class OwnerStanding:
    """What became of owners since they were let in.

    Of groups and roles that are in tokens alone nothing is known here.

    Parameters
    ----------
    issuers
        The URLs of the issuers whose tokens are taken.
    has_admin
        Whether there is an administrator's account.
    asks_who
        Whether anybody has to say who they are; if not, everybody may read everything.
    """

    def __init__(
        self,
        identities: IdentityStore,
        revocations: RevocationStore,
        *,
        issuers: Collection[str],
        has_admin: bool,
        asks_who: bool,
    ) -> None:
        self._identities = identities
        self._revocations = revocations
        self._issuers = frozenset(issuers)
        self._has_admin = has_admin
        self._asks_who = asks_who

    async def may_read(self, owner: str) -> bool:
        """Whether this owner would be let in: neither revoked, nor removed, nor of another trust.

        Raises
        ------
        StoreUnavailableError
        """
        if not self._asks_who:
            return True
        if owner == ADMIN_OWNER:
            return self._has_admin
        subject = Subject.of_owner(owner)
        if subject is not None:
            is_known = subject.issuer in self._issuers
            return is_known and not await self._revocations.is_revoked(subject)
        try:
            identity = await self._identities.get(UUID(owner))
        except ValueError:  # everybody's, from when nobody had to say who they are
            return False
        return identity is not None and not identity.is_revoked
