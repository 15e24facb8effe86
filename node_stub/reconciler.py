"""Drives accepted sessions to their end: looks at their jobs, decides, saves, acts.

Each session is looked at when something is expected of it, by one worker at a time. What is decided
is saved before the platform is asked for it, and asking again is harmless: so a crash between any
two steps loses nothing and makes nothing twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from node_stub.backlog import Backlog
from node_stub.clock import Clock, whole_second
from node_stub.config import ReconcilerSettings
from node_stub.due import DueQueue, next_tick
from node_stub.errors import StoreUnavailableError
from node_stub.ledger import Ledger
from node_stub.lifecycle import decide, given_up, resumed
from node_stub.metrics import NodeMetrics
from node_stub.platforms.base import (
    Checkpoint,
    EndReason,
    JobPhase,
    JobRefusedError,
    JobSpec,
    Observation,
    Platform,
    PlatformError,
    UnarchivedError,
)
from node_stub.records import SessionRecord
from node_stub.standing import Decision, Intent, Limits
from node_stub.store import Store
from node_stub.waiting import wait_until

OVERRUN_S: Final = 60
"""What has not gone at the end of its booked time is booked again for so long, each time."""

_SETTLED: Final = frozenset({Intent.NOTHING, Intent.DONE})
_STARTING: Final = frozenset({Intent.PREPARE, Intent.LAUNCH})

_log = structlog.get_logger(__name__)


class _OvertakenError(Exception):
    """What was being asked for is no longer wanted."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What failed, how often in a row."""

    intent: Intent | None
    count: int
    reason: EndReason
    detail: str


