"""Who asks, as the services see it."""

from dataclasses import dataclass, field
from typing import Final

ADMIN_OWNER: Final = ""
"""What is owned by the administrator's account, which has no identity of its own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``owner`` is None for somebody without credentials, who may at most read.

    ``groups`` are those its token names; ``node`` is the registered node that calls, if one does.
    ``origin`` is the address it calls from. ``authorization`` is the header as it came, for nodes
    that get the caller's own credentials. ``is_stand_in``: the gateway itself acts for the owner,
    to replace what the owner has lost; no quota stands in the way.
    """

    owner: str | None = None
    is_admin: bool = False
    groups: frozenset[str] = frozenset()
    node: str | None = None
    origin: str | None = None
    request_id: str | None = None
    authorization: str | None = field(default=None, repr=False)
    must_own_to_read: bool = False
    is_stand_in: bool = False

    @property
    def who(self) -> str:
        """The caller in the audit trail."""
        return self.owner or ("admin" if self.is_admin else "anonymous")

    def owns(self, owner: str) -> bool:
        """Whether the caller may change what belongs to ``owner``."""
        return self.is_admin or (owner != ADMIN_OWNER and self.owner == owner)

    def can_read(self, owner: str) -> bool:
        """Whether the caller may read what belongs to ``owner``."""
        return not self.must_own_to_read or self.owns(owner)


GATEWAY: Final = Caller(is_admin=True)
"""The gateway itself, at work in the background."""
