"""The gateways that a request has passed, as the header ``Federation-Path`` lists them.

An entry is a gateway's name and its identity, ``NAME/UUID``: the name is for people and may be the
same for two, the identity tells them apart. Of others' entries without one, the whole is compared.
"""

from collections.abc import Sequence
from uuid import UUID


def hop_of(name: str, identity: str) -> str:
    """The entry of a gateway."""
    return f"{name}/{identity}"


def have_met(path: Sequence[str], *known_as: str) -> bool:
    """Whether an entry of the path is of somebody known by one of these: entries, UUIDs or URLs."""
    if not path:
        return False  # as most requests come, asked of each node
    passed = {_told_apart(entry) for entry in path}
    names = {name for known in known_as for name in _names(known)}
    return not passed.isdisjoint(names)


def _told_apart(entry: str) -> str:
    """What tells the gateway of an entry from others: its identity, or all there is."""
    identity = _identity(entry)
    return identity or entry.rstrip("/")


def _names(known: str) -> set[str]:
    """By what an entry may mean this one: the identity, or the bare name of one without."""
    identity = _identity(known)
    if identity is None:
        return {known.rstrip("/")}
    name = known.rpartition("/")[0]
    return {identity, name} if name else {identity}


def _identity(entry: str) -> str | None:
    last = entry.rstrip("/").rpartition("/")[2]
    try:
        return str(UUID(last)) if len(last) == 36 else None
    except ValueError:
        return None
