"""What is counted of the nodes' health, for Prometheus. Labels are bounded: nodes and states."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.domain.health import EJECTION_CAUSES, Cause, HealthState

PROBES: Final = ("up", "down", "timeout", "refused", "error", "invalid")
"""What a probe came to: an answer that says one or the other, or the outcome of a failed call."""


class HealthMetrics:
    """Gauges and counters of the nodes' health; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._states = Gauge(
            "execbroker_node_state",
            "1 for the state a node is in, 0 for the others; added up over processes.",
            ("node", "state"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._ejections = Counter(
            "execbroker_node_ejections",
            "Times that a node was left alone because it failed.",
            ("node", "cause"),
            registry=registry,
        )
        self._probes = Counter(
            "execbroker_node_probes",
            "Times that a node was asked whether it lives.",
            ("node", "outcome"),
            registry=registry,
        )

    def show_state(self, node: str, state: HealthState) -> None:
        """Show where a node stands."""
        for other in HealthState:
            self._states.labels(node, other.value).set(other is state)

    def added(self, node: str) -> None:
        """A node is followed from now on: its counts exist before anything happens."""
        self.show_state(node, HealthState.UNKNOWN)
        for cause in EJECTION_CAUSES:
            self._ejections.labels(node, cause.value)

    def removed(self, node: str) -> None:
        """A node is followed no more: it is in no state. Labels cannot be taken back."""
        for state in HealthState:
            self._states.labels(node, state.value).set(0)

    def ejected(self, node: str, cause: Cause) -> None:
        """Count one ejection."""
        self._ejections.labels(node, cause.value).inc()

    def probed(self, node: str, outcome: str) -> None:
        """Count one probe; ``outcome`` is one of ``PROBES``."""
        self._probes.labels(node, outcome).inc()
