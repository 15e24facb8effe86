"""Reasons: why an offer was kept or dropped, a node left out or silent, a session shown as it is.

The codes are an interface: clients and dashboards may rely on them. A code is never given another
meaning; a change of the list raises ``REASONS_VERSION``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from gateway.domain import reason_texts
from gateway.wire.documents import Document
from gateway.wire.messages import message
from gateway.wire.phases import MessageLevel

REASONS_VERSION: Final = 5
"""Raised whenever a code is added, or its text changes what it says."""


class AppliesTo(StrEnum):
    """What a reason is about."""

    KEPT = "kept"
    """Speaks for an offer in the ranking."""
    NOTED = "noted"
    """Qualifies an offer, or the whole set, without dropping anything."""
    DROPPED = "dropped"
    """An offer is not passed on."""
    SKIPPED = "skipped"
    """A node was not asked."""
    SILENT = "silent"
    """A node was asked and gave no usable answer in time."""
    NO = "no"
    """A node answered, and offers nothing."""
    SESSION = "session"
    """A session is shown otherwise than its node shows it."""
    DATA = "data"
    """What is known, or not known, of where a request's data are."""
    LAKE = "lake"
    """A data lake could not be asked, or not in full."""
    REFUSED = "refused"
    """The caller may not ask this, or holds as much as it may already."""


@dataclass(frozen=True, slots=True)
class ReasonEntry:
    """One line of the published list; ``text`` names the facts of the case as ``${name}``."""

    applies_to: AppliesTo
    level: MessageLevel
    title: str
    text: str


