"""What a node's answer to an update comes to, and what its client is told about it."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clients.broker import SessionReply
from gateway.clients.exchange import (
    NodeError,
    NodeStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
    Stage,
)
from gateway.errors import AcceptPendingError, UpdateRefusedError
from gateway.stores.sessions import SessionRow
from gateway.wire.decode import messages_of
from gateway.wire.phases import SessionPhase, is_terminal

TOO_LATE: Final = "the time to deliver it was over before it was sent"
"""Why a node was not told by a process that was held up."""

UNREGISTERED: Final = "node is not registered"
"""Why nobody can be told."""

SIBLING_ACCEPTED: Final = "urn:sibling-accepted"
"""The code of the refusal to accept a second offer of one set."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The node has what it was told, or nothing more can be done about it; ``how`` says which."""

    how: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The node could not be told now; it is worth trying again."""

    why: str


def ended(phase: SessionPhase) -> Delivered | Undelivered:
    """Whether a session that was to end does so, by the phase its node shows."""
    if is_terminal(phase) or phase is SessionPhase.RELEASING:
        return Delivered(f"node shows {phase.value}")
    return Undelivered(f"node still shows {phase.value}")


def is_final(error: NodeError) -> bool:
    """Whether asking again would be answered alike; refused credentials may be mended meanwhile."""
    if not isinstance(error, NodeStatusError):
        return False
    return 400 <= error.status < 500 and error.status not in {401, 403, 408, 429}


def why_not(error: NodeError) -> str:
    """The node's own words for its failure, where it had any."""
    problem = error.problem if isinstance(error, NodeStatusError) else None
    detail = (problem or {}).get("detail")
    return f"{error} ({detail})" if detail else str(error)


def phase_said(reply: SessionReply) -> str:
    """What the node shows instead of what it was asked for, with its last message."""
    reasons = [str(m["message"]) for m in messages_of(reply.raw) if m.get("message")]
    said = f"it shows {reply.view.phase.value}"
    return f"{said} ({reasons[-1]})" if reasons else said


def pending(row: SessionRow, *lost: NodeError, is_first: bool) -> AcceptPendingError:
    """The acceptance may or may not have been given: so much is known of the lost answers.

    ``is_first``: nobody told the node before these.
    """
    was_never_sent = is_first and all(_was_never_sent(error) for error in lost)
    return AcceptPendingError(row.node, may_have_acted=not was_never_sent)


def refusal(row: SessionRow, phase: SessionPhase) -> UpdateRefusedError:
    """The session's own phase does not allow the update."""
    return UpdateRefusedError(
        f"Session {row.uuid} is {row.phase.value}; it cannot become {phase.value} by your asking.",
        code="urn:offer-expired" if row.phase is SessionPhase.EXPIRED else "urn:update-refused",
    )


def sibling_refusal(sibling: UUID | None) -> UpdateRefusedError:
    """One of an offer set can be accepted, and another is."""
    which = f"Session {sibling}" if sibling else "Another session"
    return UpdateRefusedError(
        f"{which} of the same offer set is accepted or being accepted; one of a set can be.",
        code=SIBLING_ACCEPTED,
    )


def _was_never_sent(error: NodeError) -> bool:
    if error.is_second_try:
        return False
    if isinstance(error, NodeTimeoutError):
        return error.stage in {Stage.QUEUED, Stage.CONNECT}
    return isinstance(error, NodeUnreachableError)
