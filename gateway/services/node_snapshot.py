"""What is known of one node at one moment, as it is shown."""

from dataclasses import dataclass
from datetime import datetime

from gateway.domain.coverage import Outcome
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason
from gateway.domain.registration import MAX_CHANGES, MemberChange, Membership, NodeStanding
from gateway.services.health_watch import HealthSnapshot, NodeChange
from gateway.wire.documents import Document
from gateway.wire.times import format_instant


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What is known of a node, all of it from its own answers.

    ``last_seen`` is when it last said anything at all, sense or not. ``waits_until`` is when it
    wants to be asked again, if it said so. ``limit`` is how many requests for offers it is given at
    once, and ``retry_tokens`` what may be repeated, below half of ten nothing. ``kept_share`` is
    how often it kept its word, 0..1, since this process began; ``track_record`` has the counts
    behind it and ``staging`` how its transfers went, both decayed.
    """

    profile: NodeProfile
    membership: Membership
    standing: NodeStanding
    health: HealthSnapshot
    outcome: Outcome | None
    reason: Reason | None
    last_asked: datetime | None
    last_seen: datetime | None
    waits_until: datetime | None
    honours_idempotency: bool | None
    in_flight: int
    waiting: int
    limit: int
    retry_tokens: float
    kept_share: float
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    track_record: Document
    staging: Document

    def to_document(self) -> Document:
        """The node for ``GET /nodes``; what is not known is null. No credentials."""
        profile = self.profile
        return {
            "name": profile.name,
            "url": profile.url,
            "site": profile.site,
            "storage": list(profile.storage),
            "state": self.standing.value,
            "is_enabled": profile.is_enabled,
            "is_registered": profile.is_registered,
            "is_draining": self.membership.is_draining,
            "honours_idempotency": self.honours_idempotency,
            "health": self.health.to_document(),
            "waits_until": format_instant(self.waits_until) if self.waits_until else None,
            "last": {
                "outcome": self.outcome.value if self.outcome else None,
                "reason": self.reason.code.value if self.reason else None,
                "asked": format_instant(self.last_asked) if self.last_asked else None,
                "seen": format_instant(self.last_seen) if self.last_seen else None,
            },
            "latency_ms": {
                "mean": _milliseconds(self.mean_s),
                "p50": _milliseconds(self.p50_s),
                "p95": _milliseconds(self.p95_s),
            },
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "limit": self.limit,
            "retry_tokens": self.retry_tokens,
            "kept_share": self.kept_share,
            "track_record": self.track_record,
            "staging": self.staging,
        }

    def to_admin_document(self) -> Document:
        """The same with what only the administrator sees: for whom the node is, and its lease."""
        profile, membership = self.profile, self.membership
        can = membership.capabilities
        since = membership.down_since
        return self.to_document() | {
            "weight": profile.weight,
            "owners": sorted(profile.owners),
            "groups": sorted(profile.groups),
            "regions": list(profile.regions),
            "down": None
            if membership.down is None
            else {
                "cause": membership.down.value,
                "since": format_instant(since) if since else None,
            },
            "lease": membership.lease.to_document() if membership.lease else None,
            "capabilities": can.to_document() if can else None,
            "changes": self._changes(),
        }

    def _changes(self) -> list[Document]:
        """What became of the node's place and of its health, the newest first."""
        every: list[MemberChange | NodeChange] = [*self.membership.changes, *self.health.changes]
        every.sort(key=lambda change: change.at, reverse=True)
        return [change.to_document() for change in every[:MAX_CHANGES]]


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
