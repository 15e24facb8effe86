"""Which nodes to ask for offers, and why the others are not asked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.domain.capabilities import Capabilities
from gateway.domain.coverage import CoverageEntry, Outcome
from gateway.domain.health import Cause
from gateway.domain.hops import have_met
from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason, ReasonCode, reason
from gateway.wire.documents import Document
from gateway.wire.times import format_instant
from gateway.wire.views import RequestView

REFUSAL_LASTS: Final = timedelta(minutes=10)
"""How long an unknown kind is remembered: a site that learns it is found again soon."""

MAX_REFUSALS_PER_NODE: Final = 64
"""Kinds come from clients, so what is remembered must be bounded; the schema has fifteen."""

UNKNOWN_KIND_MESSAGES: Final = frozenset({"urn:unknown-type", "uri:unknown-type"})
"""Message kinds that say a component kind is not known (both spellings are in use)."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """A registered node as it stands now.

    ``identity`` is what the node calls itself in ``Federation-Path``, if it is a gateway and this
    is known; its URL is taken for that too. It is ejected if there is an ``ejected_until``, which
    is when it is probed; ``waits_until`` is when it wants to be asked again. ``down`` is why it is
    not asked whatever its health, such as that its registration is over.
    """

    profile: NodeProfile
    is_draining: bool = False
    identity: str | None = None
    ejected_until: datetime | None = None
    ejected_for: Cause | None = None
    waits_until: datetime | None = None
    down: Reason | None = None
    capabilities: Capabilities | None = None

    @property
    def name(self) -> str:
        """The node's name, unique among the registered."""
        return self.profile.name


@dataclass(frozen=True, slots=True)
class Hops:
    """The way of a request through gateways: ``path`` are those passed before ``own``, this one.

    It ``is_second`` where the same request of a client came here by another way before.
    """

    own: str = ""
    path: tuple[str, ...] = ()
    limit: int = 4
    is_second: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node did not know one of these kinds, and until then is not asked for all of them."""

    kinds: frozenset[str]
    until: datetime


class RefusalMemory:
    """Which kinds each node did not know when it was last asked. Forgets by itself, and is bounded.

    Where a node does not say which kind it was, the combination is remembered: any request that
    contains all of it would be refused too, any other may not.
    """

    def __init__(self, lasts: timedelta = REFUSAL_LASTS) -> None:
        self._lasts = lasts
        self._refusals: dict[str, dict[frozenset[str], datetime]] = {}
        self._offered: dict[str, frozenset[str]] = {}

    def learn(self, node: str, unknown: Iterable[frozenset[str]], now: datetime) -> None:
        """The node refused: each set has a kind in it that the node does not know."""
        refusals = self._refusals.setdefault(node, {})
        for kinds in unknown:
            if kinds:
                refusals[kinds] = now + self._lasts
        alive = {kinds: until for kinds, until in refusals.items() if until > now}
        newest = sorted(alive.items(), key=lambda item: (item[1], sorted(item[0])))
        self._refusals[node] = dict(newest[-MAX_REFUSALS_PER_NODE:])

    def forget(self, node: str, known: frozenset[str]) -> None:
        """The node offered something for these kinds: it knows them all."""
        refusals = self._refusals.get(node, {})
        self._refusals[node] = {
            kinds - known: until for kinds, until in refusals.items() if kinds - known
        }
        offered = self._offered.get(node, frozenset())
        if not known <= offered and len(offered | known) <= MAX_REFUSALS_PER_NODE:
            self._offered[node] = offered | known

    def offered(self, node: str) -> frozenset[str]:
        """The kinds for which the node has offered something since this process began."""
        return self._offered.get(node, frozenset())

    def refused(self, node: str, now: datetime) -> frozenset[str]:
        """The kinds of which the node has said lately that it does not know just these."""
        refusals = self._refusals.get(node, {})
        alone = (kinds for kinds, until in refusals.items() if until > now and len(kinds) == 1)
        return frozenset().union(*alone)

    def find(self, node: str, kinds: frozenset[str], now: datetime) -> Refusal | None:
        """The refusal that a request with these kinds would meet; the longest lasting one."""
        met = [
            Refusal(refused, until)
            for refused, until in self._refusals.get(node, {}).items()
            if until > now and refused <= kinds
        ]
        return max(met, key=lambda refusal: (refusal.until, sorted(refusal.kinds)), default=None)


def unknown_kinds(
    messages: Iterable[Document], asked: frozenset[str]
) -> tuple[frozenset[str], ...]:
    """What a node's NO says about kinds it does not know: sets that hold at least one such kind.

    Empty where it does not say so. ``asked`` are the kinds of the request as the node got it.
    """
    named: set[str] = set()
    has_unnamed = False
    for message in messages:
        if message.get("kind") not in UNKNOWN_KIND_MESSAGES:
            continue
        found = asked & _words(message)
        named |= found
        # One that we never asked for, such as that of a cost, says nothing of those we did.
        has_unnamed |= not found and not _names_kind(message)
    sets = tuple(frozenset({kind}) for kind in sorted(named))
    # An unnamed one next to named ones may be one of these, said again.
    return sets if sets or not has_unnamed or not asked else (asked,)


def _names_kind(message: Document) -> bool:
    values = message.get("values")
    return isinstance(values, Mapping) and isinstance(values.get("kind"), str)


def _words(message: Document) -> frozenset[str]:
    """Whatever in the message could be a kind: its values, and what its text has in brackets."""
    values = message.get("values")
    texts = [message.get("message"), message.get("template")]
    said = [text for text in texts if isinstance(text, str)]
    listed = list(values.values()) if isinstance(values, Mapping) else []
    parts = [part for text in said for part in text.replace("]", "[").split("[")]
    return frozenset(str(word).strip() for word in (*listed, *parts))


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to ask. ``unknown_names`` were wanted by the client but are no registered nodes."""

    nodes: tuple[NodeState, ...]
    skipped: tuple[CoverageEntry, ...]
    unknown_names: tuple[str, ...] = ()

    @property
    def registered(self) -> tuple[str, ...]:
        """The nodes that there were when this was decided: who comes later has no part in it."""
        return (*(node.name for node in self.nodes), *(entry.node for entry in self.skipped))