class ReasonCode(StrEnum):
    """The codes. Their values are stable."""

    STARTS_SOONEST = "starts_soonest"
    NEAREST_DATA = "nearest_data"
    CHEAPEST = "cheapest"
    LOWEST_CARBON = "lowest_carbon"
    LOWEST_ENERGY = "lowest_energy"
    FASTEST = "fastest"
    MOST_CORES = "most_cores"
    MOST_MEMORY = "most_memory"
    MOST_RELIABLE = "most_reliable"
    COUNTS_MOST = "counts_most"

    UNKNOWN_QUANTITY = "unknown_quantity"
    ONLY_A_BOUND = "only_a_bound"
    DOMINATED = "dominated"
    PLACEMENT_UNKNOWN = "placement_unknown"
    PLACEMENT_APPROXIMATE = "placement_approximate"
    MAY_EXCEED_COST_LIMIT = "may_exceed_cost_limit"
    MAY_MISS_METRIC_LIMIT = "may_miss_metric_limit"
    COST_NOT_REPORTED = "cost_not_reported"
    METRIC_NOT_REPORTED = "metric_not_reported"
    LIMIT_REPORTED_BY_NOBODY = "limit_reported_by_nobody"
    LIMIT_NOT_UNDERSTOOD = "limit_not_understood"
    AMOUNT_UNKNOWN = "amount_unknown"
    DURATION_UNKNOWN = "duration_unknown"
    START_UNKNOWN = "start_unknown"
    EXPIRY_UNKNOWN = "expiry_unknown"
    NODES_NOT_ASKED = "nodes_not_asked"
    LIMITED_BY_QUOTA = "limited_by_quota"

    BELOW_MINIMUM_CORES = "below_minimum_cores"
    ABOVE_MAXIMUM_CORES = "above_maximum_cores"
    BELOW_MINIMUM_MEMORY = "below_minimum_memory"
    ABOVE_MAXIMUM_MEMORY = "above_maximum_memory"
    BELOW_MINIMUM_STORAGE = "below_minimum_storage"
    ABOVE_MAXIMUM_STORAGE = "above_maximum_storage"
    TOO_SHORT = "too_short"
    NO_START = "no_start"
    START_OUTSIDE_WINDOW = "start_outside_window"
    OUTSIDE_DAILY_WINDOW = "outside_daily_window"
    OVER_COST_LIMIT = "over_cost_limit"
    BELOW_METRIC_LIMIT = "below_metric_limit"
    ABOVE_METRIC_LIMIT = "above_metric_limit"
    EXPIRED = "expired"
    EXPIRES_TOO_SOON = "expires_too_soon"
    NOT_OFFERED = "not_offered"
    DUPLICATE_OFFER = "duplicate_offer"
    INVALID_OFFER = "invalid_offer"
    OVER_PER_NODE = "over_per_node"
    OVER_LIMIT = "over_limit"
    LONGER_WAY = "longer_way"

    NOT_WANTED = "not_wanted"
    NODE_NOT_PERMITTED = "node_not_permitted"
    NODE_RESERVED = "node_reserved"
    DISABLED = "disabled"
    DRAINING = "draining"
    LEASE_EXPIRED = "lease_expired"
    NODE_LEFT = "node_left"
    CREDENTIALS_SEALED = "credentials_sealed"
    KIND_NOT_LISTED = "kind_not_listed"
    BEYOND_NODE_LIMITS = "beyond_node_limits"
    KIND_REFUSED_BEFORE = "kind_refused_before"
    EJECTED = "ejected"
    ASKED_TO_WAIT = "asked_to_wait"
    PATH_LOOP = "path_loop"
    HOP_LIMIT = "hop_limit"
    ASKED_ALREADY = "asked_already"
    NOT_NEEDED = "not_needed"
    HOLD_LIMIT = "hold_limit"
    NO_TIME_LEFT = "no_time_left"

    NODE_REMOVED = "node_removed"
    CONNECTION_REFUSED = "connection_refused"
    NAME_UNKNOWN = "name_unknown"
    TLS_FAILED = "tls_failed"
    UNREACHABLE = "unreachable"
    NO_DESCRIPTORS = "no_descriptors"
    NODE_BUSY = "node_busy"
    CONNECT_TIMEOUT = "connect_timeout"
    HEADERS_TIMEOUT = "headers_timeout"
    BODY_TIMEOUT = "body_timeout"
    CONNECTION_LOST = "connection_lost"
    ERROR_STATUS = "error_status"
    REFUSED_CREDENTIALS = "refused_credentials"
    NO_CREDENTIALS = "no_credentials"
    ANSWER_TOO_LARGE = "answer_too_large"
    INVALID_ANSWER = "invalid_answer"
    NOT_WAITED_FOR = "not_waited_for"
    BEYOND_OWN_LIMIT = "beyond_own_limit"
    ARRIVED_LATE = "arrived_late"

    NODE_SAID_NO = "node_said_no"
    NO_OFFERS_GIVEN = "no_offers_given"
    NO_USABLE_OFFER = "no_usable_offer"
    NO_FITTING_OFFER = "no_fitting_offer"

    SESSION_UNKNOWN = "session_unknown"
    ACCEPT_PENDING = "accept_pending"
    NODE_STILL_ACTIVE = "node_still_active"
    NODE_WENT_BACK = "node_went_back"
    NODE_ENDED_DIFFERENTLY = "node_ended_differently"

    DATA_NOT_FOUND = "data_not_found"
    DATA_WITHOUT_REPLICA = "data_without_replica"
    DATA_PLACE_UNKNOWN = "data_place_unknown"
    DATA_SIZE_UNKNOWN = "data_size_unknown"
    COLLECTION_TOO_LARGE = "collection_too_large"
    TOO_MUCH_TO_PLACE = "too_much_to_place"
    LOCATIONS_STALE = "locations_stale"

    LAKE_UNAVAILABLE = "lake_unavailable"
    LAKE_TIMEOUT = "lake_timeout"
    LAKE_RESTING = "lake_resting"
    LAKE_FAILED = "lake_failed"
    LAKE_REFUSED_CREDENTIALS = "lake_refused_credentials"
    LAKE_INVALID_ANSWER = "lake_invalid_answer"
    TOPOLOGY_STALE = "topology_stale"

    SUBMIT_NOT_PERMITTED = "submit_not_permitted"
    KIND_NOT_PERMITTED = "kind_not_permitted"
    QUOTA_OFFERS = "quota_offers"
    QUOTA_SESSIONS = "quota_sessions"


