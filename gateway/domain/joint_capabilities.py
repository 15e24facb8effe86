"""What a gateway can do through its nodes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.domain.capabilities import MAX_ITEMS, Capabilities
from gateway.wire.documents import Document


@dataclass(frozen=True, slots=True)
class JointCapabilities:
    """Of all nodes together. Empty or None: it cannot be said."""

    kinds: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    cores: float | None = None
    memory_gib: float | None = None
    storage_gib: float | None = None

    def to_document(self) -> Document:
        """The members of ``GET /capabilities`` that are about nodes."""
        limits = {
            "cores": self.cores,
            "memory_gib": self.memory_gib,
            "storage_gib": self.storage_gib,
        }
        return {
            "kinds": list(self.kinds),
            "platforms": list(self.platforms),
            "limits": {name: value for name, value in limits.items() if value is not None},
            "storage": list(self.storage),
        }


def joint_capabilities(nodes: Iterable[Capabilities | None]) -> JointCapabilities:
    """The capabilities of a gateway over these nodes; None for one of which nothing is known.

    A request goes to one node, so limits are the most that any of them has. Where a node does not
    say, the gateway cannot either: what it left out would never be asked of it.
    """
    known = list(nodes)
    said = [node for node in known if node is not None]
    is_whole = len(said) == len(known)
    says_kinds = is_whole and all(node.kinds for node in said)
    return JointCapabilities(
        kinds=_union(node.kinds for node in said) if says_kinds else (),
        platforms=_union(node.platforms for node in said),
        storage=_union(node.storage for node in said),
        cores=_most((node.cores for node in said), is_whole=is_whole),
        memory_gib=_most((node.memory_gib for node in said), is_whole=is_whole),
        storage_gib=_most((node.storage_gib for node in said), is_whole=is_whole),
    )


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Sorted, so that the same nodes in any order give the same; none where they are too many."""
    together = sorted({item for items in lists for item in items})
    return tuple(together) if len(together) <= MAX_ITEMS else ()


def _most(amounts: Iterable[float | None], *, is_whole: bool) -> float | None:
    found = list(amounts)
    if not is_whole or not found or None in found:
        return None
    return max(amount for amount in found if amount is not None)
