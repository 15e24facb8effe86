"""How well one node is, learnt from what became of calls to it, and when to leave it alone.

The defaults follow Envoy's outlier detection (``outlier_detection.proto``): consecutive failures,
an ejection that gets longer each time, and a success rate held against that of the others. Unlike
there, a node is probed before it returns, and then is on trial. Times are those of one monotonic
clock, in seconds.
"""

import math
from enum import StrEnum
from typing import Final

from gateway.domain.coverage import Outcome
from gateway.domain.reasons import Reason, ReasonCode
from gateway.settings import HealthSettings

JITTER: Final = 0.1
"""An ejection is shorter by up to this share, so that gateways do not probe in step."""

TRUSTED_AFTER: Final = 3
"""Requests that a node back from an ejection must answer to be like any other."""

MIN_CALLS: Final = 20
"""Requests within the half-life below which a share says nothing."""

HALF_LIFE_S: Final = 60.0
"""After this long a request counts half in the share of those that went well."""

_DECAY_EVERY_S: Final = 1.0
"""Finer steps would change the share by less than one in a hundred."""

CHANCE: Final = 1e-5
"""A node known to fail now and then is ejected for a run of failures less likely than this.

At 20 % loss that needs eight in a row, which befalls it once in half a million requests.
"""

_LONGEST_RUN: Final = 4
"""Times ``failures``: the longest run that is waited for whatever the share."""

FAIR_CONNECT_S: Final = 0.75
"""A connection not made in this time tells of the node: the longest way between two sites and
back takes 0.3 s, and TLS needs it twice."""

FAIR_TIMES_USUAL: Final = 20
FAIR_LEAST_S: Final = 0.25
"""Where a node answers in much less than ``fair_wait_s``, so many times its median is fair, but
never less than a quarter of a second: any machine stands still that long now and then."""


class HealthState(StrEnum):
    """Where a node stands."""

    UNKNOWN = "unknown"
    """Never heard from."""
    UP = "up"
    """Answers."""
    DEGRADED = "degraded"
    """On trial after an ejection, or failing while too few others are left to eject it."""
    EJECTED = "ejected"
    """Left alone for a time, and then until a probe finds it."""


class Cause(StrEnum):
    """Why a node stands where it does."""

    ANSWERED = "answered"
    """It answered."""
    RETURNED = "returned"
    """A probe found it after an ejection; a request has yet to be answered."""
    FAILING = "failing"
    """Failures in a row, of more than one kind or of the node's own making."""
    LATE = "late"
    """Again and again not in time."""
    UNREACHABLE = "unreachable"
    """Again and again no connection, or not ready by its own word."""
    UNRELIABLE = "unreliable"
    """Fails much more often than other nodes do."""


EJECTION_CAUSES: Final = (Cause.FAILING, Cause.LATE, Cause.UNREACHABLE, Cause.UNRELIABLE)
"""What a node is ejected for."""


class Finding(StrEnum):
    """What one call says of a node."""

    WELL = "well"
    FAILED = "failed"
    LATE = "late"
    UNREACHABLE = "unreachable"


_CAUSES: Final = {
    Finding.FAILED: Cause.FAILING,
    Finding.LATE: Cause.LATE,
    Finding.UNREACHABLE: Cause.UNREACHABLE,
}


_FINDINGS: Final = {
    Outcome.ANSWERED: Finding.WELL,
    Outcome.NO: Finding.WELL,
    Outcome.REFUSED: Finding.UNREACHABLE,
    Outcome.INVALID: Finding.FAILED,
}


