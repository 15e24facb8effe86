"""How a session moves: what is decided from where it stands, what is seen of its job, and the time.

Pure. The reconciler saves each decision before it acts on it, so a decision says both where the
session stands now and what the platform is to be asked for. Phases may be skipped but never run
backwards, and a terminal phase is final.
"""

from datetime import datetime
from typing import Final

from gateway.wire.phases import ComponentPhase, SessionPhase
from gateway.wire.times import format_instant
from node_stub import reasons
from node_stub.platforms.base import EndReason, JobPhase, Observation, Unarchived
from node_stub.standing import Component, Decision, Intent, Limits, Note, Schedule, Standing

_FINAL_COMPONENT: Final = {
    SessionPhase.CANCELLED: ComponentPhase.CANCELLED,
    SessionPhase.COMPLETED: ComponentPhase.COMPLETED,
    # The part that failed says so itself; the others came to a proper end.
    SessionPhase.FAILED: ComponentPhase.COMPLETED,
}

_FAILURES: Final = {
    EndReason.IMAGE: (Component.EXECUTABLE, reasons.EXECUTION_FAILED),
    EndReason.DATA: (Component.DATA, reasons.DATA_FAILED),
    EndReason.STORAGE: (Component.STORAGE, reasons.STORAGE_EXCEEDED),
    EndReason.RESULTS: (Component.STORAGE, reasons.RESULTS_FAILED),
}
"""The part that failed, and what is said of it; of other reasons, that the execution failed."""


def accepted(now: datetime) -> Standing:
    """Where a session stands that has just been accepted."""
    return Standing(SessionPhase.ACCEPTED, SessionPhase.COMPLETED, Intent.NOTHING, now)


def decide(
    standing: Standing,
    schedule: Schedule,
    seen: Observation | None,
    now: datetime,
    limits: Limits,
) -> Decision:
    """The next step of an accepted session.

    Parameters
    ----------
    seen
        The last look at the job; None when the platform cannot be seen, of which nothing follows.
        Not needed while nothing was asked of the platform.
    """
    if standing.intent is Intent.NOTHING:
        return _before(standing, schedule, now)
    if seen is None or standing.intent is Intent.DONE:
        return Decision(standing)
    if standing.intent is Intent.PREPARE:
        return _preparing(standing, schedule, seen, now)
    if standing.intent is Intent.LAUNCH:
        return _launched(standing, schedule, seen, now)
    winding_down = _stopping if standing.intent is Intent.STOP else _releasing
    return winding_down(standing, seen, now, limits)


def resumed(standing: Standing, now: datetime) -> Standing:
    """Where a session stands when the broker comes back: a platform's time to stop begins anew."""
    is_winding_down = standing.intent in (Intent.STOP, Intent.RELEASE)
    return standing.asked(standing.intent, now) if is_winding_down else standing


def cancelled(standing: Standing, now: datetime) -> Standing:
    """The session is CANCELLED at once; its components follow as the work is wound down."""
    ended = standing.aimed(SessionPhase.CANCELLED).moved(SessionPhase.CANCELLED)
    if standing.intent is Intent.NOTHING:
        return _done(ended, now)
    if standing.intent in (Intent.RELEASE, Intent.DONE):
        return ended
    return ended.asked(Intent.STOP, now).with_components(ComponentPhase.RELEASING)


def given_up(standing: Standing, reason: EndReason, detail: str, now: datetime) -> Decision:
    """What follows when a platform cannot do what it was asked: the session fails.

    Whatever was made is released; if releasing is what fails, it is left behind and said so.
    """
    values = {"step": standing.intent.value.lower(), "reason": reason.value, "detail": detail}
    if standing.intent is not Intent.RELEASE:
        part = Component.EXECUTABLE if standing.intent is Intent.PREPARE else Component.COMPUTE
        return _fail(standing, part, Note(part, reasons.PLATFORM_FAILED, values), now)
    note = Note(Component.COMPUTE, reasons.RELEASE_FAILED, values)
    failed = standing.aimed(SessionPhase.FAILED).with_components(
        ComponentPhase.FAILED, Component.COMPUTE
    )
    return Decision(_done(failed, now), notes=(note,))


