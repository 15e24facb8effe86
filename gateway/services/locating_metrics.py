"""What look-ups in the data lakes count, for Prometheus. Labels are bounded: lakes and outcomes."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.services.locating_breaker import BreakerPhase

ANSWERS: Final = ("fresh", "asked", "stale", "missing")
"""Where the answer about one identifier came from: memory, the lake, old memory, or nowhere."""

_SECONDS: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20)
_COUNTS: Final = (1, 2, 5, 10, 50, 100, 500, 1000, 5000)


class LocatingMetrics:
    """Counters and histograms of look-ups; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "execbroker_lake_answers",
            "Identifiers asked about, by where the answer came from.",
            ("lake", "answer"),
            registry=registry,
        )
        self._fetches = Histogram(
            "execbroker_lake_fetch_seconds",
            "Time that a data lake took to answer, whoever waited for it.",
            ("lake", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._breakers = Gauge(
            "execbroker_lake_resting",
            "1 while a data lake is not asked because it failed too often.",
            ("lake",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._up = Gauge(
            "execbroker_lake_up",
            "1 while a data lake answers when it is asked how it is.",
            ("lake",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._seconds = Histogram(
            "execbroker_locate_seconds",
            "Time to find out where the data of one request are.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._resources = Histogram(
            "execbroker_locate_resources",
            "Data resources of one request.",
            buckets=_COUNTS,
            registry=registry,
        )

    def answered(self, lake: str, answer: str, count: int) -> None:
        """Count so many identifiers; ``answer`` is one of ``ANSWERS``."""
        self._answers.labels(lake, answer).inc(count)

    def fetched(self, lake: str, took_s: float, *, is_trouble: bool) -> None:
        """One look-up in the lake itself has ended."""
        self._fetches.labels(lake, "trouble" if is_trouble else "answered").observe(took_s)

    def show_breaker(self, lake: str, phase: BreakerPhase) -> None:
        """Show whether the lake is asked."""
        self._breakers.labels(lake).set(phase is not BreakerPhase.CLOSED)

    def show_health(self, lake: str, *, is_up: bool) -> None:
        """Show whether the lake answers."""
        self._up.labels(lake).set(is_up)

    def located(self, resources: int, took_s: float) -> None:
        """The data of one request were looked up."""
        self._seconds.observe(took_s)
        self._resources.observe(resources)