def finding_of(
    outcome: Outcome, why: Reason | None, waited_s: float | None, fair_wait_s: float
) -> Finding | None:
    """What the outcome of one request for offers says of the node's health; None for nothing.

    ``waited_s`` is the time the node had. A client in a hurry, the queue in front of a busy node
    and a refusal that is about the request (4xx) say nothing; neither does Envoy count 4xx. Nor
    does a connection that this gateway had no descriptor for.
    """
    if why is not None and why.code is ReasonCode.NO_DESCRIPTORS:
        return None
    if outcome is Outcome.ERROR:
        return None if why is not None and _is_about_request(why) else Finding.FAILED
    if outcome is not Outcome.TIMEOUT:
        return _FINDINGS.get(outcome)
    if why is None or waited_s is None or why.code is ReasonCode.NODE_BUSY:
        return None
    if why.code is ReasonCode.CONNECT_TIMEOUT:
        return Finding.UNREACHABLE if waited_s >= FAIR_CONNECT_S else None
    return Finding.LATE if waited_s >= fair_wait_s else None


def fair_wait_of(usual_s: float | None, settings: HealthSettings) -> float:
    """How long a node must have had for a timeout to tell of it; ``usual_s`` is its median."""
    if usual_s is None:
        return settings.fair_wait_s
    return min(settings.fair_wait_s, max(FAIR_LEAST_S, FAIR_TIMES_USUAL * usual_s))


def _is_about_request(why: Reason) -> bool:
    if why.code in {
        ReasonCode.NO_CREDENTIALS,
        ReasonCode.REFUSED_CREDENTIALS,
        ReasonCode.SESSION_UNKNOWN,
    }:
        return True
    return why.code is ReasonCode.ERROR_STATUS and int(why.values["status"]) < 500


