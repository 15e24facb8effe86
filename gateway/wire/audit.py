"""What a call that changes something, or tried to, leaves behind.

Both services leave it; where it is kept is each service's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """One call. Nothing of its body, its query or its credentials is in it.

    ``who`` is an owner, ``admin`` (the account of the settings), ``node:NAME``, ``registrant``, or
    ``nobody`` who could show credentials that hold. ``what`` is the method and the route's
    template, ``object`` the UUID or name that it is about, of something new too. ``reason`` names
    the problem of a refusal.
    """

    who: str
    what: str
    object: str | None
    origin: str | None
    request_id: str
    status: int
    reason: str | None


AuditSink: TypeAlias = Callable[[AuditedCall], None]
"""Where they go. Must not wait, and not fail."""