_TEXTS: Final[tuple[tuple[AppliesTo, MessageLevel, reason_texts.Texts], ...]] = (
    (AppliesTo.KEPT, MessageLevel.INFO, reason_texts.KEPT),
    (AppliesTo.NOTED, MessageLevel.INFO, reason_texts.NOTED),
    (AppliesTo.DROPPED, MessageLevel.INFO, reason_texts.DROPPED),
    (AppliesTo.SKIPPED, MessageLevel.INFO, reason_texts.SKIPPED),
    (AppliesTo.SILENT, MessageLevel.WARN, reason_texts.SILENT),
    (AppliesTo.NO, MessageLevel.INFO, reason_texts.NO),
    (AppliesTo.SESSION, MessageLevel.WARN, reason_texts.SESSION),
    (AppliesTo.DATA, MessageLevel.INFO, reason_texts.DATA),
    (AppliesTo.LAKE, MessageLevel.WARN, reason_texts.LAKE),
    (AppliesTo.REFUSED, MessageLevel.WARN, reason_texts.REFUSED),
)

REASONS: Final[Mapping[ReasonCode, ReasonEntry]] = {
    ReasonCode(code): ReasonEntry(applies_to, level, *text)
    for applies_to, level, texts in _TEXTS
    for code, text in texts.items()
}
"""The published list, in its order."""

MESSAGE_KIND_BASE: Final = "urn:execbroker:reason:"
"""The ``kind`` of a message that gives a reason begins with this; the code follows."""

_NAME: Final = re.compile(r"\$\{([^{}]+)\}")
_PARTS: Final = {code: _NAME.split(entry.text) for code, entry in REASONS.items()}
"""Each text cut up: words, name, words, name, … words."""

_UNKNOWN: Final = "unknown"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One reason: its code and the facts of the case, which fill the code's text."""

    code: ReasonCode
    values: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def entry(self) -> ReasonEntry:
        """What the published list says of the code."""
        return REASONS[self.code]

    def text(self) -> str:
        """The sentence for people. A fact that was not given reads ``unknown``."""
        parts = _PARTS[self.code].copy()
        parts[1::2] = [self.values.get(name, _UNKNOWN) for name in parts[1::2]]
        return "".join(parts)

    def to_document(self) -> Document:
        """``code``, ``text`` and, where there are any, ``values``."""
        document: Document = {"code": self.code.value, "text": self.text()}
        if self.values:
            document["values"] = dict(self.values)
        return document

    def to_message(self, time: datetime, *, node: str | None = None, **also: str) -> Document:
        """An entry for ``meta.messages``, which names its node; ``also`` goes into its values."""
        kind = MESSAGE_KIND_BASE + self.code.value
        values = dict.fromkeys(_PARTS[self.code][1::2], _UNKNOWN) | dict(self.values) | also
        template = self.entry.text
        if node is not None:
            values["node"] = node
            if "${node}" not in template:
                template = f"Node ${{node}}: {template}"
        return message(kind, self.entry.level, template, values, time)


def reason(code: ReasonCode, **values: object) -> Reason:
    """The reason with its facts as text."""
    return Reason(code, {name: str(value) for name, value in values.items()})


def reason_from_document(document: Mapping[str, Any]) -> Reason:
    """The reason that ``Reason.to_document`` wrote; the text is made anew.

    Raises
    ------
    ValueError
        The code is not on the list.
    """
    return Reason(ReasonCode(document["code"]), dict(document.get("values", {})))


def published() -> Document:
    """The whole list, for those who want to know what a code means."""
    return {
        "version": REASONS_VERSION,
        "reasons": [
            {
                "code": code.value,
                "applies_to": entry.applies_to.value,
                "level": entry.level.value,
                "title": entry.title,
                "text": entry.text,
            }
            for code, entry in REASONS.items()
        ],
    }
