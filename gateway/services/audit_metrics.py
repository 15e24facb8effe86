"""What is counted of the audit trail."""

from prometheus_client import CollectorRegistry, Counter

from gateway.services.gateway_metrics import PREFIX


class AuditMetrics:
    """How many calls were noted, and what became of the notes; one per process and registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        entries = Counter(
            f"{PREFIX}audit_entries",
            "Calls noted in the audit trail, by where the note is.",
            ("outcome",),
            registry=registry,
        )
        self._saved = entries.labels("saved")
        self._logged_only = entries.labels("logged_only")
        self._left_out = entries.labels("left_out")

    def saved(self, count: int) -> None:
        """Count notes that are in the table."""
        self._saved.inc(count)

    def logged_only(self, count: int = 1) -> None:
        """Count notes that are in the log alone, as the database was away for too long."""
        self._logged_only.inc(count)

    def left_out(self) -> None:
        """Count one call without credentials of which there were too many."""
        self._left_out.inc()
