"""What the node remembers of offer sets, sessions and people, and how that looks as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.phases import ComponentPhase, SessionPhase
from node_stub.clock import whole_second
from node_stub.documents import OfferResult, reschedule
from node_stub.ledger import Booking, Span
from node_stub.lifecycle import accepted
from node_stub.observed import with_observed
from node_stub.platforms.base import Observation
from node_stub.slots import Slot, run_booking
from node_stub.standing import Component, Decision, Intent, Schedule, Standing

SESSION_COLUMNS: Final = (
    "uuid, offerset, position, owner, phase, target, intent, intent_at, components, document,"
    " slot, spans, start_at, expires, created, modified, messages"
)
"""The order in which `from_session` gives and `to_session` takes a row."""

SESSION_PART: Final = "session"
"""Under this name the session's own messages are kept, beside those of its components."""

_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class OfferSetRecord:
    """The answer to one request, without its offers."""

    uuid: UUID
    owner: str | None
    result: OfferResult
    messages: tuple[Document, ...]
    created: datetime


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session, from offer to end.

    ``document`` is the session as it was offered or accepted; phases are in ``standing`` and what
    was said since in ``messages``, by component or ``SESSION_PART``. ``slot`` is None for one that
    was never possible. ``booking`` is what the ledger holds for it, None once that is free.
    ``start_at`` is chosen when it is accepted.
    """

    uuid: UUID
    offerset: UUID
    position: int
    owner: str | None
    standing: Standing
    document: Document
    slot: Slot | None
    booking: Booking | None
    start_at: datetime | None
    expires: datetime | None
    created: datetime
    modified: datetime
    messages: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)

    @property
    def phase(self) -> SessionPhase:
        """Where the session stands."""
        return self.standing.phase

    @property
    def key(self) -> str:
        """Its name in the ledger."""
        return str(self.uuid)

    def is_expired(self, now: datetime) -> bool:
        """Whether it is an offer that can no longer be accepted."""
        is_offer = self.phase is SessionPhase.OFFERED
        return is_offer and self.expires is not None and now >= self.expires

    @property
    def schedule(self) -> Schedule:
        """When an accepted session prepares, may run, and must have stopped."""
        if self.slot is None or self.start_at is None:
            raise AssertionError("only an accepted session has a schedule")
        return Schedule(
            prepare_at=self.start_at - timedelta(seconds=self.slot.stages.prepare_s),
            start_at=self.start_at,
            end_at=self.start_at + timedelta(seconds=self.slot.duration_s),
        )

    def accepted(self, now: datetime) -> "SessionRecord":
        """The offer as a session that begins as soon as it may; its booking shrinks to that.

        Raises
        ------
        ValueError
            The offer has expired.
        """
        if self.slot is None:
            raise AssertionError("a session that was never offered cannot be accepted")
        start = self.slot.start_if_accepted(whole_second(now))
        return replace(
            self,
            standing=accepted(now),
            document=reschedule(self.document, start),
            booking=run_booking(self.slot, start, self.key),
            start_at=datetime.fromtimestamp(start, UTC),
            modified=now,
        )

    def decided(
        self, decision: Decision, seen: Observation | None, now: datetime
    ) -> "SessionRecord":
        """Where the decision leaves it, with what was seen and what is to be told to the client."""
        document = with_observed(self.document, seen)
        is_same = decision.standing == self.standing and document is self.document
        if is_same and not decision.notes:
            return self
        said = dict(self.messages)
        for note in decision.notes:
            # A session without data can still fail for want of it: its notebook, its home.
            has_part = note.component is not None and document.get(note.component)
            part = note.component.value if note.component and has_part else SESSION_PART
            said[part] = (*said.get(part, ()), note.reason.message(now, **note.values))
        return replace(
            self, standing=decision.standing, document=document, modified=now, messages=said
        )


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """A request that was answered, and with what. ``owner`` is "" for the administrator."""

    owner: str
    key: str
    path: str
    digest: bytes
    result: UUID


def from_session(record: SessionRecord) -> tuple[Any, ...]:
    """The row of a session."""
    standing = record.standing
    return (
        str(record.uuid),
        str(record.offerset),
        record.position,
        record.owner,
        standing.phase.value,
        standing.target.value,
        standing.intent.value,
        to_micros(standing.intent_at),
        to_json(standing.components),
        to_json(record.document),
        None if record.slot is None else msgspec.json.encode(record.slot),
        None if record.booking is None else msgspec.json.encode(record.booking.spans),
        to_micros(record.start_at),
        to_micros(record.expires),
        to_micros(record.created),
        to_micros(record.modified),
        to_json(record.messages),
    )


def to_session(row: Sequence[Any]) -> SessionRecord:
    """The session of a row."""
    return SessionRecord(
        uuid=UUID(row[0]),
        offerset=UUID(row[1]),
        position=row[2],
        owner=row[3],
        standing=Standing(
            phase=SessionPhase(row[4]),
            target=SessionPhase(row[5]),
            intent=Intent(row[6]),
            intent_at=instant_of(row[7]),
            components=msgspec.json.decode(row[8], type=dict[Component, ComponentPhase]),
        ),
        document=from_json(row[9]),
        slot=None if row[10] is None else msgspec.json.decode(row[10], type=Slot),
        booking=None
        if row[11] is None
        else Booking(row[0], msgspec.json.decode(row[11], type=tuple[Span, ...])),
        start_at=to_instant(row[12]),
        expires=to_instant(row[13]),
        created=instant_of(row[14]),
        modified=instant_of(row[15]),
        messages={part: tuple(said) for part, said in from_json(row[16]).items()},
    )


def to_micros(instant: datetime | None) -> int | None:
    """Microseconds since 1970."""
    # Integers, not text or floats: compared in SQL, and the same again after a round trip.
    if instant is None:
        return None
    return round(instant.timestamp() * _MICROSECONDS)


def instant_of(micros: int) -> datetime:
    """The instant, in UTC."""
    seconds, fraction = divmod(micros, _MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction)


def to_instant(micros: int | None) -> datetime | None:
    """The instant, in UTC, if there is one."""
    return None if micros is None else instant_of(micros)
