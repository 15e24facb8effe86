"""Who may ask for what, of whom and how much: the settings' rules, put together for one caller.

Three levels speak: the rule for the owner, those for the caller's groups, the one for everyone.
Where they contradict each other: a denial by any of them holds. Of everything else the most
specific level that says anything about it is heard, owner before groups before everyone; and what
any one of the groups allows is allowed.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.node import NodeProfile
from gateway.domain.reasons import Reason, ReasonCode, reason


@dataclass(frozen=True, slots=True)
class Names:
    """Some names are allowed: those in ``allow`` (None: nothing said), but none in ``deny``."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def permit(self, name: str) -> bool:
        """Whether this very name is allowed."""
        return name not in self.deny and (self.allow is None or name in self.allow)

    def permit_kind(self, kind: str) -> bool:
        """Whether a component of this kind is allowed.

        A list of kinds restricts only the families that it names: who may run Docker containers
        alone may still say how many cores and which data they need.
        """
        if kind in self.deny:
            return False
        if self.allow is None or kind in self.allow:
            return True
        return _family(kind) not in map(_family, self.allow)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be held at the same time; None for nothing said, or no limit.

    ``offers`` are on offer and not expired; ``sessions`` are accepted, or being accepted, and have
    not ended.
    """

    offers: int | None = None
    sessions: int | None = None

    def __bool__(self) -> bool:
        return self.offers is not None or self.sessions is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one level says; None and empty for what it says nothing about.

    ``limits`` are for each owner; ``shared`` are for all members of a group together, and mean
    something in the rule of a group only.
    """

    may_submit: bool | None = None
    nodes: Names = Names()
    kinds: Names = Names()
    limits: Limits = Limits()
    shared: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one caller may do.

    ``shared`` are the limits of those of the caller's groups that have any, by the group's name.
    ``is_unbound``: no rule binds the caller, neither the settings' nor a node's own.
    """

    owner: str | None = None
    groups: frozenset[str] = frozenset()
    may_submit: bool = True
    nodes: Names = Names()
    kinds: Names = Names()
    limits: Limits = Limits()
    shared: tuple[tuple[str, Limits], ...] = ()
    is_unbound: bool = False

    def refused_request(self, kinds: AbstractSet[str]) -> tuple[Reason, ...]:
        """Why a request with components of these kinds is refused; empty if it is not."""
        if not self.may_submit:
            return (reason(ReasonCode.SUBMIT_NOT_PERMITTED),)
        return tuple(
            reason(ReasonCode.KIND_NOT_PERMITTED, kind=kind)
            for kind in sorted(kinds)
            if not self.kinds.permit_kind(kind)
        )

    def refused_node(self, node: NodeProfile) -> Reason | None:
        """Why the node is not asked for this caller; None if it may be."""
        if self.is_unbound:
            return None
        if not self.nodes.permit(node.name):
            return reason(ReasonCode.NODE_NOT_PERMITTED)
        is_open = not node.owners and not node.groups
        if is_open or self.owner in node.owners or node.groups & self.groups:
            return None
        return reason(ReasonCode.NODE_RESERVED)


UNBOUND: Final = Allowance(is_unbound=True)
"""That of the administrator, and of the gateway itself."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """All rules there are; none: everybody may do everything."""

    everyone: Rule = Rule()
    groups: Mapping[str, Rule] = field(default_factory=dict)
    owners: Mapping[str, Rule] = field(default_factory=dict)

    def allowance(self, owner: str | None, groups: frozenset[str]) -> Allowance:
        """What this owner may do, being in these groups."""
        own = [] if owner is None or owner not in self.owners else [self.owners[owner]]
        joined = [(name, self.groups[name]) for name in sorted(groups) if name in self.groups]
        levels = (own, [rule for _, rule in joined], [self.everyone])
        return Allowance(
            owner=owner,
            groups=groups,
            may_submit=_first([[rule.may_submit for rule in rules] for rules in levels], True),
            nodes=_merged([[rule.nodes for rule in rules] for rules in levels]),
            kinds=_merged([[rule.kinds for rule in rules] for rules in levels]),
            limits=Limits(
                _largest([[rule.limits.offers for rule in rules] for rules in levels]),
                _largest([[rule.limits.sessions for rule in rules] for rules in levels]),
            ),
            shared=tuple((name, rule.shared) for name, rule in joined if rule.shared),
        )


def _first(levels: Iterable[Sequence[bool | None]], otherwise: bool) -> bool:
    """What the most specific level says that says anything: yes, if any of its rules does."""
    for level in levels:
        said = [one for one in level if one is not None]
        if said:
            return any(said)
    return otherwise


def _largest(levels: Iterable[Sequence[int | None]]) -> int | None:
    """The largest number of the most specific level that says any."""
    for level in levels:
        said = [one for one in level if one is not None]
        if said:
            return max(said)
    return None


def _merged(levels: Sequence[Sequence[Names]]) -> Names:
    """Every denial, and what the most specific level allows that allows anything."""
    deny = frozenset(name for level in levels for one in level for name in one.deny)
    for level in levels:
        said = [one.allow for one in level if one.allow is not None]
        if said:
            return Names(frozenset().union(*said), deny)
    return Names(None, deny)


def _family(kind: str) -> str:
    """What a kind is a kind of: its URI without the last part."""
    return kind.rpartition("/")[0]
