"""What happened, as a CloudEvents 1.0 envelope. Pure.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.phases import TERMINAL_SESSION_PHASES, SessionPhase
from gateway.wire.times import format_instant

TYPE_PREFIX: Final = "int.skao.srcnet.execbroker."
"""What every type begins with: a name of the domain that defines it, reversed (§3.1.1)."""

_PHASE: Final = "phase_"
_ENDS: Final = frozenset(f"{_PHASE}{phase.lower()}" for phase in TERMINAL_SESSION_PHASES)
_ACCOUNTS: Final = frozenset({"admin", "gateway", "anonymous"})


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event with its place among all others.

    ``owner`` is whom it concerns, empty for the administrator; ``who`` made it happen: an owner,
    ``admin``, ``gateway`` or ``node:NAME``.
    """

    position: int
    owner: str
    at: datetime
    what: str
    who: str
    session: UUID | None = None
    offerset: UUID | None = None
    detail: str = ""

    @property
    def is_end(self) -> bool:
        """Whether its session is over with it."""
        return self.what in _ENDS

    @property
    def type(self) -> str:
        """Its type without the prefix, as ``session.phase.running``."""
        if self.session is not None:
            about = "session"
        else:
            about = "offerset" if self.offerset is not None else "gateway"
        name = self.what
        if name.startswith(_PHASE):
            name = f"phase.{name.removeprefix(_PHASE)}"
        return f"{about}.{name.replace('_', '-')}"


def is_wanted(occurrence: Occurrence, filters: Sequence[str]) -> bool:
    """Whether it is of one of these types; without any, all are wanted.

    A filter is a type with or without the prefix; one that ends with ``*`` is the beginning of
    several.
    """
    return not filters or any(_matches(occurrence.type, item) for item in filters)


def _matches(kind: str, wanted: str) -> bool:
    wanted = wanted.removeprefix(TYPE_PREFIX)
    if wanted.endswith("*"):
        return kind.startswith(wanted.removesuffix("*"))
    return kind == wanted


def to_cloud_event(occurrence: Occurrence, source: str) -> Document:
    """The envelope; ``source`` is the identity of the gateway as a URI.

    Source and id together name an event: its id is its position. Who made it happen is told by
    what they are to it, never by an identity: those who may read a session need not know whose it
    is.
    """
    data: Document = {"by": _role(occurrence)}
    if occurrence.session is not None:
        data["session"] = str(occurrence.session)
    if occurrence.offerset is not None:
        data["offerset"] = str(occurrence.offerset)
    if occurrence.what.startswith(_PHASE):
        data["phase"] = SessionPhase(occurrence.what.removeprefix(_PHASE).upper()).value
    if occurrence.detail:
        data["detail"] = occurrence.detail
    event: Document = {
        "specversion": "1.0",
        "id": str(occurrence.position),
        "source": source,
        "type": TYPE_PREFIX + occurrence.type,
        "time": format_instant(occurrence.at),
        "datacontenttype": "application/json",
        "data": data,
    }
    if (subject := _subject(occurrence)) is not None:
        event["subject"] = subject
    return event


def _role(occurrence: Occurrence) -> str:
    is_named = occurrence.who in _ACCOUNTS or occurrence.who.startswith("node:")
    return occurrence.who if is_named else "owner"


def _subject(occurrence: Occurrence) -> str | None:
    if occurrence.session is not None:
        return f"sessions/{occurrence.session}"
    return f"offersets/{occurrence.offerset}" if occurrence.offerset is not None else None