def choose(
    nodes: Iterable[NodeState],
    *,
    kinds: frozenset[str],
    refusals: RefusalMemory,
    now: datetime,
    wanted: frozenset[str] | None = None,
    required: frozenset[str] = frozenset(),
    hops: Hops | None = None,
    barred: Callable[[NodeProfile], Reason | None] | None = None,
    needs: RequestView | None = None,
) -> Choice:
    """Decide for every registered node whether to ask it, in the order of their names.

    ``wanted`` are the nodes that the client named, None for all; ``required`` those that must
    answer. Both are asked even about kinds they refused before, and while they are ejected; so are
    all ejected ones where nobody else is left. ``kinds`` are those of the request. ``barred`` says
    why the caller may not use a node, None if it may. ``needs`` is what the request needs, for
    nodes that say how much they give one: whoever names such a node knows better.
    """
    registered = sorted(nodes, key=lambda node: node.name)
    hops = hops or Hops()
    chosen: list[NodeState] = []
    ejected: list[NodeState] = []
    skipped: list[CoverageEntry] = []
    for node in registered:
        is_named = wanted is not None or node.name in required
        why = (
            _why_not(node, wanted, hops)
            or (barred(node.profile) if barred else None)
            or _asked_to_wait(node, now)
            or (None if is_named else _beyond(node, kinds, needs))
            or _refused_before(node, kinds, None if is_named else refusals, now)
        )
        if why is not None:
            skipped.append(CoverageEntry(node.name, Outcome.SKIPPED, why))
        elif node.ejected_until is not None and not is_named:
            ejected.append(node)
        else:
            chosen.append(node)
    if not chosen:
        chosen, ejected = ejected, []
    skipped += [CoverageEntry(node.name, Outcome.SKIPPED, _ejected(node)) for node in ejected]
    skipped.sort(key=lambda entry: entry.node)
    strange = (wanted or frozenset()) - {node.name for node in registered}
    return Choice(tuple(chosen), tuple(skipped), tuple(sorted(strange)))


def _why_not(node: NodeState, wanted: frozenset[str] | None, hops: Hops) -> Reason | None:
    if wanted is not None and node.name not in wanted:
        return reason(ReasonCode.NOT_WANTED)
    if not node.profile.is_enabled:
        return reason(ReasonCode.DISABLED)
    if node.down is not None:
        return node.down
    if node.is_draining:
        return reason(ReasonCode.DRAINING)
    return _why_no_further(node, hops)


def _why_no_further(node: NodeState, hops: Hops) -> Reason | None:
    known_as = [name for name in (hops.own, node.identity, node.profile.url) if name]
    if have_met(hops.path, *known_as):
        return reason(ReasonCode.PATH_LOOP)
    if hops.is_second:
        return reason(ReasonCode.ASKED_ALREADY)
    if len(hops.path) >= hops.limit:
        return reason(ReasonCode.HOP_LIMIT, hops=len(hops.path), limit=hops.limit)
    return None


def _beyond(node: NodeState, kinds: frozenset[str], needs: RequestView | None) -> Reason | None:
    """Why the node cannot run it by its own word."""
    can = node.capabilities
    if can is None:
        return None
    if lacking := can.lacks(kinds):
        return reason(ReasonCode.KIND_NOT_LISTED, kinds=", ".join(sorted(lacking)))
    return None if needs is None else can.exceeded_by(needs.cores.min, needs.memory_gib.min)


def _asked_to_wait(node: NodeState, now: datetime) -> Reason | None:
    if node.waits_until is None or now >= node.waits_until:
        return None
    return reason(ReasonCode.ASKED_TO_WAIT, until=format_instant(node.waits_until))


def _ejected(node: NodeState) -> Reason:
    assert node.ejected_until is not None
    return reason(
        ReasonCode.EJECTED,
        cause=node.ejected_for.value if node.ejected_for else "failing",
        until=format_instant(node.ejected_until),
    )


def _refused_before(
    node: NodeState, kinds: frozenset[str], refusals: RefusalMemory | None, now: datetime
) -> Reason | None:
    refusal = refusals.find(node.name, kinds, now) if refusals else None
    if refusal is None:
        return None
    return reason(
        ReasonCode.KIND_REFUSED_BEFORE,
        kinds=", ".join(sorted(refusal.kinds)),
        until=format_instant(refusal.until),
    )
