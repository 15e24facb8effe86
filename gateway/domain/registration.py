"""Where a node stands in the federation: its lease, what it was told, and what became of it.

Pure. A lease is what a registered node renews; a node from the settings has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from gateway.domain.capabilities import Capabilities
from gateway.domain.health import HealthState
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.documents import Document
from gateway.wire.times import format_instant

MAX_CHANGES: Final = 20
"""Changes of a node that are kept and shown: a day of one that comes and goes each hour."""


class NodeStanding(StrEnum):
    """Where a node stands, all things considered."""

    UP = "up"
    DEGRADED = "degraded"
    EJECTED = "ejected"
    DRAINING = "draining"
    """It takes no new requests; its sessions go on."""
    DOWN = "down"
    """It has left, its lease is over, or it is switched off."""
    UNKNOWN = "unknown"


LIVE: Final = frozenset(
    {NodeStanding.UP, NodeStanding.DEGRADED, NodeStanding.DRAINING, NodeStanding.UNKNOWN}
)
"""What callers see; the rest is for the administrator."""


class MemberCause(StrEnum):
    """Why a node's place in the federation has changed."""

    REGISTERED = "registered"
    REGISTERED_ANEW = "registered_anew"
    """Once more, after it was forgotten, restarted or moved."""
    LEASE_EXPIRED = "lease_expired"
    RENEWED = "renewed"
    """It is back within its registration."""
    DRAINED = "drained"
    RESUMED = "resumed"
    DISABLED = "disabled"
    ENABLED = "enabled"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One change of a node's place, ``at`` a time of day."""

    at: datetime
    state: NodeStanding
    cause: MemberCause

    def to_document(self) -> Document:
        """The change for ``GET /nodes``."""
        return {
            "at": format_instant(self.at),
            "state": self.state.value,
            "cause": self.cause.value,
        }


class Down(StrEnum):
    """Why a node is not asked, whatever its health."""

    LEASE_EXPIRED = "lease_expired"
    LEFT = "left"
    SEALED = "sealed"
    """What the gateway is to log in with there cannot be read: the key is another."""


_DOWN_REASONS: Final[Mapping[Down, ReasonCode]] = {
    Down.LEASE_EXPIRED: ReasonCode.LEASE_EXPIRED,
    Down.LEFT: ReasonCode.NODE_LEFT,
    Down.SEALED: ReasonCode.CREDENTIALS_SEALED,
}


@dataclass(frozen=True, slots=True)
class Lease:
    """A registration: since when, last renewed when, and until when it holds without renewal."""

    registrant: str
    registered: datetime
    renewed: datetime
    expires: datetime

    def to_document(self) -> Document:
        """The registration for the administrator."""
        return {
            "registrant": self.registrant,
            "registered": format_instant(self.registered),
            "renewed": format_instant(self.renewed),
            "expires": format_instant(self.expires),
        }


@dataclass(frozen=True, slots=True)
class Membership:
    """What is known of a node's place, from the settings, the store and its own word.

    ``down_since`` goes with ``down``. ``changes`` has the newest first.
    """

    is_draining: bool = False
    down: Down | None = None
    down_since: datetime | None = None
    lease: Lease | None = None
    capabilities: Capabilities | None = None
    changes: tuple[MemberChange, ...] = ()

    def why_down(self) -> Reason | None:
        """Why the node is not asked, if it is down."""
        if self.down is None:
            return None
        since = "unknown" if self.down_since is None else format_instant(self.down_since)
        return reason(_DOWN_REASONS[self.down], since=since)


ALWAYS_THERE: Final = Membership()
"""A node from the settings of which nothing more is known."""


def lease_ends(
    renewed: datetime, *, lease_s: float, watched_since: datetime | None, grace_s: float
) -> datetime:
    """When the lease is over.

    While no gateway watches, nobody can renew. So it lasts ``grace_s`` at least from
    ``watched_since``, when the first gateway began to watch after there was none.
    """
    ends = renewed + timedelta(seconds=lease_s)
    if watched_since is None:
        return ends
    return max(ends, watched_since + timedelta(seconds=grace_s))


def standing_of(health: HealthState, membership: Membership, *, is_enabled: bool) -> NodeStanding:
    """Where the node stands: what was decided goes before what was found out.

    One that this process has not heard from is up if it renews, wherever it does so.
    """
    if membership.down is not None or not is_enabled:
        return NodeStanding.DOWN
    if membership.is_draining:
        return NodeStanding.DRAINING
    if health is HealthState.UNKNOWN and membership.lease is not None:
        return NodeStanding.UP
    return NodeStanding(health.value)


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the administrator has changed of a node; None is left as it is."""

    draining: bool | None = None
    enabled: bool | None = None
    weight: float | None = None
    owners: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    site: str | None = None
    storage: tuple[str, ...] | None = None

    def over(self, profile: NodeProfile) -> NodeProfile:
        """The profile with these changes; ``draining`` is not part of it."""
        changes: dict[str, Any] = {
            "is_enabled": self.enabled,
            "weight": self.weight,
            "owners": None if self.owners is None else frozenset(self.owners),
            "groups": None if self.groups is None else frozenset(self.groups),
            "regions": self.regions,
            "site": self.site,
            "storage": self.storage,
        }
        return replace(profile, **{k: v for k, v in changes.items() if v is not None})


NO_OVERLAY: Final = Overlay()
"""Nothing was changed."""


def patched(document: Document, patch: Document) -> Document:
    """A flat document after a merge patch (RFC 7396): null takes a member away."""
    return {name: value for name, value in (document | patch).items() if value is not None}


def overlay_of(document: Document) -> Overlay:
    """The overlay that a document, as ``patched`` gives it, stands for."""
    known = {member.name for member in fields(Overlay)}  # a later version may have more
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in document.items() if k in known
    }
    return Overlay(**values)


def causes_of(before: Overlay, after: Overlay) -> list[MemberCause]:
    """What an administrator's change does to the node's place, for its record."""
    causes = []
    if bool(before.draining) is not bool(after.draining):
        causes.append(MemberCause.DRAINED if after.draining else MemberCause.RESUMED)
    if (before.enabled is False) is not (after.enabled is False):
        causes.append(MemberCause.DISABLED if after.enabled is False else MemberCause.ENABLED)
    return causes
