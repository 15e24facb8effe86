"""What the fan-out counts, for Prometheus. Labels are bounded: nodes and outcomes."""

from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.domain.coverage import Outcome
from gateway.services.answers import Ended

BUCKETS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5),
    *(0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0),
)
"""Finest where a deadline of 5 s is decided; few, as there is a series for each node."""

_ASKED_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class FanoutMetrics:
    """Counters and histograms of the fan-out; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "execbroker_fanout_node_seconds",
            "Time until the outcome of asking a node was known.",
            ("node", "outcome"),
            buckets=BUCKETS_S,
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
        hedges = Counter(
            "execbroker_fanout_hedges_total",
            "Second tries at a node that took longer than usual, by which of the two won.",
            ("node", "won"),
            registry=registry,
        )
        ended = Counter(
            "execbroker_fanout_ended_total",
            "Why waiting for the nodes stopped.",
            ("why",),
            registry=registry,
        )
        self._asked = Histogram(
            "execbroker_fanout_nodes_asked",
            "Nodes asked for one request.",
            buckets=_ASKED_BUCKETS,
            registry=registry,
        )
        # Looking up a labelled child costs more than observing it.
        self._seconds = lru_cache(maxsize=None)(seconds.labels)
        self._late = lru_cache(maxsize=None)(late.labels)
        self._lost = lru_cache(maxsize=None)(lost.labels)
        self._hedges = lru_cache(maxsize=None)(hedges.labels)
        self._ended = {why: ended.labels(why.value) for why in Ended}

    def node_asked(self, node: str, outcome: Outcome, took_s: float) -> None:
        """One node call has its outcome."""
        self._seconds(node, outcome.value).observe(took_s)

    def answered_late(self, node: str) -> None:
        """An answer was read after all."""
        self._late(node).inc()

    def lost(self, node: str, holds: int = 1) -> None:
        """An answer, or so many holds in it, are out of reach."""
        self._lost(node).inc(holds)

    def hedged(self, node: str, *, won: str) -> None:
        """A node was tried twice at once; ``won`` is ``first``, ``second`` or ``none``."""
        self._hedges(node, won).inc()

    def ended(self, why: Ended, asked: int) -> None:
        """Waiting stopped, after so many nodes were asked."""
        self._ended[why].inc()
        self._asked.observe(asked)
