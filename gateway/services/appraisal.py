"""What the answers to one request are worth: which offers can be kept, in which order, and why."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from gateway.clients.offers_reply import ReceivedOffer
from gateway.domain.coverage import HAD_NO_TURN, CoverageEntry, Outcome
from gateway.domain.judging import Judgement, judge, unchecked_limits
from gateway.domain.node import NodeProfile
from gateway.domain.placement import NodePlacement
from gateway.domain.policies import Policy
from gateway.domain.quantities import Candidate, measure
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.domain.record import RankingRecord, Rejected
from gateway.domain.ways import Way, longer_ways, origin_of, way_of
from gateway.services.answers import NodeAnswer
from gateway.services.registry import RegisteredNode
from gateway.wire.documents import Document
from gateway.wire.messages import mended
from gateway.wire.times import TimeSyntaxError
from gateway.wire.views import RequestView, SessionView, view_of_request

MAX_NODE_MESSAGES: Final = 10
"""Messages of one node's NO that are passed on; a node that says more is not clearer."""


MAX_TEXTS: Final = 3
"""Different reasons named for a node of whose offers none fits."""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """An offer that a node holds, whatever becomes of it here."""

    node: str
    uuid: UUID
    offer: ReceivedOffer | None = None

    @property
    def expires(self) -> datetime | None:
        """When the node lets go by itself, if it said."""
        return self.offer.view.expires if self.offer else None

    @property
    def component_uuids(self) -> tuple[UUID, ...]:
        """The components that came with it."""
        return self.offer.component_uuids if self.offer else ()


def read_request(document: Document) -> RequestView:
    """What a request needs.

    Times that pass the schema but mean nothing definite, such as ``P1Y``, are left to the nodes:
    they answer NO and say why.
    """
    try:
        return view_of_request(document)
    except TimeSyntaxError:
        return view_of_request({k: v for k, v in document.items() if k != "schedule"})


