"""Offers: what is asked is checked, fitted into the ledger, and held as it is offered.

Whoever holds the store's transaction is alone with the ledger too: it is changed only when that
transaction has been committed, so nothing is ever promised twice, and a failed write holds nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.wire.documents import Document
from gateway.wire.phases import SessionPhase
from gateway.wire.times import format_instant
from node_stub import reasons
from node_stub.appraisal import Appraisal, Remark
from node_stub.clock import Clock, whole_second
from node_stub.config import OfferSettings
from node_stub.documents import (
    OfferResult,
    build_session,
    components_of,
    failed_session,
    offer_name,
)
from node_stub.errors import BudgetSpentError, KeyReusedError
from node_stub.fitting import Fitting, FittingRequest, NoFit, fit
from node_stub.ledger import Booking, Ledger
from node_stub.metrics import NodeMetrics
from node_stub.platforms.base import Platform, PlatformError
from node_stub.policy import Verdict, conclude, examine
from node_stub.records import IdempotencyRecord, OfferSetRecord, SessionRecord
from node_stub.rules import SiteRules
from node_stub.slots import Slot, hold_of
from node_stub.standing import Intent, Standing
from node_stub.store import Store
from node_stub.transaction import Transaction

_REFUSALS: Final = {
    NoFit.MAXIMUM_BELOW_MINIMUM: (reasons.MAXIMUM_BELOW_MINIMUM, ""),
    NoFit.TOO_LARGE: (reasons.TOO_LARGE, ""),
    NoFit.TOO_LONG: (reasons.TOO_LONG, "/schedule/requested/duration"),
    NoFit.NO_START: (reasons.NO_START_IN_TIME, "/schedule/requested/start"),
    NoFit.NO_CAPACITY: (reasons.NO_CAPACITY, "/schedule/requested/start"),
}
"""The reason, and the part of the request that it is about."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request as it came in.

    ``digest`` is that of the body. ``key`` is the idempotency key, if one was given. ``budget_ms``
    is how long whoever asks will still wait. ``limit`` is how many offers are wanted at most.
    ``root`` is the client's request that a gateway asks for, which may come by several ways.
    """

    document: Document
    owner: str | None
    path: str
    digest: bytes
    key: str | None = None
    budget_ms: int | None = None
    limit: int | None = None
    root: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to offer: each slot, or the reasons why there is none."""

    verdict: Verdict
    slots: tuple[Slot, ...]
    messages: tuple[Document, ...]