def unarchived(
    standing: Standing,
    left: Unarchived,
    until: datetime,
    seen: Observation | None,
    now: datetime,
    *,
    is_told: bool,
) -> Decision:
    """What follows when a job is over and the archive cannot take what came out of it.

    It is tried again until a time that the client is told once; after that the session fails, and
    says that its work did not.
    """
    if seen is None:
        return Decision(standing)
    if seen.phase is JobPhase.GONE:
        return _released(standing, seen, now)
    values = {"detail": left.detail, "until": format_instant(until)}
    if now < until:
        action = None if seen.phase is JobPhase.STOPPING else Intent.RELEASE
        notes = () if is_told else (Note(None, reasons.RESULTS_WAITING, values),)
        return Decision(standing, action, wake=_earlier(until, seen.look_again), notes=notes)
    values |= {"place": left.place, **_end_of(left.reason, left.exit_code)}
    note = Note(None, reasons.RESULTS_UNARCHIVED, values)
    failed = standing.aimed(SessionPhase.FAILED).with_components(
        ComponentPhase.FAILED, Component.STORAGE
    )
    return Decision(_done(failed, now), notes=(note,))


def _before(standing: Standing, schedule: Schedule, now: datetime) -> Decision:
    if now >= schedule.end_at:
        note = Note(None, reasons.SCHEDULE_MISSED, {"end": format_instant(schedule.end_at)})
        return Decision(_done(standing.aimed(SessionPhase.FAILED), now), notes=(note,))
    if now < schedule.prepare_at:
        waiting = standing.moved(SessionPhase.WAITING).with_components(ComponentPhase.WAITING)
        return Decision(waiting, wake=schedule.prepare_at)
    preparing = standing.moved(SessionPhase.PREPARING).with_components(ComponentPhase.PREPARING)
    return Decision(preparing.asked(Intent.PREPARE, now), Intent.PREPARE)


def _preparing(
    standing: Standing, schedule: Schedule, seen: Observation, now: datetime
) -> Decision:
    if seen.phase is JobPhase.GONE and standing.phase is SessionPhase.PREPARING:
        # Not made yet, or removed by somebody while it was still worth nothing.
        return Decision(standing, Intent.PREPARE)
    if seen.phase not in (JobPhase.QUEUED, JobPhase.STARTING, JobPhase.READY):
        return _launched(standing, schedule, seen, now)
    standing = _as_seen(standing, seen)
    if now >= schedule.end_at:
        values = {"end": format_instant(schedule.end_at)}
        note = Note(Component.EXECUTABLE, reasons.PREPARATION_TOO_LATE, values)
        return _fail(standing, Component.EXECUTABLE, note, now)
    if seen.phase is not JobPhase.READY:
        return Decision(standing, wake=_earlier(schedule.end_at, seen.look_again))
    ready = standing.moved(SessionPhase.AVAILABLE).with_components(ComponentPhase.AVAILABLE)
    if now < schedule.start_at:
        return Decision(ready, wake=schedule.start_at)
    return Decision(ready.asked(Intent.LAUNCH, now), Intent.LAUNCH)


def _launched(standing: Standing, schedule: Schedule, seen: Observation, now: datetime) -> Decision:
    if seen.phase is JobPhase.ENDED:
        return _ended(standing, seen, now)
    if seen.phase in (JobPhase.LOST, JobPhase.GONE):
        return _lost(standing, seen, now)
    if seen.phase is JobPhase.RUNNING:
        standing = _running(standing, now)
    if now >= schedule.end_at:
        return _over_time(standing, schedule, seen, now)
    if seen.phase is JobPhase.READY:
        return Decision(standing, Intent.LAUNCH)
    return Decision(standing, wake=_earlier(schedule.end_at, seen.look_again))


def _running(standing: Standing, now: datetime) -> Standing:
    running = standing.moved(SessionPhase.RUNNING).with_components(
        ComponentPhase.RUNNING, Component.COMPUTE
    )
    # A quick job may be seen running before it was seen ready.
    running = running.with_components(
        ComponentPhase.AVAILABLE, Component.EXECUTABLE, Component.STORAGE, Component.DATA
    )
    return running if running.intent is Intent.LAUNCH else running.asked(Intent.LAUNCH, now)


def _stopping(standing: Standing, seen: Observation, now: datetime, limits: Limits) -> Decision:
    stop_by = standing.intent_at + limits.stop
    if seen.phase is JobPhase.GONE:
        return Decision(_done(standing, now))
    is_stoppable = seen.phase in (JobPhase.RUNNING, JobPhase.STOPPING)
    if not is_stoppable or now >= stop_by:
        return Decision(standing.asked(Intent.RELEASE, now), Intent.RELEASE)
    action = Intent.STOP if seen.phase is JobPhase.RUNNING else None
    return Decision(standing, action, wake=_earlier(stop_by, seen.look_again))


