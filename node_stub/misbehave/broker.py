"""A small broker in memory: offers, acceptances and sessions without capacity, store or account.

What misbehaves is put in front of it, so that a gateway can go through a session's whole life.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from gateway.wire.documents import Document, from_json, to_json
from gateway.wire.headers import IDEMPOTENCY_KEY
from gateway.wire.phases import EXECUTION_PHASES, SessionPhase, can_client_move
from node_stub.misbehave.bounds import DEFAULT_OFFERS
from node_stub.misbehave.documents import (
    EXPIRES_S,
    in_phase,
    offer_document,
    offerset_document,
    problem_reply,
)
from node_stub.misbehave.exchange import Asked, http_reply

"""Offers in each answer: as many as the upstream services give."""

RUN_S: Final = 1.0
"""What a session takes from its acceptance to its end: short, as a rehearsal is watched."""

MAX_KEPT: Final = 20_000
"""Sessions, offer sets and keys that are remembered, some 100 MB in all; the oldest go first."""

_OK: Final = "200 OK"

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Held:
    """A session as the broker has it. ``accepted`` is when it was, ``expires`` when it would."""

    document: Document
    offerset: str
    expires: datetime
    accepted: datetime | None = None

    @property
    def phase(self) -> SessionPhase:
        """Where it stands."""
        return SessionPhase(self.document["phase"])

    def enter(self, phase: SessionPhase) -> None:
        """Bring it into this phase."""
        self.document = in_phase(self.document, phase)


@dataclass(frozen=True, slots=True)
class OfferSet:
    """An answer once given: all of it but the offers, and the sessions that were offered."""

    head: Document
    sessions: tuple[UUID, ...]


class MemoryBroker:
    """Answers as a node broker should.

    Parameters
    ----------
    offers
        How many there are in each answer.
    honours_keys
        Whether it gives the same answer to the same ``Idempotency-Key``, and says so by repeating
        the key, as our node broker does and the upstream services do not.
    """

    def __init__(
        self,
        offers: int = DEFAULT_OFFERS,
        *,
        honours_keys: bool = True,
        run_s: float = RUN_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._offers = offers
        self._honours_keys = honours_keys
        self._run = timedelta(seconds=run_s)
        self._now = now
        self._sessions: OrderedDict[UUID, Held] = OrderedDict()
        self._offersets: OrderedDict[str, OfferSet] = OrderedDict()
        self._by_key: OrderedDict[str, str] = OrderedDict()

    def answer(self, asked: Asked) -> bytes:
        """The whole answer to any request."""
        collection, _, name = asked.route.strip("/").partition("/")
        if asked.is_health:
            return http_reply(b'{"status": "ok"}', status=_OK)
        if asked.is_question:
            return self.reply_with(asked, self.offerset(asked))
        if collection == "offersets" and name in self._offersets:
            return http_reply(to_json(self._shown(name)), status=_OK)
        if collection == "sessions" and (uuid := self.session_of(asked)) is not None:
            return self._answer_session(asked, uuid)
        return problem_reply("404 Not Found", f"there is nothing at {asked.route}")

    def offerset(
        self,
        asked: Asked,
        *,
        offers: int | None = None,
        shift: timedelta = timedelta(0),
        uuid: UUID | None = None,
    ) -> Document:
        """An answer to the question, remembered; the same again to the same key.

        ``shift`` is how far the node's clock is ahead as it writes, ``uuid`` what every session is
        called, if not by one of its own.
        """
        key = asked.headers.get(IDEMPOTENCY_KEY.lower(), "") if self._honours_keys else ""
        if (known := self._by_key.get(key)) in self._offersets:
            return self._shown(str(known))
        written = [
            offer_document(
                asked.origin, request=_request_of(asked), now=self._now() + shift, uuid=uuid
            )
            for _ in range(self._offers if offers is None else offers)
        ]
        document = offerset_document(written, asked.origin)
        name = str(document["meta"]["uuid"])
        expires = self._now() + timedelta(seconds=EXPIRES_S)
        for offer in written:
            _remember(self._sessions, UUID(offer["meta"]["uuid"]), Held(offer, name, expires))
        sessions = tuple(UUID(offer["meta"]["uuid"]) for offer in written)
        head = {member: value for member, value in document.items() if member != "offers"}
        _remember(self._offersets, name, OfferSet(head, sessions))
        if key:
            _remember(self._by_key, key, name)
        return document

    def reply_with(self, asked: Asked, offerset: Document) -> bytes:
        """The answer to a question that carries this offer set."""
        key = asked.headers.get(IDEMPOTENCY_KEY.lower())
        echo = f"{IDEMPOTENCY_KEY}: {key}\r\n" if key and self._honours_keys else ""
        location = f"Location: {offerset['meta']['url']}\r\n"
        return http_reply(to_json(offerset), headers=location + echo)

    def session_of(self, asked: Asked) -> UUID | None:
        """The session that a request is about, if it is known."""
        collection, _, name = asked.route.strip("/").partition("/")
        try:
            uuid = UUID(name)
        except ValueError:
            return None
        return uuid if collection == "sessions" and uuid in self._sessions else None

    def session(self, uuid: UUID) -> Document:
        """The session as it is now; the caller knows that there is one."""
        held = self._sessions[uuid]
        now = self._now()
        if held.phase is SessionPhase.OFFERED and held.expires <= now:
            held.enter(SessionPhase.EXPIRED)
        elif held.accepted is not None and held.phase in EXECUTION_PHASES:
            has_ended = now >= held.accepted + self._run
            held.enter(SessionPhase.COMPLETED if has_ended else SessionPhase.RUNNING)
        return held.document

    def move(self, uuid: UUID, phase: SessionPhase) -> bool:
        """Do what the owner asks for, if the phases allow it; whether it is so now."""
        self.session(uuid)
        held = self._sessions[uuid]
        if held.phase is phase or (phase is SessionPhase.ACCEPTED and held.accepted is not None):
            return True
        if not can_client_move(held.phase, phase):
            return False
        held.enter(phase)
        if phase is SessionPhase.ACCEPTED:
            held.accepted = self._now()
            self._release_siblings(held)
        return True

    def drop(self, uuid: UUID) -> None:
        """Let go of an offer before its time."""
        held = self._sessions[uuid]
        if held.phase is SessionPhase.OFFERED:
            held.enter(SessionPhase.EXPIRED)

    def forget(self, uuid: UUID) -> None:
        """Know nothing of a session any more."""
        del self._sessions[uuid]

    def _answer_session(self, asked: Asked, uuid: UUID) -> bytes:
        if asked.method == "GET":
            return http_reply(to_json(self.session(uuid)), status=_OK)
        if (phase := phase_wanted(asked)) is None:
            return problem_reply("400 Bad Request", "this is no update of a phase")
        if not self.move(uuid, phase):
            is_strict = "handling=strict" in asked.headers.get("prefer", "")
            if is_strict:
                now = self._sessions[uuid].phase
                detail = f"a session in phase {now} cannot be set to {phase}"
                return problem_reply("409 Conflict", detail)
        return http_reply(to_json(self._sessions[uuid].document), status=_OK)

    def _shown(self, name: str) -> Document:
        """An offer set with its offers as they are now."""
        known = self._offersets[name]
        offers = [self.session(uuid) for uuid in known.sessions if uuid in self._sessions]
        return {**known.head, "offers": offers}

    def _release_siblings(self, chosen: Held) -> None:
        if (offerset := self._offersets.get(chosen.offerset)) is None:
            return
        for uuid in offerset.sessions:
            held = self._sessions.get(uuid, chosen)
            if held is not chosen and held.phase is SessionPhase.OFFERED:
                held.enter(SessionPhase.REJECTED)


def phase_wanted(asked: Asked) -> SessionPhase | None:
    """The phase that an update asks for; None where the request is no such update."""
    try:
        return SessionPhase(from_json(asked.body)["value"]) if asked.method == "POST" else None
    except (ValueError, TypeError, KeyError):
        return None


def _request_of(asked: Asked) -> Document:
    """What is asked for; what cannot be read asks for nothing in particular."""
    try:
        request = from_json(asked.body)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _remember(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    kept[key] = value
    if len(kept) > MAX_KEPT:
        kept.popitem(last=False)