class Scheduler:
    """Makes offers.

    Parameters
    ----------
    platform
        Says what it can run, before anything is offered.
    ledger
        Holds of all that is booked in the store, and nothing else.
    expire
        Gives back what offers hold whose time has come; called before anything is fitted.
    awake
        Called with a session that has been accepted, and with None when there are new offers.
    is_draining
        Says whether the site takes no new requests for the time being.
    """

    def __init__(
        self,
        store: Store,
        platform: Platform,
        ledger: Ledger,
        rules: SiteRules,
        settings: OfferSettings,
        clock: Clock,
        mint: Callable[[], UUID],
        metrics: NodeMetrics,
        expire: Callable[[], Awaitable[object]],
        awake: Callable[[UUID | None], None],
        is_draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._platform = platform
        self._ledger = ledger
        self._rules = rules
        self._settings = settings
        self._clock = clock
        self._mint = mint
        self._metrics = metrics
        self._expire = expire
        self._awake = awake
        self._is_draining = is_draining

    async def offer(self, order: Order) -> UUID:
        """Answer a request with an offer set; its UUID.

        Raises
        ------
        KeyReusedError
            The idempotency key belongs to another request.
        BudgetSpentError
            It is too late to answer; nothing was held.
        """
        came_at = self._clock.now()
        await self._expire()
        verdict = await self._judge(order.document, came_at)
        async with self._store.transaction() as transaction:
            earlier = await self._answered(transaction, order, came_at)
            if earlier is not None:
                return earlier
            now = self._clock.now()
            if order.root is None or await transaction.claim_root(order.root, order.key, now):
                count = min(order.limit or self._settings.count, self._settings.count)
                plan = self._plan(verdict, now, count)
            else:
                plan = _Plan(verdict, (), (reasons.ASKED_ALREADY.message(now),))
            offerset = await self._add_offerset(transaction, order, plan, now)
            records = [self._offered(offerset, plan, i, now) for i in range(len(plan.slots))]
            await self._add_sessions(transaction, records)
            await self._remember(transaction, order, offerset.uuid, now)
        self._report("request_offered", offerset, records)
        return offerset.uuid

    async def direct(self, order: Order) -> UUID:
        """Answer a request with a session: accepted already, or FAILED with reasons; its UUID.

        Raises
        ------
        KeyReusedError, BudgetSpentError
            As for `offer`.
        """
        came_at = self._clock.now()
        await self._expire()
        verdict = await self._judge(order.document, came_at)
        async with self._store.transaction() as transaction:
            earlier = await self._answered(transaction, order, came_at)
            if earlier is not None:
                return earlier
            now = self._clock.now()
            plan = self._plan(verdict, now, 1)
            offerset = await self._add_offerset(transaction, order, plan, now)
            if plan.slots:
                record = self._offered(offerset, plan, 0, now).accepted(now)
                transaction.afterwards(lambda: self._awake(record.uuid))
            else:
                record = self._failed(offerset, now)
            await self._add_sessions(transaction, [record])
            await self._remember(transaction, order, record.uuid, now)
        self._report("request_direct", offerset, [record])
        return record.uuid

    async def _answered(
        self, transaction: Transaction, order: Order, came_at: datetime
    ) -> UUID | None:
        """What the same request was answered with before."""
        if order.key is not None:
            earlier = await transaction.answered(order.owner or "", order.key)
            if earlier is not None:
                if (earlier.path, earlier.digest) != (order.path, order.digest):
                    raise KeyReusedError
                return earlier.result
        if order.budget_ms is not None:
            waited = self._clock.now() - came_at
            if waited >= timedelta(milliseconds=order.budget_ms):
                raise BudgetSpentError
        return None

    async def _remember(
        self, transaction: Transaction, order: Order, result: UUID, now: datetime
    ) -> None:
        if order.key is not None:
            record = IdempotencyRecord(
                order.owner or "", order.key, order.path, order.digest, result
            )
            await transaction.add_answer(record, now)

    async def _judge(self, document: Document, now: datetime) -> Verdict:
        """What the site and its platform say; before anybody waits for the database."""
        draft = examine(document, site=self._rules, now=now, mint=self._mint)
        appraisal = Appraisal() if draft.is_refused else await self._appraise(draft.document)
        return conclude(draft, appraisal, site=self._rules)

    async def _appraise(self, document: Document) -> Appraisal:
        try:
            async with asyncio.timeout(self._settings.estimate_timeout_s):
                health = await self._platform.probe()
                if health.is_up:
                    return await self._platform.estimate(document)
            detail = health.detail
        except (PlatformError, TimeoutError) as error:
            detail = str(error) or type(error).__name__
        _log.warning("platform_unavailable", platform=self._platform.name, reason=detail)
        return Appraisal(remarks=(Remark(reasons.PLATFORM_DOWN, "", {"detail": detail}),))

    def _plan(self, verdict: Verdict, now: datetime, count: int) -> _Plan:
        if self._is_draining():
            return _Plan(verdict, (), (*verdict.messages, reasons.DRAINING.message(now)))
        if not verdict.is_possible:
            return _Plan(verdict, (), verdict.messages)
        found = fit(self._fitting_request(verdict, now, count), self._ledger)
        if not found.slots:
            return _Plan(verdict, (), (*verdict.messages, _refusal(found, now)))
        return _Plan(verdict, found.slots, verdict.messages)

    def _fitting_request(self, verdict: Verdict, now: datetime, count: int) -> FittingRequest:
        settings, stages = self._settings, verdict.stages
        return FittingRequest(
            now=whole_second(now),
            minimum=verdict.need,
            maximum=verdict.maximum,
            limits=self._rules.limits,
            duration_s=verdict.duration_s,
            max_duration_s=settings.max_duration_s,
            windows=verdict.windows,
            daily=verdict.daily,
            prepare_s=stages.prepare_s,
            compute_prepare_s=stages.compute_prepare_s,
            release_s=stages.release_s,
            count=count,
            fit=settings.fit,
            expires_s=settings.expires_s,
            min_expires_s=settings.min_expires_s,
            step_s=settings.step_s,
            scale=settings.scale,
        )

    async def _add_offerset(
        self, transaction: Transaction, order: Order, plan: _Plan, now: datetime
    ) -> OfferSetRecord:
        record = OfferSetRecord(
            uuid=self._mint(),
            owner=order.owner,
            result=OfferResult.YES if plan.slots else OfferResult.NO,
            messages=plan.messages,
            created=now,
        )
        await transaction.add_offerset(record)
        return record

    async def _add_sessions(
        self, transaction: Transaction, records: Sequence[SessionRecord]
    ) -> None:
        for record in records:
            uuids = [] if record.slot is None else component_uuids(record.document)
            await transaction.add_session(record, uuids)
        bookings = [record.booking for record in records if record.booking is not None]
        transaction.afterwards(lambda: self._book(bookings))

    def _book(self, bookings: Sequence[Booking]) -> None:
        for booking in bookings:
            self._ledger.add(booking)
        self._awake(None)

    def _offered(
        self, offerset: OfferSetRecord, plan: _Plan, position: int, now: datetime
    ) -> SessionRecord:
        slot, uuid = plan.slots[position], self._mint()
        expires = datetime.fromtimestamp(slot.expires, UTC)
        document = build_session(
            plan.verdict,
            slot,
            uuid=uuid,
            name=offer_name(plan.verdict, position),
            created=now,
            expires=expires,
            base_url="",
            profile=self._rules.profile,
        )
        return SessionRecord(
            uuid=uuid,
            offerset=offerset.uuid,
            position=position,
            owner=offerset.owner,
            standing=Standing(SessionPhase.OFFERED, SessionPhase.COMPLETED, Intent.NOTHING, now),
            document=document,
            slot=slot,
            booking=hold_of(slot, str(uuid)),
            start_at=None,
            expires=expires,
            created=now,
            modified=now,
        )

    def _failed(self, offerset: OfferSetRecord, now: datetime) -> SessionRecord:
        uuid = self._mint()
        return SessionRecord(
            uuid=uuid,
            offerset=offerset.uuid,
            position=0,
            owner=offerset.owner,
            standing=Standing(SessionPhase.FAILED, SessionPhase.FAILED, Intent.DONE, now),
            document=failed_session(uuid=uuid, created=now, messages=offerset.messages),
            slot=None,
            booking=None,
            start_at=None,
            expires=None,
            created=now,
            modified=now,
        )

    def _report(
        self, event: str, offerset: OfferSetRecord, records: Sequence[SessionRecord]
    ) -> None:
        self._metrics.count_answer(offerset.result, len(records))
        _log.info(
            event,
            offerset=str(offerset.uuid),
            result=offerset.result.value,
            sessions=[str(record.uuid) for record in records],
        )


def component_uuids(document: Document) -> list[UUID]:
    """The UUID of every component of a session."""
    return [UUID(component["meta"]["uuid"]) for _, component in components_of(document)]


def _refusal(found: Fitting, now: datetime) -> Document:
    if found.reason is None:
        raise AssertionError("no slot, and no reason why")
    reason, path = _REFUSALS[found.reason]
    if found.reason is not NoFit.NO_CAPACITY:
        return reason.message(now, path=path)
    free = "unknown" if found.next_free is None else _text_of(found.next_free)
    return reason.message(now, path=path, next=free)


def _text_of(seconds: int) -> str:
    return format_instant(datetime.fromtimestamp(seconds, UTC))
