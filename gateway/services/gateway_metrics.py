"""What the gateway counts beside its HTTP requests and node calls. Labels are bounded."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.wire.phases import SessionPhase

PREFIX: Final = "execbroker_"
"""What the name of every metric of the gateway begins with."""

ANSWERS: Final = ("yes", "no", "nobody")
"""What a request for offers came to; ``nobody`` is a 503."""

ACCEPTS: Final = ("accepted", "refused", "pending")
"""What an owner's acceptance came to; ``refused`` by the node or by this gateway."""

DELIVERIES: Final = ("delivered", "undelivered", "given_up")
"""What one try to tell a node came to."""

COMMANDS: Final = (SessionPhase.ACCEPTED, SessionPhase.REJECTED, SessionPhase.CANCELLED)
"""What nodes are told."""

DISAGREEMENTS: Final = (
    "accepted_unasked",
    "accepted_twice",
    "still_active",
    "went_back",
    "ended_differently",
    "session_unknown",
)
"""How a node's word can differ from what is known here.

``accepted_unasked``: accepted past this gateway; ``accepted_twice``: while another offer of the
same set was; the others as the reason codes of the same names say.
"""

RESUBMISSIONS: Final = ("begun", "moved", "called_off", "given_up")
"""What becomes of sessions that are asked for elsewhere."""


class GatewayMetrics:
    """Counters and gauges of offers, accepts and commands; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            f"{PREFIX}offer_requests", "Requests for offers.", ("outcome",), registry=registry
        )
        accepts = Counter(
            f"{PREFIX}offer_accepts", "Acceptances asked for.", ("outcome",), registry=registry
        )
        deliveries = Counter(
            f"{PREFIX}command_deliveries",
            "Tries to tell a node what was decided.",
            ("outcome",),
            registry=registry,
        )
        self._offers = Counter(f"{PREFIX}offers_returned", "Offers handed out.", registry=registry)
        self._sessions = Gauge(
            f"{PREFIX}sessions",
            "Sessions known, by phase.",
            ("phase",),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._pending = Gauge(
            f"{PREFIX}commands_pending",
            "Commands not delivered yet, by the phase to be reached.",
            ("phase",),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._oldest = Gauge(
            f"{PREFIX}commands_oldest_seconds",
            "How long the oldest of them has been waiting.",
            ("phase",),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        # A hold that could not be let go by command: only its expiry frees it.
        self._orphans = Counter(
            f"{PREFIX}holds_orphaned",
            "Holds given up on, left to their expiry.",
            ("node",),
            registry=registry,
        )
        disagreements = Counter(
            f"{PREFIX}disagreements",
            "Times that a node began to show what does not agree with what is known here.",
            ("kind",),
            registry=registry,
        )
        resubmissions = Counter(
            f"{PREFIX}resubmissions",
            "Sessions asked for elsewhere because their node was lost.",
            ("outcome",),
            registry=registry,
        )
        self._disagreements = {kind: disagreements.labels(kind) for kind in DISAGREEMENTS}
        self._resubmissions = {what: resubmissions.labels(what) for what in RESUBMISSIONS}
        self._requests = {outcome: requests.labels(outcome) for outcome in ANSWERS}
        self._accepts = {outcome: accepts.labels(outcome) for outcome in ACCEPTS}
        self._deliveries = {outcome: deliveries.labels(outcome) for outcome in DELIVERIES}

    def answered(self, outcome: str, offers: int = 0) -> None:
        """Count one request for offers; ``outcome`` is one of ``ANSWERS``."""
        self._requests[outcome].inc()
        self._offers.inc(offers)

    def accepted(self, outcome: str) -> None:
        """Count one acceptance; ``outcome`` is one of ``ACCEPTS``."""
        self._accepts[outcome].inc()

    def delivered(self, outcome: str, sessions: int) -> None:
        """Count tries to tell a node of so many; ``outcome`` is one of ``DELIVERIES``."""
        self._deliveries[outcome].inc(sessions)

    def orphaned(self, node: str, holds: int) -> None:
        """Count holds that are left to their expiry."""
        self._orphans.labels(node).inc(holds)

    def show_sessions(self, counts: Mapping[SessionPhase, int]) -> None:
        """Show how many sessions stand in each phase."""
        for phase in SessionPhase:
            self._sessions.labels(phase.value).set(counts.get(phase, 0))

    def disagreed(self, kind: str) -> None:
        """Count one disagreement with a node; ``kind`` is one of ``DISAGREEMENTS``."""
        self._disagreements[kind].inc()

    def resubmitted(self, outcome: str) -> None:
        """Count one step of a resubmission; ``outcome`` is one of ``RESUBMISSIONS``."""
        self._resubmissions[outcome].inc()

    def show_backlog(self, phase: SessionPhase, pending: int, oldest_s: float) -> None:
        """Show how many commands to reach ``phase`` wait, and for how long the oldest has."""
        self._pending.labels(phase.value).set(pending)
        self._oldest.labels(phase.value).set(oldest_s)