def _as_it_is(_node: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Terms:
    """What answers to one request are held against.

    ``now`` is when the request came in. ``placements`` are those of the nodes asked, empty where
    data play no part; ``messages`` is what clients are told of the set as a whole. ``restoring``
    says how a node's documents are turned back into what the client asked for; None: as they are.
    """

    view: RequestView
    now: datetime
    policy: Policy
    per_node: int
    limit: int
    placements: Mapping[str, NodePlacement] = field(default_factory=dict)
    messages: Sequence[Document] = ()
    restoring: Callable[[str], bytes | None] = _as_it_is

    def placement_of(self, offer: SessionView, node: str) -> NodePlacement | None:
        """What is known of the data at the node that makes this offer."""
        placement = self.placements.get(node)
        return placement.with_declared(offer) if placement else None

    def judge(self, offer: SessionView, profile: NodeProfile, seen: datetime) -> Judgement:
        """Whether the offer, seen at that time, keeps to the request."""
        return judge(
            offer,
            self.view,
            seen,
            placement=self.placement_of(offer, profile.name),
            reports_memory=profile.reports_memory,
        )


class Appraisal:
    """Takes in answers one by one; the same answers in the same order give the same result."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._declared: dict[UUID, NodePlacement] = {}
        self._candidates: list[Candidate] = []
        self._rejected: list[Rejected] = []
        self._usable: dict[str, int] = {}
        self._views: list[SessionView] = []
        self._node_messages: list[Document] = []
        self._profiles: dict[str, NodeProfile] = {}
        self._has_gateways = False
        self.holds: dict[UUID, Hold] = {}
        """Every hold that can be named, kept or not."""

    @property
    def declared(self) -> Mapping[UUID, NodePlacement]:
        """What single offers say of data about which nothing is known here."""
        return self._declared

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The offers that keep to the request."""
        return tuple(self._candidates)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The offers that do not, or that cannot be passed on."""
        return tuple(self._rejected)

    def add(
        self,
        answer: NodeAnswer,
        node: RegisteredNode,
        known: AbstractSet[UUID] = frozenset(),
        *,
        seen: datetime | None = None,
    ) -> None:
        """Take in one node's answer; ``known`` are UUIDs that belong to somebody else already.

        ``seen`` is when the answer came, where that is long after the request.
        """
        self._usable[answer.node] = 0
        self._profiles[answer.node] = node.profile
        if answer.reply is None:
            return
        self._has_gateways |= answer.reply.below is not None
        kept_share = node.track_record.share(self._terms.now)
        for offer in answer.offers:
            self._add_offer(offer, node.profile, known, seen or self._terms.now, kept_share)
        for dropped in answer.reply.dropped:
            self._reject(answer.node, dropped.uuid, dropped.reason)
            if dropped.uuid is not None and dropped.uuid not in known:
                self.holds.setdefault(dropped.uuid, Hold(answer.node, dropped.uuid))
        if answer.outcome is Outcome.NO:
            self._take_messages(answer.node, answer.reply.messages)

    def components_of(self, offers: Iterable[UUID]) -> list[UUID]:
        """The components of these offers."""
        return [uuid for offer in offers for uuid in self.holds[offer].component_uuids]

    def drop_duplicates(self, offers: Iterable[UUID], known: AbstractSet[UUID]) -> None:
        """Drop those of the offers with a UUID in ``known``: it is somebody else's."""
        dropped = {
            offer
            for offer in offers
            if offer in known or not known.isdisjoint(self.holds[offer].component_uuids)
        }
        for offer in dropped & known:
            del self.holds[offer]
        self._drop(dropped, reason(ReasonCode.DUPLICATE_OFFER))

    def drop_longer_ways(self, taken: Mapping[str, str] | None = None) -> None:
        """Drop what came a second way from a node: one of ``taken`` (by origin), or a shorter one.

        To be called when all answers are in; without gateways among the nodes it does nothing.
        """
        if self._has_gateways or taken:
            ways = {one.uuid: self.way_of(self.holds[one.uuid]) for one in self._candidates}
            self._drop(longer_ways(ways, taken or {}), reason(ReasonCode.LONGER_WAY))

    def way_of(self, hold: Hold) -> Way:
        """How the offer came here."""
        profile = self._profiles[hold.node]
        raw = hold.offer.raw if hold.offer else b""
        return way_of(raw, hold.node, origin_of(profile.url, profile.identity))

    def coverage_of(self, answer: NodeAnswer) -> CoverageEntry:
        """The line about a node, with the offers that can be used."""
        entry = answer.to_coverage()
        usable = self._usable.get(answer.node, 0)
        why = entry.reason
        if entry.offers and not usable and why is None:
            texts = dict.fromkeys(
                why.text()
                for rejected in self._rejected
                if rejected.node == answer.node
                for why in rejected.reasons
            )
            said = " ".join(list(texts)[:MAX_TEXTS])
            why = reason(ReasonCode.NO_FITTING_OFFER, offers=entry.offers, why=said)
        return replace(entry, reason=why, offers=usable)

    def record(self) -> RankingRecord:
        """What the ranking depends on."""
        return RankingRecord(
            now=self._terms.now,
            policy=self._terms.policy,
            per_node=self._terms.per_node,
            limit=self._terms.limit,
            candidates=self.candidates,
            rejected=self.rejected,
            placements=self._terms.placements,
            declared=self._declared,
        )

    def restoring_of(self, node: str) -> bytes | None:
        """How the node's documents are turned back into what the client asked for."""
        return self._terms.restoring(node)

    def messages(self, coverage: Iterable[CoverageEntry]) -> list[Document]:
        """What clients are told that cannot see the coverage."""
        terms = self._terms
        placements = [*terms.placements.values(), *self._declared.values()]
        known = {
            quote.type
            for placement in placements
            if placement.exact_ms is not None
            for quote in placement.ranges()
        }
        unchecked = unchecked_limits(terms.view, self._views, known)
        return [
            *node_messages(coverage, terms.now),
            *self._node_messages,
            *terms.messages,
            *(why.to_message(terms.now) for why in unchecked),
        ]

    def _add_offer(
        self,
        offer: ReceivedOffer,
        profile: NodeProfile,
        known: AbstractSet[UUID],
        seen: datetime,
        kept_share: int,
    ) -> None:
        view, terms, node = offer.view, self._terms, profile.name
        uuid = view.uuid
        hold = Hold(node, uuid, offer)
        if (known and uuid in known) or self.holds.setdefault(uuid, hold) is not hold:
            self._reject(node, uuid, reason(ReasonCode.DUPLICATE_OFFER))
            return
        if known and not known.isdisjoint(offer.component_uuids):
            self._reject(node, uuid, reason(ReasonCode.DUPLICATE_OFFER))
            return
        placement = terms.placement_of(view, node) if terms.placements else None
        judgement = judge(
            view, terms.view, seen, placement=placement, reports_memory=profile.reports_memory
        )
        if judgement.drops:
            self._rejected.append(Rejected(node, uuid, judgement.drops, judgement.notes))
            return
        self._usable[node] += 1
        self._views.append(view)
        if placement is not None and placement is not terms.placements.get(node):
            self._declared[uuid] = placement
        self._candidates.append(
            measure(
                view,
                terms.view,
                terms.now,
                node=node,
                placement=placement.to_ranking() if placement else None,
                kept_share=kept_share,
                reports_memory=profile.reports_memory,
                notes=(*judgement.notes, *placement.notes()) if placement else judgement.notes,
            )
        )

    def _drop(self, dropped: AbstractSet[UUID], why: Reason) -> None:
        if not dropped:
            return
        for candidate in self._candidates:
            if candidate.uuid in dropped:
                self._reject(candidate.node, candidate.uuid, why)
                self._usable[candidate.node] -= 1
        self._candidates = [one for one in self._candidates if one.uuid not in dropped]
        self._views = [view for view in self._views if view.uuid not in dropped]

    def _reject(self, node: str, uuid: UUID | None, *reasons: Reason) -> None:
        self._rejected.append(Rejected(node, uuid, reasons))

    def _take_messages(self, node: str, messages: Iterable[Document]) -> None:
        """A node's own words for its NO, with its name."""
        for count, said in enumerate(messages):
            if count == MAX_NODE_MESSAGES:
                break
            item = mended(said, self._terms.now)
            self._node_messages.append(item | {"values": {**item.get("values", {}), "node": node}})


def node_messages(coverage: Iterable[CoverageEntry], now: datetime) -> list[Document]:
    """One message for every node that gave no offers, with why; one for all that had no turn."""
    said: list[Document] = []
    unasked: Counter[ReasonCode] = Counter()
    for entry in coverage:
        if entry.reason is None:
            continue
        if entry.reason.code in HAD_NO_TURN:
            unasked[entry.reason.code] += 1
        else:
            said.append(entry.reason.to_message(now, node=entry.node, outcome=entry.outcome.value))
    for code, nodes in unasked.items():
        more = reason(ReasonCode.NODES_NOT_ASKED, nodes=nodes, why=reason(code).text())
        said.append(more.to_message(now))
    return said


def messages_without(node: str, messages: Iterable[Document]) -> list[Document]:
    """The messages that are not about this node."""
    return [said for said in messages if _node_of(said) != node]


def _node_of(said: Mapping[str, object]) -> object:
    values = said.get("values")
    return values.get("node") if isinstance(values, Mapping) else None
