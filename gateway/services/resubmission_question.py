"""The question that was asked before, to be asked again."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gateway.domain.coverage import Outcome
from gateway.domain.reasons import ReasonCode
from gateway.domain.record import RankingRecord, RecordVersionError, record_from_json
from gateway.services.planning import OfferQuestion
from gateway.stores.offersets import OfferSetRow
from gateway.stores.sessions import SessionRow
from gateway.wire.documents import Document, from_json

PATH: Final = "/resubmissions"
"""What idempotency keys of resubmissions belong to; no client can ask there."""


def again(
    first: OfferSetRow, lost: SessionRow, *, attempt: int, registered: Iterable[str]
) -> OfferQuestion:
    """What the owner asked at first, of the same nodes without the lost one.

    The same attempt is the same question, so that one that was cut short is answered alike. A
    policy that is not known any more is replaced by the default one.
    """
    before = as_before(first, PATH)
    nodes = [node for node in registered if before.nodes is None or node in before.nodes]
    return replace(before, nodes=frozenset(nodes) - {lost.node}, key=f"{lost.uuid}:{attempt}")


def as_before(offerset: OfferSetRow, path: str) -> OfferQuestion:
    """What was asked when the offer set was made, to be asked anew at ``path``."""
    record = _record(offerset)
    return OfferQuestion(
        document=from_json(offerset.request),
        path=path,
        limit=record.limit if record else None,
        per_node=record.per_node if record else None,
        policy=record.policy.name if record else None,
        nodes=_wanted(from_json(offerset.federation)),
    )


def _record(offerset: OfferSetRow) -> RankingRecord | None:
    try:
        return record_from_json(offerset.record)
    except RecordVersionError:
        return None


def _wanted(federation: Document) -> frozenset[str] | None:
    """The nodes that the client named; None where it named none."""
    coverage: list[Document] = federation["coverage"]
    unwanted = {entry["node"] for entry in coverage if _is_unwanted(entry)}
    if not unwanted:
        return None
    return frozenset(entry["node"] for entry in coverage) - unwanted


def _is_unwanted(entry: Document) -> bool:
    why = entry.get("reason") or {}
    return (
        entry["outcome"] == Outcome.SKIPPED.value and why.get("code") == ReasonCode.NOT_WANTED.value
    )