class Reconciler:
    """Drives every accepted session of a node."""

    def __init__(
        self,
        store: Store,
        platform: Platform,
        ledger: Ledger,
        settings: ReconcilerSettings,
        clock: Clock,
        metrics: NodeMetrics,
    ) -> None:
        self._store = store
        self._platform = platform
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._limits = Limits(
            timedelta(seconds=settings.stop_s), timedelta(seconds=settings.release_s)
        )
        self._queue = DueQueue()
        self._changed = asyncio.Event()
        self._workers = asyncio.Semaphore(settings.workers)
        # What failed before may keep only some workers waiting, never all.
        self._troubled = asyncio.Semaphore(max(1, settings.workers // 2))
        self._starting: dict[UUID, asyncio.Timeout] = {}
        self._checkpoints: dict[UUID, Checkpoint] = {}
        self._failures: dict[UUID, _Failure] = {}
        self._backlog = Backlog(settings)
        self._unseen: dict[UUID, int] = {}

    def wake(self, session: UUID) -> None:
        """Look at this session now: what is wanted of it has changed.

        A call to get it going that is under way is not waited for any longer.
        """
        self._queue.put(session, self._clock.now())
        self._changed.set()
        call = self._starting.pop(session, None)
        if call is not None and not call.expired():
            call.reschedule(asyncio.get_running_loop().time())

    async def follow_events(self) -> None:
        """Look at sessions as soon as the platform hints at them, until cancelled."""
        async for session in self._platform.events():
            if session in self._checkpoints:
                self._queue.put(session, self._clock.now())
                self._changed.set()

    async def run(self) -> None:
        """Drive sessions until cancelled."""
        self._queue = DueQueue()
        self._checkpoints = await self._store.checkpoints()
        await self._resume()
        last = self._clock.now()
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._clock.now()
                if now < last:
                    # The clock was set back: what was due at once would be due by that much later.
                    self._queue.put_all(now)
                last = now
                due = self._queue.take(now)
                if due:
                    tasks.create_task(self._look_at(due), name="reconcile")
                await wait_until(self._queue.next_due(), self._changed, self._clock)

    async def _resume(self) -> None:
        """Take up every session where it was left."""
        now = self._clock.now()
        for found in await self._store.live_sessions():
            if found.standing.intent in (Intent.STOP, Intent.RELEASE):
                async with self._store.transaction() as transaction:
                    record = await transaction.session(found.uuid)
                    if record is not None:
                        after = replace(record, standing=resumed(record.standing, now))
                        await transaction.save_session(after, record)
            self._queue.put(found.uuid, now)

    async def _look_at(self, due: Sequence[UUID]) -> None:
        """Observe all that are due in one call, then see to each."""
        seen = await self._observe_together(due)
        async with asyncio.TaskGroup() as tasks:
            for session in due:
                tasks.create_task(self._see_to(session, seen.get(session)), name="see_to")

    async def _observe_together(self, sessions: Sequence[UUID]) -> Mapping[UUID, Observation]:
        """What the platform says of each; those that made a look fail before are left out."""
        asked = [
            self._checkpoint(session)
            for session in sessions
            if session not in self._unseen and session in self._checkpoints
        ]
        if not asked:
            return {}
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                return await self._platform.observe(asked)
        except Exception as error:  # noqa: BLE001 - one poisonous job must not hide the others
            self._metrics.count_error("observe")
            _log.warning("observe_failed", sessions=len(asked), reason=repr(error))
            return {}

    async def _see_to(self, session: UUID, seen: Observation | None) -> None:
        """One look at one session; whatever goes wrong is its own affair."""
        intent: Intent | None = None
        again: datetime | None = None
        try:
            async with self._lane(session), self._workers:
                record = await self._store.session(session)
                if record is not None:
                    intent = record.standing.intent
                    if seen is None and not self._is_hopeless(record):
                        seen = await self._observe(record)
                decided = await self._decide_and_save(session, seen)
                if decided is not None:
                    after, decision = decided
                    is_repeated = decision.action is intent
                    intent = decision.action or intent
                    again = await self._act(after, decision, seen, is_repeated=is_repeated)
        except StoreUnavailableError:
            # That says nothing about the session, nor about its platform.
            again = self._clock.now() + timedelta(seconds=self._settings.wait_s(1))
        except Exception as error:  # noqa: BLE001 - supervised: one session never stalls others
            again = self._failed(session, intent, error)
        self._queue.done(session, again)
        self._changed.set()

    async def _observe(self, record: SessionRecord) -> Observation | None:
        """One job alone; None when it cannot be seen, or there is none to be seen."""
        if record.standing.intent in _SETTLED:
            return None
        session = record.uuid
        # Until it has been seen it is looked at alone, so that it cannot hide others.
        self._unseen[session] = self._unseen.get(session, 0) + 1
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                seen = await self._platform.observe([self._checkpoint(session)])
        except (PlatformError, TimeoutError) as error:
            self._metrics.count_error("observe")
            _log.warning("session_unseen", session=str(session), reason=repr(error))
            return None
        self._unseen.pop(session, None)
        return seen.get(session)

    async def _decide_and_save(
        self, session: UUID, seen: Observation | None
    ) -> tuple[SessionRecord, Decision] | None:
        """Where the session stands now, and what is to be done; None if nothing ever again."""
        async with self._store.transaction() as transaction:
            record = await transaction.session(session)
            if record is None or record.start_at is None or _is_done(record):
                self._forget(session)
                return None
            now = self._clock.now()
            decision = self._decide(record, seen, now)
            after = record.decided(decision, seen, now)
            if decision.notes:
                transaction.afterwards(lambda: self._backlog.told(session))
            if _is_done(after):
                await transaction.remove_checkpoint(session)
                transaction.afterwards(lambda: self._forget(session))
                if record.standing.intent is Intent.NOTHING or _is_gone(seen):
                    # Otherwise something is left behind that still takes room: until it should end.
                    after = replace(after, booking=None)
                    transaction.afterwards(lambda: self._ledger.remove(after.key))
            elif after.booking is not None and after.booking.end <= now.timestamp():
                # Its job still takes room, whether or not that was promised to others.
                booking = after.booking.prolonged(whole_second(now) + OVERRUN_S)
                after = replace(after, booking=booking)
                transaction.afterwards(lambda: self._ledger.restore(booking))
            if after != record:
                await transaction.save_session(after, record)
        return after, decision

    def _decide(self, record: SessionRecord, seen: Observation | None, now: datetime) -> Decision:
        if self._is_hopeless(record):
            failure = self._failures.pop(record.uuid)
            return given_up(record.standing, failure.reason, failure.detail, now)
        waiting = self._backlog.decision(record.uuid, record.standing, seen, now)
        return waiting or decide(record.standing, record.schedule, seen, now, self._limits)

    def _is_hopeless(self, record: SessionRecord) -> bool:
        """Whether the platform has failed often enough at what the session is at."""
        failure = self._failures.get(record.uuid)
        return (
            failure is not None
            and failure.intent is record.standing.intent
            and failure.count >= self._settings.attempts
        )

    async def _act(
        self,
        record: SessionRecord,
        decision: Decision,
        seen: Observation | None,
        *,
        is_repeated: bool,
    ) -> datetime | None:
        """Ask the platform for what was decided; when to look again."""
        if _is_done(record):
            return None
        if decision.action is None:
            return self._next_look(record, decision, seen)
        try:
            saved = await self._ask(decision.action, record)
        except _OvertakenError:
            return self._clock.now()
        if saved is not None and saved != self._checkpoints.get(record.uuid):
            async with self._store.transaction() as transaction:
                await transaction.save_checkpoint(saved)
            self._checkpoints[record.uuid] = saved
        self._failures.pop(record.uuid, None)
        # Some platforms show late what was done; asking on and on would not make them quicker.
        wait_s = self._platform.poll_s if is_repeated else 0.0
        return self._clock.now() + timedelta(seconds=wait_s)

    async def _ask(self, action: Intent, record: SessionRecord) -> Checkpoint | None:
        """One call to the platform, never longer than allowed.

        Raises
        ------
        _OvertakenError
            It was to get the session going, and something else is wanted now.
        """
        session = record.uuid
        try:
            async with asyncio.timeout(self._settings.call_timeout_s) as call:
                if action in _STARTING:
                    self._starting[session] = call
                return await self._call(action, record)
        except TimeoutError as error:
            if action in _STARTING and session not in self._starting:
                raise _OvertakenError from error
            raise
        finally:
            self._starting.pop(session, None)

    async def _call(self, action: Intent, record: SessionRecord) -> Checkpoint | None:
        checkpoint = self._checkpoint(record.uuid)
        if action is Intent.PREPARE:
            return await self._platform.prepare(_spec_of(record))
        if action is Intent.LAUNCH:
            return await self._platform.launch(_spec_of(record), checkpoint)
        if action is Intent.STOP:
            await self._platform.stop(checkpoint)
        else:
            await self._platform.release(checkpoint)
        return None

    def _next_look(
        self,
        record: SessionRecord,
        decision: Decision,
        seen: Observation | None,
    ) -> datetime | None:
        if record.standing.intent in _SETTLED:
            return decision.wake
        now = self._clock.now()
        looks = [] if decision.wake is None else [decision.wake]
        if seen is None:
            unseen_s = self._settings.wait_s(1 + self._unseen.get(record.uuid, 0))
            looks.append(now + timedelta(seconds=unseen_s))
        elif not (looks and (seen.look_again or seen.phase is JobPhase.READY)):
            looks.append(next_tick(now, self._platform.poll_s))
        if record.booking is not None:
            # Then at the latest it is seen that it goes on taking room.
            looks.append(datetime.fromtimestamp(record.booking.end, UTC))
        return min(looks)

    def _failed(self, session: UUID, intent: Intent | None, error: Exception) -> datetime:
        """Remember it; when to try again."""
        if isinstance(error, UnarchivedError):
            self._metrics.count_error("archive")
            return self._backlog.failed(session, error.left, self._clock.now())
        before = self._failures.get(session)
        count = before.count + 1 if before is not None and before.intent is intent else 1
        reason = EndReason.NODE
        if isinstance(error, JobRefusedError):
            count, reason = max(count, self._settings.attempts), error.reason
        elif isinstance(error, TimeoutError):
            reason = EndReason.TIMEOUT
        detail = str(error) if isinstance(error, PlatformError) else type(error).__name__
        self._failures[session] = _Failure(intent, count, reason, detail)
        self._metrics.count_error("store" if intent is None else intent.value.lower())
        report = _log.warning if isinstance(error, PlatformError | TimeoutError) else _log.error
        report(
            "session_step_failed",
            session=str(session),
            step=intent,
            count=count,
            exc_info=not isinstance(error, PlatformError | TimeoutError),
            reason=str(error),
        )
        # Given up at once; but if that fails too, it waits like everything else.
        is_last = count == self._settings.attempts or isinstance(error, JobRefusedError)
        wait_s = 0.0 if is_last else self._settings.wait_s(count)
        return self._clock.now() + timedelta(seconds=wait_s)

    def _checkpoint(self, session: UUID) -> Checkpoint:
        """What is known of a job; bare where nothing was noted down."""
        return self._checkpoints.get(session) or Checkpoint(session, self._platform.name)

    def _forget(self, session: UUID) -> None:
        self._backlog.forget(session)
        for known in (self._checkpoints, self._failures, self._unseen):
            known.pop(session, None)

    def _lane(self, session: UUID) -> AbstractAsyncContextManager[object]:
        return self._troubled if session in self._failures else nullcontext()


def _is_done(record: SessionRecord) -> bool:
    return record.standing.intent is Intent.DONE


def _is_gone(seen: Observation | None) -> bool:
    return seen is not None and seen.phase is JobPhase.GONE


def _spec_of(record: SessionRecord) -> JobSpec:
    if record.slot is None:
        raise AssertionError("only what was offered can run")
    amounts = record.slot.amounts
    return JobSpec(
        session=record.uuid,
        document=record.document,
        cores=amounts.cores,
        memory_gib=amounts.memory_gib,
        storage_gib=amounts.storage_gib,
        end_at=record.schedule.end_at,
    )
