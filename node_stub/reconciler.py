"""Drives accepted sessions to their end: looks at their jobs, decides, saves, acts.

Each session is looked at when something is expected of it, by one worker at a time. What is decided
is saved before the platform is asked for it, and asking again is harmless: so a crash between any
two steps loses nothing and makes nothing twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.wire.messages import message
from node_stub.clock import Clock
from node_stub.config import ReconcilerSettings
from node_stub.due import DueQueue
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
)
from node_stub.records import SessionRecord
from node_stub.standing import Decision, Intent, Limits
from node_stub.store import Store
from node_stub.waiting import wait_until

SESSION_PART: Final = "session"
"""Under this name the session's own messages are kept, beside those of its components."""

_SETTLED: Final = frozenset({Intent.NOTHING, Intent.DONE})

_log = structlog.get_logger(__name__)


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
        self._slots = asyncio.Semaphore(settings.workers)
        self._checkpoints: dict[UUID, Checkpoint] = {}
        self._failures: dict[UUID, _Failure] = {}
        self._unseen: dict[UUID, int] = {}

    def wake(self, session: UUID) -> None:
        """Look at this session now."""
        self._queue.put(session, self._clock.now())
        self._changed.set()

    async def run(self) -> None:
        """Drive sessions until cancelled."""
        self._queue = DueQueue()
        self._checkpoints = await self._store.checkpoints()
        await self._resume()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._release_orphans(), name="release_orphans")
            while True:
                due = self._queue.take(self._clock.now())
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

    async def _release_orphans(self) -> None:
        """Remove jobs that bear our mark and belong to no live session."""
        count = 0
        while True:
            try:
                if not await self._release_orphans_once():
                    return
            except (PlatformError, TimeoutError) as error:
                self._metrics.count_error("recover")
                _log.warning("recover_failed", reason=str(error))
            await asyncio.sleep(self._backoff_s(count))
            count += 1

    async def _release_orphans_once(self) -> bool:
        """Whether there were any."""
        async with asyncio.timeout(self._settings.call_timeout_s):
            found = await self._platform.recover()
            live = {record.uuid for record in await self._store.live_sessions()}
            orphans = [checkpoint for checkpoint in found if checkpoint.session not in live]
            for checkpoint in orphans:
                _log.warning("orphan_released", session=str(checkpoint.session))
                await self._platform.release(checkpoint)
        return bool(orphans)

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
            async with self._slots:
                record = await self._store.session(session)
                if record is not None:
                    intent = record.standing.intent
                    if seen is None and not self._is_hopeless(record):
                        seen = await self._observe(record)
                decided = await self._decide_and_save(session, seen)
                if decided is not None:
                    after, decision = decided
                    intent = decision.action or intent
                    again = await self._act(after, decision, seen)
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
                return None
            now = self._clock.now()
            decision = self._decide(record, seen, now)
            after = _after(record, decision, now)
            if _is_done(after):
                await transaction.remove_checkpoint(session)
                transaction.afterwards(lambda: self._forget(session))
                if record.standing.intent is Intent.NOTHING or _is_gone(seen):
                    # Otherwise something is left behind that still takes room: until it should end.
                    after = replace(after, booking=None)
                    transaction.afterwards(lambda: self._free(after))
            if after != record:
                await transaction.save_session(after, record)
        if after.phase is not record.phase:
            _log_move(record, after)
        return after, decision

    def _decide(self, record: SessionRecord, seen: Observation | None, now: datetime) -> Decision:
        if not self._is_hopeless(record):
            return decide(record.standing, record.schedule, seen, now, self._limits)
        failure = self._failures.pop(record.uuid)
        return given_up(record.standing, failure.reason, failure.detail, now)

    def _is_hopeless(self, record: SessionRecord) -> bool:
        """Whether the platform has failed often enough at what the session is at."""
        failure = self._failures.get(record.uuid)
        return (
            failure is not None
            and failure.intent is record.standing.intent
            and failure.count >= self._settings.attempts
        )

    async def _act(
        self, record: SessionRecord, decision: Decision, seen: Observation | None
    ) -> datetime | None:
        """Ask the platform for what was decided; when to look again."""
        now = self._clock.now()
        if _is_done(record):
            return None
        if decision.action is None:
            return self._next_look(record, decision, seen, now)
        checkpoint = self._checkpoint(record.uuid)
        async with asyncio.timeout(self._settings.call_timeout_s):
            saved = await self._ask(decision.action, record, checkpoint)
        if saved is not None and saved != self._checkpoints.get(record.uuid):
            async with self._store.transaction() as transaction:
                await transaction.save_checkpoint(saved)
            self._checkpoints[record.uuid] = saved
        self._failures.pop(record.uuid, None)
        return now

    async def _ask(
        self, action: Intent, record: SessionRecord, checkpoint: Checkpoint
    ) -> Checkpoint | None:
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
        now: datetime,
    ) -> datetime | None:
        if record.standing.intent in _SETTLED:
            return decision.wake
        if seen is None:
            return now + timedelta(seconds=self._backoff_s(self._unseen.get(record.uuid, 0)))
        if decision.wake is not None and (seen.look_again or seen.phase is JobPhase.READY):
            return decision.wake
        poll = now + timedelta(seconds=self._platform.poll_s)
        return poll if decision.wake is None else min(poll, decision.wake)

    def _failed(self, session: UUID, intent: Intent | None, error: Exception) -> datetime:
        """Remember it; when to try again."""
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
        wait_s = 0.0 if is_last else self._backoff_s(count - 1)
        return self._clock.now() + timedelta(seconds=wait_s)

    def _backoff_s(self, count: int) -> float:
        # The exponent is bounded: a float overflows beyond 2**1023.
        doubled = self._settings.backoff_s * 2.0 ** min(count, 64)
        return min(doubled, self._settings.max_backoff_s)

    def _checkpoint(self, session: UUID) -> Checkpoint:
        """What is known of a job; bare where nothing was noted down."""
        return self._checkpoints.get(session) or Checkpoint(session, self._platform.name)

    def _forget(self, session: UUID) -> None:
        for known in (self._checkpoints, self._failures, self._unseen):
            known.pop(session, None)

    def _free(self, record: SessionRecord) -> None:
        self._ledger.remove(record.key)


def _is_done(record: SessionRecord) -> bool:
    return record.standing.intent is Intent.DONE


def _is_gone(seen: Observation | None) -> bool:
    return seen is not None and seen.phase is JobPhase.GONE


def _after(record: SessionRecord, decision: Decision, now: datetime) -> SessionRecord:
    if decision.standing == record.standing and not decision.notes:
        return record
    after = replace(record, standing=decision.standing, modified=now)
    for note in decision.notes:
        part = SESSION_PART if note.component is None else note.component.value
        said = message(note.kind, note.level, note.template, note.values, now)
        after = after.saying(part, said)
    return after


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


def _log_move(before: SessionRecord, after: SessionRecord) -> None:
    _log.info(
        "session_moved",
        session=str(after.uuid),
        owner=after.owner,
        before=before.phase.value,
        phase=after.phase.value,
    )