class NodeHealth:
    """The health of one node.

    Requests for offers decide. That it was heard or missed otherwise, by a probe or a call about
    one session, says only whether it can be reached: a node may read its sessions well and hang
    over every request. The methods that take in a failure give the cause for an ejection that is
    due; whether it may be is not decided here.
    """

    __slots__ = (
        "_counted_at",
        "_failed",
        "_of_kind",
        "_run",
        "_run_began",
        "_settings",
        "_steps",
        "_trust",
        "_well",
        "cause",
        "since",
        "state",
        "until",
        "well_at",
    )

    def __init__(self, settings: HealthSettings) -> None:
        self._settings = settings
        self.state = HealthState.UNKNOWN
        self.cause: Cause | None = None
        self.since: float | None = None
        """When the state or its cause last changed; None if it never did."""
        self.until: float | None = None
        """When an ejected node is probed."""
        self.well_at = -math.inf
        """When it last answered as it should."""
        self._steps = 0
        self._trust: int | None = None
        self._clear_run()
        self._clear_counts()

    @property
    def failing_since(self) -> float:
        """When the run of failures began; meaningless while there is none."""
        return self._run_began

    def ejections(self, now: float) -> int:
        """How many times longer than the first the last ejection was; less as it stays well."""
        if self.state is not HealthState.UP or self.since is None:
            return self._steps
        return max(0, self._steps - int((now - self.since) // self._settings.ejection_s))

    def share(self, now: float) -> float | None:
        """How many of its latest requests went well, 0 to 1; None while that says nothing."""
        self._decay(now)
        calls = self._well + self._failed
        return self._well / calls if calls >= MIN_CALLS else None

    def is_still_up(self, now: float) -> bool:
        """Take in an answer to a request for offers where that changes nothing; whether it was so.

        Nearly always it is, and every answer comes this way.
        """
        if self.state is not HealthState.UP:
            return False
        self._answers(now)
        return True

    def asked(self, finding: Finding, now: float) -> Cause | None:
        """Take in what became of a request for offers; the cause for an ejection now due."""
        if finding is not Finding.WELL:
            self._decay(now)
            self._failed += 1
            return self._fails(finding, now)
        self._answers(now)
        if self.state is HealthState.UP:
            return None
        if self.state is HealthState.EJECTED:
            self.put_on_trial(now)
        if self._trust is not None:
            self._trust += 1
            if self._trust < TRUSTED_AFTER:
                return None
        self._move(HealthState.UP, Cause.ANSWERED, now)
        return None

    def heard(self, now: float) -> None:
        """It said something, if not to a request for offers."""
        self.well_at = now
        if self._run and self._run == self._of_kind[Finding.UNREACHABLE]:
            self._clear_run()
        if self.state in {HealthState.UP, HealthState.EJECTED} or self._run:
            return
        # Where nobody asks for offers, silence must not keep it on trial for ever.
        stood_s = math.inf if self.since is None else now - self.since
        if self._trust is None or stood_s >= self._settings.longest_ejection_s:
            self._move(HealthState.UP, Cause.ANSWERED, now)

    def missed(self, now: float) -> Cause | None:
        """It could not be reached, or said itself that it is not ready."""
        return self._fails(Finding.UNREACHABLE, now)

    def eject(self, cause: Cause, now: float, draw: float) -> None:
        """Leave it alone, longer each time; ``draw`` is a random number from 0 to 1."""
        settings = self._settings
        self._steps = self.ejections(now) + 1
        lasts = min(settings.ejection_s * self._steps, settings.longest_ejection_s)
        self._clear_counts()
        self._move(HealthState.EJECTED, cause, now)
        self._rest(lasts, now, draw)

    def rest_again(self, now: float, draw: float) -> None:
        """A probe did not find it: it rests once more, no longer than the first time.

        Only a node that returns and fails again costs anybody anything.
        """
        self._rest(self._settings.ejection_s, now, draw)

    def withhold(self, cause: Cause, now: float) -> None:
        """It ought to be ejected and must not be."""
        if (self.state, self.cause) != (HealthState.DEGRADED, cause):
            self._move(HealthState.DEGRADED, cause, now)

    def put_on_trial(self, now: float) -> None:
        """It is back: asked again, and ejected at the first failure until it has answered."""
        self.well_at = now
        self._move(HealthState.DEGRADED, Cause.RETURNED, now)
        self._trust = 0

    def _fails(self, finding: Finding, now: float) -> Cause | None:
        if self.state is HealthState.EJECTED:
            return None
        if self._run == 0:
            self._run_began = now
        self._run += 1
        self._of_kind[finding] += 1
        if self._trust == 0:
            return self._cause()
        lasts = now - self._run_began
        if self._run < self._run_needed(now) or lasts < self._settings.failing_for_s:
            return None
        return self._cause()

    def _cause(self) -> Cause:
        """The one kind of all failures of the run, if there is one."""
        kinds = [finding for finding, count in self._of_kind.items() if count]
        return _CAUSES[kinds[0]] if len(kinds) == 1 else Cause.FAILING

    def _run_needed(self, now: float) -> int:
        """Failures in a row that cannot be put down to how the node was before them."""
        least = self._settings.failures
        self._decay(now)
        failed = max(0.0, self._failed - self._run)
        calls = self._well + failed
        if calls < MIN_CALLS or failed <= 0:
            return least
        # Beyond a half the length no longer matters: such a node is held against the others.
        share = min(failed / calls, 0.5)
        return max(least, min(_LONGEST_RUN * least, math.ceil(math.log(CHANCE) / math.log(share))))

    def _move(self, state: HealthState, cause: Cause, now: float) -> None:
        self._steps = self.ejections(now)
        self.state, self.cause, self.since, self.until = state, cause, now, None
        self._trust = None
        if state is not HealthState.DEGRADED:
            self._clear_run()

    def _rest(self, lasts_s: float, now: float, draw: float) -> None:
        self.until = now + lasts_s * (1 - JITTER * draw)

    def _clear_run(self) -> None:
        self._run = 0
        self._run_began = 0.0
        self._of_kind = dict.fromkeys(_CAUSES, 0)

    def _clear_counts(self) -> None:
        self._well = self._failed = 0.0
        self._counted_at = -math.inf

    def _answers(self, now: float) -> None:
        self.well_at = now
        if now - self._counted_at >= _DECAY_EVERY_S:
            self._decay(now)
        self._well += 1
        if self._run:
            self._clear_run()

    def _decay(self, now: float) -> None:
        """Bring the counts to ``now``, not too often."""
        passed = now - self._counted_at
        if passed < _DECAY_EVERY_S:
            return
        kept = 0.5 ** (passed / HALF_LIFE_S)
        self._well *= kept
        self._failed *= kept
        self._counted_at = now
