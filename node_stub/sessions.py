"""Sessions as their owners read and change them: accept, reject, cancel; and offers that expire."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.kinds import ENUM_UPDATE
from gateway.wire.phases import SessionPhase, can_client_move
from gateway.wire.times import format_instant
from node_stub import reasons
from node_stub.checks.findings import shown
from node_stub.clock import Clock
from node_stub.errors import NotOwnerError, UnknownDocumentError
from node_stub.ledger import Ledger
from node_stub.lifecycle import cancelled
from node_stub.records import OfferSetRecord, SessionRecord
from node_stub.standing import Intent
from node_stub.store import Store
from node_stub.transaction import Transaction

PHASE_PATHS: Final = frozenset({"phase", "/phase"})
"""How an update may name the phase: the upstream service takes both."""

_CLIENT_PHASES: Final = frozenset(
    {SessionPhase.ACCEPTED, SessionPhase.REJECTED, SessionPhase.CANCELLED}
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``owner`` is None for the administrator, and for somebody who did not say."""

    owner: str | None = None
    is_admin: bool = False

    def may_change(self, owner: str | None) -> bool:
        """Whether what belongs to this owner is the caller's to change; nobody's is the admin's."""
        return self.is_admin or (owner is not None and owner == self.owner)


@dataclass(frozen=True, slots=True)
class Updated:
    """A session after an update, and why it was refused, if it was."""

    record: SessionRecord
    refusal: Document | None = None


