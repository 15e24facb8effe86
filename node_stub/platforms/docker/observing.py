"""What is to be said of a job, from its records and what the engine lists. Pure."""

from datetime import datetime

from node_stub.platforms.base import EndReason, JobPhase, Observation, Usage
from node_stub.platforms.docker.client import Inspection
from node_stub.platforms.docker.containers import FRESH_STATES
from node_stub.platforms.docker.records import End, Job, Start


def observation_of(
    job: Job, start: Start | None, container: Inspection | None, now: datetime
) -> Observation:
    """One look at a job.

    ``start`` is what had been noted of its start before the engine was asked for ``container``:
    what was started since may not be listed yet.
    """
    if job.end is not None:
        return _ended(job.end, now)
    if job.launch is None:
        return Observation(_before_launch(job), now)
    started = start.at if start is not None else None
    if job.stop is not None and container is not None:
        return Observation(JobPhase.STOPPING, now, started=started)
    if start is None or (container is not None and container["State"] in FRESH_STATES):
        # It was not, or not wholly, launched: that is done again.
        return Observation(JobPhase.READY, now)
    if container is None:
        text = "the container is gone, and nobody knows how it ended"
        return Observation(JobPhase.LOST, now, EndReason.LOST, text=text)
    # An ended one too, until its log is complete and its end noted.
    return Observation(JobPhase.RUNNING, now, started=started, reachable=job.reachable)


def _before_launch(job: Job) -> JobPhase:
    if job.preparation is None:
        return JobPhase.GONE
    return JobPhase.STARTING if job.provided is None else JobPhase.READY


def _ended(end: End, now: datetime) -> Observation:
    usage = None
    if end.cpu_s is not None or end.peak_memory_bytes is not None:
        usage = Usage(cpu_s=end.cpu_s, peak_memory_bytes=end.peak_memory_bytes)
    return Observation(
        JobPhase.ENDED,
        now,
        end.reason,
        exit_code=end.exit_code,
        text=end.text,
        started=end.started,
        ended=end.ended,
        usage=usage,
    )
