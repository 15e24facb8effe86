"""What is counted of those who are told of events."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.services.gateway_metrics import PREFIX

CALLS: Final = ("delivered", "failed", "disabled")
"""What one call to a webhook came to; the last of them where it was given up thereby."""


class EventMetrics:
    """Counters and gauges of event streams and webhooks; one per process and ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.watchers = Gauge(
            f"{PREFIX}event_watchers",
            "Streams of events that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.overruns = Counter(
            f"{PREFIX}event_overruns",
            "Streams of events cut off because their reader was too slow.",
            registry=registry,
        )
        calls = Counter(
            f"{PREFIX}webhook_calls", "Calls to webhooks.", ("outcome",), registry=registry
        )
        self._calls = {outcome: calls.labels(outcome) for outcome in CALLS}

    def called(self, outcome: str) -> None:
        """Count one call to a webhook; ``outcome`` is one of ``CALLS``."""
        self._calls[outcome].inc()
