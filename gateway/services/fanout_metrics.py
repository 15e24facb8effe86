"""What the fan-out counts, for Prometheus. Labels are bounded: nodes and outcomes."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.domain.coverage import Outcome
from gateway.domain.latency import BOUNDS_S


class FanoutMetrics:
    """Counters and histograms of the fan-out; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "execbroker_fanout_node_seconds",
            "Time until the outcome of asking a node was known.",
            ("node", "outcome"),
            buckets=BOUNDS_S,
            registry=registry,
        )
        late = Counter(
            "execbroker_late_answers_total",
            "Answers that were read after their request had been answered.",
            ("node",),
            registry=registry,
        )
        lost = Counter(
            "execbroker_holds_lost_total",
            "Answers never read, and offers without a readable UUID, of nodes that may hold "
            "something for them: only expiry frees it.",
            ("node",),
            registry=registry,
        )
        # Looking up a labelled child costs more than observing it.
        self._seconds = lru_cache(maxsize=None)(seconds.labels)
        self._late = lru_cache(maxsize=None)(late.labels)
        self._lost = lru_cache(maxsize=None)(lost.labels)

    def node_asked(self, node: str, outcome: Outcome, took_s: float) -> None:
        """One node call has its outcome."""
        self._seconds(node, outcome.value).observe(took_s)

    def answered_late(self, node: str) -> None:
        """An answer was read after all."""
        self._late(node).inc()

    def lost(self, node: str, holds: int = 1) -> None:
        """An answer, or so many holds in it, are out of reach."""
        self._lost(node).inc(holds)
