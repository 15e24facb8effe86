"""The placement of an offer as ordinary metrics, for clients that know nothing of gateways."""

from collections.abc import Iterator
from typing import Any, Final

from gateway.domain.network import LinkBasis
from gateway.wire.documents import Document
from gateway.wire.kinds import BYTES_TO_MOVE, DATA_PROXIMITY, MINMAX_METRIC, STAGING_TIME
from gateway.wire.phases import SessionPhase

_METRICS: Final = (
    ("proximity", DATA_PROXIMITY, "How near the data are: 1 is here, one half an hour away"),
    ("staging_s", STAGING_TIME, "Estimated time to bring the data here, in seconds"),
    ("bytes_to_move", BYTES_TO_MOVE, "Data that have to be brought here, in bytes"),
)
"""Member of the public placement, type, and description."""


def with_placement_metrics(session: Document, federation: Document | None) -> Document:
    """The session with what its placement says among its metrics; the document is changed.

    Only what is known of all the data. While it is an offer, what the gateway has worked out stands
    in place of the node's own word on it; later the node says what it has measured.
    """
    placement = (federation or {}).get("placement")
    if not placement or placement.get("basis") == LinkBasis.DECLARED.value:
        return session
    ours = list(_known(placement))
    listed = session.get("metrics")
    theirs = listed if isinstance(listed, list) else []
    if session.get("phase") == SessionPhase.OFFERED.value:
        types = {metric["type"] for metric in ours}
        theirs = [metric for metric in theirs if _type_of(metric) not in types]
    else:
        types = {_type_of(metric) for metric in theirs}
        ours = [metric for metric in ours if metric["type"] not in types]
    if ours:
        session["metrics"] = [*theirs, *ours]
    return session


def _known(placement: Document) -> Iterator[Document]:
    if placement.get("unlocated"):
        return
    for member, type_, description in _METRICS:
        value = placement.get(member)
        if value is not None:
            yield {
                "kind": MINMAX_METRIC,
                "type": type_,
                "description": description,
                "min": float(value),
                "max": float(value),
            }


def _type_of(metric: Any) -> object:
    return metric.get("type") if isinstance(metric, dict) else None
