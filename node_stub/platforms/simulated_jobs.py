"""A simulated job: the times at which it was asked for something, and what follows from them. Pure.

Phases never go back, however late a job is looked at.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gateway.wire.phases import ComponentPhase
from node_stub.platforms.base import EndReason, JobPhase, Observation, Usage
from node_stub.platforms.simulated_wishes import Wishes
from node_stub.standing import Component

STOPPED_EXIT_CODE: Final = 143
"""128 + SIGTERM, as a shell reports a program that was asked to end."""

KILLED_EXIT_CODE: Final = 137
"""128 + SIGKILL: it did not end when asked to, or took too much memory."""

_READY_PARTS: Final = {
    Component.STORAGE: ComponentPhase.AVAILABLE,
    Component.DATA: ComponentPhase.AVAILABLE,
}
"""All of the preparation goes into the executable."""


class Job(msgspec.Struct, frozen=True):
    """The times of one job; what has not happened yet is None. ``failing`` are names of steps."""

    prepared_at: datetime
    launched_at: datetime | None = None
    stopped_at: datetime | None = None
    released_at: datetime | None = None
    failing: tuple[str, ...] = ()
    wishes: Wishes = Wishes()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job comes to its end."""

    reason: EndReason
    exit_code: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a job goes if nobody interferes; a time of None never comes.

    ``stop_s`` is how long it goes on when it is asked to stop, ``grace_s`` how long it may.
    """

    prepare_s: float | None
    run_s: float | None
    release_s: float | None
    stop_s: float = 0.0
    grace_s: float = 0.0
    unprepared: Ending | None = None
    ending: Ending = Ending(EndReason.OK, 0)


def observe_job(job: Job, course: Course, now: datetime) -> Observation:
    """What is seen of a job at an instant."""
    if job.released_at is not None:
        return _releasing(job.released_at, course, now)
    if job.launched_at is not None:
        return _running(job, job.launched_at, course, now)
    return _preparing(job, course, now)


def share_run(job: Job, course: Course, now: datetime) -> float:
    """How much of its run a job has behind it, 0 to 1; all of an endless one after a minute."""
    if job.launched_at is None:
        return 0.0
    until = now if job.released_at is None else min(now, job.released_at)
    if job.stopped_at is not None:
        until = min(until, _stopped_by(job.stopped_at, course))
    run_s = 60.0 if course.run_s is None else course.run_s
    ran_s = (until - job.launched_at).total_seconds()
    return 1.0 if run_s <= 0 else max(0.0, min(1.0, ran_s / run_s))


def _preparing(job: Job, course: Course, now: datetime) -> Observation:
    if job.stopped_at is not None:
        return Observation(JobPhase.ENDED, now, EndReason.CANCELLED, ended=job.stopped_at)
    is_data_there = course.unprepared is None or course.unprepared.reason is not EndReason.DATA
    starting = Observation(JobPhase.STARTING, now, components=_READY_PARTS if is_data_there else {})
    if course.prepare_s is None:
        return starting
    ready_at = job.prepared_at + timedelta(seconds=course.prepare_s)
    if now < ready_at:
        return replace(starting, look_again=ready_at)
    if course.unprepared is not None:
        return _ended(Observation(JobPhase.ENDED, now), course.unprepared, ready_at)
    return Observation(JobPhase.READY, now)


def _running(job: Job, launched_at: datetime, course: Course, now: datetime) -> Observation:
    seen = Observation(JobPhase.RUNNING, now, started=launched_at, usage=_usage(launched_at, now))
    end_at = None if course.run_s is None else launched_at + timedelta(seconds=course.run_s)
    if job.stopped_at is not None and (end_at is None or job.stopped_at < end_at):
        return _stopping(seen, job.stopped_at, end_at, course)
    if end_at is None:
        return seen
    if now < end_at:
        return replace(seen, look_again=end_at)
    return _ended(seen, course.ending, end_at)


def _stopping(
    seen: Observation, stopped_at: datetime, end_at: datetime | None, course: Course
) -> Observation:
    stopped_by = _stopped_by(stopped_at, course)
    exit_code = STOPPED_EXIT_CODE if course.stop_s <= course.grace_s else KILLED_EXIT_CODE
    if end_at is not None and end_at <= stopped_by:
        stopped_by, exit_code = end_at, course.ending.exit_code or 0
    # What stops at once has stopped, even if the clock was set back since.
    if stopped_by > stopped_at and seen.seen < stopped_by:
        return replace(seen, phase=JobPhase.STOPPING, look_again=stopped_by)
    return _ended(seen, Ending(EndReason.CANCELLED, exit_code), stopped_by)


def _releasing(released_at: datetime, course: Course, now: datetime) -> Observation:
    if course.release_s is None:
        return Observation(JobPhase.STOPPING, now)
    gone_at = released_at + timedelta(seconds=course.release_s)
    if now < gone_at:
        return Observation(JobPhase.STOPPING, now, look_again=gone_at)
    return Observation(JobPhase.GONE, now, ended=gone_at)


def _ended(seen: Observation, ending: Ending, at: datetime) -> Observation:
    is_lost = ending.reason is EndReason.LOST
    return replace(
        seen,
        phase=JobPhase.LOST if is_lost else JobPhase.ENDED,
        reason=ending.reason,
        exit_code=ending.exit_code,
        text=ending.text,
        ended=at,
        usage=None if seen.started is None else _usage(seen.started, at),
    )


def _stopped_by(stopped_at: datetime, course: Course) -> datetime:
    return stopped_at + timedelta(seconds=min(course.stop_s, course.grace_s))


def _usage(launched_at: datetime, until: datetime) -> Usage:
    """As if one core had been busy all the time."""
    return Usage(cpu_s=max(0.0, (until - launched_at).total_seconds()))
