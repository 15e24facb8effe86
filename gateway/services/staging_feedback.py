"""What nodes report as staged corrects the next estimates for them."""

from typing import Final

import structlog

from gateway.domain.network import LinkBasis
from gateway.domain.staging_record import AS_ESTIMATED, Report
from gateway.services.registry import NodeRegistry
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import from_json
from gateway.wire.kinds import BYTES_STAGED, STAGING_TIME
from gateway.wire.views import Quote, SessionView

_ESTIMATED: Final = frozenset(
    {LinkBasis.MEASURED.value, LinkBasis.DISTANCE.value, LinkBasis.GEOGRAPHY.value}
)
"""What the settings or the node declare is not corrected."""

_log = structlog.stdlib.get_logger(__name__)


class StagingFeedback:
    """Reads staging reports off sessions as they come in."""

    def __init__(self, registry: NodeRegistry) -> None:
        self._registry = registry

    def note(self, row: SessionRow, said: SessionView) -> None:
        """Take in what the node now says of a session, whose last copy is in ``row``; once."""
        metrics = {quote.type: quote for quote in said.metrics}
        seen_bytes = _value(metrics.get(BYTES_STAGED))
        seen_s = _value(metrics.get(STAGING_TIME))
        if not seen_bytes or not seen_s or row.node not in self._registry:
            return
        if row.document is not None and BYTES_STAGED.encode() in row.document:
            return
        placement = from_json(row.federation or b"{}").get("placement") or {}
        moved, staging_s = placement.get("bytes_to_move"), placement.get("staging_s")
        if placement.get("basis") not in _ESTIMATED or not moved or not staging_s:
            return
        report = Report(
            estimated_bytes=moved,
            estimated_ms=round(staging_s * 1000),
            per_mille=round(placement.get("correction", 1.0) * AS_ESTIMATED),
            seen_bytes=round(seen_bytes),
            seen_ms=round(seen_s * 1000),
        )
        self._registry.get(row.node).note_staging(report)
        _log.info("staging_reported", node=row.node, bytes=report.seen_bytes, ms=report.seen_ms)


def _value(quote: Quote | None) -> float | None:
    """What was measured: the larger bound, where they differ."""
    if quote is None:
        return None
    return quote.min if quote.max is None else quote.max
