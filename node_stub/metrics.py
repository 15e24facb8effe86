"""What the node counts, beside its HTTP requests."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.wire.phases import SessionPhase
from node_stub.documents import OfferResult
from node_stub.ledger import Amounts, Ledger

PREFIX: Final = "execbroker_node_"
"""What the name of every metric of a node begins with."""


class NodeMetrics:
    """The node's own counts, in the registry of its HTTP metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            f"{PREFIX}answers", "Requests answered.", ("result",), registry=registry
        )
        self._offers = Counter(f"{PREFIX}offers", "Offers made.", registry=registry)
        self._holds = Gauge(f"{PREFIX}ledger_bookings", "Holds and bookings.", registry=registry)
        self._orphans = Gauge(
            f"{PREFIX}ledger_orphans",
            "Bookings of no offer and no live session.",
            registry=registry,
        )
        self._used = Gauge(f"{PREFIX}used", "Booked at present.", ("resource",), registry=registry)
        self._capacity = Gauge(
            f"{PREFIX}capacity", "All there is.", ("resource",), registry=registry
        )
        self._sessions = Gauge(
            f"{PREFIX}sessions", "Sessions known.", ("phase",), registry=registry
        )
        self._platform = Gauge(
            f"{PREFIX}platform_up",
            "Whether the platform can run anything now.",
            ("platform",),
            registry=registry,
        )
        self._errors = Counter(
            f"{PREFIX}reconcile_errors", "Platform calls that failed.", ("step",), registry=registry
        )

    def count_answer(self, result: OfferResult, offers: int) -> None:
        """Count one answer and the offers in it."""
        self._requests.labels(result.value).inc()
        if result is OfferResult.YES:
            self._offers.inc(offers)

    def count_error(self, step: str) -> None:
        """Count one failure of a platform; ``step`` is what it was asked for."""
        self._errors.labels(step).inc()

    def show_ledger(self, ledger: Ledger, now: int, expected: int) -> None:
        """Show what is booked at an instant; ``expected`` is by how many offers and sessions."""
        self._holds.set(len(ledger))
        self._orphans.set(max(0, len(ledger) - expected))
        free, capacity = ledger.free_between(now, now + 1), ledger.capacity
        for resource in Amounts.__slots__:
            total = getattr(capacity, resource)
            self._capacity.labels(resource).set(total)
            self._used.labels(resource).set(total - getattr(free, resource))

    def show_platform(self, name: str, *, is_up: bool) -> None:
        """Show whether the platform can run anything now."""
        self._platform.labels(name).set(is_up)

    def show_sessions(self, counts: dict[SessionPhase, int]) -> None:
        """Show how many sessions stand in each phase."""
        for phase in SessionPhase:
            self._sessions.labels(phase.value).set(counts.get(phase, 0))
