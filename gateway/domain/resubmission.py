"""Resubmission: asking elsewhere for a session whose node was lost before the session ran.

Silence counts only while somebody listens: a gateway that was away itself judges nobody lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel, SessionPhase
from gateway.wire.times import format_instant

BEFORE_RUNNING: Final = frozenset(
    {
        SessionPhase.OFFERED,
        SessionPhase.ACCEPTED,
        SessionPhase.WAITING,
        SessionPhase.PREPARING,
        SessionPhase.AVAILABLE,
    }
)
"""An accepted session that has not begun to work; OFFERED while its acceptance is pending."""

_NEVER_RAN: Final = frozenset({SessionPhase.FAILED, SessionPhase.EXPIRED})


class Stage(StrEnum):
    """How far the resubmission of one session has come. Values are stored."""

    WATCHING = "watching"
    """Its owner wishes it, should the node be lost."""
    ASKING = "asking"
    """The node is lost: other nodes are asked, and one of them to accept."""
    MOVED = "moved"
    """Another node has accepted; the session at the lost node is ended."""
    CALLED_OFF = "called_off"
    """The session is not to be replaced: its node came back, or its owner ended it."""
    GIVEN_UP = "given_up"
    """Nobody else could execute it in the time there was."""


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a node has not answered about a session: first and last seen to be silent."""

    since: datetime
    until: datetime

    def heard_again(self, observed: datetime) -> bool:
        """Whether the node has said something of the session since the silence began."""
        return observed > self.since


def silence_of(
    before: Silence | None, *, observed: datetime, now: datetime, gap: timedelta
) -> Silence:
    """The silence after another look in vain.

    It begins anew where the node was heard meanwhile, and where nobody looked for a ``gap``.
    """
    if before is None or before.heard_again(observed) or now - before.until > gap:
        return Silence(now, now)
    return Silence(before.since, now)


def is_lost(silence: Silence, *, listening_since: datetime, grace: timedelta) -> bool:
    """Whether the silence has lasted longer than ``grace``, as heard by one that was there."""
    return silence.until - max(silence.since, listening_since) >= grace


def is_replaceable(phase: SessionPhase, *, observed: datetime, lost_since: datetime) -> bool:
    """Whether a session that is asked for elsewhere may still be replaced.

    Not once its node has shown it alive again, and not once its owner has ended it; one that is
    found to have failed or expired can no longer run.
    """
    if phase in _NEVER_RAN:
        return True
    return phase in BEFORE_RUNNING and observed <= lost_since


@dataclass(frozen=True, slots=True)
class SessionLink:
    """A message that names another session, whose URL depends on how the client came here."""

    kind: str
    template: str
    session: UUID
    node: str
    time: datetime
    level: MessageLevel = MessageLevel.WARN

    def to_message(self, base_url: str) -> Document:
        """The entry for ``meta.messages``; ``base_url`` has no slash at its end."""
        values = {
            "session": str(self.session),
            "url": f"{base_url}/sessions/{self.session}",
            "node": self.node,
        }
        return message(self.kind, self.level, self.template, values, self.time)


def moved_to(successor: UUID, lost_node: str, at: datetime) -> SessionLink:
    """What the session at the lost node says of the one that takes its place."""
    return SessionLink(
        "urn:resubmitted-as",
        "Node ${node} was lost before this session ran; session ${url} executes it instead",
        successor,
        lost_node,
        at,
    )


def moved_from(original: UUID, lost_node: str, at: datetime) -> SessionLink:
    """What the session that takes another's place says of that."""
    return SessionLink(
        "urn:resubmission-of",
        "This executes in place of session ${url}, whose node ${node} was lost",
        original,
        lost_node,
        at,
        MessageLevel.INFO,
    )


def outlook(
    stage: Stage | None,
    *,
    node: str,
    since: datetime | None,
    grace_s: float,
    last_error: str | None,
    now: datetime,
) -> Document | None:
    """What is said of a session that has not run and whose node does not answer.

    ``stage`` is None where nobody wishes it to be asked for elsewhere; ``since`` is when the
    silence began, if that has been noticed. None where another has taken its place, which the link
    to that one says.
    """
    if stage is Stage.MOVED:
        return None
    if stage is Stage.CALLED_OFF:
        # Its node was heard again, and is watched from now on as it was at first.
        stage, since = Stage.WATCHING, None
    values = {
        "node": node,
        "since": format_instant((since or now).replace(microsecond=0)),
        "grace_s": f"{grace_s:g}",
        "why": last_error or "nobody has answered yet",
    }
    kind, template = _OUTLOOKS[stage]
    return message(kind, MessageLevel.WARN, template, values, now)


_OUTLOOKS: Final[dict[Stage | None, tuple[str, str]]] = {
    None: (
        "urn:not-resubmitted",
        "It stays at node ${node}: nobody asked for it to be executed elsewhere. "
        "Accept with Prefer: resubmit and it is, when a node is lost for ${grace_s} s",
    ),
    Stage.WATCHING: (
        "urn:resubmission-waiting",
        "Node ${node} is silent since ${since}; after ${grace_s} s others are asked to execute it",
    ),
    Stage.ASKING: (
        "urn:resubmission-asking",
        "Node ${node} is silent since ${since}; others are being asked to execute it: ${why}",
    ),
    Stage.GIVEN_UP: (
        "urn:resubmission-given-up",
        "Node ${node} is silent since ${since}, and nobody else could execute it: ${why}",
    ),
}