def _releasing(standing: Standing, seen: Observation, now: datetime, limits: Limits) -> Decision:
    release_by = standing.intent_at + limits.release
    if seen.phase is JobPhase.GONE:
        return _released(standing, seen, now)
    if now >= release_by:
        return given_up(standing, EndReason.TIMEOUT, "it took too long", now)
    action = None if seen.phase is JobPhase.STOPPING else Intent.RELEASE
    return Decision(standing, action, wake=_earlier(release_by, seen.look_again))


def _released(standing: Standing, seen: Observation, now: datetime) -> Decision:
    """Everything is removed; what came out may have been lost on the way."""
    if seen.reason is not EndReason.RESULTS:
        return Decision(_done(standing, now))
    part, reason = _FAILURES[EndReason.RESULTS]
    note = Note(part, reason, {"reason": seen.reason.value, "detail": seen.text})
    failed = standing.aimed(SessionPhase.FAILED).with_components(ComponentPhase.FAILED, part)
    return Decision(_done(failed, now), notes=(note,))


def _as_seen(standing: Standing, seen: Observation) -> Standing:
    """With the components that stand elsewhere than the job as a whole."""
    for part, phase in seen.components.items():
        standing = standing.with_components(phase, part)
    return standing


def _ended(standing: Standing, seen: Observation, now: datetime) -> Decision:
    """The job came to its end by itself."""
    values = _end_of(seen.reason, seen.exit_code)
    if seen.reason is EndReason.OK:
        note = Note(Component.COMPUTE, reasons.EXECUTION_ENDED, values)
        return Decision(_let_go(standing, now), Intent.RELEASE, notes=(note,))
    part, reason = _FAILURES.get(
        seen.reason or EndReason.LOST, (Component.COMPUTE, reasons.EXECUTION_FAILED)
    )
    note = Note(part, reason, {**values, "detail": seen.text})
    return _fail(_as_seen(standing, seen), part, note, now)


def _end_of(reason: EndReason | None, exit_code: int | None) -> dict[str, str]:
    """How a job ended, to be told."""
    return {
        "reason": (reason or EndReason.LOST).value,
        "exit_code": "" if exit_code is None else str(exit_code),
    }


def _lost(standing: Standing, seen: Observation, now: datetime) -> Decision:
    note = Note(Component.COMPUTE, reasons.EXECUTION_LOST, {"phase": seen.phase.value})
    return _fail(standing, Component.COMPUTE, note, now)


def _over_time(
    standing: Standing, schedule: Schedule, seen: Observation, now: datetime
) -> Decision:
    values = {"end": format_instant(schedule.end_at)}
    note = Note(Component.COMPUTE, reasons.OVER_TIME, values)
    if seen.phase not in (JobPhase.RUNNING, JobPhase.STOPPING):
        return _fail(standing, Component.COMPUTE, note, now)
    failing = (
        standing.aimed(SessionPhase.FAILED)
        .moved(SessionPhase.RELEASING)
        .with_components(ComponentPhase.FAILED, Component.COMPUTE)
        .with_components(ComponentPhase.RELEASING)
    )
    return Decision(failing.asked(Intent.STOP, now), Intent.STOP, notes=(note,))


def _fail(standing: Standing, part: Component, note: Note, now: datetime) -> Decision:
    failing = standing.aimed(SessionPhase.FAILED).with_components(ComponentPhase.FAILED, part)
    return Decision(_let_go(failing, now), Intent.RELEASE, notes=(note,))


def _let_go(standing: Standing, now: datetime) -> Standing:
    """The platform is to release everything."""
    releasing = standing.moved(SessionPhase.RELEASING).with_components(ComponentPhase.RELEASING)
    return releasing.asked(Intent.RELEASE, now)


def _done(standing: Standing, now: datetime) -> Standing:
    """Nothing is left to do."""
    ended = standing.moved(standing.target).asked(Intent.DONE, now)
    return ended.with_components(_FINAL_COMPONENT[standing.target])


def _earlier(first: datetime, second: datetime | None) -> datetime:
    return first if second is None else min(first, second)