class Sessions:
    """Reads and changes sessions.

    Parameters
    ----------
    awake
        Called with a session whose work has changed, and with None when an offer has ended.
    has_private_reads
        Whether only owners may read.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        awake: Callable[[UUID | None], None],
        *,
        has_private_reads: bool = False,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._awake = awake
        self._has_private_reads = has_private_reads

    async def offerset(
        self, uuid: UUID, caller: Caller
    ) -> tuple[OfferSetRecord, list[SessionRecord]]:
        """An offer set and its sessions.

        Raises
        ------
        UnknownDocumentError
        """
        await self.expire()
        record = await self._store.offerset(uuid)
        if record is None or not self._may_read(record.owner, caller):
            raise UnknownDocumentError("offer set", uuid)
        return record, await self._store.sessions_of(uuid)

    async def session(self, uuid: UUID, caller: Caller) -> SessionRecord:
        """One session.

        Raises
        ------
        UnknownDocumentError
        """
        await self.expire()
        record = await self._store.session(uuid)
        if record is None or not self._may_read(record.owner, caller):
            raise UnknownDocumentError("session", uuid)
        return record

    async def session_of_component(self, uuid: UUID, caller: Caller) -> SessionRecord:
        """The session that has this component.

        Raises
        ------
        UnknownDocumentError
        """
        record = await self._store.session_of_component(uuid)
        if record is None or not self._may_read(record.owner, caller):
            raise UnknownDocumentError("component", uuid)
        return record

    async def update(self, uuid: UUID, update: Document, caller: Caller) -> Updated:
        """Do what a client asks of a session, or say why not.

        Asking again for what has been done changes nothing and is no refusal.

        Raises
        ------
        UnknownDocumentError, NotOwnerError
        """
        async with self._store.transaction() as transaction:
            record = await transaction.session(uuid)
            if record is None or not self._may_read(record.owner, caller):
                raise UnknownDocumentError("session", uuid)
            if not caller.may_change(record.owner):
                raise NotOwnerError(uuid)
            now = self._clock.now()
            wanted = _wanted_phase(update, now)
            if isinstance(wanted, dict):
                return Updated(record, wanted)
            return await self._move(transaction, record, wanted, now)

    async def expire(self) -> int:
        """Mark offers EXPIRED whose time has come, and give back what they held; how many."""
        next_expiry = await self._store.next_expiry()
        now = self._clock.now()
        if next_expiry is None or next_expiry > now:
            return 0
        async with self._store.transaction() as transaction:
            expired = await transaction.expired_offers(now)
            for record in expired:
                await self._end_offer(transaction, record, SessionPhase.EXPIRED, now)
        return len(expired)

    def _may_read(self, owner: str | None, caller: Caller) -> bool:
        return not self._has_private_reads or caller.may_change(owner)

    async def _move(
        self, transaction: Transaction, record: SessionRecord, wanted: SessionPhase, now: datetime
    ) -> Updated:
        if _is_done(record, wanted):
            return Updated(record)
        if record.is_expired(now):
            record = await self._end_offer(transaction, record, SessionPhase.EXPIRED, now)
        if not can_client_move(record.phase, wanted):
            return Updated(record, _refusal(record, wanted, now))
        if wanted is SessionPhase.ACCEPTED:
            return Updated(await self._accept(transaction, record, now))
        if record.phase is SessionPhase.OFFERED:
            return Updated(await self._end_offer(transaction, record, wanted, now))
        return Updated(await self._cancel(transaction, record, now))

    async def _accept(
        self, transaction: Transaction, record: SessionRecord, now: datetime
    ) -> SessionRecord:
        session = record.accepted(now)
        await transaction.save_session(session, record)
        for sibling in await transaction.sessions_of(record.offerset):
            if sibling.phase is SessionPhase.OFFERED and sibling.uuid != record.uuid:
                is_late = sibling.is_expired(now)
                end = SessionPhase.EXPIRED if is_late else SessionPhase.REJECTED
                await self._end_offer(transaction, sibling, end, now)
        booking = session.booking
        if booking is None:
            raise AssertionError("an offer without hold")
        transaction.afterwards(lambda: self._ledger.replace(booking))
        transaction.afterwards(lambda: self._awake(session.uuid))
        return session

    async def _cancel(
        self, transaction: Transaction, record: SessionRecord, now: datetime
    ) -> SessionRecord:
        standing = cancelled(record.standing, now)
        session = replace(record, standing=standing, modified=now)
        if standing.intent is Intent.DONE:
            session = replace(session, booking=None)
            transaction.afterwards(lambda: self._free(session.key))
        await transaction.save_session(session, record)
        transaction.afterwards(lambda: self._awake(session.uuid))
        return session

    async def _end_offer(
        self, transaction: Transaction, record: SessionRecord, phase: SessionPhase, now: datetime
    ) -> SessionRecord:
        """An offer that is over gives back at once what it held."""
        standing = replace(record.standing.moved(phase), target=phase, intent=Intent.DONE)
        session = replace(record, standing=standing, booking=None, modified=now)
        await transaction.save_session(session, record)
        transaction.afterwards(lambda: self._free(session.key))
        return session

    def _free(self, key: str) -> None:
        self._ledger.remove(key)
        self._awake(None)


def _wanted_phase(update: Document, now: datetime) -> SessionPhase | Document:
    """The phase that an update asks for, or why it cannot be had."""
    if update["kind"] != ENUM_UPDATE:
        given = shown(update["kind"])
        return reasons.UPDATE_KIND.message(now, path="/kind", kind=ENUM_UPDATE, given=given)
    if update["path"] not in PHASE_PATHS:
        return reasons.UPDATE_PATH.message(now, path="/path", given=shown(update["path"]))
    value = update["value"]
    if value not in _CLIENT_PHASES:
        return reasons.UPDATE_VALUE.message(now, path="/value", given=shown(value))
    return SessionPhase(value)


def _is_done(record: SessionRecord, wanted: SessionPhase) -> bool:
    """Whether the client asks again for what it has already had."""
    if wanted is SessionPhase.ACCEPTED:
        return record.start_at is not None and record.phase is not SessionPhase.CANCELLED
    return record.phase is wanted


def _refusal(record: SessionRecord, wanted: SessionPhase, now: datetime) -> Document:
    if record.phase is SessionPhase.EXPIRED and record.expires is not None:
        expires = format_instant(record.expires)
        return reasons.OFFER_EXPIRED.message(now, path="/value", expires=expires)
    phase, given = record.phase.value, wanted.value
    return reasons.UPDATE_PHASE.message(now, path="/value", phase=phase, given=given)
